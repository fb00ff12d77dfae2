"""``undo``: restore the values from before a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

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
    ``callbacks.confirm`` is asked; by default it agrees.

    Args:
        add: called with each row of the plan.
        show: called with the totals of the plan.

    Raises:
        InputError: no report, or of another API; or no previous values beside it.
        RunError: as for ``run``.
    """
    options, callbacks = options or Options(), callbacks or Callbacks()
    refuse_other_destination(Path(report), options)
    undo_sheet = make_undo_sheet(Path(report))
    if not undo_sheet.rows:
        return UndoResult(undo_sheet, is_confirmed=True, totals=None)
    own = replace(
        options, report=undo_sheet.report, header_row=1, sheet_name=None, delimiter="comma"
    )
    # The run repeats the notices of the plan.
    quiet = Callbacks(on_read=callbacks.on_read, on_looked=callbacks.on_looked)
    planned = plan(undo_sheet.sheet, own, quiet, add)
    show(planned)
    updates = planned.counts.get("update", 0)
    text = f"{counted(updates, 'incident')} will be restored."
    if updates and not callbacks.confirm(text):
        return UndoResult(undo_sheet, is_confirmed=False, totals=None)
    totals = run(undo_sheet.sheet, own, callbacks, handles_signals=handles_signals)
    return UndoResult(undo_sheet, is_confirmed=True, totals=totals)
