"""A run, step by step: open the sheet, count what is left, send it, add up the totals.

A session can send more than once: a canary first, then the rest.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import InputError, InvalidRowsError
from bulk_reset.core.option_names import option, option_name
from bulk_reset.core.outcome import NOT_DONE, Outcome, Status
from bulk_reset.core.pinning import pinning_text
from bulk_reset.core.row_ranges import LeftOut
from bulk_reset.core.totals import Totals
from bulk_reset.engine.connection import Connection, connect, lock_account
from bulk_reset.engine.current_values import CurrentValues
from bulk_reset.engine.event_loop import in_new_loop, interruptible
from bulk_reset.engine.options import Options
from bulk_reset.engine.run_sender import RunSender, SendResult
from bulk_reset.engine.work_source import WorkSource, outcomes_by_row
from bulk_reset.records.audit import note_start
from bulk_reset.records.history import History
from bulk_reset.records.previous_index import LastWritten
from bulk_reset.records.previous_values import BEFORE, PreviousValuesFile, SentDigests
from bulk_reset.records.report_file import Report
from bulk_reset.records.report_reader import beside, first_sent_at, read_report
from bulk_reset.records.summary import ErrorGroups
from bulk_reset.reports.failed_rows import failed_path, write_failed
from bulk_reset.sheets.sheet import Sheet
from bulk_reset.sheets.sheet_check import SheetCheck
from bulk_reset.sheets.validation import CheckedChunk
from bulk_reset.workflows.custom_fields import find_types
from bulk_reset.workflows.earlier_runs import check_earlier_runs, history_of, refuse_foreign_values
from bulk_reset.workflows.finished_runs import FinishedRun, RowsHash, facts_of, finished_run
from bulk_reset.workflows.report_destination import refuse_other_destination
from bulk_reset.workflows.run_totals import dry_totals, with_verification
from bulk_reset.workflows.saved_plans import require_applicable
from bulk_reset.workflows.sheet_opening import (
    SheetLike,
    check_sheet,
    opened_sheet,
    refuse_to_overwrite,
    report_path,
    require_sheet,
)
from bulk_reset.workflows.verify import FreshRun, verify_report


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of sending once.

    Attributes:
        totals: of the whole sheet.
        outcomes_by_row: returns row_number -> outcome, None for a pending row.
        sent: rows that were handed out to be sent, by status.
        first_value: the place of the first previous values that were written by it; None for none.
        facts: more keys of the audit's line; see ``finished_runs``.
    """

    totals: Totals
    outcomes_by_row: Callable[[], dict[int, Outcome | None]]
    sent: Counter[Status] = field(default_factory=Counter)
    first_value: int | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Canary:
    """A part of the rows that is sent first.

    Attributes:
        rows: so many are compared, spread over the sheet.
        most: up to so many of them are sent; those that need no change are not.
    """

    rows: int
    most: int


@contextlib.contextmanager
def open_run(sheet: SheetLike, options: Options, callbacks: Callbacks) -> Iterator[RunSession]:
    """Open a sheet and find the API, until the block ends; nothing is sent or written yet."""
    require_sheet(sheet)
    with (
        interruptible(),
        connect(options, callbacks) as connection,
        opened_sheet(sheet, options, callbacks) as table,
    ):
        require_applicable(table, connection, options)
        find_types(table, connection, options, callbacks)
        if table.columns.expected and not options.before:
            raise InputError(
                f"{option('before', value=False)}: {table.label} has columns with expected values, "
                "which are compared with current values. Remove this option."
            )
        if options.only_fields:
            table.restrict(options.only_fields)
        path = report_path(sheet, options)
        if path is None and (options.canary or options.verify):
            name = option_name("canary" if options.canary else "verify")
            raise InputError(f"{name}: needs a report. Use {option('report', 'FILE')}.")
        refuse_to_overwrite(table.path, path)
        if path is not None:
            refuse_other_destination(path, options, adds=True)
        before = None if path is None else beside(path, BEFORE)
        if table.memory is not None and before is not None and before.exists():
            # As it is before this run: rows must not change while they are sent.
            table.is_rewritten = LastWritten(before).is_replaced
        yield RunSession(table, path, connection, options, callbacks)


@dataclass(slots=True)
class RunSession:
    """A sheet, and the API that its rows are sent to.

    Attributes:
        path: of the report; None where none is kept.
        last: the result of what was sent last.
        left_out: the rows that are not selected.
    """

    table: Sheet
    path: Path | None
    connection: Connection
    options: Options
    callbacks: Callbacks
    _sheet_check: SheetCheck | None = None
    _sent: int = 0
    _pinned: Counter[str] = field(default_factory=Counter)
    _rows_sha256: str = ""
    _is_first: bool = False
    """Whether the report had no lines when the sheet was read."""
    last: RunResult | None = None
    left_out: LeftOut = field(init=False)

    def __post_init__(self) -> None:
        self.left_out = LeftOut(self.options.selected_rows())

    # --- Reading -----------------------------------------------------------------------------

    def work(self) -> WorkSource:
        """Return what is left to send, not read yet; nothing is written.

        Raises:
            InputError: invalid rows that are not skipped, or a report that does not belong here.
        """
        history = history_of(self.path)
        return self._new_work(self._counted_work(lambda: history).sheet_check, history)

    def _new_work(self, sheet_check: SheetCheck, history: History) -> WorkSource:
        options = self.options
        return WorkSource(
            self.table,
            sheet_check,
            self.connection.scope,
            history,
            retries_failed=options.retry_failed,
            limit=self.left_to_send,
            left_out=self.left_out,
        )

    @property
    def left_to_send(self) -> int | None:
        """How many rows the limit leaves; None without a limit."""
        limit = self.options.limit
        return None if limit is None else max(0, limit - self._sent)

    def _counted_work(
        self,
        read_history: Callable[[], History],
        finished: FinishedRun | None = None,
        rows_hash: RowsHash | None = None,
    ) -> WorkSource:
        """Read and check the sheet, the first time; return its rows counted; raises as ``work``.

        Args:
            finished: a run that finished the same report; its results are read only if the sheet
                has other rows now.
            rows_hash: gets the rows; None for a run that keeps no report.
        """
        if self._sheet_check is not None:
            work = self._new_work(self._sheet_check, read_history())
            work.count()
            return work
        # What is left is counted while the sheet is checked, as if no rows shared an incident.
        # Where some do, it is read again.
        history = History() if finished is not None else read_history()
        work = self._new_work(SheetCheck(), history)
        is_counted = bool(history) and not self.left_out

        def add(checked: CheckedChunk) -> None:
            if rows_hash is not None:
                rows_hash.add(checked)
            if is_counted:
                work.add(checked)

        sheet_check = self._checked(add)
        self._rows_sha256 = rows_hash.value(sheet_check) if rows_hash is not None else ""
        self._is_first = finished is None and not history
        has_numbers = sheet_check.readings.found > 0
        if finished is not None and finished.has(sheet_check.rows, self._rows_sha256):
            work.rows = work.known = sheet_check.rows
            work.resumed = finished.counts
        elif sheet_check.decisions or not is_counted or has_numbers:
            work = self._new_work(sheet_check, read_history())
            work.count()
        work.sheet_check = sheet_check
        check_earlier_runs(work, self.path, self.callbacks)
        return work

    def _checked(self, on_chunk: Callable[[CheckedChunk], None]) -> SheetCheck:
        """Read and check the sheet; raises InvalidRowsError for rows that are not skipped."""
        sheet_check = check_sheet(self.table, self.options, self.callbacks, on_chunk)
        if sheet_check.readings.numbers:
            from bulk_reset.workflows.number_lookup import (  # noqa: PLC0415  (imports aiohttp)
                look_up_numbers,
            )

            look_up_numbers(self.table, self.connection, self.options, self.callbacks)
            sheet_check = check_sheet(self.table, self.options, self.callbacks)
        self._sheet_check = sheet_check
        found = [one for one in sheet_check.row_errors if one.row_number not in self.left_out]
        if found and not self.options.skip_invalid:
            raise InvalidRowsError(self.table.label, tuple(found), sheet_check.rows)
        return sheet_check

    @property
    def sheet_rows(self) -> int:
        """The number of rows of the sheet, after it was checked."""
        return self._sheet_check.rows if self._sheet_check is not None else 0

    # --- Sending -----------------------------------------------------------------------------

    def send(self, *, handles_signals: bool, canary: Canary | None = None) -> RunResult:
        """Send what is left, or a canary of it."""
        with contextlib.ExitStack() as stack:
            result = self._send(stack, canary, handles_signals=handles_signals)
        self._sent += result.sent.total()
        self.last = result
        return result

    def _send(
        self, stack: contextlib.ExitStack, canary: Canary | None, *, handles_signals: bool
    ) -> RunResult:
        options, path = self.options, self.path
        # An existing report is opened first: if another run writes it, that is known before a
        # long sheet is read.
        is_kept = path is not None and not options.dry_run
        report = finished = None
        if path is not None and is_kept and path.exists():
            finished = finished_run(path, self.table)
            known = finished.report_sha256 if finished is not None else ""
            report = stack.enter_context(Report(path, known_sha256=known))
            for notice in report.notices:
                self.callbacks.on_notice(notice)
        is_known = report is not None and report.is_known
        work = self._counted_work(
            lambda: history_of(path) if report is None else report.history,
            finished if is_known else None,
            RowsHash(self.table, self.connection.scope) if is_kept else None,
        )
        by_row = partial(outcomes_by_row, self.table, work.sheet_check, self.connection.scope)
        if options.dry_run:
            return RunResult(dry_totals(work, options), partial(by_row, ()))
        if report is None and path is not None:
            report = stack.enter_context(Report(path, self.table.path))
        if report is not None:
            note_start(report.path, self.table, self.connection.scope, options.changed())
        values, first_value = self._current_values(report, work, stack)
        result = self._send_work(work, canary, report, values, handles_signals=handles_signals)
        self._pinned.update(values.pinned if values is not None else ())
        if report is None:
            return RunResult(result.totals, partial(by_row, result.outcomes), result.sent)
        # Rows of earlier runs may have been overwritten by those of this one.
        is_proven = self._is_first or not work.sent
        facts = facts_of(result.totals, self._rows_sha256, report) if is_proven else {}
        report.close()
        report.check_written()
        totals = self._with_failed_rows(result.totals, work.sheet_check, report.path)
        written = report.path
        return RunResult(
            totals, lambda: by_row(read_report(written)), result.sent, first_value, facts
        )

    def _send_work(
        self,
        counted: WorkSource,
        canary: Canary | None,
        report: Report | None,
        values: CurrentValues | None,
        *,
        handles_signals: bool,
    ) -> SendResult:
        options, connection, callbacks = self.options, self.connection, self.callbacks
        if not counted.sent and not counted.settled:
            return RunSender(options, connection, counted, 0, report, callbacks, values).result()
        work, expected = self._new_work(counted.sheet_check, counted.history), counted.sent
        if report is not None:
            work.first_sent_at = first_sent_at(report.path)
            work.sent_before = values.sent_before if values else frozenset()
        if canary is not None:
            work.chosen = _spread(canary.rows, counted.sent)
            expected = len(work.chosen)
        with contextlib.ExitStack() as stack:
            if counted.sent:
                # A run that sends nothing does not wait for the account.
                connection = stack.enter_context(
                    lock_account(connection, options, self.table.label, callbacks)
                )
            sender = RunSender(
                options,
                connection,
                work,
                expected,
                report,
                callbacks,
                values,
                canary.most if canary is not None else None,
            )
            return in_new_loop(
                lambda: sender.send(handles_signals=handles_signals), stop=sender.stop
            )

    def _current_values(
        self, report: Report | None, work: WorkSource, stack: contextlib.ExitStack
    ) -> tuple[CurrentValues | None, int | None]:
        """Return how rows are compared, and how many previous values are kept already."""
        overwrites, repeated_ids = self.options.overwrite, work.sheet_check.repeated_ids
        if not self.options.before or not work.sent:
            return None, None
        if report is None:
            # Nothing is kept, but values that were modified since the pull are conflicts anyway.
            is_pulled = self.table.memory is not None or bool(self.table.columns.expected)
            return (CurrentValues(None, overwrites, repeated_ids) if is_pulled else None), None
        path = beside(report.path, BEFORE)
        sent_before = SentDigests(path)
        if sent_before.count and not report.history:
            refuse_foreign_values(path, sent_before, work)
        file = stack.enter_context(PreviousValuesFile(path, report.path))
        written = LastWritten(path)
        values = CurrentValues(file, overwrites, repeated_ids, sent_before, written, work.history)
        return values, sent_before.count

    def _with_failed_rows(self, totals: Totals, sheet_check: SheetCheck, path: Path) -> Totals:
        """Write the rows that are not done into a file of their own."""
        has_failed = any(totals.counts[status] for status in NOT_DONE)
        try:
            written = write_failed(
                self.table, sheet_check, self.connection.scope, path, has_failed=has_failed
            )
        except (InputError, OSError) as error:
            # All rows are sent and reported; this file is only a convenience.
            self.callbacks.on_notice(f"{failed_path(path)}: could not be written: {error}")
            return totals
        return replace(totals, failed=str(written or ""))

    def notice_pinned(self) -> None:
        """Report the fields that were pinned by what was sent so far."""
        if self._pinned:
            self.callbacks.on_notice(pinning_text("pinned by this run", self._pinned))

    # --- Reading back ------------------------------------------------------------------------

    def verified(self, totals: Totals, first_value: int | None, *, is_alone: bool) -> Totals:
        """Read back what was written; rows of this run that have other values are failed now.

        Args:
            first_value, is_alone: see ``FreshRun``.
        """
        groups = ErrorGroups()

        def fail(outcome: Outcome) -> None:
            groups.add(outcome)
            self.callbacks.on_failure(outcome)

        with lock_account(
            self.connection, self.options, self.table.label, self.callbacks
        ) as connection:
            report, on_read = Path(totals.report), self.callbacks.on_incidents_read
            fresh = FreshRun(first_value, is_alone, fail) if first_value is not None else None
            found = verify_report(report, connection, self.options, on_read, fresh)
        totals = with_verification(totals, found, groups.groups())
        if not found.not_applied:
            return totals
        return self._with_failed_rows(totals, self._sheet_check or SheetCheck(), report)


def _spread(count: int, total: int) -> frozenset[int]:
    """Return so many numbers below a total, spread as evenly as possible."""
    count = min(count, total)
    steps = max(1, count - 1)
    return frozenset(place * (total - 1) // steps for place in range(count))
