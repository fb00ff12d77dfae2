"""Default values of the options, and the API's limits.

Units: ``*_S`` seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

PER_SECOND: Final = 50
PER_MINUTE: Final = 1000
"""Limits of an account, all who use it together. Source: the API's page of the operation."""
PACE: Final = "the pace"
"""A cause of waiting: that of a window of a second, no more than what the limit means."""
WORKERS: Final = 64
TIMEOUT_S: Final = 30.0
ATTEMPTS: Final = 5
PATIENCE_S: Final = 900.0


class OnConflict(StrEnum):
    """What to do with rows that set one field of one incident to different values."""

    ERROR = "error"
    """They are mistakes."""
    LAST = "last"
    """The last row wins; rows that it makes needless are skipped."""
    IN_ORDER = "in-order"
    """All are sent, one after the other."""
