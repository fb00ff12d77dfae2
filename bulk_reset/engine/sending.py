"""One sending of a sheet: feed -> engine -> report, with books that balance at the end.

The event loop's side of a run; ``actions`` prepares it and sums it up.

State: all of it belongs to the loop that ``send`` runs in; ``Report.sync`` alone is called
from another thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from bulk_reset.api.client import open_client
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.change import Change
from bulk_reset.core.errors import FatalError, InternalError, RequestError
from bulk_reset.core.outcome import Outcome, Status, Stop, StopReason
from bulk_reset.core.totals import Progress, Totals
from bulk_reset.engine.circuit_breaker import CircuitBreaker
from bulk_reset.engine.connection import Connection, first_cause
from bulk_reset.engine.current_values import CurrentValues
from bulk_reset.engine.options import Options
from bulk_reset.engine.readback import MAX_IDS
from bulk_reset.engine.work_source import WorkSource
from bulk_reset.engine.worker_pool import Engine
from bulk_reset.quota.limiter import Limiter
from bulk_reset.records.report_file import Report
from bulk_reset.records.summary import ErrorGroups

_TICK_S: Final = 0.1
_SYNC_TICKS: Final = 5
_FLUSH_S: Final = 0.005
_LATE_ROWS: Final = 25
"""Half a second's at the quota: longer than the API takes for a look."""
T = TypeVar("T")


@dataclass(slots=True)
class Sending:
    """One sending of a sheet; use it once.

    Attributes:
        feed: the rows, not read yet.
        expected: how many changes it will hand out.
        reached: whom to send to.
        look: looks at incidents before their rows are sent; None to send without a look.
        answers: what became so far of the rows that were to be sent.
        report: where outcomes go; without one they are kept in ``outcomes``.
    """

    options: Options
    connection: Connection
    work: WorkSource
    expected: int
    report: Report | None
    callbacks: Callbacks
    current_values: CurrentValues | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    answers: Counter[Status] = field(default_factory=Counter)
    _counts: Counter[Status] = field(default_factory=Counter)
    _groups: ErrorGroups = field(default_factory=ErrorGroups)
    _settled: int = 0
    _elapsed_s: float = 0.0
    _has_lines: asyncio.Event = field(default_factory=asyncio.Event)
    _quota: Limiter = field(init=False)
    _engine: Engine | None = None
    _ahead: asyncio.Task[list[Change] | None] | None = None
    """Looks at the rows that are sent next."""

    def __post_init__(self) -> None:
        self._quota = Limiter(self.options.windows())

    async def send(self, *, handles_signals: bool) -> Stop | None:
        """Send everything that is left."""
        quota = self._quota = self.connection.quota(self.options)
        started_at = time.monotonic()
        async with open_client(
            self.connection.credentials,
            connections=self._workers(),
            timeout_s=self.options.timeout_s,
        ) as client:
            engine = self._engine = Engine(
                client,
                quota,
                self._take_answer,
                policy=self.options.policy(),
                breaker=CircuitBreaker(self.options.patience_s),
                workers=self._workers(),
                max_failures=self.options.failure_limit(self.work.sheet_check.rows),
                is_in_order=self.work.sheet_check.repeated_ids.__contains__,
            )
            try:
                with _signals(engine) if handles_signals else contextlib.nullcontext():
                    return await self._work(engine)
            finally:
                self._elapsed_s = time.monotonic() - started_at

    def _workers(self) -> int:
        return max(1, min(self.options.workers, self.expected))

    async def _work(self, engine: Engine) -> Stop | None:
        work = asyncio.create_task(engine.run(self._batches(engine)))
        # These only ever end by an error.
        keepers = [asyncio.create_task(part) for part in (self._tick(engine), self._write_lines())]
        try:
            await asyncio.wait({work, *keepers}, return_when=asyncio.FIRST_COMPLETED)
            for keeper in keepers:
                if keeper.done():
                    await keeper
            stop = await work
        except BaseExceptionGroup as group:
            raise first_cause(group) from None
        else:
            if self.report is not None:
                self.report.flush()  # while a signal still ends softly, and costs no line
            return stop
        finally:
            tasks = [work, *keepers, *([self._ahead] if self._ahead is not None else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.callbacks.on_progress(self._progress(engine))

    async def _batches(self, engine: Engine) -> AsyncIterator[list[Change]]:
        if self.current_values is None:
            for changes in self._changes():
                yield changes
            return
        hundreds = _hundreds(self._changes())
        seen = await self._looked_at(self.current_values, next(hundreds, []), engine)
        while seen is not None:
            # While the last of them are sent, the next are looked at: later would leave the
            # quota unused for a round trip, and sooner would be longer before they are sent.
            early, late = seen[:-_LATE_ROWS], seen[-_LATE_ROWS:]
            if early:
                yield early
            some = next(hundreds, None)
            if some is not None:
                self._ahead = asyncio.create_task(
                    self._looked_at(self.current_values, some, engine)
                )
            if late:
                yield late
            seen = await self._ahead if some is not None and self._ahead is not None else None

    def _changes(self) -> Iterator[list[Change]]:
        # Read here, not in a thread: a thousand rows take some milliseconds, and a thread at work
        # would hold up the event loop for longer each time.
        for changes, outcomes in self.work.batches():
            for outcome in outcomes:
                self._record(outcome._replace(finished_at=time.time()))
                self._settled += 1
            yield changes

    async def _looked_at(
        self, current_values: CurrentValues, changes: list[Change], engine: Engine
    ) -> list[Change] | None:
        """Return what is left to send of some rows; None where they could not be looked at."""
        try:
            to_send, outcomes = await current_values.at(changes, engine.incidents)
        except RequestError as error:
            engine.stop(_unseen(error))
            return None
        for outcome in outcomes:
            self._take_answer(outcome)
            if outcome.status is Status.FAILED:
                engine.count_failure()
        return to_send

    def _take_answer(self, outcome: Outcome) -> None:
        self._record(outcome)
        self.answers[outcome.status] += 1

    def _record(self, outcome: Outcome) -> None:
        if self.report is not None:
            self.report.write(outcome)
            self._has_lines.set()
        else:
            self.outcomes.append(outcome)
        self._counts[outcome.status] += 1
        if not outcome.status.is_done:
            self._groups.add(outcome)
            self.callbacks.on_failure(outcome)

    async def _write_lines(self) -> None:
        """Hand lines over to the system, those of some milliseconds together."""
        while True:
            await self._has_lines.wait()
            await asyncio.sleep(_FLUSH_S)
            self._has_lines.clear()
            if self.report is not None:
                self.report.flush()

    async def _tick(self, engine: Engine) -> None:
        """Show the progress and bring the report to the disk, at a pace of their own."""
        tick, deadline_at = 0, self.options.deadline_at
        while True:
            if deadline_at is not None and time.time() >= deadline_at:
                engine.stop(Stop(StopReason.DEADLINE, "its deadline has come"))
            self.callbacks.on_progress(self._progress(engine))
            if self.report is not None and tick % _SYNC_TICKS == 0:
                await asyncio.to_thread(self.report.sync)
            await asyncio.sleep(_TICK_S)
            tick += 1

    def _progress(self, engine: Engine) -> Progress:
        counts = self.work.resumed + self._counts
        left = self.expected - self.answers.total() - engine.in_flight
        is_down = engine.is_waiting_for_api
        return Progress(
            rows=self.work.sheet_check.rows,
            counts={status: counts[status] for status in Status},
            left_s=self._quota.left_s(left) if left > 0 and not is_down else 0.0,
            waiting_for="the API, which looks down" if is_down else self._quota.waiting_for(),
            recorded=dict(self._counts),
            requests=self._quota.requests,
            throttled=engine.throttled,
        )

    def totals(self, stop: Stop | None) -> Totals:
        """Balance the books: the rows of the survey against those of the feed and the report.

        Raises:
            InternalError: they do not balance; the report is not to be trusted.
        """
        work, sheet_check = self.work, self.work.sheet_check
        recorded = self.report.written if self.report is not None else self._counts
        counts = work.resumed + recorded
        # A batch that was being read when the run was stopped is neither sent nor recorded.
        unread, unanswered = sheet_check.rows - work.rows, work.sent - self.answers.total()
        unrecorded = work.settled.total() - self._settled
        counts[Status.PENDING] = unread + unanswered + unrecorded + work.held_back
        is_balanced = (
            counts.total() == sheet_check.rows
            and recorded.total() == self.answers.total() + self._settled
            and (stop is not None or unread == unanswered == unrecorded == 0)
        )
        if not is_balanced:
            raise InternalError(
                f"{work.sheet.label}: the books do not balance: {dict(counts)} of "
                f"{sheet_check.rows} rows. This is a mistake in bulk-reset; please report it."
            )
        return Totals(
            sheet=work.sheet.label,
            rows=sheet_check.rows,
            counts={status: counts[status] for status in Status},
            done_before=work.resumed.total(),
            held_back=work.held_back,
            blank_rows=sheet_check.blank_rows,
            requests=self._quota.requests,
            throttled=self._engine.throttled if self._engine else 0,
            elapsed_s=self._elapsed_s,
            peaks=self._quota.peaks(),
            waited_s={cause: round(s, 3) for cause, s in self._quota.waited_s.items()},
            errors=self._groups.groups(),
            stop=stop,
            report=str(self.report.path) if self.report is not None else "",
            before=str(self.current_values.before.path)
            if self.current_values and self.current_values.before
            else "",
            row_errors=sheet_check.row_errors,
        )


def _hundreds(batches: Iterable[list[Change]]) -> Iterator[list[Change]]:
    """Yield the same changes, as many at a time as can be looked at together."""
    waiting: list[Change] = []
    for changes in batches:
        waiting += changes
        while len(waiting) >= MAX_IDS:
            yield waiting[:MAX_IDS]
            waiting = waiting[MAX_IDS:]
    if waiting:
        yield waiting


def _unseen(error: RequestError) -> Stop:
    """Return why a run ends whose incidents cannot be looked at."""
    blind = "; --no-before sends without a look"
    if isinstance(error, FatalError):
        # Who may write may not be allowed to read; all else is as fatal without a look.
        more = blind if error.code == "AccessDenied" else ""
        return Stop(StopReason.FATAL, f"{error.code}: {error}{more}")
    text = (
        f"the incidents cannot be read, so nobody knows what stands there ({error.code}: {error})"
    )
    return Stop(StopReason.OUTAGE, f"{text}{blind}")


@contextlib.contextmanager
def _signals(engine: Engine) -> Iterator[None]:
    """Let the first Ctrl-C, SIGTERM or SIGHUP end the run softly, a second one at once."""
    loop = asyncio.get_running_loop()
    stops = {
        "SIGINT": Stop(StopReason.INTERRUPTED, "Ctrl-C"),
        "SIGTERM": Stop(StopReason.TERMINATED, "SIGTERM"),
        "SIGHUP": Stop(StopReason.HUNG_UP, "the terminal was closed"),
    }

    def on_signal(stop: Stop) -> None:
        if engine.stopped is None:
            engine.stop(stop)
        else:
            engine.abort()

    handled: dict[int, Any] = {}
    # Where this does not work (Windows, not the main thread), Ctrl-C cancels as in any program.
    with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
        for name, stop in stops.items():
            number = getattr(signal, name, None)
            # Whoever said nohup means it.
            if number is not None and (before := signal.getsignal(number)) is not signal.SIG_IGN:
                loop.add_signal_handler(number, on_signal, stop)
                handled[number] = before
    try:
        yield
    finally:
        for number, before in handled.items():
            loop.remove_signal_handler(number)
            signal.signal(number, before)
        if engine.stopped is not None and signal.SIGINT in handled:
            # It ends as it was told to: the books are closed, however often it is told again.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
