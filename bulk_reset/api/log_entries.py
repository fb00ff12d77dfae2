"""What the API tells of earlier requests: entries of a timeline, and of the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """An entry of an incident's timeline.

    Attributes:
        creator_id: the number of a person; 0 for the system.
        created_at: UTC epoch seconds, by the server's clock.
    """

    type: str
    detail: Mapping[str, Any]
    creator_id: int
    created_at: float


class LoggedRequest(NamedTuple):
    """A request in the provider's audit log.

    Attributes:
        body: its JSON; cut where it is longer than 10 KB.
    """

    request_id: str
    body: str


class LogPage(NamedTuple):
    """A page of the provider's audit log; the cursor is empty on the last one."""

    requests: tuple[LoggedRequest, ...]
    cursor: str
