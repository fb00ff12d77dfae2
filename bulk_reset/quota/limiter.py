"""The limiter: a permit for each request, under every window of the account's quota.

Why not two rate limiters: a leaky bucket of n per T lets n through at once and n more while it
drains, up to twice the limit in one window. So each window (n requests in T seconds) has n
*permits*. A request takes one of each window; they return T after its *answer* arrived. The
server counted the request before it answered, so the next use of the permit reaches the server
at least T later: it never counts more than n in any T, sliding or fixed, whatever the latency
does. The one exception is a request that timed out here and reaches the server later still.

*Credit* is an estimate on top of that proof. No request is faster than the fastest way there plus
the fastest way back, and the shortest round trip so far comes close to their sum, so permits may
return that much earlier. Credit is taken after 100 answers, less a margin for clock drift, and
given up when the server reports that the quota is exceeded.

*Allowance* is for other clients of the account that this machine does not know of. A rejection
that the permits did not predict is caused by them: the fraction of the permits in use is
multiplied by 0.7, never below a tenth, and grows by a tenth per minute.

aiolimiter only spaces the starts evenly, so that requests are not sent in bursts.

State: the permits of a window are taken by ``Limiter.acquire``, one caller at a time in the order
of the calls, and returned once by ``Limiter.release``. The ledger counts every start and answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from bulk_reset.core.defaults import PACE, PER_MINUTE, PER_SECOND
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option_name
from bulk_reset.core.totals import Peak

_ANSWERS_FOR_CREDIT: Final = 100
"""More than there are connections: the first answer of each includes the time to connect."""
_CREDIT: Final = 0.75
"""The fraction of the shortest round trip taken as credit: the fastest way there and the fastest
way back may belong to different requests. With 0.9, simulated jitter led to a few rejections."""
_CLOCK_DRIFT: Final = 1e-4
"""Seconds per second by which two unsynchronised clocks may differ, with a margin."""
_MINUTE_S: Final = 60.0
_BURST: Final = 4
_LATE_S: Final = 0.02
"""A burst is ``_BURST`` starts, or those of ``_LATE_S`` seconds if that is more, to catch up when
the event loop was late."""


_SHRINK: Final = 0.7
_LEAST: Final = 0.1
_GROWTH_A_S: Final = 0.1 / 60
"""Additive increase, multiplicative decrease, as in TCP's congestion control. In a simulation with
another client that uses half of the quota, less than 1 % of the requests are rejected."""


class Ledger(Protocol):
    """Counts an account's requests, so that a later process knows of them."""

    def start(self) -> None:
        """Count a request that is about to start."""
        ...

    def answer(self) -> None:
        """Count a request that was answered or has failed."""
        ...


class Share(Protocol):
    """The permits that other runs of the account leave to this one."""

    def ask(self, wake: Callable[[], None], requests: int) -> None:
        """Ask the ledger for more, if there are few; ``wake`` is called when it has answered."""
        ...

    def delay(self) -> tuple[float, str] | None:
        """Return how long to wait for a permit, in seconds, and why; None if there is one."""
        ...

    def outlook(self) -> tuple[float, str]:
        """Return in how many seconds a permit may be free, and why not now; 0 if there is one."""
        ...

    def take(self) -> None:
        """Use a permit; call only when ``delay`` is None."""
        ...

    def end(self, credit_s: float) -> None:
        """Report a request that was answered or has failed."""
        ...

    def peaks(self) -> tuple[int, ...]:
        """Return the most requests of the account that counted in each window."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """A limit: up to ``limit`` requests in any ``window_s`` seconds."""

    limit: int
    window_s: float

    def __post_init__(self) -> None:
        if self.limit < 1 or self.window_s <= 0:
            raise InputError(
                f"quota of {self.limit} in {self.window_s:g} s: invalid. Use 1 request or more, in "
                "more than 0 s."
            )

    def __str__(self) -> str:
        if self.window_s == _MINUTE_S:
            return "minute window"
        return PACE if self.window_s <= 1 else f"{self.window_s:g} s window"


def windows_of(
    per_second: int = PER_SECOND, per_minute: int = PER_MINUTE, share: float = 1.0
) -> tuple[Window, ...]:
    """Return the account's windows, scaled to the share of them that this run may use.

    Raises:
        InputError: a limit below 1, or a share that is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise InputError(
            f"{option_name('share')} {share:g}: out of range. Use more than 0 and up to 1."
        )
    if per_second < 1 or per_minute < 1:
        names = f"{option_name('per_second')}, {option_name('per_minute')}"
        raise InputError(f"{names}: too small. Use 1 or more.")
    return (
        Window(max(1, int(per_second * share)), 1.0),
        Window(max(1, int(per_minute * share)), 60.0),
    )


def ideal_s(requests: int, windows: tuple[Window, ...]) -> float:
    """Return the shortest time from the first to the last start, in seconds, with a full quota."""
    *wide, narrow = sorted(windows, key=lambda window: window.window_s, reverse=True)
    spacing_s = narrow.window_s / narrow.limit
    left, seconds = max(0, requests - 1), 0.0
    for window in wide:
        full, left = divmod(left, window.limit)
        seconds += full * max(window.window_s, window.limit * spacing_s)
    return seconds + left * spacing_s


@dataclass(slots=True)
class _Permits:
    """The permits of one window."""

    window: Window
    period_s: float
    """How long after the answer a permit returns: the window, less the credit."""
    unused: int
    withheld: int = 0
    """Permits left to other clients of the account for now."""
    remembered_until: float = float("-inf")
    """Until then, permits of an earlier run may be in use. Whether all its requests were answered
    is unknown, so no credit is taken on them."""
    answered: deque[float] = field(default_factory=deque)
    """When the requests whose permits have not returned yet were answered, oldest first."""
    started: deque[float] = field(default_factory=deque)
    """The starts within the last window, to know the peak."""
    peak: int = 0

    def wait_s(self, now: float) -> float | None:
        """Return how long until a permit is free; None: until a request is answered."""
        is_sure = now >= self.remembered_until
        answered, over = self.answered, now - (self.period_s if is_sure else self.window.window_s)
        while answered and answered[0] <= over:
            answered.popleft()
            self.unused += 1
        missing = self.withheld + 1 - self.unused
        if missing <= 0:
            return 0.0
        if missing > len(answered):
            return None
        return answered[missing - 1] - over

    def acquire(self, now: float) -> None:
        """Use a permit; call only when ``wait_s`` is 0."""
        self.unused -= 1
        started, over = self.started, now - self.window.window_s
        started.append(now)
        while started[0] <= over:
            started.popleft()
        self.peak = max(self.peak, len(started))

    def left_s(self, requests: int, now: float) -> float:
        """Return the seconds until this number of requests can have started."""
        beyond = requests + self.withheld - self.unused
        if beyond <= 0:
            return 0.0
        rounds, place = divmod(beyond - 1, self.window.limit - self.withheld)
        answered_at = self.answered[place] if place < len(self.answered) else now
        return max(0.0, answered_at + self.period_s - now) + rounds * self.period_s


def _open(_now: float) -> float:
    return 0.0


class Limiter:
    """The quota of one account, as far as this process uses it.

    Times are those of the running event loop's clock.

    Args:
        ledger: counts every start and answer.
        share: what other runs of the account leave to this one; None for all.
        takes_credit: whether to take credit; without it, only the proof is relied on.

    Attributes:
        requests: how many were started.
        waited_s: cause -> seconds in which nothing could start because of it.
    """

    def __init__(
        self,
        windows: tuple[Window, ...],
        *,
        ledger: Ledger | None = None,
        share: Share | None = None,
        takes_credit: bool = True,
    ) -> None:
        self.windows = windows
        self._permits = [_Permits(window, window.window_s, window.limit) for window in windows]
        self._ledger, self._share = ledger, share
        self._time: Callable[[], float] | None = None
        self._turn = asyncio.Lock()
        self._answer_seen = asyncio.Event()
        self._resume_at = 0.0
        self._shortest_s = float("inf")
        self._answers = 0
        self._has_credit = takes_credit
        self._allowance, self._shrunk_at, self._requests_at_shrink = 1.0, 0.0, 0
        self._ended = 0
        self.requests = 0
        self.waited_s: defaultdict[str, float] = defaultdict(float)
        narrow = min(windows, key=lambda window: window.window_s)
        per_s = narrow.limit / narrow.window_s
        burst = min(narrow.limit, max(_BURST, int(per_s * _LATE_S)))
        from aiolimiter import AsyncLimiter  # noqa: PLC0415  (a check needs no limiter)

        self._pacer = AsyncLimiter(burst, burst / per_s)

    def __repr__(self) -> str:
        free = ", ".join(f"{p.unused}/{p.window.limit} unused" for p in self._permits)
        return (
            f"<Limiter {free}, {self.requests} requests, allowance {self._allowance:.2f}, "
            f"permits return after {self._permits[0].period_s:.4f} s>"
        )

    def _now(self) -> float:
        if self._time is None:
            # Looked up once: it costs a system call each time (Python 3.11). uvloop's clock does
            # not advance during an iteration of the loop, so answers would seem too early.
            loop = asyncio.get_running_loop()
            is_exact = isinstance(loop, asyncio.BaseEventLoop)
            self._time = loop.time if is_exact else time.monotonic
        return self._time()

    @asynccontextmanager
    async def permit(self) -> AsyncIterator[None]:
        """Hold a permit for one request, from before its start to its answer."""
        started_at = await self.acquire()
        is_answered = False
        try:
            yield
            is_answered = True
        finally:
            self.release(started_at, is_answered=is_answered)

    async def acquire(self, gate: Callable[[float], float] = _open) -> float:
        """Wait for a permit to start one request; call ``release`` afterwards in any case.

        Args:
            gate: called last, with the time; returns 0 to start the request at once, else the
                seconds after which to call it again. It is also called after every answer.

        Returns: when the permit was acquired, for ``release``.
        """
        async with self._turn:
            await self._pacer.acquire()
            now = self._now()
            while (delay := self._ask_and_delay(now, gate)) is not None:
                await self._wait(*delay, now)
                now = self._now()
            # No wait since the time was read, so the permits are still free.
            for permits in self._permits:
                permits.acquire(now)
            if self._share is not None:
                self._share.take()
            self.requests += 1
            if self._ledger is not None:
                self._ledger.start()
        return now

    def release(self, started_at: float, *, is_answered: bool) -> None:
        """Return a permit, once: it can be used again a whole window later.

        Also after a failure or a cancellation, because the server may have counted the request.

        Args:
            is_answered: whether the server answered, so that the elapsed time is a round trip.
        """
        answered_at = self._now()
        for permits in self._permits:
            permits.answered.append(answered_at)
        if self._ledger is not None:
            self._ledger.answer()
        if self._share is not None:
            self._share.end(min(p.window.window_s - p.period_s for p in self._permits))
        self._answer_seen.set()
        self._ended += 1
        if is_answered:
            self._answers += 1
            if answered_at - started_at < self._shortest_s or self._answers == _ANSWERS_FOR_CREDIT:
                self._shortest_s = min(self._shortest_s, answered_at - started_at)
                self._set_periods()

    def _set_periods(self) -> None:
        has_credit = self._has_credit and self._answers >= _ANSWERS_FOR_CREDIT
        for permits in self._permits:
            window_s = permits.window.window_s
            credit_s = _CREDIT * self._shortest_s - _CLOCK_DRIFT * window_s
            permits.period_s = window_s - max(0.0, credit_s) if has_credit else window_s

    def _ask_and_delay(
        self, now: float, gate: Callable[[float], float]
    ) -> tuple[float | None, str] | None:
        if self._share is not None:
            self._share.ask(self._answer_seen.set, self.requests)
        return self._delay(now, gate)

    def _delay(
        self, now: float, gate: Callable[[float], float] = _open
    ) -> tuple[float | None, str] | None:
        """Return how long the next request waits (None: until an answer), and the cause."""
        if self._allowance < 1.0:
            self._withhold(now)
        longest, cause = self._resume_at - now, "pause requested by the API"
        for permits in self._permits:
            wait_s = permits.wait_s(now)
            if wait_s is None:
                return None, "answers of the API"
            if wait_s and wait_s > longest:
                longest, cause = wait_s, str(permits.window)
        if longest > 0:
            return longest, cause
        if self._share is not None and (shared := self._share.delay()) is not None:
            return shared
        wait_s = gate(now)
        return (wait_s, "API unavailable") if wait_s else None

    async def _wait(self, wait_s: float | None, cause: str, now: float) -> None:
        self._answer_seen.clear()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._answer_seen.wait()
        finally:
            self.waited_s[cause] += self._now() - now

    def pause(self, seconds: float) -> None:
        """Start no request for this time: the server reported that the quota is exceeded.

        Credit is given up, and more of the quota is left to other clients.
        """
        now = self._now()
        # Rejections of requests that were in flight at the last one are the same event.
        if self._ended >= self._requests_at_shrink:
            self._allowance = max(_LEAST, _SHRINK * self._allowance_at(now))
            self._shrunk_at, self._requests_at_shrink = now, self.requests
        self._resume_at = max(self._resume_at, now + seconds)
        self._has_credit = False
        self._set_periods()

    def _allowance_at(self, now: float) -> float:
        return min(1.0, self._allowance + _GROWTH_A_S * (now - self._shrunk_at))

    def _withhold(self, now: float) -> None:
        """Leave a fraction of the permits to other clients; it shrinks over time."""
        allowance = self._allowance_at(now)
        if allowance == 1.0:
            self._allowance = 1.0
        for permits in self._permits:
            limit = permits.window.limit
            permits.withheld = limit - max(1, int(limit * allowance))

    @property
    def longest_window_s(self) -> float:
        """How long a request counts, in seconds."""
        return max(window.window_s for window in self.windows)

    def remember(self, ages_s: list[float]) -> None:
        """Count requests of an earlier run, answered this many seconds ago, as used."""
        now = self._now()
        for permits in self._permits:
            recent = sorted((a for a in ages_s if a < permits.window.window_s), reverse=True)
            for age_s in recent[-permits.unused :] if permits.unused else ():
                permits.unused -= 1
                permits.answered.append(now - max(0.0, age_s))
                permits.remembered_until = now + permits.window.window_s

    def left_s(self, requests: int) -> float:
        """Return the shortest time until this number of requests can have started, in seconds."""
        now = self._now()
        self._withhold(now)
        paused_s = max(0.0, self._resume_at - now)
        paced_s = ideal_s(requests, self.windows[:1])
        shared_s = self._share.outlook()[0] if self._share is not None else 0.0
        return paused_s + max(shared_s, paced_s, *(p.left_s(requests, now) for p in self._permits))

    def waiting_for(self) -> str:
        """Return what delays the next request by more than a second; empty if nothing does."""
        wait_s, cause = self._delay(self._now()) or (0.0, "")
        if self._share is not None and wait_s is not None:
            wait_s, cause = max((wait_s, cause), self._share.outlook())
        return f"{cause}: {wait_s:.0f} s" if wait_s is not None and wait_s > 1 else ""

    def peaks(self) -> tuple[Peak, ...]:
        """Return the most requests started within each window so far."""
        of_account = self._share.peaks() if self._share is not None else (0,) * len(self._permits)
        return tuple(
            Peak(p.window.window_s, p.window.limit, max(p.peak, peak))
            for p, peak in zip(self._permits, of_account, strict=True)
        )
