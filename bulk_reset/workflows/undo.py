"""``undo``: restore the values from before a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bulk_reset.core.argument_types import or_default, require_path
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.counting import counted
from bulk_reset.core.errors import ExitCode
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.pinning import PINNABLE, pinning_text
from bulk_reset.core.plan import FieldPlan, PlanTotals, RowPlan
from bulk_reset.core.spool import Spool
from bulk_reset.core.totals import Totals
from bulk_reset.engine.options import Options, PathLike
from bulk_reset.records.history import WRITES
from bulk_reset.records.previous_values import BEFORE
from bulk_reset.records.report_file import refuse_while_written
from bulk_reset.records.report_reader import beside, read_report
from bulk_reset.records.written_fields import unwritten_fields
from bulk_reset.workflows.plan import plan
from bulk_reset.workflows.report_destination import refuse_other_destination
from bulk_reset.workflows.run import run
from bulk_reset.workflows.undo_sheet import Field, UndoSheet, make_undo_sheet
from bulk_reset.workflows.undo_steps import NotRestored

_Cells = tuple[Any, ...]
"""Those of a row of a plan, and of its fields: named tuples take three times as long to pickle."""


@dataclass(frozen=True, slots=True)
class UndoResult:
    """The result of an undo.

    Attributes:
        undo_sheet: the sheet that restores the values, and what was not restored.
        is_confirmed: whether it was confirmed, where there was something to send.
        totals: of the run of that sheet; None where nothing was sent.
    """

    undo_sheet: UndoSheet
    is_confirmed: bool
    totals: Totals | None

    @property
    def exit_code(self) -> ExitCode:
        """The exit code: done only if every value that the run wrote is as it was before."""
        if not self.is_confirmed:
            return ExitCode.STOPPED
        code = self.totals.exit_code if self.totals is not None else ExitCode.DONE
        is_whole = not (self.undo_sheet.lost or self.undo_sheet.values_unknown)
        return ExitCode.NOT_ALL if code is ExitCode.DONE and not is_whole else code


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

    Only values that still are as the run wrote them are restored, field by field. Once the plan is
    known, ``callbacks.confirm`` is asked; by default it agrees. Row numbers of the result are those
    of the run's own sheet. Called again, it restores what it could not restore before.

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
    _set_aside(undo_sheet.report)
    own = replace(
        options,
        report=undo_sheet.report,
        retry_failed=True,
        mapping={},
        header_row=None,
        corrections=None,
        profile=None,
        rules=None,
        sheet_name=None,
        delimiter=None,
        encoding=None,
        # It has no plan to approve: it restores what the run replaced.
        require_approval=False,
        approved_by=(),
    )
    undo_sheet, planned = _planned(undo_sheet, own, callbacks, add)
    show(planned)
    updates = planned.counts.get("update", 0)
    text = f"{counted(updates, 'incident')} will be restored."
    if updates and not callbacks.confirm(text):
        return UndoResult(undo_sheet, is_confirmed=False, totals=None)
    if not undo_sheet.fields.keys().isdisjoint(PINNABLE):
        callbacks.on_notice(pinning_text("will stay pinned", undo_sheet.fields))
    failures = Spool[Outcome]()
    following = _keeping_failures(callbacks, failures)
    totals = run(undo_sheet.table, own, following, handles_signals=handles_signals)
    undo_sheet = undo_sheet.with_lost(_not_restored(undo_sheet, failures))
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


def _planned(
    undo_sheet: UndoSheet, options: Options, callbacks: Callbacks, add: Callable[[RowPlan], None]
) -> tuple[UndoSheet, PlanTotals]:
    """Plan an undo; fields that were modified since get rows of their own, and are planned again.

    Returns: the sheet to send, and the totals of its plan.
    """
    # The run repeats the notices of the plan.
    quiet = Callbacks(on_read=callbacks.on_read, on_incidents_read=callbacks.on_incidents_read)
    rows, modified = Spool[_Cells](), set[Field]()

    def keep(row: RowPlan) -> None:
        rows.append(_cells(row))
        if row.verdict == "conflict":
            fields = (one.field for one in row.fields if one.was is not None)
            modified.update((row.incident_id, name) for name in fields)

    planned = plan(undo_sheet.table, options, quiet, keep)
    if modified and not options.overwrite:
        undo_sheet = undo_sheet.split(modified)
        rows = Spool()
        planned = plan(undo_sheet.table, options, quiet, keep)
    for number, incident_id, verdict, fields, *others in rows:
        own = undo_sheet.row_number_of(number)
        add(RowPlan(own, incident_id, verdict, tuple(map(FieldPlan._make, fields)), *others))
    return undo_sheet, planned


def _cells(row: RowPlan) -> _Cells:
    return (*row[:3], tuple(map(tuple, row.fields)), *row[4:])


def _set_aside(report: Path) -> None:
    """Rename the files of an earlier undo that has restored nothing: it may have used another API.

    Raises:
        LockedError: it has not ended.
    """
    if not report.exists():
        return
    refuse_while_written(report)
    if any(outcome.status in WRITES for outcome in read_report(report)):
        return
    for path in (report, beside(report, BEFORE)):
        if path.exists():
            path.replace(f"{path}~")


def _keeping_failures(callbacks: Callbacks, failures: Spool[Outcome]) -> Callbacks:
    """Return the same callbacks, which also keep the rows that are not done."""

    def keep(outcome: Outcome) -> None:
        failures.append(outcome)
        callbacks.on_failure(outcome)

    keeping = Callbacks()
    for name in vars(Callbacks):
        if not name.startswith("_"):
            setattr(keeping, name, getattr(callbacks, name))
    setattr(keeping, "on_failure", keep)  # noqa: B010  (a method, for mypy)
    return keeping


def _not_restored(undo_sheet: UndoSheet, failures: Iterable[Outcome]) -> list[NotRestored]:
    """Return the values of rows that are not done, with the reason."""
    lost = []
    for outcome in failures:
        reason = f"{outcome.error_code}: {outcome.error_message}".removeprefix(": ")
        if outcome.status is Status.CONFLICT:
            reason = "it was modified since the run"
        for name in outcome.fields:
            if name in unwritten_fields(outcome) or outcome.status is Status.UNKNOWN:
                step = undo_sheet.step_of(outcome.row_number, name)
                cells = (outcome.incident_id, name, step.was, step.wrote, reason, step.link)
                lost.append(NotRestored(*cells))
    return lost
