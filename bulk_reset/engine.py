"""The worker pool: change -> permit -> attempt -> decide -> outcome, recorded once.

State, and who may touch it:
  * ``_batch``: the changes read but not taken; workers take, the one that holds
    ``_refill`` adds;
  * ``_in_flight``: the workers whose request is on its way; each adds and removes itself;
  * ``_stop``: set once, by ``stop``; from then on nothing new is taken;
  * outcomes leave through ``record``, once a change. A change that was taken and neither
    recorded nor sent is pending.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

import stamina

from bulk_reset.breaker import Breaker
from bulk_reset.errors import (
    ConnectError,
    FatalError,
    InternalError,
    PermanentError,
    RequestError,
    ThrottledError,
)
from bulk_reset.model import WORKERS, Change, Outcome, Status, Stop, StopReason
from bulk_reset.quota import Quota
from bulk_reset.retry import RetryPolicy, is_worth_retrying

_log = logging.getLogger(__name__)
GRACE_S: Final = 5.0
"""How long requests on their way may take to finish once the run is stopped."""


class Answer(Protocol):
    """What an API's success looks like."""

    @property
    def http_status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def request_id(self) -> str:
        """The API's id of the request."""
        ...


class Api(Protocol):
    """What the engine needs of a client."""

    async def reset(self, body: bytes) -> Answer:
        """Set fields of an incident; raises RequestError and nothing else."""
        ...


@dataclass(slots=True)
class _Trail:
    """What is known of one change while it is worked on."""

    worker: asyncio.Task[Any] | None
    attempts: int = 0
    throttled: int = 0
    started_at: float = 0.0
    is_in_doubt: bool = False
    """Whether a request went out of which nobody knows if it was applied."""


class Engine:
    """Sends changes, within the quota, until they are through or the run is stopped.

    Changes of an incident for which ``is_in_order`` is true are sent in the order of their
    coming, never two at a time.

    Attributes:
        throttled: answers so far that said the quota was used up (HTTP 429).
        stopped: why the run ended early, None while it has not.
    """

    def __init__(  # noqa: PLR0913  (the parts of a run meet here)
        self,
        api: Api,
        quota: Quota,
        record: Callable[[Outcome], None],
        *,
        policy: RetryPolicy | None = None,
        breaker: Breaker | None = None,
        workers: int = WORKERS,
        max_failures: float = float("inf"),
        is_in_order: Callable[[str], bool] = lambda _: False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._api, self._quota, self._record = api, quota, record
        self._policy, self._breaker = policy or RetryPolicy(), breaker or Breaker()
        self._worker_count, self._max_failures = workers, max_failures
        self._is_in_order = is_in_order
        self._wall_clock = wall_clock
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._batch: deque[Change] = deque()
        self._refill = asyncio.Lock()
        self._workers: set[asyncio.Task[None]] = set()
        self._in_flight: set[asyncio.Task[Any] | None] = set()
        self._pauses_in_a_row, self._paused_until, self._throttled_since = 0, 0.0, 0.0
        self._failures = 0
        self._grace: asyncio.TimerHandle | None = None
        self.throttled = 0
        self.stopped: Stop | None = None

    def __repr__(self) -> str:
        return (
            f"<Engine {len(self._in_flight)} in flight, {len(self._batch)} read ahead, "
            f"{self._quota!r}>"
        )

    async def run(self, batches: AsyncIterator[Sequence[Change]]) -> Stop | None:
        """Send every change of every batch.

        Returns: why it ended early, or None. What was taken and has no outcome is pending.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._worker_count):
                    self._workers.add(group.create_task(self._work(batches)))
        finally:
            if self._grace is not None:
                self._grace.cancel()
        return self.stopped

    def stop(self, stop: Stop) -> None:
        """Take no new row, let what is in flight finish for a few seconds, then end."""
        if self.stopped is not None:
            return
        self.stopped = stop
        for worker in self._workers - self._in_flight - {asyncio.current_task()}:
            worker.cancel()
        self._grace = asyncio.get_running_loop().call_later(GRACE_S, self.abort)

    def abort(self) -> None:
        """End now: requests in flight are given up, and their rows are unknown."""
        for worker in self._workers:
            worker.cancel()

    @property
    def in_flight(self) -> int:
        """Requests on their way."""
        return len(self._in_flight)

    @property
    def is_waiting_for_api(self) -> bool:
        """Whether the API looks down and is only probed."""
        return self._breaker.is_open

    async def _work(self, batches: AsyncIterator[Sequence[Change]]) -> None:
        worker = asyncio.current_task()
        while await self._has_next(batches):
            change, trail = self._batch.popleft(), _Trail(worker)
            if self._is_in_order(change.incident_id):
                turn = self._turns.setdefault(change.incident_id, asyncio.Lock())
                async with turn:
                    await self._handle(change, trail)
            else:
                await self._handle(change, trail)

    async def _has_next(self, batches: AsyncIterator[Sequence[Change]]) -> bool:
        """Tell whether there is a change to take at once; read on where there is none."""
        while self.stopped is None and not self._batch:
            async with self._refill:
                if not self._batch:
                    batch = await anext(batches, None)
                    if batch is None:
                        return False
                    self._batch.extend(batch)
        return self.stopped is None

    async def _handle(self, change: Change, trail: _Trail) -> None:
        """Work on one change until it has an outcome, or is left pending by a stop."""
        try:
            try:
                answer = await self._attempt(change, trail)
            except RequestError as error:
                answer = await self._retry(change, trail, error)
        except RequestError as error:
            self._conclude(change, trail, error)
        except asyncio.CancelledError:
            if trail.is_in_doubt:
                self._finish(change, trail, Status.UNKNOWN, _interrupted())
            raise
        else:
            self._record(
                Outcome(
                    change.row_number,
                    change.incident_id,
                    Status.UPDATED,
                    change.fields,
                    change.digest,
                    trail.attempts,
                    answer.http_status,
                    request_id=answer.request_id,
                    started_at=trail.started_at,
                    finished_at=self._wall_clock(),
                    throttled=trail.throttled,
                )
            )

    def _conclude(self, change: Change, trail: _Trail, error: RequestError) -> None:
        if isinstance(error, FatalError):
            self.stop(Stop(StopReason.FATAL, f"{error.code}: {error}"))
        is_final = isinstance(error, PermanentError)
        if self.stopped is not None and not is_final:
            if trail.is_in_doubt:
                self._finish(change, trail, Status.UNKNOWN, error)
            return
        in_doubt = trail.is_in_doubt and not is_final
        self._finish(change, trail, Status.UNKNOWN if in_doubt else Status.FAILED, error)
        self._failures += 1
        if self._failures > self._max_failures:
            message = f"{self._failures} rows failed, more than --max-failures allows"
            self.stop(Stop(StopReason.MAX_FAILURES, message))

    def _finish(self, change: Change, trail: _Trail, status: Status, error: RequestError) -> None:
        self._record(
            Outcome(
                change.row_number,
                change.incident_id,
                status,
                change.fields,
                change.digest,
                trail.attempts,
                error.http_status,
                error.code,
                str(error),
                error.request_id,
                trail.started_at,
                self._wall_clock(),
                trail.throttled,
            )
        )

    async def _retry(self, change: Change, trail: _Trail, first: RequestError) -> Answer:
        """Attempt again until the API has answered, or the attempts are spent."""
        if not self._may_retry(first):
            raise first
        async for attempt in stamina.retry_context(
            on=lambda exc: self._may_retry(exc) and is_worth_retrying(exc),
            **self._policy.back_off(),
        ):
            with attempt:
                if attempt.num == 1:
                    # Made already, outside: the back-off costs only those that need it.
                    raise first
                return await self._attempt(change, trail)
        raise InternalError("the back-off ended without an answer or an error")

    def _may_retry(self, error: Exception) -> bool:
        return self.stopped is None and isinstance(error, RequestError) and error.is_retryable

    async def _attempt(self, change: Change, trail: _Trail) -> Answer:
        """Make one attempt; what is not the row's fault costs none and is made again."""
        while True:
            permit_at = await self._quota.take(self._breaker.start)
            is_probe, is_answered = self._breaker.is_open, False
            was_in_doubt, trail.is_in_doubt = trail.is_in_doubt, True
            trail.started_at = self._wall_clock()
            self._in_flight.add(trail.worker)
            try:
                answer = await self._api.reset(change.body)
            except RequestError as error:
                is_answered = not isinstance(error, ConnectError)
                trail.is_in_doubt = was_in_doubt or error.may_be_applied
                is_spared = self._learn(change, trail, error, is_probe=is_probe)
                if not is_spared or self.stopped is not None:
                    raise
            except asyncio.CancelledError:
                trail.attempts += 1
                if is_probe:
                    self._breaker.abandon_probe()
                raise
            else:
                is_answered, trail.is_in_doubt = True, False
                self._breaker.success()
                self._pauses_in_a_row = 0
                trail.attempts += 1
                return answer
            finally:
                self._in_flight.discard(trail.worker)
                self._quota.give_back(permit_at, is_answered=is_answered)

    def _learn(self, change: Change, trail: _Trail, error: RequestError, *, is_probe: bool) -> bool:
        """Draw the conclusions for everybody; tell whether the row is spared the attempt."""
        _log.debug("row %d: %s: %s", change.row_number, error.code, error)
        now = asyncio.get_running_loop().time()
        if isinstance(error, ThrottledError):
            if is_probe:
                self._breaker.abandon_probe()
            trail.throttled += 1
            self._pause(error, now)
            return True
        if not error.is_retryable:
            self._breaker.success()
            self._pauses_in_a_row = 0
            trail.attempts += 1
            return False
        is_certain = isinstance(error, ConnectError)
        self._breaker.failure(
            now, change.row_number, str(error), is_certain=is_certain, is_probe=is_probe
        )
        if self._breaker.is_hopeless(now):
            message = f"the API is down or cannot be reached: {error}"
            self.stop(Stop(StopReason.OUTAGE, message))
        # An answer of the API itself may be about the row, so it costs an attempt even then:
        # else rows that always break the server would never get an outcome.
        is_spared = is_certain or (is_probe and error.may_be_applied)
        trail.attempts += not is_spared
        return is_spared

    def _pause(self, error: ThrottledError, now: float) -> None:
        self.throttled += 1
        if not self._pauses_in_a_row:
            self._throttled_since = now
        elif now - self._throttled_since >= self._breaker.patience_s:
            message = "the quota stays used up, by others who use the account"
            self.stop(Stop(StopReason.OUTAGE, f"{message}: {error}"))
        is_news = now >= self._paused_until
        if not is_news and not error.retry_after_s:
            # It was on its way when the pause began, and asks for nothing longer.
            return
        self._pauses_in_a_row += is_news
        jitter = random.random()  # noqa: S311  (spreads load, guards nothing)
        pause_s = self._policy.pause_s(error, max(1, self._pauses_in_a_row), jitter)
        self._paused_until = max(self._paused_until, now + pause_s)
        self._quota.pause(pause_s)


def _interrupted() -> RequestError:
    return RequestError("sent, then the run was stopped before the answer came", code="stopped")
