"""``/incident/list``: what may be asked, and the page that answers it.

Pure: a query is read, then applied to the incidents as they are. Incidents are ordered by
(``start_time``, ``incident_id``), the latest first unless ``asc``. Both ends of the time window
belong to it. The cursor is the place of a page's last incident in that order, so it stays true
while incidents are updated or added; where one is given, ``p`` is ignored.

``query`` is looked for in title and description, in any case of its letters: the real search is
not described. ``team_ids`` lets through the incidents in channels that these teams own. Every
filter that is not a field of ``ListQuery`` is ignored.

Source: the Flashduty Open API's ``ListIncidentsRequest``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bulk_reset.sandbox.incidents import TEAM_OF_CHANNEL
from bulk_reset.sandbox.rules import Body, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulk_reset.sandbox.incidents import Incident

MAX_WINDOW_S: Final = 31 * 24 * 60 * 60
MAX_LIMIT: Final = 100
DEFAULT_LIMIT: Final = 20
MAX_DEPTH: Final = 10_000
"""The most incidents that page numbers reach; a cursor continues from there."""
_PROGRESS: Final = ("Triggered", "Processing", "Closed")
_SEVERITIES: Final = ("Critical", "Warning", "Info", "Ok")
_CURSOR: Final = re.compile(r"([0-9]{1,15})-([0-9a-f]{24})")

T = TypeVar("T")
Place = tuple[int, str]


@dataclass(frozen=True, slots=True)
class ListQuery:
    """One request for a page; an empty filter lets everything through.

    Attributes:
        start_time: UTC epoch seconds, the first of the window.
        end_time: UTC epoch seconds, the last of the window.
        incident_ids: in lower case.
        limit: incidents on a page, 1 to 100.
        page: the page's number, 1-based.
        after: the place of the last incident of the page before, None for none.
    """

    start_time: int
    end_time: int
    progress: frozenset[str]
    severities: frozenset[str]
    query: str
    channel_ids: frozenset[int]
    team_ids: frozenset[int]
    incident_ids: frozenset[str]
    nums: frozenset[str]
    is_ascending: bool
    limit: int
    page: int
    after: Place | None

    @classmethod
    def read(cls, body: Body) -> ListQuery:
        """Read a request's body.

        Raises:
            ApiError: ``InvalidParameter``, naming the field.
        """
        start_time, end_time = (
            read_value(body, "start_time", int),
            read_value(body, "end_time", int),
        )
        if not start_time < end_time <= start_time + MAX_WINDOW_S:
            raise invalid("end_time", "after start_time by at most 31 days")
        limit = read_value(body, "limit", int, 0) or DEFAULT_LIMIT
        if not 0 < limit <= MAX_LIMIT:
            raise invalid("limit", f"at most {MAX_LIMIT}")
        after = _read_cursor(read_value(body, "search_after_ctx", str, ""))
        page = 1 if after else read_value(body, "p", int, 0) or 1
        if page < 1 or page * limit > MAX_DEPTH:
            raise invalid("p", f"from 1 on, with p x limit at most {MAX_DEPTH}")
        ids = read_list(body, "incident_ids", str)
        return cls(
            start_time=start_time,
            end_time=end_time,
            progress=_read_words(body, "progress", _PROGRESS),
            severities=_read_words(body, "incident_severity", _SEVERITIES),
            query=read_value(body, "query", str, "").casefold(),
            channel_ids=read_list(body, "channel_ids", int),
            team_ids=read_list(body, "team_ids", int),
            incident_ids=frozenset(one.lower() for one in ids),
            nums=read_list(body, "nums", str),
            is_ascending=read_value(body, "asc", bool, False),
            limit=limit,
            page=page,
            after=after,
        )

    def matches(self, incident: Incident) -> bool:
        """Return whether an incident passes the time window and every filter."""
        filters: tuple[tuple[frozenset[Any], str], ...] = (
            (self.progress, "progress"),
            (self.severities, "incident_severity"),
            (self.channel_ids, "channel_id"),
            (self.incident_ids, "incident_id"),
            (self.nums, "num"),
        )
        return (
            self.start_time <= incident["start_time"] <= self.end_time
            and all(not allowed or incident[name] in allowed for allowed, name in filters)
            and (not self.team_ids or TEAM_OF_CHANNEL.get(incident["channel_id"]) in self.team_ids)
            and self.query in f"{incident['title']}\n{incident['description']}".casefold()
        )


def find_page(query: ListQuery, incidents: Iterable[Incident]) -> dict[str, Any]:
    """Return the answer's ``data``: the total of all pages, one page, and a cursor to the next."""
    found = sorted(filter(query.matches, incidents), key=_place, reverse=not query.is_ascending)
    total = len(found)
    if query.after:
        found = [one for one in found if _is_after(_place(one), query.after, query.is_ascending)]
    start = (query.page - 1) * query.limit
    items = found[start : start + query.limit]
    cursor = "{}-{}".format(*_place(items[-1])) if items else ""
    return {
        "total": total,
        "has_next_page": start + query.limit < len(found),
        "search_after_ctx": cursor,
        "items": items,
    }


def _place(incident: Incident) -> Place:
    return incident["start_time"], incident["incident_id"]


def _is_after(place: Place, cursor: Place, is_ascending: bool) -> bool:
    return place > cursor if is_ascending else place < cursor


def _read_cursor(text: str) -> Place | None:
    if not text:
        return None
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise invalid("search_after_ctx", "it is not from an answer of this operation")
    return int(match[1]), match[2]


def read_value(body: Body, name: str, kind: type[T], default: T | None = None) -> T:
    """Return a value of exactly this type; raises ApiError."""
    value = body.get(name, default)
    # Exactly the type: a boolean would pass for a number.
    if type(value) is not kind:
        raise invalid(name, f"a value of type {kind.__name__} is required")
    return value


def read_list(body: Body, name: str, kind: type[T]) -> frozenset[T]:
    """Return the values of a list, all of this type; raises ApiError."""
    values = body.get(name, [])
    if not isinstance(values, list) or any(type(value) is not kind for value in values):
        raise invalid(name, f"a list of values of type {kind.__name__} is required")
    return frozenset(values)


def _read_words(body: Body, name: str, allowed: tuple[str, ...]) -> frozenset[str]:
    words = frozenset(filter(None, read_value(body, name, str, "").split(",")))
    if not words <= set(allowed):
        raise invalid(name, f"some of {','.join(allowed)}, separated by commas")
    return words
