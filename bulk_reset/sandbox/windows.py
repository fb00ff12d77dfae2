"""The quota, counted strictly, and the peaks of what arrived whether admitted or not.

Plain objects: time comes in as an argument and nothing waits here. ``now`` and ``*_s`` are
seconds of one clock that never goes back.

How the API counts its windows is not published, so both usual ways are here. A client that
is right under one of them only is caught by the other.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol


class Window(Protocol):
    """A limit of so many admitted requests in so many seconds."""

    def wait_s(self, now: float) -> float:
        """Return 0.0 if a request may be admitted at ``now``, else the seconds until it may."""

    def count(self, now: float) -> None:
        """Count a request as admitted at ``now``; only where ``wait_s`` is 0.0."""


class SlidingWindow:
    """Admits a request iff fewer than ``limit`` were admitted in the ``period_s`` before it.

    Attributes:
        limit: requests, at least 1.
        period_s: seconds; a request admitted exactly that long ago counts no more.
    """

    def __init__(self, limit: int, period_s: float) -> None:
        self.limit, self.period_s = limit, period_s
        # The last ``limit`` admissions are enough: the oldest of them decides.
        self._admitted_at: deque[float] = deque(maxlen=limit)

    def __repr__(self) -> str:
        return f"<SlidingWindow {self.limit} in {self.period_s} s>"

    def wait_s(self, now: float) -> float:
        """Return the seconds until the oldest admission leaves the window, 0.0 if there is room."""
        if len(self._admitted_at) < self.limit:
            return 0.0
        return max(0.0, self._admitted_at[0] + self.period_s - now)

    def count(self, now: float) -> None:
        """Count a request as admitted at ``now``."""
        self._admitted_at.append(now)


class FixedWindow:
    """Admits ``limit`` requests in each stretch of ``period_s``, aligned to the clock's zero.

    Attributes:
        limit: requests, at least 1.
        period_s: seconds.
    """

    def __init__(self, limit: int, period_s: float) -> None:
        self.limit, self.period_s = limit, period_s
        self._stretch = -1.0
        self._admitted = 0

    def __repr__(self) -> str:
        return f"<FixedWindow {self._admitted} of {self.limit} in {self.period_s} s>"

    def wait_s(self, now: float) -> float:
        """Return the seconds until the next stretch begins, 0.0 if there is room in this one."""
        if now // self.period_s != self._stretch or self._admitted < self.limit:
            return 0.0
        return (self._stretch + 1) * self.period_s - now

    def count(self, now: float) -> None:
        """Count a request as admitted at ``now``."""
        stretch = now // self.period_s
        if stretch != self._stretch:
            self._stretch, self._admitted = stretch, 0
        self._admitted += 1


class Quota:
    """Several windows at once: a request needs room in all of them."""

    def __init__(self, *windows: Window) -> None:
        self._windows = windows

    def __repr__(self) -> str:
        return f"<Quota {self._windows}>"

    def admit(self, now: float) -> float:
        """Admit a request, or say how long it has to wait.

        Returns:
            0.0 and the request is counted in every window; or the seconds until every
            window has room again, and it is counted in none.
        """
        wait_s = max(window.wait_s(now) for window in self._windows)
        if wait_s == 0:
            for window in self._windows:
                window.count(now)
        return wait_s


class Peak:
    """The most events seen in any ``period_s`` seconds: a measurement, with no limit in it.

    Attributes:
        period_s: seconds.
        most: events in the fullest window so far.
    """

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self.most = 0
        self._seen_at: deque[float] = deque()

    def __repr__(self) -> str:
        return f"<Peak {self.most} in {self.period_s} s>"

    def record(self, now: float) -> None:
        """Count an event at ``now``."""
        self._seen_at.append(now)
        while self._seen_at[0] + self.period_s <= now:
            self._seen_at.popleft()
        self.most = max(self.most, len(self._seen_at))
