"""Attempts: a permit, a request, and what its result means for all other requests.

State, changed between two awaits of the event loop only: ``in_flight`` holds the tasks whose
request is in flight; each task adds and removes itself.
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

from bulk_reset.core.errors import (
    AccessError,
    ConnectError,
    FatalError,
    InternalError,
    RequestError,
    ThrottledError,
    TransientError,
)
from bulk_reset.core.outcome import Stop, StopReason
from bulk_reset.engine.circuit_breaker import CircuitBreaker
from bulk_reset.engine.retry_policy import RetryPolicy, is_worth_retrying
from bulk_reset.quota.limiter import Limiter

T = TypeVar("T")
_log = logging.getLogger(__name__)
NO_ROW: Final = 0
"""The row number of a read, which concerns several rows."""


@dataclass(slots=True)
class Trail:
    """The history of one request, its retries included."""

    worker: asyncio.Task[Any] | None
    row_number: int
    is_read: bool = False
    """Whether it only reads."""
    is_once: bool = False
    """Whether a second request does it a second time: it adds a comment."""
    attempts: int = 0
    """How often it was sent and counted as an attempt."""
    throttled: int = 0
    started_at: float = 0.0
    is_in_doubt: bool = False
    """Whether it was sent and may or may not have been applied."""


class Attempts:
    """Makes attempts within the quota; while the API is unavailable, one probe at a time.

    Args:
        stop: called when the run must end early.
        wall_clock: returns UTC epoch seconds.

    Attributes:
        has_ended: set by the caller when the run ends: nothing is retried.
        in_flight: the tasks whose request is in flight.
        throttled: how many answers said that the quota was exceeded (HTTP 429).
    """

    def __init__(
        self,
        limiter: Limiter,
        policy: RetryPolicy,
        breaker: CircuitBreaker,
        stop: Callable[[Stop], None],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._limiter, self._policy, self._breaker = limiter, policy, breaker
        self._stop, self._wall_clock = stop, wall_clock
        self._pauses_in_a_row, self._paused_until, self._throttled_since = 0, 0.0, 0.0
        self.in_flight: set[asyncio.Task[Any] | None] = set()
        self.has_ended = False
        self.throttled = 0

    @property
    def is_waiting_for_api(self) -> bool:
        """Whether the API is unavailable, so that only probes are sent."""
        return self._breaker.is_open

    @property
    def first_wait_s(self) -> float:
        """How long to wait after a first failure."""
        return self._policy.first_wait_s

    async def attempt(self, trail: Trail, send: Callable[[], Awaitable[T]]) -> T:
        """Make one attempt; repeat it at once where its failure is not the row's."""
        while True:
            permit_at = await self._limiter.acquire(self._breaker.start)
            is_probe, is_answered = self._breaker.is_open, False
            was_in_doubt, trail.is_in_doubt = trail.is_in_doubt, True
            trail.started_at = self._wall_clock()
            self.in_flight.add(trail.worker)
            try:
                answer = await send()
            except RequestError as raised:
                error = self._as_outage(raised)
                is_answered = not isinstance(error, ConnectError)
                trail.is_in_doubt = was_in_doubt or _may_be_applied(trail, error)
                is_free = self._note_failure(trail, error, is_probe=is_probe)
                if not is_free or self.has_ended:
                    raise error from None
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
                self._limiter.release(permit_at, is_answered=is_answered)

    async def retry(self, trail: Trail, send: Callable[[], Awaitable[T]], first: RequestError) -> T:
        """Attempt again until the API has answered, or the attempts are used up."""
        return await self.retry_by(lambda: self.attempt(trail, send), first)

    async def retry_by(self, one_try: Callable[[], Awaitable[T]], first: RequestError) -> T:
        """Try again as ``retry`` does; what a try is decides the caller."""
        if not self._may_retry(first):
            raise first
        _choose_retry_hook()
        async for attempt in stamina.retry_context(
            on=lambda exc: self._may_retry(exc) and is_worth_retrying(exc),
            **self._policy.back_off(),
        ):
            with attempt:
                if attempt.num == 1:
                    # The first attempt was made outside: most rows need no back-off at all.
                    raise first
                return await one_try()
        raise InternalError("the back-off ended without an answer or an error")

    def _may_retry(self, error: Exception) -> bool:
        return not self.has_ended and isinstance(error, RequestError) and error.is_retryable

    async def last(self, send: Callable[[], Awaitable[T]]) -> T:
        """Make a single attempt after the end of a run; its result changes nothing else."""
        permit_at = await self._limiter.acquire()
        try:
            return await send()
        finally:
            self._limiter.release(permit_at, is_answered=False)

    def _as_outage(self, error: RequestError) -> RequestError:
        """Return what refused a request as an outage, once requests have succeeded."""
        if not isinstance(error, AccessError) or not self._breaker.has_succeeded:
            return error
        # Without a status there was no connection, so no row can be the cause.
        kind = TransientError if error.http_status else ConnectError
        return kind(
            str(error),
            code=error.code,
            http_status=error.http_status,
            request_id=error.request_id,
            retry_after_s=error.retry_after_s,
        )

    def _note_failure(self, trail: Trail, error: RequestError, *, is_probe: bool) -> bool:
        """Update breaker and pauses; return whether the attempt is free and is made again.

        It is free where its result says nothing about the row.
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
            if not isinstance(error, FatalError):
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
        # An error answer may be caused by the row, so it counts as an attempt even for a probe:
        # otherwise rows that always break the server would never get an outcome.
        is_free = trail.is_read or (error.may_be_applied and not trail.is_once)
        return is_connect or (is_probe and is_free)

    def _pause(self, error: ThrottledError, now: float) -> None:
        """Pause all requests after HTTP 429; stop the run where that lasts too long."""
        self.throttled += 1
        if not self._pauses_in_a_row:
            self._throttled_since = now
        elif now - self._throttled_since >= self._breaker.patience_s:
            message = "the quota stays exceeded by other clients of the account"
            self._stop(Stop(StopReason.OUTAGE, f"{message}: {error}"))
        is_new = now >= self._paused_until
        if not is_new and not error.retry_after_s:
            # Its request was in flight when the pause began, and it asks for nothing longer.
            return
        self._pauses_in_a_row += is_new
        jitter = random.random()  # noqa: S311  (spreads load, guards nothing)
        pause_s = self._policy.pause_s(error, max(1, self._pauses_in_a_row), jitter)
        self._paused_until = max(self._paused_until, now + pause_s)
        self._limiter.pause(pause_s)


def _may_be_applied(trail: Trail, error: RequestError) -> bool:
    """Return whether a request that failed may have been applied."""
    if not trail.is_once:
        return error.may_be_applied
    # A server may fail after it has added a comment.
    return error.is_retryable and not isinstance(error, (ConnectError, ThrottledError))


def _choose_retry_hook() -> None:
    """Let stamina log retries by the standard library, unless the program has chosen a hook.

    By default it uses structlog where that is installed, which prints to standard output.
    """
    # stamina has no public way to read the hooks without setting them permanently.
    config = getattr(getattr(stamina, "_config", None), "CONFIG", None)
    if getattr(config, "_on_retry", None) is None:
        set_on_retry_hooks([LoggingOnRetryHook])
