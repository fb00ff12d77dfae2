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
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol

from aiolimiter import AsyncLimiter

from bulk_reset.core.totals import Peak
from bulk_reset.quota.window_permits import WindowPermits
from bulk_reset.quota.windows import Window, ideal_s

_ANSWERS_FOR_CREDIT: Final = 100
"""More than there are connections: the first answer of each includes the time to connect."""
_CREDIT: Final = 0.75
"""The fraction of the shortest round trip taken as credit: the fastest way there and the fastest
way back may belong to different requests. With 0.9, simulated jitter led to a few rejections."""
_CLOCK_DRIFT: Final = 1e-4
"""Seconds per second by which two unsynchronised clocks may differ, with a margin."""
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
    """The permits that other runs of the account leave to this one.

    Attributes:
        waited_s: in which nothing could start.
        rejected: requests that exceeded the quota.
    """

    waited_s: float
    rejected: int

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
        self._permits = [WindowPermits(window, window.window_s, window.limit) for window in windows]
        self._ledger, self._share = ledger, share
        self._time: Callable[[], float] | None = None
        self._turn = asyncio.Lock()
        self._answer_seen = asyncio.Event()
        self._resume_at = 0.0
        self._shortest_s, self._credit_s = float("inf"), 0.0
        self._answers = 0
        self._has_credit = takes_credit
        self._allowance, self._shrunk_at, self._requests_at_shrink = 1.0, 0.0, 0
        self._ended = 0
        self.requests = 0
        self.waited_s: defaultdict[str, float] = defaultdict(float)
        narrow = min(windows, key=lambda window: window.window_s)
        per_s = narrow.limit / narrow.window_s
        burst = min(narrow.limit, max(_BURST, int(per_s * _LATE_S)))

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
            self._share.end(self._credit_s)
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
        self._credit_s = min(p.window.window_s - p.period_s for p in self._permits)

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
            waited_s = self._now() - now
            self.waited_s[cause] += waited_s
            if self._share is not None:
                self._share.waited_s += waited_s

    def pause(self, seconds: float) -> None:
        """Start no request for this time: the server reported that the quota is exceeded.

        Credit is given up, and more of the quota is left to other clients.
        """
        now = self._now()
        if self._share is not None:
            self._share.rejected += 1
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
