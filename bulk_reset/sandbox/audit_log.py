"""``/audit/search``: requests that a sandbox has applied, and a page of them.

The latest comes first; reads are logged too, and are told apart by ``is_write``. The names of
operations are not published for incidents, so they are the paths.

State: ``AuditLog`` owns the entries, up to ``MOST`` of them; it is no part of a state's file.

Source: the Flashduty Open API's ``AuditSearchRequest`` and ``AuditLog``.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from bulk_reset.sandbox.incidents import ACCOUNT_ID, PEOPLE
from bulk_reset.sandbox.listing import read_value
from bulk_reset.sandbox.rules import Body, invalid

MOST: Final = 100_000
MAX_SPAN_S: Final = 90 * 24 * 60 * 60
MAX_LIMIT: Final = 99
_DEFAULT_LIMIT: Final = 20
_LONGEST_BODY: Final = 10_240
_WRITES: Final = ("reset", "comment", "ack", "resolve", "reopen")


@dataclass(frozen=True, slots=True)
class LogQuery:
    """One request for a page.

    Attributes:
        is_write: True for writes alone, False for reads alone, None for all.
        after: the place of the last entry of the page before.
    """

    start_time: int
    end_time: int
    limit: int
    request_id: str
    is_write: bool | None
    after: int

    @classmethod
    def read(cls, body: Body) -> LogQuery:
        """Read a request's body.

        Raises:
            ApiError: ``InvalidParameter``, naming the field.
        """
        start, end = read_value(body, "start_time", int), read_value(body, "end_time", int)
        if not start < end <= start + MAX_SPAN_S:
            raise invalid("end_time", "after start_time by at most 90 days")
        limit = read_value(body, "limit", int, _DEFAULT_LIMIT) or _DEFAULT_LIMIT
        if not 0 < limit <= MAX_LIMIT:
            raise invalid("limit", f"from 0 to {MAX_LIMIT}")
        is_write = read_value(body, "is_write", bool) if "is_write" in body else None
        after = read_value(body, "search_after_ctx", str, "")
        if after and not after.isdecimal():
            raise invalid("search_after_ctx", "it is not from an answer of this operation")
        request_id = read_value(body, "request_id", str, "")
        return cls(start, end, limit, request_id, is_write, int(after or 0))

    def matches(self, entry: dict[str, Any]) -> bool:
        """Return whether an entry is in the period, and passes the filters."""
        return (
            self.start_time * 1000 <= entry["created_at"] <= self.end_time * 1000
            and self.request_id in ("", entry["request_id"])
            and self.is_write in (None, entry["is_write"])
        )


class AuditLog:
    """The entries, the latest last."""

    def __init__(self) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=MOST)

    def add(self, path: str, request_id: str, body: Body, at_ms: int) -> None:
        """Note a request that was applied."""
        person_id, name = next(iter(PEOPLE.items()))
        self._entries.append(
            {
                "created_at": at_ms,
                "account_id": ACCOUNT_ID,
                "member_id": person_id,
                "member_name": name,
                "request_id": request_id,
                "ip": "127.0.0.1",
                "operation": path,
                "operation_name": path,
                "body": json.dumps(body, ensure_ascii=False)[:_LONGEST_BODY],
                "params": [],
                "is_dangerous": False,
                "is_write": path.rpartition("/")[2] in _WRITES,
            }
        )

    def page(self, query: LogQuery) -> dict[str, Any]:
        """Return the answer's ``data``: the total of all pages, one page, and a cursor."""
        found = [one for one in reversed(self._entries) if query.matches(one)]
        end = query.after + query.limit
        cursor = str(end) if end < len(found) else ""
        docs = found[query.after : end]
        return {"total": len(found), "search_after_ctx": cursor, "docs": docs}
