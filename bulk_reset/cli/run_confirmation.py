"""The question before a run: what will be sent, where to, and how long it takes.

It is asked on a terminal only. The sheet is read twice, because a question in the middle of a run
would hold the account's quota until the answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from bulk_reset.cli.console import Output
from bulk_reset.core.counting import counted, duration
from bulk_reset.core.outcome import Status
from bulk_reset.core.safe_text import one_line

if TYPE_CHECKING:
    from bulk_reset.cli.view import ProgressView
    from bulk_reset.core.totals import Totals
    from bulk_reset.engine.options import Options

CANCELLED = "Cancelled; nothing was sent. Use --yes to skip this question."


def is_confirmed(
    sheet: str, options: Options, notify: Callable[[str], None], output: Output, view: ProgressView
) -> bool:
    """Show what a run will send, and ask whether to continue; True if nothing will be sent.

    Raises:
        InputError: as of a run; nothing was sent.
    """
    from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
    from bulk_reset.workflows import run as running  # noqa: PLC0415  (imports pandas and aiohttp)

    callbacks = Callbacks(on_notice=notify, on_read=view.rows_read)
    planned = running.run(sheet, dataclasses.replace(options, dry_run=True), callbacks)
    if not planned.requests:
        return True
    view.close()
    for name, text in _facts(planned, options).items():
        output.notice(f"{name:<16}{text}")
    return view.confirm("", is_yes=False)


def _facts(planned: Totals, options: Options) -> dict[str, str]:
    others = {
        "settled in an earlier run": planned.done_before,
        "not edited": planned.not_edited,
        "duplicate": planned.counts[Status.SKIPPED],
        "invalid": planned.counts[Status.REJECTED],
        "beyond --limit": planned.beyond_limit,
        "not selected": planned.left_out,
    }
    details = ", ".join(f"{rows:,} {name}" for name, rows in others.items() if rows)
    rows = f"{planned.requests:,} of {counted(planned.rows, 'row')}"
    return {
        "Rows to update": f"{rows} ({details})" if details else rows,
        **_conditions(options),
        "Time needed": f"at least {duration(planned.elapsed_s)}",
        **_destination(options),
    }


def _conditions(options: Options) -> dict[str, str]:
    """Return the conditions that are compared with current values, before sending."""
    where = {"Only where": options.where, "Except where": options.exclude_where}
    shown = {name: one_line(text) for name, text in where.items() if text is not None}
    return shown | ({"Left out": "rows with a pinned field"} if options.only_unpinned else {})


def _destination(options: Options) -> dict[str, str]:
    if options.is_rehearsal:
        state = f" ({options.sandbox_state})" if options.sandbox_state else ""
        return {"Address": f"Sandbox{state}"}
    from bulk_reset.engine.connection import find_account  # noqa: PLC0415  (imports aiohttp)

    found = find_account(options)
    account = options.account or f"the key from {found.source}"
    return {"Address": found.base_url, "Account": account}
