"""The circuit breaker: during an outage one probe at a time, then stop, with rows pending.

Without it, every row of a long sheet would use up its attempts during an outage of minutes.
Pure: no clock is read and nothing waits; times are arguments, seconds of any one clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from bulk_reset.core.defaults import PATIENCE_S

THRESHOLD_ROWS: Final = 10
"""Failures of so many different rows without one success in between open the breaker."""
_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 30.0


@dataclass(slots=True)
class CircuitBreaker:
    """Closed: all requests may start. Open: one probe at a time, with growing waits.

    Attributes:
        patience_s: how long it may be open before the run stops.
        patience_at_start_s: the same while nothing has succeeded yet: then a wrong address is
            more likely than an outage.
        has_succeeded: whether the API has answered a request so far.
    """

    patience_s: float = PATIENCE_S
    patience_at_start_s: float = 30.0
    _rows: set[int] = field(default_factory=set)
    _opened_at: float | None = None
    _probe_at: float = 0.0
    _wait_s: float = _FIRST_WAIT_S
    _is_probing: bool = False
    has_succeeded: bool = False
    last_error: str = ""

    @property
    def is_open(self) -> bool:
        """Whether only probes may start."""
        return self._opened_at is not None

    def start(self, now: float) -> float:
        """Return 0 where a request may start, else the seconds after which to ask again.

        While open, one probe may start; the next one only after its result was reported.
        """
        if self._opened_at is None:
            return 0.0
        if self._is_probing:
            return _LONGEST_WAIT_S
        if now < self._probe_at:
            return self._probe_at - now
        self._is_probing = True
        return 0.0

    def success(self) -> None:
        """Note that the API works (rejecting a row is working, too)."""
        self._rows.clear()
        self._opened_at, self._wait_s, self._is_probing = None, _FIRST_WAIT_S, False
        self.has_succeeded = True

    def failure(
        self, now: float, row_number: int, error: str, *, is_certain: bool, is_probe: bool = False
    ) -> None:
        """Note an attempt that failed, probably not because of its row.

        Args:
            is_certain: the API could not be reached at all; one such failure opens the breaker.
            is_probe: the attempt was started while the breaker was open.
        """
        self.last_error = error
        is_first_of_row = row_number not in self._rows
        self._rows.add(row_number)
        if self._opened_at is not None:
            # A late failure of a request from before the outage adds nothing.
            if is_probe:
                self._is_probing = False
                # The waits must not grow because of rows that only fail at first.
                if not is_first_of_row:
                    self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)
                self._probe_at = now + self._wait_s
        elif is_certain or len(self._rows) >= THRESHOLD_ROWS:
            self._opened_at = now
            self._probe_at = now + self._wait_s

    def abandon_probe(self) -> None:
        """Note that the probe was cancelled or had no result; another may start."""
        self._is_probing = False

    def is_hopeless(self, now: float) -> bool:
        """Return whether it has been open for longer than the patience."""
        if self._opened_at is None:
            return False
        patience_s = self.patience_s
        if not self.has_succeeded:
            patience_s = min(patience_s, self.patience_at_start_s)
        return now - self._opened_at >= patience_s
