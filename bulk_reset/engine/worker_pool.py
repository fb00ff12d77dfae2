"""The worker pool: batches of changes in, one outcome a change out.

State, and who may change it:
  * ``_batch``: changes that were read and not taken yet; workers take from it, the worker that
    holds ``_refill`` adds to it;
  * ``stopped``: set once, by ``stop``; from then on no change is taken;
  * outcomes leave through ``record``, once a change. A change that was taken and has no outcome
    is pending.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final
from weakref import WeakValueDictionary

from bulk_reset.core.change import Change
from bulk_reset.core.defaults import WORKERS
from bulk_reset.core.outcome import Outcome, Stop
from bulk_reset.engine.attempts import Attempts
from bulk_reset.engine.circuit_breaker import CircuitBreaker
from bulk_reset.engine.readback import Incident
from bulk_reset.engine.retry_policy import RetryPolicy
from bulk_reset.engine.row_outcomes import RowOutcomes
from bulk_reset.engine.row_sender import Api, RowSender
from bulk_reset.quota.limiter import Limiter

GRACE_S: Final = 4.0
"""How long in-flight requests may take to finish once the run is stopped: the run ends within
five seconds."""


class WorkerPool:
    """Sends changes within the quota, until all are sent or the run is stopped.

    Args:
        record: called with the outcome of each change.
        workers: up to so many requests are in flight.
        max_failures: how many rows may fail before the run stops.
        is_in_order: whether an incident's changes are sent in their order, one at a time.
        wall_clock: returns UTC epoch seconds.
        mute_reply: whether webhooks are not called for comments.

    Attributes:
        stopped: why the run ended early; None while it has not.
    """

    def __init__(  # noqa: PLR0913  (the parts of a run meet here)
        self,
        api: Api,
        limiter: Limiter,
        record: Callable[[Outcome], None],
        *,
        policy: RetryPolicy | None = None,
        breaker: CircuitBreaker | None = None,
        workers: int = WORKERS,
        max_failures: float = float("inf"),
        is_in_order: Callable[[str], bool] = lambda _: False,
        wall_clock: Callable[[], float] = time.time,
        mute_reply: bool = False,
    ) -> None:
        self._limiter, self._record = limiter, record
        self._attempts = Attempts(
            limiter, policy or RetryPolicy(), breaker or CircuitBreaker(), self.stop, wall_clock
        )
        self._outcomes = RowOutcomes(self._attempts, self.stop, record, max_failures, wall_clock)
        self._rows = RowSender(api, self._outcomes, mute_reply=mute_reply)
        self._worker_count, self._is_in_order = workers, is_in_order
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._batch: deque[Change] = deque()
        self._refill = asyncio.Lock()
        self._workers: set[asyncio.Task[None]] = set()
        self._is_aborted = False
        self._grace: asyncio.TimerHandle | None = None
        self.stopped: Stop | None = None

    def __repr__(self) -> str:
        waiting = len(self._batch)
        return f"<WorkerPool {self.in_flight} in flight, {waiting} waiting, {self._limiter!r}>"

    async def run(self, batches: AsyncIterator[Sequence[Change]]) -> Stop | None:
        """Send every change of every batch.

        Returns: why it ended early, or None. What was taken and has no outcome is pending.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._worker_count):
                    self._workers.add(group.create_task(self._work(batches)))
            await self._read_doubtful()
        finally:
            if self._grace is not None:
                self._grace.cancel()
            for outcome in self._rows.doubtful.take():
                self._record(outcome)
        return self.stopped

    def stop(self, stop: Stop) -> None:
        """Take no new change, let in-flight requests finish for ``GRACE_S``, then end."""
        if self.stopped is not None:
            return
        self.stopped, self._attempts.has_ended = stop, True
        for worker in self._workers - self._attempts.in_flight - {asyncio.current_task()}:
            worker.cancel()
        self._grace = asyncio.get_running_loop().call_later(GRACE_S, self.abort)

    def abort(self) -> None:
        """End now: in-flight requests are cancelled, and their rows are unknown."""
        self._is_aborted = True
        for worker in self._workers:
            worker.cancel()

    def count_failure(self) -> None:
        """Count a row that failed without a request, and stop the run at too many."""
        self._outcomes.count_failure()

    def expect(self, changes: Sequence[Change]) -> None:
        """Prepare for up to 100 changes of later batches: equal comments are sent together."""
        self._rows.groups.expect(changes, self._is_in_order)

    async def incidents(self, incident_ids: Sequence[str]) -> Mapping[str, Incident]:
        """Read up to 100 incidents, within the same quota; raises RequestError."""
        return await self._rows.incidents(incident_ids)

    @property
    def in_flight(self) -> int:
        """How many requests are in flight."""
        return len(self._attempts.in_flight)

    @property
    def throttled(self) -> int:
        """How many answers said that the quota was exceeded (HTTP 429)."""
        return self._attempts.throttled

    @property
    def is_waiting_for_api(self) -> bool:
        """Whether the API is unavailable, so that only probes are sent."""
        return self._attempts.is_waiting_for_api

    async def _work(self, batches: AsyncIterator[Sequence[Change]]) -> None:
        worker = asyncio.current_task()
        while await self._has_next(batches):
            change = self._batch.popleft()
            if self._is_in_order(change.incident_id):
                turn = self._turns.setdefault(change.incident_id, asyncio.Lock())
                async with turn:
                    await self._rows.send(change, worker)
            else:
                await self._rows.send(change, worker)

    async def _has_next(self, batches: AsyncIterator[Sequence[Change]]) -> bool:
        """Return whether there is a change to take; read the next batch where there is none."""
        while self.stopped is None and not self._batch:
            async with self._refill:
                if not self._batch:
                    batch = await anext(batches, None)
                    if batch is None:
                        return False
                    self._batch.extend(batch)
        return self.stopped is None

    async def _read_doubtful(self) -> None:
        """Read back what a stop left in doubt, until the grace period ends."""
        if not self._outcomes.doubtful or self._is_aborted:
            return
        reading = asyncio.create_task(self._rows.doubtful.read(self._record))
        self._workers = {reading}
        try:
            await asyncio.wait(self._workers)
        finally:
            reading.cancel()
        if not reading.cancelled():
            reading.result()
