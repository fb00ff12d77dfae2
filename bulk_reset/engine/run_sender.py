"""Sends the rows of a sheet: work source -> current values -> worker pool -> recorder -> totals.

State: all of it belongs to the loop that ``send`` runs in; ``Report.sync`` alone is called
from another thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.change import Change
from bulk_reset.core.errors import FatalError, RequestError, SheetChangedError
from bulk_reset.core.fields import MAX_IDS
from bulk_reset.core.option_names import option
from bulk_reset.core.outcome import Outcome, Status, Stop, StopReason
from bulk_reset.core.totals import Progress, StatusCounts, Totals
from bulk_reset.engine.change_authors import ChangeAuthors
from bulk_reset.engine.circuit_breaker import CircuitBreaker
from bulk_reset.engine.comment_groups import gathered
from bulk_reset.engine.connection import Connection
from bulk_reset.engine.current_values import CurrentValues
from bulk_reset.engine.event_loop import first_cause
from bulk_reset.engine.options import Options
from bulk_reset.engine.outcome_recorder import OutcomeRecorder
from bulk_reset.engine.read_ahead import FEWEST_AHEAD, ReadAhead, rows_ahead
from bulk_reset.engine.readback import Incident
from bulk_reset.engine.stop_signals import CTRL_C, STOPPED, stop_on_signals
from bulk_reset.engine.store_watch import StoreWatch
from bulk_reset.engine.work_source import WorkSource
from bulk_reset.engine.worker_pool import WorkerPool
from bulk_reset.quota.incident_claims import RENEW_S, IncidentClaims
from bulk_reset.quota.limiter import Limiter
from bulk_reset.quota.permit_store import StoreUnreachableError
from bulk_reset.records.report_file import Report

_TICK_S: Final = 0.1
_SYNC_TICKS: Final = 5
_RENEW_TICKS: Final = int(RENEW_S / _TICK_S)
_CLAIM_POLL_S: Final = 0.1
_TELLING_ROWS: Final = 500
"""Rows after which it is known how many requests a row needs."""


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of sending once.

    Attributes:
        totals: of the whole sheet, earlier runs included.
        sent: rows that were handed out to be sent, by status.
        outcomes: of all rows, where no report is kept.
    """

    totals: Totals
    sent: Counter[Status] = field(default_factory=Counter)
    outcomes: tuple[Outcome, ...] = ()


@dataclass(slots=True)
class RunSender:
    """Sends what a work source hands out; use it once.

    Attributes:
        work: the rows, not read yet.
        expected: how many changes it will hand out.
        report: where outcomes are written; without one they are part of the result.
        current_values: compares rows with their incidents before they are sent; None to send
            without reading.
        most: stop when so many rows were sent that need a change; None for all.
    """

    options: Options
    connection: Connection
    work: WorkSource
    expected: int
    report: Report | None
    callbacks: Callbacks
    current_values: CurrentValues | None = None
    most: int | None = None
    recorder: OutcomeRecorder = field(init=False)
    _limiter: Limiter = field(init=False)
    _pool: WorkerPool | None = None
    _ahead: ReadAhead | None = None
    _claiming: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Claims are made in the sheet's order, so that no two runs wait for each other."""

    def __post_init__(self) -> None:
        self.recorder = OutcomeRecorder(self.report, self.callbacks)
        self._limiter = Limiter(self.options.windows())
        if self._claims is not None and self.report is not None:
            # The report is locked, so an earlier run that wrote it has ended.
            self._claims.holder = self.report.identity

    def stop(self, stop: Stop = CTRL_C) -> None:
        """Stop gracefully; call it in the loop of ``send``."""
        if self._pool is not None:
            self._pool.stop(stop)

    async def send(self, *, handles_signals: bool) -> SendResult:
        """Send everything that is left; return how it ended."""
        from bulk_reset.api.client import open_client  # noqa: PLC0415  (imports aiohttp)

        limiter = self._limiter = self.connection.limiter(self.options, self._requests())
        workers = max(1, min(self.options.workers, self.expected))
        started_at = time.monotonic()
        async with open_client(
            self.connection.credentials, connections=workers, timeout_s=self.options.timeout_s
        ) as client:
            pool = self._pool = WorkerPool(
                client,
                limiter,
                self._record,
                policy=self.options.policy(),
                breaker=CircuitBreaker(self.options.patience_s),
                workers=workers,
                max_failures=self.options.failure_limit(self.work.sheet_check.rows),
                is_in_order=self.work.sheet_check.repeated_ids.__contains__,
                mute_reply=self.options.mute_reply,
                is_read=self.current_values is not None,
            )
            if self.current_values is not None:
                self.current_values.authors = ChangeAuthors(client, pool.once)
            self.callbacks.on_start(_stopper(pool))
            with stop_on_signals(pool) if handles_signals else contextlib.nullcontext():
                stop = await self._run(pool)
        return self.result(stop, time.monotonic() - started_at)

    def _requests(self) -> int:
        """Return how many requests are expected: a row each, and a read for a hundred rows."""
        reads = 0 if self.current_values is None else -(-self.expected // MAX_IDS)
        return self.expected + reads

    async def _run(self, pool: WorkerPool) -> Stop | None:
        sending = asyncio.create_task(pool.run(self._batches(pool)))
        ticking = asyncio.create_task(self._tick(pool))
        writing = asyncio.create_task(self.recorder.write_lines())
        others = (ticking, writing)  # they end by an error only
        try:
            await asyncio.wait((sending, *others), return_when=asyncio.FIRST_COMPLETED)
            for task in others:
                if task.done():
                    await task
            stop = await sending
        except BaseExceptionGroup as group:
            raise first_cause(group) from None
        else:
            if self.report is not None:
                # While a signal still stops gracefully, and costs no line.
                self.report.flush()
            return stop
        finally:
            ahead = self._ahead.close() if self._ahead is not None else ()
            tasks: tuple[asyncio.Task[Any], ...] = (sending, *others, *ahead)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.callbacks.on_progress(self._progress(pool))

    # --- Rows to send ------------------------------------------------------------------------

    async def _batches(self, pool: WorkerPool) -> AsyncIterator[list[Change]]:
        is_in_order = self.work.sheet_check.repeated_ids.__contains__
        hundreds = _in_hundreds(gathered(self._changes(), is_in_order))
        if self.current_values is None:
            for changes in hundreds:
                await self._claim(changes)
                pool.expect(changes)
                yield changes
            return
        compare = partial(self._compare, self.current_values, pool)
        # Where the number of rows is limited, the next are read when it is known what is left.
        rows = rows_ahead(self.options.windows()) if self.most is None else FEWEST_AHEAD
        self._ahead = ReadAhead(hundreds, compare, rows, lambda: self.most != 0)
        async for changes in self._ahead.batches():
            yield changes

    async def _claim(self, changes: list[Change]) -> None:
        """Wait until no other run works on the incidents of some rows, and keep them for this."""
        claims = self._claims
        if claims is None:
            return
        ids, is_notified = [change.incident_id for change in changes], False
        while True:
            with contextlib.suppress(StoreUnreachableError):
                call = partial(claims.claim, ids)
                if await asyncio.to_thread(call) if claims.is_remote else call():
                    return
                if not is_notified:
                    text = "another run updates the same incidents; waiting for its rows"
                    self.callbacks.on_notice(text)
                    is_notified = True
            await asyncio.sleep(_CLAIM_POLL_S)

    @property
    def _claims(self) -> IncidentClaims | None:
        permits = self.connection.permits
        return None if permits is None else permits.claims

    def _record(self, outcome: Outcome) -> None:
        self.recorder.record_sent(outcome)
        if self.current_values is not None:
            self.current_values.count(outcome)
        if self._claims is not None:
            self._claims.done(outcome.incident_id)

    def _changes(self) -> Iterator[list[Change]]:
        # Read here, not in a thread: a thousand rows take some milliseconds, and a busy thread
        # would hold up the event loop for longer each time.
        try:
            for changes, outcomes in self.work.batches():
                self.recorder.record_not_sent(outcomes, time.time())
                yield changes
        except SheetChangedError as error:
            if not self.work.sent or self._pool is None:
                raise
            self._pool.stop(Stop(StopReason.SHEET, str(error)))

    async def _compare(
        self,
        current_values: CurrentValues,
        pool: WorkerPool,
        changes: list[Change],
        before: asyncio.Task[Any] | None,
    ) -> list[Change] | None:
        """Return what is left to send of some rows; None where they could not be read.

        Args:
            before: compares the rows before these.
        """
        async with self._claiming:
            await self._claim(changes)

        async def read(incident_ids: Sequence[str]) -> Mapping[str, Incident]:
            incidents = await pool.incidents(incident_ids)
            if before is not None:
                await asyncio.wait((before,))
            return incidents

        try:
            to_send, outcomes = await current_values.compare(changes, read, self.most)
        except RequestError as error:
            pool.stop(_cannot_read(error))
            return None
        if self.most is not None:
            self.most -= len(to_send)
        for outcome in outcomes:
            self._record(outcome)
            if outcome.status is Status.FAILED:
                pool.count_failure()
        pool.expect(to_send)
        return to_send

    # --- Progress and totals -----------------------------------------------------------------

    async def _tick(self, pool: WorkerPool) -> None:
        """Report the progress and sync the report to the disk at regular intervals."""
        tick, deadline_at = 0, self.options.deadline_at
        permits, notify = self.connection.permits, self.callbacks.on_notice
        watch = StoreWatch(permits, self.options.patience_s, notify) if permits else None
        while True:
            if deadline_at is not None and time.time() >= deadline_at:
                pool.stop(Stop(StopReason.DEADLINE, "the deadline was reached"))
            if watch is not None:
                watch.check(pool.stop)
            if self._claims is not None and tick % _RENEW_TICKS == 0:
                with contextlib.suppress(StoreUnreachableError):
                    await asyncio.to_thread(self._claims.renew)
            self.callbacks.on_progress(self._progress(pool))
            if self.report is not None and tick % _SYNC_TICKS == 0:
                await asyncio.to_thread(self.report.sync)
            await asyncio.sleep(_TICK_S)
            tick += 1

    def _progress(self, pool: WorkerPool) -> Progress:
        counts = self.work.resumed + self.recorder.counts
        left = self.expected - self.recorder.sent.total() - pool.in_flight
        if (sent := self.recorder.sent.total()) >= _TELLING_ROWS:
            # Rows that share a request need fewer of them.
            left = int(left * min(1.0, self._limiter.requests / sent))
        is_down = pool.is_waiting_for_api
        return Progress(
            rows=self.work.sheet_check.rows,
            counts=StatusCounts((status, counts[status]) for status in Status),
            left_s=self._limiter.left_s(left) if left > 0 and not is_down else 0.0,
            waiting_for="API unavailable; retrying" if is_down else self._limiter.waiting_for(),
            recorded=dict(self.recorder.counts),
            requests=self._limiter.requests,
            throttled=pool.throttled,
        )

    def result(self, stop: Stop | None = None, elapsed_s: float = 0.0) -> SendResult:
        """Return the result; raises InternalError where the totals do not match."""
        work, recorder, limiter = self.work, self.recorder, self._limiter
        counts = recorder.final_counts(work, has_stopped=stop is not None or self.most == 0)
        file = self.current_values.file if self.current_values is not None else None
        totals = Totals(
            sheet=work.sheet.label,
            rows=work.sheet_check.rows,
            counts=StatusCounts((status, counts[status]) for status in Status),
            done_before=work.resumed.total(),
            recorded=dict(recorder.counts),
            beyond_limit=work.unsent,
            left_out=work.unselected,
            not_edited=min(work.sheet_check.untouched, counts[Status.UNCHANGED]),
            blank_rows=work.sheet_check.blank_rows,
            requests=limiter.requests,
            throttled=self._pool.throttled if self._pool is not None else 0,
            elapsed_s=elapsed_s,
            peaks=limiter.peaks(),
            waited_s={cause: round(s, 3) for cause, s in limiter.waited_s.items()},
            errors=recorder.errors(),
            stop=stop,
            report=str(self.report.path) if self.report is not None else "",
            before=str(file.path) if file is not None else "",
            row_errors=work.sheet_check.row_errors,
        )
        return SendResult(totals, recorder.sent, tuple(recorder.outcomes))


def _stopper(pool: WorkerPool) -> Callable[[], None]:
    """Return a function that stops a pool from any thread; nothing happens once it has ended."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(pool.stop, STOPPED)

    return stop


def _in_hundreds(batches: Iterable[list[Change]]) -> Iterator[list[Change]]:
    """Yield the same changes, as many at a time as one read can cover."""
    waiting: list[Change] = []
    for changes in batches:
        waiting += changes
        while len(waiting) >= MAX_IDS:
            yield waiting[:MAX_IDS]
            waiting = waiting[MAX_IDS:]
    if waiting:
        yield waiting


def _cannot_read(error: RequestError) -> Stop:
    """Return why a run stops whose incidents cannot be read."""
    hint = f"; use {option('before', value=False)} to send without reading"
    if isinstance(error, FatalError):
        # A key that may write may not be allowed to read. All other codes are fatal for both.
        more = hint if error.code == "AccessDenied" else ""
        return Stop(StopReason.FATAL, f"{error.code}: {error}{more}")
    text = f"the current values cannot be read ({error.code}: {error})"
    return Stop(StopReason.OUTAGE, f"{text}{hint}")
