"""The permits of one window: a request takes one, and it returns a window after the answer.

State: changed by the limiter alone, which reads the clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from bulk_reset.quota.windows import Window


@dataclass(slots=True)
class WindowPermits:
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
