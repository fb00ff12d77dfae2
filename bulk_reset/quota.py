"""Leave to start one request, under every window of the account's quota.

Why not two rate limiters: a leaky bucket of n a T lets n through at once and n more while it
drains, up to twice the limit in one window. So each window (n requests in T seconds) has n
*permits*. A request takes one of each; they come back T after its *answer* was seen. The
server counted the request before it answered, so the next use of the permit reaches the
server at least T later: it never counts more than n in any T, sliding or fixed, whatever
the latency does.

*Credit* is an estimate on top of that proof. No request is faster than the smallest way out
plus the smallest way back, and the smallest round trip seen comes close to their sum, so a
permit may come back that much earlier. It is taken after 20 answers, less a margin for
clocks that do not run alike, and given up when the server says that the quota is used up.

aiolimiter only spaces the starts evenly, so that requests do not go out in bursts.

State, and who may touch it: the permits of a window are taken by ``Quota.permit`` while it
holds the turn, one caller at a time in order of asking, and given back once by the same.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from aiolimiter import AsyncLimiter

from bulk_reset.errors import InputError
from bulk_reset.model import PER_MINUTE, PER_SECOND, Peak

_ANSWERS_BEFORE_CREDIT: Final = 20
_CREDIT: Final = 0.75
"""The part of the smallest round trip that is taken as credit: the smallest ways out and back
need not have met in one request. With 0.9, simulated jitter led to a few rejections."""
_CLOCK_DRIFT: Final = 1e-4
"""Seconds a second that two undisciplined clocks may differ, generously."""
_BURST: Final = 4
_LATE_S: Final = 0.02
"""Starts that may follow each other at once, or what falls due in so many seconds if that is
more: it catches up what the event loop was late."""


@dataclass(frozen=True, slots=True)
class Window:
    """A limit: at most ``limit`` requests in any ``window_s`` seconds."""

    limit: int
    window_s: float

    def __post_init__(self) -> None:
        if self.limit < 1 or self.window_s <= 0:
            raise InputError(f"quota of {self.limit} in {self.window_s:g} s: must be 1 or more.")


def windows_of(
    per_second: int = PER_SECOND, per_minute: int = PER_MINUTE, share: float = 1.0
) -> tuple[Window, ...]:
    """Return the account's windows, scaled to the share of them that this run may use.

    Raises:
        InputError: a limit below 1, or a share that is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise InputError(f"--share {share:g}: must be more than 0 and at most 1.")
    if per_second < 1 or per_minute < 1:
        raise InputError("--per-second, --per-minute: must be 1 or more.")
    return (
        Window(max(1, int(per_second * share)), 1.0),
        Window(max(1, int(per_minute * share)), 60.0),
    )


def ideal_s(requests: int, windows: tuple[Window, ...]) -> float:
    """Return the seconds between the first and the last start, at best, from a fresh quota."""
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
    unused: int
    answered: deque[float] = field(default_factory=deque)
    """When the requests whose permits have not come back yet were answered, oldest first."""
    started: deque[float] = field(default_factory=deque)
    """The starts within the last window, to know the peak."""
    peak: int = 0

    def wait_s(self, now: float, credit_s: float) -> float | None:
        """Return how long until a permit is there; None: until some request is answered."""
        if self.unused:
            return 0.0
        if not self.answered:
            return None
        return max(0.0, self.answered[0] + self.window.window_s - credit_s - now)

    def take(self, now: float) -> None:
        """Use a permit; call only when ``wait_s`` is 0."""
        if self.unused:
            self.unused -= 1
        else:
            self.answered.popleft()
        self.started.append(now)
        while self.started[0] <= now - self.window.window_s:
            self.started.popleft()
        self.peak = max(self.peak, len(self.started))

    def left_s(self, requests: int, now: float, credit_s: float) -> float:
        """Return the seconds until so many more requests can have started."""
        beyond = requests - self.unused
        if beyond <= 0:
            return 0.0
        period_s = self.window.window_s - credit_s
        rounds, place = divmod(beyond - 1, self.window.limit)
        answered_at = self.answered[place] if place < len(self.answered) else now
        return max(0.0, answered_at + period_s - now) + rounds * period_s


class Quota:
    """The quota of one account, as far as this process uses it.

    Times are those of the running event loop's clock.
    """

    def __init__(self, windows: tuple[Window, ...]) -> None:
        self.windows = windows
        self._permits = [_Permits(window, window.limit) for window in windows]
        self._turn = asyncio.Lock()
        self._answer_seen = asyncio.Event()
        self._resume_at = 0.0
        self._shortest_s = float("inf")
        self._answers = 0
        self._has_credit = True
        self.requests = 0
        narrow = min(windows, key=lambda window: window.window_s)
        per_s = narrow.limit / narrow.window_s
        burst = min(narrow.limit, max(_BURST, int(per_s * _LATE_S)))
        self._pacer = AsyncLimiter(burst, burst / per_s)

    def __repr__(self) -> str:
        free = ", ".join(f"{p.unused}/{p.window.limit} unused" for p in self._permits)
        return f"<Quota {free}, {self.requests} requests, credit {self._credit_s(1):.4f} s>"

    @asynccontextmanager
    async def permit(self, gate: Callable[[float], float] = lambda _: 0.0) -> AsyncIterator[None]:
        """Hold leave for one request: enter before it starts, leave when it was answered.

        However the body ends, by a failure or a cancellation too, the permit counts as used
        until a whole window later, because the server may have counted the request.

        Args:
            gate: asked last, with the time; 0 lets the request start at once, else the
                seconds after which to ask again. It is asked again after every answer, too.
        """
        loop = asyncio.get_running_loop()
        async with self._turn:
            await self._pacer.acquire()
            while (wait_s := self._wait_s(gate)) != 0:
                self._answer_seen.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._answer_seen.wait()
            # No wait from here on: what was free a moment ago is still free.
            started_at = loop.time()
            for permits in self._permits:
                permits.take(started_at)
            self.requests += 1
        is_answered = False
        try:
            yield
            is_answered = True
        finally:
            answered_at = loop.time()
            for permits in self._permits:
                permits.answered.append(answered_at)
            self._answer_seen.set()
            if is_answered:
                self._answers += 1
                self._shortest_s = min(self._shortest_s, answered_at - started_at)

    def _wait_s(self, gate: Callable[[float], float]) -> float | None:
        """Return how long the next request has to wait; None: until an answer comes."""
        now = asyncio.get_running_loop().time()
        longest = max(0.0, self._resume_at - now)
        for permits in self._permits:
            wait_s = permits.wait_s(now, self._credit_s(permits.window.window_s))
            if wait_s is None:
                return None
            longest = max(longest, wait_s)
        return longest or gate(now)

    def _credit_s(self, window_s: float) -> float:
        if not self._has_credit or self._answers < _ANSWERS_BEFORE_CREDIT:
            return 0.0
        return max(0.0, _CREDIT * self._shortest_s - _CLOCK_DRIFT * window_s)

    def pause(self, seconds: float) -> None:
        """Let nothing start for so long, and trust the estimate of the latency no more."""
        now = asyncio.get_running_loop().time()
        self._resume_at = max(self._resume_at, now + seconds)
        self._has_credit = False

    @property
    def longest_window_s(self) -> float:
        """How long a request counts."""
        return max(window.window_s for window in self.windows)

    def remember(self, ages_s: list[float]) -> None:
        """Count requests of an earlier run, answered so many seconds ago, as used."""
        now = asyncio.get_running_loop().time()
        for permits in self._permits:
            recent = sorted((a for a in ages_s if a < permits.window.window_s), reverse=True)
            for age_s in recent[-permits.unused :] if permits.unused else ():
                permits.unused -= 1
                permits.answered.append(now - max(0.0, age_s))

    def left_s(self, requests: int) -> float:
        """Return the seconds until so many more requests can have started, at best."""
        now = asyncio.get_running_loop().time()
        paused_s = max(0.0, self._resume_at - now)
        paced_s = ideal_s(requests, self.windows[:1])
        return paused_s + max(
            paced_s,
            *(p.left_s(requests, now, self._credit_s(p.window.window_s)) for p in self._permits),
        )

    def waiting_for(self) -> str:
        """Say what holds the next request back for more than a second, or nothing."""
        now = asyncio.get_running_loop().time()
        if self._resume_at - now > 1:
            return f"pause the API asked for: {self._resume_at - now:.0f} s"
        for permits in self._permits:
            wait_s = permits.wait_s(now, 0.0)
            if wait_s is not None and wait_s > 1:
                name = {60.0: "minute"}.get(permits.window.window_s)
                spoken = f"{name} window" if name else f"{permits.window.window_s:g} s window"
                return f"{spoken}: {wait_s:.0f} s"
        return ""

    def peaks(self) -> tuple[Peak, ...]:
        """Return the most requests started within each window so far."""
        return tuple(Peak(p.window.window_s, p.window.limit, p.peak) for p in self._permits)
