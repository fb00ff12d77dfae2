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
    """The result of a row, as the report writes it. ``MEANING_OF`` explains each."""

    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"
    SKIPPED = "skipped"
    FAILED = "failed"
    CONFLICT = "conflict"
    UNKNOWN = "unknown"
    PENDING = "pending"
    """The row has no line in the report; this status is never written there."""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do for the row."""
        return self in _DONE


_DONE: Final = frozenset({Status.UPDATED, Status.UNCHANGED, Status.SKIPPED})
NOT_DONE: Final = (Status.REJECTED, Status.FAILED, Status.CONFLICT, Status.UNKNOWN)
"""Results that need the user's attention."""
MEANING_OF: Final = {
    Status.UPDATED: "confirmed by the API",
    Status.UNCHANGED: "no change needed; not sent",
    Status.SKIPPED: "duplicate of another row; not sent",
    Status.REJECTED: "invalid; not sent",
    Status.FAILED: "rejected by the API or not applied",
    Status.CONFLICT: "modified since the pull; skipped",
    Status.UNKNOWN: "sent; result unconfirmed",
    Status.PENDING: "not processed",
}
"""The meaning of each status, in the order in which tables list them."""
IN_DOUBT: Final = "comment_in_doubt"
"""The error code of a comment that may have been added."""
NOT_EDITED: Final = "not edited since the pull"
SAME_VALUES: Final = "the incident already has these values"
"""Why a row is ``unchanged``: in the report's column ``error_message``."""


def meaning_of(status: Status, rows: int, not_edited: int = 0) -> str:
    """Return the meaning of a status for some rows of a sheet.

    Args:
        rows: how many have the status.
        not_edited: how many of the unchanged rows have cells that were not edited since the pull.
    """
    if status is not Status.UNCHANGED or not not_edited:
        return MEANING_OF[status]
    return f"{not_edited_of(rows, not_edited)}; not sent"


def not_edited_of(rows: int, not_edited: int) -> str:
    """Return how many of the unchanged rows were not edited, in words."""
    same = rows - not_edited
    if same <= 0:
        return NOT_EDITED
    return f"{not_edited:,} not edited since the pull, {same:,} already with these values"


class Outcome(NamedTuple):
    """The result of one row: one line of the report. A named tuple for speed, like ``Change``."""

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
    """When the last attempt started; 0 if nothing was sent."""
    finished_at: float = 0.0
    throttled: int = 0
    """Responses "quota exceeded" (HTTP 429); they are not counted as attempts."""


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """All rows of a run with the same error code; the first one is the example."""

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
    SHEET = "sheet"
    """The sheet was modified during the run."""
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    HUNG_UP = "hung-up"


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run ended early: a code for scripts and a sentence for people."""

    reason: StopReason
    message: str
