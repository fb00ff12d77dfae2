"""A clock that jumps: an event loop whose waits take no time, and servers that live in it.

The clock moves to the next timer when there is nothing else to do, and a little at every turn:
with one that stands still, a leaky bucket of capacity 1 can wake itself for ever, because
rounding leaves 1e-16 in it.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from bulk_reset.client import Answer
from bulk_reset.errors import ThrottledError

T = TypeVar("T")
_TURN_S = 1e-7


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for the timeout, moves the clock there."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Look for events without waiting; a wait without end would be a deadlock."""
        events = super().select(0)
        if events:
            return events
        if timeout is None:
            raise AssertionError("nothing is left that could wake anybody")
        self.now += max(timeout, _TURN_S)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a virtual clock that starts at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual seconds."""
        return self._jumping.now


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a virtual clock."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class StrictSliding:
    """Admits a request if fewer than ``limit`` were admitted in the window before it."""

    def __init__(self, limit: int, window_s: float) -> None:
        self._limit, self._window_s = limit, window_s
        self._admitted: deque[float] = deque()

    def has_room(self, now: float) -> bool:
        """Tell whether one more is within the limit."""
        while self._admitted and self._admitted[0] <= now - self._window_s:
            self._admitted.popleft()
        return len(self._admitted) < self._limit

    def admit(self, now: float) -> None:
        """Count one."""
        self._admitted.append(now)


class StrictFixed:
    """Admits so many requests in each window of the server's own calendar."""

    def __init__(self, limit: int, window_s: float, offset_s: float = 0.0) -> None:
        self._limit, self._window_s, self._offset_s = limit, window_s, offset_s
        self._current, self._admitted = -1, 0

    def has_room(self, now: float) -> bool:
        """Tell whether one more is within the limit."""
        current = int((now + self._offset_s) // self._window_s)
        if current != self._current:
            self._current, self._admitted = current, 0
        return self._admitted < self._limit

    def admit(self, now: float) -> None:
        """Count one."""
        assert self.has_room(now)
        self._admitted += 1


class FarServer:
    """An API some way off that counts strictly; every method call is a request.

    Attributes:
        admitted, rejected: how many requests were within and over its limits.
        bodies: what was applied, in order.
    """

    def __init__(
        self, counters: list[StrictSliding | StrictFixed], one_way_s: Callable[[], float]
    ) -> None:
        self._counters, self._one_way_s = counters, one_way_s
        self.admitted = self.rejected = 0
        self.bodies: list[bytes] = []

    async def reset(self, body: bytes) -> Answer:
        """Travel there, be counted, travel back."""
        await asyncio.sleep(self._one_way_s())
        now = asyncio.get_running_loop().time()
        is_admitted = all(counter.has_room(now) for counter in self._counters)
        if is_admitted:
            for counter in self._counters:
                counter.admit(now)
            self.admitted += 1
            self.bodies.append(body)
        else:
            self.rejected += 1
        await asyncio.sleep(self._one_way_s())
        if not is_admitted:
            raise ThrottledError("too many", code="RequestTooFrequently", http_status=429)
        return Answer(200, "request", None)


def lognormal(round_trip_s: float, sigma: float, seed: int) -> Callable[[], float]:
    """Return a source of one-way delays around half the round trip."""
    chance = random.Random(seed)  # noqa: S311  (repeatable, not secret)
    return lambda: round_trip_s / 2 * chance.lognormvariate(0, sigma)
