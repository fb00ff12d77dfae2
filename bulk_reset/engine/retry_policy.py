"""When a request is retried, and after which wait.

Decisions only: stamina does the waiting (exponential, with jitter, capped).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypedDict

from bulk_reset.core.errors import InputError, RequestError, ThrottledError
from bulk_reset.core.option_names import option

MAX_PAUSE_S: Final = 300.0
"""The longest Retry-After that is honoured; the longest window is a minute."""


class BackOff(TypedDict):
    """Keyword arguments of ``stamina.retry_context``."""

    attempts: int
    timeout: None
    wait_initial: float
    wait_max: float
    wait_jitter: float


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is sent, and how long the waits in between are.

    Attributes:
        attempts: up to so many, the first one included.
        first_wait_s: before the second attempt; doubled before each later one.
        longest_wait_s: the cap of the doubling.
        jitter_s: up to so much is added at random, so that rows are not retried all at once.
    """

    attempts: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 30.0
    jitter_s: float = 1.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InputError(f"{option('attempts', self.attempts)}: must be 1 or more.")

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
        """Return how long all requests wait after HTTP 429.

        Args:
            times_in_a_row: pauses since the last success, this one included.
            jitter: a random number, 0 to 1.
        """
        if error.retry_after_s is not None and error.retry_after_s > 0:
            # The server knows its own windows: never wait for less.
            return min(error.retry_after_s, MAX_PAUSE_S)
        doubled = self.first_wait_s * 2.0 ** min(times_in_a_row - 1, 10)
        return min(self.longest_wait_s, doubled + jitter * self.jitter_s)


def is_worth_retrying(error: Exception) -> bool | float:
    """Return for stamina whether to retry, or the wait in seconds that the server asked for."""
    if not isinstance(error, RequestError) or not error.is_retryable:
        return False
    # Zero, or a time that has passed, is no wait to rely on: the back-off stays.
    retry_after_s = error.retry_after_s or 0.0
    return min(retry_after_s, MAX_PAUSE_S) if retry_after_s > 0 else True
