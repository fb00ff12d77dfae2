"""Default values of the options, and the API's limits.

Units: ``*_S`` seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

PER_SECOND: Final = 50
PER_MINUTE: Final = 1000
"""Limits of an account, shared by all its clients. Source: the API's page of the operation."""
PACE: Final = "the pace"
"""A cause of waiting: the window of one second, which is normal pacing and not a delay."""
WORKERS: Final = 64
TIMEOUT_S: Final = 30.0
ATTEMPTS: Final = 5
PATIENCE_S: Final = 900.0

NUMBERS_SINCE: Final = "30d"
"""Where a sheet has no times, short numbers are those of incidents that started since."""


class Priority(StrEnum):
    """How the account's permits are divided among its runs."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class OnConflict(StrEnum):
    """How to treat rows that set the same field of the same incident to different values."""

    ERROR = "error"
    """Report them as invalid."""
    LAST = "last"
    """Send the last row; skip the rows that it overrides."""
    IN_ORDER = "in-order"
    """Send all rows, one after the other."""
