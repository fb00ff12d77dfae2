"""``/incident/feed``: the timeline of an incident, and the page of it that is asked for.

An incident has an entry when it is created, and one for each reset, custom field, comment and
action, with the published type and detail. Entries are ordered by the time they came, the latest
first unless ``asc``.

State: ``Timelines`` owns the entries; only the operations of ``api`` add to it. It is no part of a
state's file: of a comment that was read from there, the time is the incident's ``updated_at``.

Source: the Flashduty Open API's ``ListIncidentFeedRequest`` and ``IncidentFeedItem``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bulk_reset.sandbox.listing import DEFAULT_LIMIT, MAX_LIMIT, read_list, read_value
from bulk_reset.sandbox.rules import Body, invalid, read_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Entry = dict[str, Any]
COMMENT: Final = "i_comm"
_CREATED: Final = "i_new"
_FIELD: Final = "i_r_field"
_RESETS: Final = {
    "title": "i_r_title",
    "description": "i_r_desc",
    "impact": "i_r_impact",
    "root_cause": "i_r_rc",
    "resolution": "i_r_rsltn",
    "incident_severity": "i_r_severity",
}
_ACTIONS: Final = {"ack": "i_ack", "resolve": "i_rslv", "reopen": "i_reopen"}
_WITH_VALUES: Final = ("title", "incident_severity")
"""The fields of which the published detail has both values."""
_TYPES: Final = frozenset(
    {COMMENT, _CREATED, _FIELD, *_RESETS.values()}
    | {"i_assign", "i_a_rspd", "i_notify", "i_storm", "i_snooze", "i_wake", "i_ack", "i_unack"}
    | {"i_rslv", "i_reopen", "i_merge", "i_m_flapping", "i_m_reply", "i_custom", "i_wr_create"}
    | {"i_wr_delete", "i_auto_refresh", "a_merge"}
)


class Timelines:
    """The entries of every incident, the oldest first."""

    def __init__(self) -> None:
        self._entries: dict[str, list[tuple[int, str, dict[str, Any]]]] = {}

    def add_reset(self, incident: Entry, changes: dict[str, str], at_ms: int) -> None:
        """Note a reset that is about to be applied, an entry for each field."""
        for name, value in changes.items():
            detail = {"from": incident[name], "to": value} if name in _WITH_VALUES else {}
            self._add(incident, at_ms, _RESETS[name], detail)

    def add_field(self, incident: Entry, name: str, value: object, at_ms: int) -> None:
        """Note the new value of a custom field."""
        self._add(incident, at_ms, _FIELD, {"field_name": name, "to": value})

    def add_comment(
        self, incident: Entry, comment: str, at_ms: int, *, mute_reply: bool = False
    ) -> None:
        """Note a comment."""
        self._add(incident, at_ms, COMMENT, {"comment": comment, "mute_reply": mute_reply})

    def add_action(self, incident: Entry, action: str, detail: dict[str, str], at_ms: int) -> None:
        """Note an acknowledgement, a resolution or a reopening."""
        reason = {"reason": detail["reason"]} if "reason" in detail else {}
        shown = {"ack": {}, "resolve": {"from": "console"}, "reopen": reason}[action]
        self._add(incident, at_ms, _ACTIONS[action], shown)

    def _add(self, incident: Entry, at_ms: int, kind: str, detail: dict[str, Any]) -> None:
        self._entries.setdefault(incident["incident_id"], []).append((at_ms, kind, detail))

    def entries(self, incident: Entry, comments: Sequence[str]) -> list[Entry]:
        """Return the entries of an incident as the API shows them, the oldest first.

        Args:
            comments: all comments on it; the first of them may have been read from a file.
        """
        noted = self._entries.get(incident["incident_id"], [])
        titles = (detail["from"] for _, kind, detail in noted if kind == _RESETS["title"])
        detail = {"severity": incident["incident_severity"]}
        detail["title"] = next(titles, incident["title"])
        known = sum(kind == COMMENT for _, kind, _ in noted)
        read = [
            (incident["updated_at"] * 1000, COMMENT, {"comment": text, "mute_reply": False})
            for text in comments[: len(comments) - known]
        ]
        created = (incident["created_at"] * 1000, _CREATED, detail)
        return [
            {
                "ref_id": incident["incident_id"],
                "type": kind,
                "detail": detail,
                "account_id": incident["account_id"],
                "creator_id": incident["creator_id"],
                "created_at": at_ms,
                "updated_at": at_ms,
            }
            for at_ms, kind, detail in [created, *read, *noted]
        ]


@dataclass(frozen=True, slots=True)
class FeedQuery:
    """One request for a page of a timeline.

    Attributes:
        types: the types that are let through; none for all.
        limit: entries on a page, 1 to 100.
        page: the page's number, 1-based.
    """

    incident_id: str
    types: frozenset[str]
    is_ascending: bool
    limit: int
    page: int

    @classmethod
    def read(cls, body: Body) -> FeedQuery:
        """Read a request's body.

        Raises:
            ApiError: ``InvalidParameter``, naming the field.
        """
        limit, page = read_value(body, "limit", int, DEFAULT_LIMIT), read_value(body, "p", int, 1)
        if not 1 <= limit <= MAX_LIMIT:
            raise invalid("limit", f"from 1 to {MAX_LIMIT}")
        if page < 1:
            raise invalid("p", "from 1 on")
        types = read_list(body, "types", str)
        if not types <= _TYPES:
            raise invalid("types", "types of timeline entries are required")
        is_ascending = read_value(body, "asc", bool, False)
        return cls(read_id(body), types, is_ascending, limit, page)


def find_feed_page(query: FeedQuery, entries: Iterable[Entry]) -> dict[str, Any]:
    """Return the answer's ``data``: one page, and whether there are more."""
    found = [one for one in entries if not query.types or one["type"] in query.types]
    if not query.is_ascending:
        found.reverse()
    start = (query.page - 1) * query.limit
    items = found[start : start + query.limit]
    return {"has_next_page": start + query.limit < len(found), "items": items}
