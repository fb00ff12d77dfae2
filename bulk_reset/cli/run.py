"""``bulk-reset run``: the main job, a spreadsheet in and a report out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bulk_reset.cli import shared
from bulk_reset.cli.arguments import (
    CanaryOption,
    DryRunOption,
    FromPullOption,
    HtmlOption,
    LimitOption,
    MaxFailuresOption,
    MaxRowsOption,
    NoBeforeOption,
    OnConflictOption,
    OverwriteOption,
    PlanOption,
    ReportOption,
    RetryFailedOption,
    SetOption,
    SheetArgument,
    SkipInvalidOption,
    VerifyOption,
    WorkersOption,
    YesOption,
)
from bulk_reset.cli.console import Output, say_red
from bulk_reset.cli.plan import PlanView
from bulk_reset.cli.pull import pull_first
from bulk_reset.cli.record import Recording, recording
from bulk_reset.cli.shared import CommonOptions, Told, takes_options
from bulk_reset.cli.summary import show_totals, totals_as_json
from bulk_reset.cli.view import SendingView, reading
from bulk_reset.core.defaults import WORKERS, OnConflict
from bulk_reset.core.errors import ExitCode, InputError
from bulk_reset.core.totals import Totals

if TYPE_CHECKING:
    from bulk_reset.core.callbacks import Callbacks
    from bulk_reset.engine.options import Options


@takes_options(read=shared.reading, asked=shared.common_options, record=recording)
def run(
    sheet: SheetArgument,
    *,
    dry_run: DryRunOption = False,
    report: ReportOption = None,
    limit: LimitOption = None,
    skip_invalid: SkipInvalidOption = False,
    retry_failed: RetryFailedOption = False,
    on_conflict: OnConflictOption = OnConflict.ERROR,
    max_rows: MaxRowsOption = None,
    max_failures: MaxFailuresOption = None,
    no_before: NoBeforeOption = False,
    overwrite: OverwriteOption = False,
    canary: CanaryOption = None,
    yes: YesOption = False,
    verify: VerifyOption = False,
    plan: PlanOption = False,
    from_pull: FromPullOption = None,
    set: SetOption = [],  # noqa: A002, B006  (the option's name; typer copies it)
    workers: WorkersOption = WORKERS,
    html: HtmlOption = False,
    read: Told,
    asked: CommonOptions,
    record: Recording,
) -> None:
    """Update the incidents of SHEET, within the quota; what became of each row is reported.

    The same command again goes on where it stopped. Exit code: 0 everything done, 1 some
    rows failed, 2 nothing sent, 3 stopped early, 4 another run has the report or the account,
    129 terminal closed, 130 Ctrl-C, 143 SIGTERM.
    """
    output = asked.output
    view = SendingView(output)
    with output.errors(), record.of("run", sheet):
        from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
        from bulk_reset.engine.options import Options  # noqa: PLC0415
        from bulk_reset.workflows import run as running  # noqa: PLC0415  (brings pandas along)

        options = Options(
            **asked.options,
            **read,
            on_conflict=on_conflict,
            skip_invalid=skip_invalid,
            workers=workers,
            limit=limit,
            max_rows=max_rows,
            max_failures=max_failures,
            retry_failed=retry_failed,
            report=report,
            dry_run=dry_run,
            before=not no_before,
            overwrite=overwrite,
            canary=canary,
            verify=verify,
        )
        with reading(output) as on_read:
            callbacks = Callbacks(
                on_notice=output.notice,
                on_read=on_read,
                on_progress=view.update,
                on_looked=view.looked,
                confirm=lambda text: view.confirm(text, says_yes=yes),
            )
            callbacks = record.logged(options, callbacks)
            pull_first(sheet, from_pull, set, options, callbacks)
            if plan and not _is_planned(sheet, options, callbacks, output):
                raise typer.Exit(ExitCode.STOPPED)
            try:
                totals = running.run(sheet, options, callbacks, handles_signals=True)
            finally:
                view.close()
        record.end(totals, totals.exit_code)
        if totals.row_errors and not output.is_quiet:
            output.row_errors(totals.row_errors)
        show_totals(output, totals, sheet)
        page = _page_of(totals, output) if html and totals.report else ""
        output.json({**totals_as_json(totals), "page": page})
    raise typer.Exit(totals.exit_code)


def _page_of(totals: Totals, output: Output) -> str:
    """Write the report's page; return where it is, empty where it could not be written."""
    from bulk_reset.reports.report_writer import write_page  # noqa: PLC0415  (rarely wanted)

    try:
        page = write_page(Path(totals.report))
    except InputError as error:
        # All is sent and reported: that this is missing does not change how the run ended.
        say_red(f"The page is missing: {error}")
        return ""
    output.say(f"Page: {page}")
    return str(page)


def _is_planned(sheet: str, options: Options, callbacks: Callbacks, output: Output) -> bool:
    """Show what would change; tell whether to go on."""
    from bulk_reset.workflows.plan import plan as planned  # noqa: PLC0415

    shown = PlanView(output)
    totals = planned(sheet, options, callbacks, shown.add)
    shown.show(totals)
    left = totals.counts.get("update", 0)
    if left and not callbacks.confirm(f"{left:,} rows are to be sent."):
        say_red("Nothing was sent: nobody said yes. Next: the same again with --yes")
        return False
    return True
