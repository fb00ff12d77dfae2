"""Is the API sick? Then one probe at a time, and in the end stop, with the rows pending.

Without it, every row of a long sheet would spend its attempts on an outage of minutes.
Pure: no clock is read and nothing waits; times are arguments, seconds of any one clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

THRESHOLD_ROWS: Final = 10
"""So many different rows in a row without one success open the breaker."""
_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 30.0


@dataclass(slots=True)
class CircuitBreaker:
    """Closed: everybody starts. Open: one probe at a time, the waits between growing.

    Attributes:
        patience_s: how long it may be open before the run should stop.
        patience_at_start_s: the same while nothing has ever succeeded, when a wrong address
            is likelier than an outage.
    """

    patience_s: float = 900.0
    patience_at_start_s: float = 30.0
    _rows: set[int] = field(default_factory=set)
    _opened_at: float | None = None
    _probe_at: float = 0.0
    _wait_s: float = _FIRST_WAIT_S
    _is_probing: bool = False
    _has_succeeded: bool = False
    last_error: str = ""

    @property
    def is_open(self) -> bool:
        """Whether only probes may start."""
        return self._opened_at is not None

    def start(self, now: float) -> float:
        """Ask to start a request; 0 is leave, else the seconds after which to ask again.

        While open, leave is for one probe: report how it went before the next may start.
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
        """The API answered as it should (a refusal of a row is such an answer)."""
        self._rows.clear()
        self._opened_at, self._wait_s, self._is_probing = None, _FIRST_WAIT_S, False
        self._has_succeeded = True

    def failure(
        self, now: float, row_number: int, error: str, *, is_certain: bool, is_probe: bool = False
    ) -> None:
        """An attempt failed through no fault of the row, as far as one can tell.

        Args:
            is_certain: the API could not be reached at all; one such failure opens.
            is_probe: the attempt was started while open.
        """
        self.last_error = error
        is_first_of_row = row_number not in self._rows
        self._rows.add(row_number)
        if self._opened_at is not None:
            # A late failure of a request from before the outage tells nothing new.
            if is_probe:
                self._is_probing = False
                # Rows that only fail at first must not be what the waits grow by.
                if not is_first_of_row:
                    self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)
                self._probe_at = now + self._wait_s
        elif is_certain or len(self._rows) >= THRESHOLD_ROWS:
            self._opened_at = now
            self._probe_at = now + self._wait_s

    def abandon_probe(self) -> None:
        """The probe was cancelled or told nothing; another may start."""
        self._is_probing = False

    def is_hopeless(self, now: float) -> bool:
        """Whether it has been open for longer than the patience lasts."""
        if self._opened_at is None:
            return False
        patience_s = self.patience_s
        if not self._has_succeeded:
            patience_s = min(patience_s, self.patience_at_start_s)
        return now - self._opened_at >= patience_s
