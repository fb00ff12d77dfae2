"""Outcomes: the result of a row, and why a run ended early.

All values are frozen and hold plain data only, so they can cross a queue, a report line or a
process boundary unchanged.

Units: ``*_at`` UTC epoch seconds. ``row_number`` is 1-based and counts the header, so it
equals what Excel shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple


class Status(StrEnum):
    """What became of a row, in the report's words."""

    UPDATED = "updated"
    """The API said yes."""
    UNCHANGED = "unchanged"
    """Already so; not sent."""
    REJECTED = "rejected"
    """Invalid; never sent."""
    SKIPPED = "skipped"
    """A twin of another row, which is sent; not sent itself."""
    FAILED = "failed"
    """The API said no, or what was sent was not there when it was read back."""
    CONFLICT = "conflict"
    """Somebody has changed it since the sheet was made; held back."""
    UNKNOWN = "unknown"
    """Sent, but no readable answer came, and reading it back failed too."""
    PENDING = "pending"
    """No line in the report yet; never written there."""

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to do for the row."""
        return self in _DONE


_DONE: Final = frozenset({Status.UPDATED, Status.UNCHANGED, Status.SKIPPED})
NOT_DONE: Final = (Status.REJECTED, Status.FAILED, Status.CONFLICT, Status.UNKNOWN)
"""What a run may have made of a row and what asks for somebody to look at it."""
MEANING_OF: Final = {
    Status.UPDATED: "the API said yes",
    Status.UNCHANGED: "already so; not sent",
    Status.SKIPPED: "another row sets the same",
    Status.REJECTED: "invalid; never sent",
    Status.FAILED: "the API said no, or it was not applied",
    Status.CONFLICT: "changed by somebody since; held back",
    Status.UNKNOWN: "sent, no readable answer; reading it failed too",
    Status.PENDING: "not done yet",
}
"""What people are told of each status, in the order of reading."""


class Outcome(NamedTuple):
    """What became of one row: one line of the report. A named tuple, as ``Change`` is."""

    row_number: int
    incident_id: str
    status: Status
    fields: tuple[str, ...]
    digest: str
    attempts: int = 0
    http_status: int = 0
    error_code: str = ""
    error_message: str = ""
    request_id: str = ""
    started_at: float = 0.0
    """When the last attempt was started; 0 where nothing was sent."""
    finished_at: float = 0.0
    throttled: int = 0
    """Answers that said the quota was used up (HTTP 429); no attempts."""


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """All rows of a run that ended with one error code, and the first as the example."""

    code: str
    status: Status
    rows: int
    row_number: int
    message: str


class StopReason(StrEnum):
    """Why a run ended before its last row."""

    FATAL = "fatal"
    OUTAGE = "outage"
    MAX_FAILURES = "max-failures"
    CANARY = "canary"
    DEADLINE = "deadline"
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    HUNG_UP = "hung-up"


@dataclass(frozen=True, slots=True)
class Stop:
    """That a run ended early: why, in a word for scripts and a sentence for people."""

    reason: StopReason
    message: str
