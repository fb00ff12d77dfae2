"""Attempts: a permit, a request, and what follows from its end for everybody.

State, and who may touch it: all of it belongs to the event loop, and changes between two
awaits only. ``in_flight`` holds the tasks whose request is on its way; each adds and removes
itself. Whoever makes attempts ends the run through ``stop``, when it is hopeless.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import stamina
from stamina.instrumentation import LoggingOnRetryHook, set_on_retry_hooks

from bulk_reset.core.errors import ConnectError, InternalError, RequestError, ThrottledError
from bulk_reset.core.outcome import Stop, StopReason
from bulk_reset.engine.circuit_breaker import CircuitBreaker
from bulk_reset.engine.retry_policy import RetryPolicy, is_worth_retrying
from bulk_reset.quota.limiter import Limiter

T = TypeVar("T")
_log = logging.getLogger(__name__)
NO_ROW: Final = 0
"""What a read is counted under, which is of several rows."""


@dataclass(slots=True)
class Trail:
    """What is known of one request, its repetitions included, while it is worked on."""

    worker: asyncio.Task[Any] | None
    row_number: int
    is_read: bool = False
    """Whether it only reads."""
    attempts: int = 0
    """How often it was sent, whatever that counted for."""
    throttled: int = 0
    started_at: float = 0.0
    is_in_doubt: bool = False
    """Whether a request went out of which nobody knows if it was applied."""


class Attempts:
    """Makes attempts within the quota, one probe at a time while the API looks down.

    Args:
        stop: called when the run should end.
        wall_clock: UTC epoch seconds.

    Attributes:
        has_ended: set from outside when the run is to end: nothing is tried again.
        in_flight: the tasks whose request is on its way.
        throttled: answers so far that said the quota was used up (HTTP 429).
    """

    def __init__(
        self,
        quota: Limiter,
        policy: RetryPolicy,
        breaker: CircuitBreaker,
        stop: Callable[[Stop], None],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._quota, self._policy, self._breaker = quota, policy, breaker
        self._stop, self._wall_clock = stop, wall_clock
        self._pauses_in_a_row, self._paused_until, self._throttled_since = 0, 0.0, 0.0
        self.in_flight: set[asyncio.Task[Any] | None] = set()
        self.has_ended = False
        self.throttled = 0

    @property
    def is_waiting_for_api(self) -> bool:
        """Whether the API looks down and is only probed."""
        return self._breaker.is_open

    async def attempt(self, trail: Trail, send: Callable[[], Awaitable[T]]) -> T:
        """Make one attempt; what is not the row's fault costs none and is made again."""
        while True:
            permit_at = await self._quota.acquire(self._breaker.start)
            is_probe, is_answered = self._breaker.is_open, False
            was_in_doubt, trail.is_in_doubt = trail.is_in_doubt, True
            trail.started_at = self._wall_clock()
            self.in_flight.add(trail.worker)
            try:
                answer = await send()
            except RequestError as error:
                is_answered = not isinstance(error, ConnectError)
                trail.is_in_doubt = was_in_doubt or error.may_be_applied
                is_spared = self._learn(trail, error, is_probe=is_probe)
                if not is_spared or self.has_ended:
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
                self.in_flight.discard(trail.worker)
                self._quota.release(permit_at, is_answered=is_answered)

    async def retry(self, trail: Trail, send: Callable[[], Awaitable[T]], first: RequestError) -> T:
        """Attempt again until the API has answered, or the attempts are spent."""
        if not self._may_retry(first):
            raise first
        _choose_hook()
        async for attempt in stamina.retry_context(
            on=lambda exc: self._may_retry(exc) and is_worth_retrying(exc),
            **self._policy.back_off(),
        ):
            with attempt:
                if attempt.num == 1:
                    # Made already, outside: the back-off costs only those that need it.
                    raise first
                return await self.attempt(trail, send)
        raise InternalError("the back-off ended without an answer or an error")

    def _may_retry(self, error: Exception) -> bool:
        return not self.has_ended and isinstance(error, RequestError) and error.is_retryable

    async def last(self, send: Callable[[], Awaitable[T]]) -> T:
        """Make the one attempt that is left when a run has ended; nobody learns from it."""
        permit_at = await self._quota.acquire()
        try:
            return await send()
        finally:
            self._quota.release(permit_at, is_answered=False)

    def _learn(self, trail: Trail, error: RequestError, *, is_probe: bool) -> bool:
        """Draw the conclusions for everybody; tell whether the row is to be sent at once again.

        It is where the attempt says nothing of the row, and so is not one of its few.
        """
        _log.debug("row %d: %s: %s", trail.row_number, error.code, error)
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
        is_connect = isinstance(error, ConnectError)
        self._breaker.failure(
            now,
            trail.row_number,
            str(error),
            is_certain=is_connect or trail.is_read,
            is_probe=is_probe,
        )
        if self._breaker.is_hopeless(now):
            message = f"the API is down or cannot be reached: {error}"
            self._stop(Stop(StopReason.OUTAGE, message))
        trail.attempts += not is_connect
        # An answer of the API itself may be about the row, so it counts even then: else rows
        # that always break the server would never get an outcome.
        return is_connect or (is_probe and (trail.is_read or error.may_be_applied))

    def _pause(self, error: ThrottledError, now: float) -> None:
        self.throttled += 1
        if not self._pauses_in_a_row:
            self._throttled_since = now
        elif now - self._throttled_since >= self._breaker.patience_s:
            message = "the quota stays used up, by others who use the account"
            self._stop(Stop(StopReason.OUTAGE, f"{message}: {error}"))
        is_news = now >= self._paused_until
        if not is_news and not error.retry_after_s:
            # It was on its way when the pause began, and asks for nothing longer.
            return
        self._pauses_in_a_row += is_news
        jitter = random.random()  # noqa: S311  (spreads load, guards nothing)
        pause_s = self._policy.pause_s(error, max(1, self._pauses_in_a_row), jitter)
        self._paused_until = max(self._paused_until, now + pause_s)
        self._quota.pause(pause_s)


def _choose_hook() -> None:
    """Let stamina tell of a retry by the standard library's logs, unless the program chose else.

    By itself it takes structlog where that is installed, which prints to standard output.
    """
    # Nothing public tells what was chosen without choosing for good.
    config = getattr(getattr(stamina, "_config", None), "CONFIG", None)
    if getattr(config, "_on_retry", None) is None:
        set_on_retry_hooks([LoggingOnRetryHook])
