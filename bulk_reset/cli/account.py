"""``bulk-reset account``: who uses the account now, and how much of its quota."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from bulk_reset.cli.arguments import JsonOption, QuietOption, VerboseOption
from bulk_reset.cli.connection_options import (
    AccountOption,
    AppKeyFileOption,
    BaseUrlOption,
    PerMinuteOption,
    PerSecondOption,
    QuotaStoreOption,
)
from bulk_reset.cli.console import Output, cell, new_table
from bulk_reset.core.counting import counted, duration
from bulk_reset.core.defaults import PER_MINUTE, PER_SECOND

if TYPE_CHECKING:
    from bulk_reset.quota.account_use import AccountUse

_SILENT_S = 2.0
"""A run that works calls the store four times a second."""


def account(
    *,
    app_key_file: AppKeyFileOption = None,
    base_url: BaseUrlOption = None,
    account: AccountOption = "",
    quota_store: QuotaStoreOption = None,
    per_second: PerSecondOption = PER_SECOND,
    per_minute: PerMinuteOption = PER_MINUTE,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show which runs use the account now, and how much of its quota.

    Examples:
        bulk-reset account
        bulk-reset account --quota-store redis://HOST:6379
        bulk-reset account --json
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.engine.account import read_account, shown_store  # noqa: PLC0415
        from bulk_reset.engine.connection import find_account  # noqa: PLC0415  (imports aiohttp)
        from bulk_reset.engine.options import Options  # noqa: PLC0415

        options = Options(
            app_key_file=app_key_file,
            base_url=base_url,
            account=account,
            quota_store=quota_store,
            per_second=per_second,
            per_minute=per_minute,
        )
        credentials = find_account(options)
        use, store = read_account(credentials, options), shown_store(options)
        output.line(f"Account at {credentials.base_url}; permits are kept on {store}.")
        _show_runs(output, use)
        _show_windows(output, use)
        found = {"base_url": credentials.base_url, "store": store, **dataclasses.asdict(use)}
        output.json({**found, "exit_code": 0})


def _show_runs(output: Output, use: AccountUse) -> None:
    if not use.runs:
        output.line("No run uses it now.")
        return
    output.line(f"{counted(len(use.runs), 'run')} {'uses' if len(use.runs) == 1 else 'use'} it:")
    right = {"process", "left", "permits", "waited", "429"}
    names = ("run", "machine", "process", "since", "priority", "left", "permits", "waited", "429")
    table = new_table(*names, right=right, whole="run")
    for run in use.runs:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - run.since_s))
        priority = f"{run.priority}, exclusive" if run.is_exclusive else run.priority
        is_silent = run.silent_s > _SILENT_S
        table.add_row(
            cell(run.label),
            cell(run.host),
            str(run.process),
            since,
            f"{priority}; silent for {duration(run.silent_s)}" if is_silent else priority,
            f"{run.left:,}",
            f"{run.held:,}",
            duration(run.waited_s),
            f"{run.rejected:,}",
        )
    output.table(table)


def _show_windows(output: Output, use: AccountUse) -> None:
    table = new_table(
        "window", "counted", "held by runs", "limit", right={"counted", "held by runs", "limit"}
    )
    for window in use.windows:
        name = "1 minute" if window.window_s > 1 else "1 second"
        table.add_row(name, f"{window.used:,}", f"{window.held:,}", f"{window.limit:,}")
    output.table(table)
    if use.rejected:
        output.line(f"{counted(use.rejected, 'request')} rejected by the API (429) so far.")
    if use.losses:
        output.line(f"The store has lost its memory {counted(use.losses, 'time')}.")
    if use.closed_s:
        output.line(
            f"Nothing starts for {duration(use.closed_s)}: the store has no memory of what was "
            "sent before."
        )
