"""``undo``: restore the values from before a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bulk_reset.core.argument_types import or_default, require_path
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.counting import counted
from bulk_reset.core.plan import PlanTotals, RowPlan
from bulk_reset.core.totals import Totals
from bulk_reset.engine.options import Options, PathLike
from bulk_reset.workflows.plan import plan
from bulk_reset.workflows.report_destination import refuse_other_destination
from bulk_reset.workflows.run import run
from bulk_reset.workflows.undo_sheet import UndoSheet, make_undo_sheet


@dataclass(frozen=True, slots=True)
class UndoResult:
    """The result of an undo.

    Attributes:
        undo_sheet: the sheet that restores the values, and what it cannot restore.
        is_confirmed: whether it was confirmed, where there was something to send.
        totals: of the run of that sheet; None where nothing was sent.
    """

    undo_sheet: UndoSheet
    is_confirmed: bool
    totals: Totals | None


def undo(  # noqa: PLR0913  (the plan is shown by two functions)
    report: PathLike,
    options: Options | None = None,
    callbacks: Callbacks | None = None,
    add: Callable[[RowPlan], None] = lambda _: None,
    show: Callable[[PlanTotals], None] = lambda _: None,
    *,
    handles_signals: bool = False,
) -> UndoResult:
    """Restore the values from before the run of a report.

    Only values that still are as the run wrote them are restored. Once the plan is known,
    ``callbacks.confirm`` is asked; by default it agrees. Row numbers of the result are those of
    the run's own sheet. Called again, it restores what it could not restore before.

    Args:
        add: called with each row of the plan.
        show: called with the totals of the plan.

    Raises:
        InputError: no report, or of another API; or no previous values beside it.
        RunError: as for ``run``.
    """
    options = or_default("options", options, Options)
    callbacks = or_default("callbacks", callbacks, Callbacks)
    require_path("report", report)
    refuse_other_destination(Path(report), options, command="undo")
    undo_sheet = make_undo_sheet(Path(report))
    if not undo_sheet.rows:
        return UndoResult(undo_sheet, is_confirmed=True, totals=None)
    own = replace(
        options,
        report=undo_sheet.report,
        header_row=1,
        sheet_name=None,
        delimiter="comma",
        retry_failed=True,
    )

    def add_own(row: RowPlan) -> None:
        add(replace(row, row_number=undo_sheet.row_number_of(row.row_number)))

    # The run repeats the notices of the plan.
    quiet = Callbacks(on_read=callbacks.on_read, on_incidents_read=callbacks.on_incidents_read)
    planned = plan(undo_sheet.sheet, own, quiet, add_own)
    show(planned)
    updates = planned.counts.get("update", 0)
    text = f"{counted(updates, 'incident')} will be restored."
    if updates and not callbacks.confirm(text):
        return UndoResult(undo_sheet, is_confirmed=False, totals=None)
    totals = run(undo_sheet.sheet, own, callbacks, handles_signals=handles_signals)
    return UndoResult(undo_sheet, is_confirmed=True, totals=_with_own_rows(totals, undo_sheet))


def _with_own_rows(totals: Totals, undo_sheet: UndoSheet) -> Totals:
    """Return totals that name the rows of the run's own sheet, as the plan does."""
    number_of = undo_sheet.row_number_of
    seen = totals.verification
    if seen is not None:
        mismatches = (replace(m, row_number=number_of(m.row_number)) for m in seen.mismatches)
        seen = replace(seen, mismatches=tuple(mismatches))
    errors = (replace(one, row_number=number_of(one.row_number)) for one in totals.errors)
    return replace(totals, errors=tuple(errors), verification=seen)
