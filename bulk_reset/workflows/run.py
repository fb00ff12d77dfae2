"""A sheet on its way: sheet -> survey -> feed -> engine -> report -> totals, in one go or two.

It wires the parts of a run. Nothing here prints; who wants to see gives callbacks.
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import InputError, InvalidRowsError
from bulk_reset.core.outcome import NOT_DONE, Outcome, Status, Stop, StopReason
from bulk_reset.core.totals import Totals, Verification
from bulk_reset.engine.connection import Connection, connect, hold_account, in_new_loop
from bulk_reset.engine.current_values import CurrentValues
from bulk_reset.engine.options import Options
from bulk_reset.engine.sending import Sending
from bulk_reset.engine.work_source import WorkSource, checked_chunks, outcomes_by_row
from bulk_reset.quota.limiter import ideal_s
from bulk_reset.records.history import History
from bulk_reset.records.previous_values import LastWritten, PreviousValuesFile, SentDigests
from bulk_reset.records.report_file import Report
from bulk_reset.records.report_reader import beside, read_history, read_report
from bulk_reset.reports.failed_rows import failed_path, write_failed
from bulk_reset.sheets.sheet import Sheet
from bulk_reset.sheets.sheet_check import DecidedChunk, SheetCheck
from bulk_reset.workflows.sheet_opening import (
    SheetLike,
    check_sheet,
    keep_sheet,
    opened_sheet,
    report_path,
)
from bulk_reset.workflows.verify import BEFORE, verify_report


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run that has ended, and what became of each row, should somebody ask."""

    totals: Totals
    outcomes_by_row: Callable[[], dict[int, Outcome | None]]
    answers: Counter[Status] = field(default_factory=Counter)
    """What became of the rows that were to be sent, and of no others."""


@contextlib.contextmanager
def open_run(sheet: SheetLike, options: Options, callbacks: Callbacks) -> Iterator[RunSession]:
    """Open a sheet, and find whom to send it to, until the block ends; see ``run``."""
    with (
        connect(options, callbacks) as connection,
        opened_sheet(sheet, options, callbacks) as table,
    ):
        path = report_path(sheet, options)
        if path is None and (options.canary or options.verify):
            raise InputError(
                "--canary and --verify read back what a report tells of. Say where it goes: "
                "report=FILE."
            )
        keep_sheet(table.path, path)
        yield RunSession(table, path, connection, options, callbacks)


@dataclass(slots=True)
class RunSession:
    """A sheet and whom to send it to; it can be sent in several goes.

    Attributes:
        path: the report's; None where none is kept.
    """

    table: Sheet
    path: Path | None
    connection: Connection
    options: Options
    callbacks: Callbacks
    _sheet_check: SheetCheck | None = None
    _first_image: int = 0
    """Where in the file of before-images those of the last sending begin."""

    def send(self, *, handles_signals: bool) -> RunResult:
        """Send what is left: a canary first, where one is wanted."""
        options = self.options
        if options.canary is None or options.dry_run:
            return self._send_all(handles_signals=handles_signals)
        first = self._send_all(handles_signals=handles_signals, canary=options.canary)
        totals = first.totals
        if totals.stop is not None or not totals.held_back:
            return first
        stop = self._check_canary(first)
        if stop is not None:
            return replace(first, totals=replace(totals, stop=stop, held_back=0))
        ended = self._send_all(handles_signals=handles_signals)
        return replace(ended, totals=_added(totals, ended.totals))

    def _check_canary(self, first: RunResult) -> Stop | None:
        """Read the canary back, and ask whether to go on; return why not."""
        totals, sent = first.totals, first.answers.total()
        bad = sum(first.answers[status] for status in NOT_DONE)
        if bad:
            return Stop(StopReason.CANARY, f"the canary: {bad} of {sent} rows are not done")
        verified = self._read_back(totals, first_image=self._first_image)
        if not verified.is_right:
            wrong = len({mismatch.row_number for mismatch in verified.mismatches})
            message = f"the canary: {wrong} of {sent} rows are not as they were written"
            return Stop(StopReason.CANARY, message)
        so_already = f", {sent - verified.rows} were so already" if verified.rows < sent else ""
        text = (
            f"The canary is well: {verified.rows} rows sent and read back{so_already}. "
            f"{totals.held_back} are left."
        )
        if not self.callbacks.confirm(text):
            return Stop(StopReason.CANARY, f"{text} Nobody said to go on")
        return None

    def verified(self, totals: Totals) -> Totals:
        """Read back what was written; tell of it in the totals."""
        verification = self._read_back(totals)
        counts = Counter(totals.counts)
        for status, rows in verification.settled.items():
            counts[Status.UNKNOWN] -= rows
            counts[status] += rows
        return replace(
            totals,
            counts={status: counts[status] for status in Status},
            verification=verification,
        )

    def _read_back(self, totals: Totals, first_image: int = 0) -> Verification:
        with hold_account(
            self.connection, self.options, self.table.label, self.callbacks
        ) as connection:
            return verify_report(
                Path(totals.report), connection, self.options, self.callbacks.on_looked, first_image
            )

    def planned_work(self) -> WorkSource:
        """Return what is left to send, not read yet; nothing is written.

        Raises:
            InputError: rows of it cannot be sent, and nobody said to send the others.
        """
        history = _history_of(self.path)
        return self._new_work(self._planned(history).sheet_check, history)

    def _send_all(self, *, handles_signals: bool, canary: int | None = None) -> RunResult:
        with contextlib.ExitStack() as stack:
            return self._send(stack, canary, handles_signals=handles_signals)

    def _new_work(self, sheet_check: SheetCheck, history: History) -> WorkSource:
        options = self.options
        return WorkSource(
            self.table,
            sheet_check,
            self.connection.scope,
            history,
            retries_failed=options.retry_failed,
            limit=options.limit,
        )

    def _send(
        self, stack: contextlib.ExitStack, canary: int | None, *, handles_signals: bool
    ) -> RunResult:
        table, options, path, callbacks = self.table, self.options, self.path, self.callbacks
        # An old report is opened first: who holds it is known before the sheet is read for long.
        is_kept = path is not None and not options.dry_run
        report = stack.enter_context(Report(path)) if path and is_kept and path.exists() else None
        for notice in report.notices if report else ():
            callbacks.on_notice(notice)
        history = report.history if report else _history_of(path)
        plan = self._planned(history)
        sheet_check = plan.sheet_check
        if report is None and path is not None and is_kept:
            report = stack.enter_context(Report(path))
        by_row = functools.partial(outcomes_by_row, table, sheet_check, self.connection.scope)
        if options.dry_run:
            return RunResult(_dry_totals(plan, options), functools.partial(by_row, ()))
        current_values = self._new_current_values(report, sheet_check, stack) if plan.sent else None
        if plan.sent or plan.settled:
            # What sends nothing waits for nobody.
            connection = self.connection
            if plan.sent:
                connection = stack.enter_context(
                    hold_account(connection, options, table.label, callbacks)
                )
            work, expected = self._new_work(sheet_check, history), plan.sent
            if canary is not None:
                work.chosen = _spread(canary, plan.sent)
                expected = len(work.chosen)
            sending = Sending(
                options, connection, work, expected, report, callbacks, current_values
            )
            stop = in_new_loop(lambda: sending.send(handles_signals=handles_signals))
        else:
            sending, stop = Sending(options, self.connection, plan, 0, report, callbacks), None
        if report is None:
            return RunResult(sending.totals(stop), functools.partial(by_row, sending.outcomes))
        report.close()
        report.check_written()
        totals = self._with_failed(sending.totals(stop), sheet_check, report.path)
        return RunResult(totals, lambda: by_row(read_report(report.path)), sending.answers)

    def _planned(self, history: History) -> WorkSource:
        """Read the whole sheet, and count what is left to do of it.

        Raises:
            InputError: rows of it cannot be sent, and nobody said to send the others.
        """
        # What is left is counted in the same look at the sheet, as if no two rows had to do with
        # each other; where some have, they are looked at once more.
        plan = self._new_work(self._sheet_check or SheetCheck(), history)
        sheet_check = self._sheet_check
        if sheet_check is None:
            see = plan.take if history else lambda _: None
            sheet_check = self._sheet_check = check_sheet(
                self.table, self.options, self.callbacks, see
            )
            if sheet_check.row_errors and not self.options.skip_invalid:
                raise InvalidRowsError(self.table.label, sheet_check.row_errors, sheet_check.rows)
            if sheet_check.decisions or not history:
                plan = self._new_work(sheet_check, history)
                plan.count()
            plan.sheet_check = sheet_check
            _notify_resumed(plan, self.path, self.callbacks)
        else:
            plan.count()
        return plan

    def _new_current_values(
        self, report: Report | None, sheet_check: SheetCheck, stack: contextlib.ExitStack
    ) -> CurrentValues | None:
        if not self.options.before:
            return None
        if report is None:
            # Nothing is kept, but what somebody has changed since is held back all the same.
            is_pulled = bool(self.table.columns.was)
            return (
                CurrentValues(None, self.options.overwrite, sheet_check.repeated_ids)
                if is_pulled
                else None
            )
        path = beside(report.path, BEFORE)
        sent_before = SentDigests(path)
        if sent_before.count and not report.history:
            self._refuse_foreign(path, sent_before, sheet_check)
        self._first_image = sent_before.count
        file = stack.enter_context(PreviousValuesFile(path))
        overwrites, written = self.options.overwrite, LastWritten(path)
        return CurrentValues(file, overwrites, sheet_check.repeated_ids, sent_before, written)

    def _refuse_foreign(self, path: Path, images: SentDigests, sheet_check: SheetCheck) -> None:
        """See that before-images without a report are of this sheet: else an undo mixes runs."""
        for checked in checked_chunks(self.table):
            digests = DecidedChunk(checked, sheet_check, self.connection.scope).digests
            if any(digest.hex() in images for digest in digests):
                return
        raise InputError(
            f"{path}: what stood there before another run, which an undo of this one would take "
            "back as well. Move it away, or say --report FILE for another report."
        )

    def _with_failed(self, totals: Totals, sheet_check: SheetCheck, path: Path) -> Totals:
        """Write the rows that are not done into a file of their own."""
        has_failed = any(totals.counts[status] for status in NOT_DONE)
        try:
            written = write_failed(
                self.table, sheet_check, self.connection.scope, path, has_failed=has_failed
            )
        except (InputError, OSError) as error:
            # All is sent and reported; only the convenience of that file is missing.
            self.callbacks.on_notice(f"{failed_path(path)}: could not be written: {error}")
            return totals
        return replace(totals, failed=str(written or ""))


def _spread(count: int, total: int) -> frozenset[int]:
    """Return so many numbers below a total, as far apart as can be."""
    count = min(count, total)
    steps = max(1, count - 1)
    return frozenset(place * (total - 1) // steps for place in range(count))


def _joined(one: int, other: int, is_one_window: bool) -> int:
    return one + other if is_one_window else max(one, other)


def _added(canary: Totals, rest: Totals) -> Totals:
    """Return what a run made of all rows, its canary among them."""
    elapsed_s = canary.elapsed_s + rest.elapsed_s
    peaks = tuple(
        replace(one, started=_joined(one.started, other.started, elapsed_s <= one.window_s))
        for one, other in zip(rest.peaks, canary.peaks, strict=False)
    )
    waited_s = Counter(canary.waited_s) + Counter(rest.waited_s)
    return replace(
        rest,
        done_before=canary.done_before,
        requests=canary.requests + rest.requests,
        throttled=canary.throttled + rest.throttled,
        elapsed_s=elapsed_s,
        peaks=peaks or canary.peaks,
        waited_s=dict(waited_s),
        before=rest.before or canary.before,
    )


def _history_of(path: Path | None) -> History:
    return read_history(path) if path is not None and path.exists() else History()


def undone_by(report: Path) -> Path | None:
    """Return the report of the undo that took back what this one tells of, None for none.

    An undo may have been undone itself, and so on.
    """
    undo = beside(report, "undo.report.csv")
    return undo if _has_undone(undo) and not undone_by(undo) else None


def _has_undone(undo: Path) -> bool:
    return undo.exists() and any(o.status is Status.UPDATED for o in read_report(undo))


def _notify_resumed(plan: WorkSource, path: Path | None, callbacks: Callbacks) -> None:
    """Say what earlier runs have done already, before anything is sent."""
    rows = plan.sheet_check.rows
    if plan.history and not plan.known:
        raise InputError(
            f"{path}: no row of it is in {plan.sheet.label} for this API, so they are not mixed. "
            "Say --report FILE for another report, or move this one away."
        )
    undo = beside(path, "undo.report.csv") if path is not None else None
    if not plan.history and undo is not None and _has_undone(undo):
        raise InputError(
            f"{undo}: tells of the undo of an older run, and an undo of this one would take that "
            "for its own. Move it away, or say --report FILE for another report."
        )
    if plan.history:
        done = sum(n for status, n in plan.resumed.items() if status.is_done)
        if done and path is not None and (undone := undone_by(path)):
            raise InputError(
                f"{path}: what it tells of was undone since (see {undone}), so it is not gone on "
                f"with. To have it back: bulk-reset undo {undone}. To send the sheet as if it "
                "were new: --report FILE for another report."
            )
        callbacks.on_notice(f"{path}: {done} of {rows} rows were done already")
    if plan.resumed[Status.FAILED]:
        failed = plan.resumed[Status.FAILED]
        callbacks.on_notice(
            f"{path}: {failed} rows failed before (send them again: --retry-failed)"
        )


def _dry_totals(plan: WorkSource, options: Options) -> Totals:
    counts = plan.resumed + plan.settled
    counts[Status.PENDING] = plan.sent + plan.held_back
    return Totals(
        sheet=plan.sheet.label,
        rows=plan.sheet_check.rows,
        counts={status: counts[status] for status in Status},
        done_before=plan.resumed.total(),
        held_back=plan.held_back,
        blank_rows=plan.sheet_check.blank_rows,
        requests=plan.sent,
        elapsed_s=ideal_s(plan.sent, options.windows()),
        is_dry_run=True,
        row_errors=plan.sheet_check.row_errors,
    )
