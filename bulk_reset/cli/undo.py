"""``bulk-reset undo``: restore the values from before a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bulk_reset.cli import shared
from bulk_reset.cli.approval_options import NoteOption
from bulk_reset.cli.arguments import (
    CanaryOption,
    MaxFailuresOption,
    OverwriteOption,
    VerifyOption,
    YesOption,
)
from bulk_reset.cli.connection_options import WorkersOption
from bulk_reset.cli.console import Output, print_error
from bulk_reset.cli.plan import PlanView
from bulk_reset.cli.record import Recording, recording
from bulk_reset.cli.run_confirmation import CANCELLED
from bulk_reset.cli.shared import (
    CommonOptions,
    address_of,
    takes_options,
)
from bulk_reset.cli.summary import show_lost, show_totals, totals_as_json
from bulk_reset.cli.view import ProgressView
from bulk_reset.core.counting import counted
from bulk_reset.core.defaults import WORKERS

if TYPE_CHECKING:
    from bulk_reset.workflows.undo import UndoResult


@takes_options(common=shared.common_options, record=recording)
def undo(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="The report of a run.")],
    *,
    yes: YesOption = False,
    canary: CanaryOption = None,
    verify: VerifyOption = False,
    overwrite: OverwriteOption = False,
    max_failures: MaxFailuresOption = None,
    note: NoteOption = "",
    workers: WorkersOption = WORKERS,
    common: CommonOptions,
    record: Recording,
) -> None:
    """Restore the values from before the run of REPORT.

    It shows a plan and asks (--yes skips the question). Only values that still are as the run
    wrote them are restored, field by field; all others are listed. An undo is a run: it has a
    report, resumes, and can be undone.

    Examples:
        bulk-reset undo incidents.report.csv
        bulk-reset undo incidents.report.csv --yes --verify

    Exit codes:
        0  all values are restored, or the run wrote none
        1  some values are not restored, or their previous values are unknown
        2  nothing was sent: the report, an option or the key is wrong
        3  the undo stopped early, or was not confirmed
        4  another run uses the report or the account
    """
    output = common.output
    view = ProgressView(output)
    with output.errors(), record.of("undo", str(report)):
        from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
        from bulk_reset.engine.options import Options  # noqa: PLC0415
        from bulk_reset.workflows import undo as undoing  # noqa: PLC0415  (imports pandas)

        options = Options(
            **common.options,
            canary=canary,
            verify=verify,
            overwrite=overwrite,
            max_failures=max_failures,
            note=note,
            workers=workers,
        )
        callbacks = Callbacks(
            on_notice=output.notice,
            on_read=view.rows_read,
            on_progress=view.update,
            on_incidents_read=view.incidents_read,
            confirm=lambda text: view.confirm(text, is_yes=yes),
        )
        callbacks = record.logged(options, callbacks)
        plan = PlanView(output)
        with view.waiting_for(address_of(options)):
            undone = undoing.undo(
                report, options, callbacks, plan.add, plan.show, handles_signals=True
            )
        code = undone.exit_code
        _show(undone, output, view)
        record.end(undone.totals, code)
        output.json(
            {
                **(totals_as_json(undone.totals) if undone.totals else {}),
                "not_restored": [dataclasses.asdict(one) for one in undone.undo_sheet.lost],
                "previous_values_unknown": undone.undo_sheet.values_unknown,
                "values": undone.undo_sheet.values,
                "exit_code": int(code),
            }
        )
    raise typer.Exit(code)


def _show(undone: UndoResult, output: Output, view: ProgressView) -> None:
    """Print the result of an undo."""
    sheet = undone.undo_sheet
    show_lost(output, sheet)
    if not sheet.values and not sheet.values_unknown:
        output.line("The run wrote no values; nothing was sent.")
    elif undone.is_confirmed and (undone.totals is None or undone.totals.stop is None):
        restored = sheet.values - len(sheet.lost)
        verb = "is" if sheet.values == 1 else "are"
        output.line(f"{restored:,} of {counted(sheet.values, 'value')} {verb} restored.")
    if undone.totals is not None:
        show_totals(output, undone.totals, is_declined=view.is_declined)
    elif not undone.is_confirmed:
        print_error(CANCELLED, is_red=False)
