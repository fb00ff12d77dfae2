"""Check, run, verify, undo and the answer as plain functions, for the command and for programs.

It wires the parts: sheet -> survey -> feed -> engine -> report -> totals. Nothing here
prints; who wants to see gives callbacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import InputError, StoppedError
from bulk_reset.core.fields import ID_FIELD, SETTABLE_FIELDS
from bulk_reset.core.outcome import Status
from bulk_reset.core.plan import PlanTotals, RowPlan
from bulk_reset.core.row_error import RowError
from bulk_reset.core.totals import Totals, Verification
from bulk_reset.engine.connection import connect, hold_account
from bulk_reset.engine.options import Options
from bulk_reset.quota.limiter import ideal_s
from bulk_reset.records.audit import audited
from bulk_reset.records.report_reader import beside
from bulk_reset.sheets.validation import CheckedChunk
from bulk_reset.workflows.run import RunSession, open_run
from bulk_reset.workflows.sheet_opening import SheetLike, check_sheet, opened_sheet
from bulk_reset.workflows.undo import UndoSheet, make_undo_sheet
from bulk_reset.workflows.verify import verify_report


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a look at a sheet tells, with nothing sent.

    Attributes:
        to_send: requests that a first run would make at least.
        estimate_s: the time they need, computed from the quota.
        fields: field -> rows that set it.
    """

    sheet: str
    rows: int
    blank_rows: int
    skipped: int
    to_send: int
    estimate_s: float
    fields: dict[str, int]
    row_errors: tuple[RowError, ...]


def check(
    sheet: SheetLike, options: Options | None = None, callbacks: Callbacks | None = None
) -> CheckResult:
    """Check every row of a sheet; nothing is sent, and no key is needed.

    Raises:
        SheetError: the sheet cannot be read as a table of incidents.
    """
    options, callbacks = options or Options(), callbacks or Callbacks()
    with opened_sheet(sheet, options, callbacks) as table:
        fields: Counter[str] = Counter()
        further = 0

        def see(checked: CheckedChunk) -> None:
            nonlocal further
            for name, cells in checked.columns.items():
                fields[name] += len(cells) - cells.count("")
            further += sum(map(_further_requests, map(checked.values, checked.further_places())))

        sheet_check = check_sheet(table, options, callbacks, see)
        wrong = len({row_error.row_number for row_error in sheet_check.row_errors})
        skipped = sum(r.status is Status.SKIPPED for r in sheet_check.decisions.values())
        to_send = sheet_check.rows - wrong - skipped - sheet_check.untouched + further
        return CheckResult(
            table.label,
            sheet_check.rows,
            sheet_check.blank_rows,
            skipped,
            to_send,
            ideal_s(to_send, options.windows()),
            {name: n for name, n in fields.items() if n and name != ID_FIELD},
            sheet_check.row_errors,
        )


def _further_requests(values: Mapping[str, str]) -> int:
    """Return how many requests a row needs beside its first."""
    own = sum(name not in SETTABLE_FIELDS for name in values)
    return own - (own == len(values) and own > 0)


def run(
    sheet: SheetLike,
    options: Options | None = None,
    callbacks: Callbacks | None = None,
    *,
    handles_signals: bool = False,
) -> Totals:
    """Update the incidents of a sheet; what an earlier run finished is not sent again.

    Args:
        handles_signals: let Ctrl-C and SIGTERM end the run softly (main thread only).

    Returns: what became of every row; see ``Totals.stop`` and ``Totals.exit_code``.

    Raises:
        InputError: nothing was sent: the sheet, the options or the key are to be mended.
        LockedError: another run writes the same report, or has the account and is not
            waited for; nothing was sent.
        RunError: the report could not be written; what was done stands in it.
    """
    options, callbacks = options or Options(), callbacks or Callbacks()
    with open_run(sheet, options, callbacks) as opened, _audited(opened) as tell:
        totals = opened.send(handles_signals=handles_signals).totals
        if options.verify and totals.report and totals.stop is None and not options.dry_run:
            totals = opened.verified(totals)
        tell(totals)
        return totals


def _audited(opened: RunSession) -> AbstractContextManager[Callable[[Totals], None]]:
    options = opened.options
    path = None if options.dry_run else opened.path
    scope = opened.connection.scope
    return audited(path, opened.table, scope, options.changed(), opened.callbacks)


def verify(
    report: Path, options: Options | None = None, callbacks: Callbacks | None = None
) -> Verification:
    """Read back what the rows of a report wrote, and compare; see ``verify_report``.

    Raises:
        InputError: no report, or no before-images beside it.
        RunError: the incidents cannot be read.
    """
    options, callbacks = options or Options(), callbacks or Callbacks()
    with (
        connect(options, callbacks) as connection,
        hold_account(connection, options, str(report), callbacks) as own,
    ):
        return verify_report(report, own, options, callbacks.on_looked)


@dataclass(frozen=True, slots=True)
class UndoResult:
    """What became of an undo.

    Attributes:
        way: the sheet that undoes the run, and what it cannot restore.
        is_wanted: whether it was confirmed, where there was something to send.
        totals: what became of the rows of that sheet; None where nothing was sent.
    """

    way: UndoSheet
    is_wanted: bool
    totals: Totals | None


def undo(  # noqa: PLR0913  (who looks on has two hooks)
    report: Path,
    options: Options | None = None,
    callbacks: Callbacks | None = None,
    add: Callable[[RowPlan], None] = lambda _: None,
    show: Callable[[PlanTotals], None] = lambda _: None,
    *,
    handles_signals: bool = False,
) -> UndoResult:
    """Set again what stood in the incidents before the run of a report.

    Only what still is as the run wrote it is restored. ``callbacks.confirm`` is asked once the plan
    is known; where nobody looks on, the answer is yes.

    Args:
        add: called for each row of the plan.
        show: called with the plan as a whole.

    Raises:
        InputError: no report, or no before-images beside it.
        RunError: as of ``run``.
    """
    from bulk_reset.workflows.plan import plan  # noqa: PLC0415  (a run does without)

    options, callbacks = options or Options(), callbacks or Callbacks()
    way = make_undo_sheet(report)
    if not way.rows:
        return UndoResult(way, is_wanted=True, totals=None)
    own = replace(options, report=way.report, header_row=1, sheet_name=None, delimiter="comma")
    quiet = Callbacks(on_read=callbacks.on_read, on_looked=callbacks.on_looked)
    planned = plan(way.sheet, own, quiet, add)
    show(planned)
    left = planned.counts.get("update", 0)
    is_wanted = not left or callbacks.confirm(f"{left:,} incidents are to be restored.")
    if not is_wanted:
        return UndoResult(way, is_wanted=False, totals=None)
    totals = run(way.sheet, own, callbacks, handles_signals=handles_signals)
    return UndoResult(way, is_wanted=True, totals=totals)


def answer(
    report: Path,
    sheet: Path | None = None,
    options: Options | None = None,
    callbacks: Callbacks | None = None,
) -> Path:
    """Write a copy of a report's sheet as a workbook, with the answer beside each row.

    Args:
        sheet: found by the report's name when None.

    Returns: the workbook, ``NAME.answer.xlsx`` beside the report.

    Raises:
        InputError: no such report or sheet, or it cannot be written.
    """
    from bulk_reset.reports.answer_workbook import (  # noqa: PLC0415  (brings openpyxl)
        answers_of,
        write_answer,
    )

    options, callbacks = options or Options(), callbacks or Callbacks()
    with opened_sheet(sheet or _sheet_of(report), options, callbacks) as table:
        target = beside(report, "answer.xlsx")
        for notice in write_answer(table, target, answers_of(report, table)):
            callbacks.on_notice(f"{target}: {notice}")
    return target


def _sheet_of(report: Path) -> Path:
    stem = beside(report, "").name.removesuffix(".").removesuffix(".sandbox")
    places = [report.with_name(stem + ending) for ending in (".xlsx", ".xlsm", ".csv", ".tsv")]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise InputError(f"{report}: its sheet is not beside it. Say --of SHEET.")
    return found


def run_frame(
    frame: pd.DataFrame, options: Options | None = None, callbacks: Callbacks | None = None
) -> pd.DataFrame:
    """Update the incidents of a data frame; without ``options.report`` nothing is kept.

    Returns: a copy with the columns ``status``, ``attempts``, ``error_code``,
        ``error_message`` and ``request_id``; a row that was not reached is ``pending``, a
        blank one has an empty status.

    Raises: as ``run``; and StoppedError when it ended early, with the frame as its ``frame``.
    """
    options, callbacks = options or Options(), callbacks or Callbacks()
    if options.verify:
        raise InputError("run_frame reads nothing back. Call verify(report) when it has ended.")
    with open_run(frame, options, callbacks) as opened, _audited(opened) as tell:
        ended = opened.send(handles_signals=False)
        by_row = ended.outcomes_by_row()
        tell(ended.totals)
    found = [by_row.get(row_number) for row_number in range(2, len(frame) + 2)]
    result = frame.copy()
    result["status"] = [
        outcome.status.value if outcome else Status.PENDING.value if row in by_row else ""
        for row, outcome in enumerate(found, 2)
    ]
    for name in ("attempts", "error_code", "error_message", "request_id"):
        empty: int | str = 0 if name == "attempts" else ""
        result[name] = [getattr(outcome, name) if outcome else empty for outcome in found]
    if ended.totals.stop is not None:
        raise StoppedError(f"stopped: {ended.totals.stop.message}.", result)
    return result
