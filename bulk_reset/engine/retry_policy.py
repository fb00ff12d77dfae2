"""When a row is worth another attempt, and how long to wait before it.

Decisions and options only: stamina does the waiting (exponential, with jitter, capped).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypedDict

from bulk_reset.core.errors import InputError, RequestError, ThrottledError

MAX_PAUSE_S: Final = 300.0
"""The longest wait that a server's Retry-After is followed for; the windows are a minute."""


class BackOff(TypedDict):
    """Keyword arguments of ``stamina.retry_context``."""

    attempts: int
    timeout: None
    wait_initial: float
    wait_max: float
    wait_jitter: float


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a row is tried, and how patiently.

    Attributes:
        attempts: how often at most, the first one included.
        first_wait_s: before the second attempt; doubled before each further one.
        longest_wait_s: the cap of the doubling.
        jitter_s: up to so much is added, so that rows do not come back all at once.
    """

    attempts: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 30.0
    jitter_s: float = 1.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InputError(f"--attempts {self.attempts}: must be 1 or more.")

    def back_off(self) -> BackOff:
        """Return the arguments for stamina."""
        return BackOff(
            attempts=self.attempts,
            timeout=None,
            wait_initial=self.first_wait_s,
            wait_max=self.longest_wait_s,
            wait_jitter=self.jitter_s,
        )

    def pause_s(self, error: ThrottledError, times_in_a_row: int, jitter: float) -> float:
        """Return how long everybody waits after a 429.

        Args:
            times_in_a_row: pauses since the last success, this one included.
            jitter: chance, 0 to 1.
        """
        if error.retry_after_s is not None and error.retry_after_s > 0:
            # The server knows its own windows: never undercut its answer.
            return min(error.retry_after_s, MAX_PAUSE_S)
        doubled = self.first_wait_s * 2.0 ** min(times_in_a_row - 1, 10)
        return min(self.longest_wait_s, doubled + jitter * self.jitter_s)


def is_worth_retrying(error: Exception) -> bool | float:
    """Tell stamina whether to try again; a number is the wait in seconds the server asked for."""
    if not isinstance(error, RequestError) or not error.is_retryable:
        return False
    if error.retry_after_s is not None:
        return min(max(error.retry_after_s, 0.0), MAX_PAUSE_S)
    return True
