"""``bulk-reset run``: update the incidents of a spreadsheet, and report every row."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bulk_reset.cli import shared
from bulk_reset.cli.approval_options import approvals
from bulk_reset.cli.arguments import (
    DryRunOption,
    FromPullOption,
    HtmlOption,
    MuteReplyOption,
    NoBeforeOption,
    PlanOption,
    SetOption,
    SheetArgument,
    VerifyOption,
    YesOption,
)
from bulk_reset.cli.connection_options import WorkersOption
from bulk_reset.cli.console import Output, print_error
from bulk_reset.cli.next_steps import plan_as_page
from bulk_reset.cli.plan import PlanView
from bulk_reset.cli.pull import pull_first
from bulk_reset.cli.record import Recording, recording
from bulk_reset.cli.remote_sheet import local_sheet
from bulk_reset.cli.run_confirmation import CANCELLED, is_confirmed
from bulk_reset.cli.shared import CommonOptions, OptionValues, takes_options
from bulk_reset.cli.summary import show_totals, totals_as_json
from bulk_reset.cli.view import ProgressView
from bulk_reset.core.counting import counted
from bulk_reset.core.defaults import WORKERS
from bulk_reset.core.errors import ExitCode, InputError
from bulk_reset.core.totals import Totals

if TYPE_CHECKING:
    from bulk_reset.core.callbacks import Callbacks
    from bulk_reset.engine.options import Options


@takes_options(
    select=shared.selecting,
    approval=approvals,
    read=shared.reading,
    send=shared.sending,
    safeguards=shared.safeguards,
    common=shared.common_options,
    record=recording,
)
def run(
    sheet: SheetArgument,
    *,
    dry_run: DryRunOption = False,
    no_before: NoBeforeOption = False,
    mute_reply: MuteReplyOption = False,
    yes: YesOption = False,
    verify: VerifyOption = False,
    plan: PlanOption = False,
    from_pull: FromPullOption = None,
    set: SetOption = [],  # noqa: A002, B006  (the option's name; typer copies it)
    workers: WorkersOption = WORKERS,
    html: HtmlOption = False,
    approval: OptionValues,
    select: OptionValues,
    read: OptionValues,
    send: OptionValues,
    safeguards: OptionValues,
    common: CommonOptions,
    record: Recording,
) -> None:
    """Update the incidents of SHEET within the quota, with a report of every row.

    A saved plan (see plan --out) is sent exactly as it was planned. The same command again resumes
    an interrupted run. On a terminal it asks before it sends.

    Examples:
        bulk-reset run incidents.xlsx --sandbox
        bulk-reset run incidents.xlsx --canary 5 --verify
        bulk-reset run incidents.xlsx --yes --quiet --html

    Exit codes:
        0    all rows are done
        1    some rows failed, are invalid or unconfirmed
        2    nothing was sent: the sheet, an option or the key is wrong
        3    the run stopped early, or was not confirmed
        4    another run uses the report or the account
        129  the terminal was closed
        130  Ctrl-C
        143  SIGTERM
    """
    output = common.output
    view = ProgressView(output)
    with output.errors():
        sheet = local_sheet(sheet, "run", output, report=send["report"], from_pull=from_pull)
    with output.errors(), record.of("run", sheet):
        from bulk_reset.engine.options import Options  # noqa: PLC0415

        options = Options(
            **common.options,
            **read,
            **approval,
            **select,
            **send,
            **safeguards,
            workers=workers,
            mute_reply=mute_reply,
            dry_run=dry_run,
            before=not no_before,
            verify=verify,
        )
        _refuse_blind_selection(options)
        notify = output.once()
        callbacks = record.logged(options, _callbacks(view, notify, is_yes=yes))
        _require_approval(sheet, options)
        try:
            pull_first(sheet, from_pull, set, options, callbacks)
            stamp = _stamp_of(sheet)
            if plan:
                _confirm_plan(sheet, options, callbacks, output)
            elif not (yes or dry_run) and view.can_ask:
                _confirm(sheet, options, notify, output, view)
            if _stamp_of(sheet) != stamp:
                raise InputError(f"{sheet}: modified after it was shown. Run the command again.")
            totals = _send(sheet, options, callbacks)
        finally:
            view.close()
        record.end(totals, totals.exit_code)
        _show(totals, output, view, has_page=html)
    raise typer.Exit(totals.exit_code)


def _callbacks(view: ProgressView, notify: Callable[[str], None], *, is_yes: bool) -> Callbacks:
    from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415

    return Callbacks(
        on_notice=notify,
        on_read=view.rows_read,
        on_progress=view.update,
        on_incidents_read=view.incidents_read,
        confirm=lambda text: view.confirm(text, is_yes=is_yes),
    )


def _show(totals: Totals, output: Output, view: ProgressView, *, has_page: bool) -> None:
    if totals.row_errors and not output.is_quiet:
        output.row_errors(totals.row_errors)
    show_totals(output, totals, is_declined=view.is_declined)
    page = _page_of(totals, output) if has_page and totals.report else ""
    output.json({**totals_as_json(totals), "page": page})


def _require_approval(sheet: str, options: Options) -> None:
    """Refuse a plan without a valid approval, before any question; ``run`` checks again.

    Raises:
        InputError: an approval is required, and there is no valid one.
    """
    if options.is_approval_required:
        from bulk_reset.workflows.approve import require_approval  # noqa: PLC0415

        require_approval(sheet, options)


def _refuse_blind_selection(options: Options) -> None:
    """Refuse a dry run that would have to read current values.

    Raises:
        InputError: it would.
    """
    if options.dry_run and options.reads_first():
        raise InputError(
            "--dry-run: reads no current values, which --where, --exclude-where, --only-unpinned, "
            "--max-change and --max-critical need. Use plan, or remove one of them."
        )


def _stamp_of(sheet: str) -> tuple[int, int, int] | None:
    """Return what differs once a sheet is saved again; None for standard input."""
    with contextlib.suppress(OSError):
        stat = Path(sheet).stat()
        return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
    return None


def _send(sheet: str, options: Options, callbacks: Callbacks) -> Totals:
    from bulk_reset.workflows import run as running  # noqa: PLC0415  (imports pandas and aiohttp)

    return running.run(sheet, options, callbacks, handles_signals=True)


def _confirm(
    sheet: str, options: Options, notify: Callable[[str], None], output: Output, view: ProgressView
) -> None:
    """Ask whether to send the sheet.

    Raises:
        Exit: the answer was no.
    """
    if not is_confirmed(sheet, options, notify, output, view):
        _cancel()


def _confirm_plan(sheet: str, options: Options, callbacks: Callbacks, output: Output) -> None:
    """Show what will change, and ask whether to continue.

    Raises:
        Exit: the answer was no.
    """
    from bulk_reset.workflows.plan import plan as planned  # noqa: PLC0415

    plan_view = PlanView(output, plan_as_page(sheet))
    totals = planned(sheet, options, callbacks, plan_view.add)
    plan_view.show(totals)
    rows = totals.counts.get("update", 0)
    if rows and not callbacks.confirm(f"{counted(rows, 'row')} will be sent."):
        _cancel()


def _cancel() -> None:
    print_error(CANCELLED, is_red=False)
    raise typer.Exit(ExitCode.STOPPED)


def _page_of(totals: Totals, output: Output) -> str:
    """Write the page of the report; return its path, empty if it could not be written."""
    from bulk_reset.reports.report_page import write_page  # noqa: PLC0415  (rarely wanted)

    try:
        page = write_page(Path(totals.report))
    except InputError as error:
        # All rows are sent and reported: a missing page does not change the exit code.
        print_error(f"The page was not written: {error}")
        return ""
    output.line(f"Page: {page}")
    return str(page)
