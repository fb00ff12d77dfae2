"""Who made the change that a conflict is about: when, and from which value.

One request for the timeline of each conflict, and one for the names of people that are not known
yet; up to ``MOST_CONFLICTS`` a run. They use the quota. One that fails ends the look-ups and
nothing else: the conflict is reported without the author.

Source: the Flashduty Open API's ``ListIncidentFeedRequest`` and ``PersonInfosRequest``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Protocol

from bulk_reset.api.log_entries import Entry
from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.custom_fields import api_name, is_custom
from bulk_reset.core.errors import RequestError
from bulk_reset.core.safe_text import one_line

MOST_CONFLICTS: Final = 50
_SHOWN_CHARACTERS: Final = 60
_TYPES: Final = {
    "title": ("i_r_title",),
    "description": ("i_r_desc",),
    "impact": ("i_r_impact",),
    "root_cause": ("i_r_rc",),
    "resolution": ("i_r_rsltn",),
    "incident_severity": ("i_r_severity",),
    ACTION_FIELD: ("i_ack", "i_unack", "i_rslv", "i_reopen"),
}
_CUSTOM: Final = "i_r_field"


class History(Protocol):
    """The calls of a client that are needed."""

    async def latest_entries(self, incident_id: str, types: Sequence[str]) -> Sequence[Entry]:
        """Read the latest entries of a timeline, the latest first; raises RequestError."""
        ...

    async def people(self, person_ids: Sequence[int]) -> dict[int, str]:
        """Return the names of people; raises RequestError."""
        ...


Once = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""Makes one attempt within the quota, whose result changes nothing else; raises RequestError."""


class ChangeAuthors:
    """Finds the authors of changes; belongs to one event loop."""

    def __init__(self, api: History, once: Once) -> None:
        self._api, self._once = api, once
        self._left = MOST_CONFLICTS
        self._names: dict[int, str] = {0: "the system"}

    async def describe(self, incident_id: str, fields: Sequence[str]) -> str:
        """Return who changed some fields of an incident last; empty if that is not known."""
        if self._left <= 0:
            return ""
        self._left -= 1
        types = sorted({kind for name in fields for kind in _types_of(name)})
        try:
            entries = await self._once(partial(self._api.latest_entries, incident_id, types))
            found = [(name, one) for name in fields if (one := _last(name, entries)) is not None]
            unknown = {one.creator_id for _, one in found} - self._names.keys()
            if unknown:
                self._names |= dict.fromkeys(unknown, "")
                self._names |= await self._once(partial(self._api.people, sorted(unknown)))
        except RequestError:
            self._left = 0
            return ""
        return "; ".join(self._sentences(found))

    def _sentences(self, found: Sequence[tuple[str, Entry]]) -> Iterator[str]:
        for name, entry in found:
            who = one_line(self._names.get(entry.creator_id) or f"person {entry.creator_id}")
            was = entry.detail.get("from") if name != ACTION_FIELD else None
            text = f", from {_shown(was)}" if isinstance(was, str) else ""
            yield f"{name} changed by {who} at {_time(entry.created_at)}{text}"


def _types_of(name: str) -> tuple[str, ...]:
    return (_CUSTOM,) if is_custom(name) else _TYPES.get(name, ())


def _last(name: str, entries: Sequence[Entry]) -> Entry | None:
    """Return the latest entry about a field."""
    for entry in sorted(entries, key=lambda one: -one.created_at):
        is_other = is_custom(name) and entry.detail.get("field_name") != api_name(name)
        if entry.type in _types_of(name) and not is_other:
            return entry
    return None


def _time(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):
        return "an unknown time"


def _shown(text: str) -> str:
    line = one_line(text)
    return f"'{line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + '…'}'"
