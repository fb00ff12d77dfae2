"""Which incidents to pull: the period in which they started, and filters.

Units: ``*_at`` UTC epoch seconds. Source of the filters and of the 31 days that a request may
cover: ``ListIncidentsRequest``.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tzlocal import reload_localzone

from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option_name
from bulk_reset.core.safe_text import one_line

MAX_WINDOW_S: Final = 31 * 24 * 60 * 60
_PAGE: Final = 100
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
"""Seconds of each unit, for a number like ``30d``."""
_AGO: Final = re.compile(r"(\d+)\s*([smhdw])")


@dataclass(frozen=True, slots=True)
class Query:
    """Which incidents to list.

    Attributes:
        since_at, until_at: the period in which they started, both ends included.
        query: the API's full-text search.
        severities, progress: the API's words.
        channels: numbers, or names as the incidents show them.
        team_ids: numbers.
        nums: the short numbers that the console shows.
    """

    since_at: int
    until_at: int
    query: str = ""
    severities: tuple[str, ...] = ()
    progress: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    team_ids: tuple[int, ...] = ()
    nums: tuple[str, ...] = ()

    def windows(self) -> Iterator[tuple[int, int]]:
        """Yield the periods of the requests, up to 31 days each.

        Whether the ends of a period belong to it is not published, so each period has a second
        more at both ends, and neighbours overlap. ``matches`` leaves out the first and the last.
        """
        start = self.since_at
        while start <= self.until_at:
            end = min(start + MAX_WINDOW_S - 2, self.until_at)
            yield max(0, start - 1), end + 1
            start = end + 1

    def body(self, window: tuple[int, int], cursor: str) -> dict[str, Any]:
        """Return the request for a page."""
        numbers = [int(one) for one in self.channels if one.isdecimal()]
        is_by_number = len(numbers) == len(self.channels)
        wanted = {
            "query": self.query,
            "incident_severity": ",".join(self.severities),
            "progress": ",".join(self.progress),
            # The API takes numbers only; with names, ``matches`` filters what it lists.
            "channel_ids": numbers if is_by_number else [],
            "team_ids": list(self.team_ids),
            "nums": list(self.nums),
            "search_after_ctx": cursor,
        }
        return {
            "start_time": window[0],
            "end_time": window[1],
            "asc": True,
            "limit": _PAGE,
            **{name: value for name, value in wanted.items() if value},
        }

    def matches(self, incident: Mapping[str, Any]) -> bool:
        """Return whether an incident is in one of the channels, and not in the added seconds."""
        if incident.get("start_time") in (self.since_at - 1, self.until_at + 1):
            return False
        names = {one.casefold() for one in self.channels}
        its = {str(incident.get(name, "")).casefold() for name in ("channel_id", "channel_name")}
        return not names or bool(names & its)


def parse_time(
    text: str, option: str, *, is_end: bool = False, now: dt.datetime | None = None
) -> int:
    """Return the time of a text, in UTC epoch seconds.

    Args:
        text: ``30d`` (also s, m, h, w) before now, ``now``, a date, or a date and time, in the
            user's time zone unless it has its own.
        option: the name of the option, for errors.
        is_end: whether a date means its last second.
        now: the current time, in the time zone of dates; the user's own when None.

    Raises:
        InputError: it is not a time.
    """
    now = now or dt.datetime.now(user_zone())
    words = text.strip().lower()
    if words == "now":
        return int(now.timestamp())
    if ago := _AGO.fullmatch(words):
        return int(now.timestamp()) - int(ago[1]) * UNITS[ago[2]]
    try:
        time = dt.datetime.fromisoformat(text.strip())
        if is_end and _is_day(text.strip()):
            time += dt.timedelta(days=1, seconds=-1)
        if time.tzinfo is None:
            time = time.replace(tzinfo=now.tzinfo)
        return int(time.timestamp())
    except (ValueError, OverflowError) as exc:
        raise InputError(
            f"{option} {text}: invalid time. Use for example 30d, 2026-11-01 or '2026-11-01 14:30'."
        ) from exc


def user_zone() -> dt.tzinfo:
    """Return the time zone of the user.

    Raises:
        InputError: it is unknown.
    """
    try:
        return reload_localzone()  # it may have changed since the last call
    except (LookupError, ValueError, OSError) as exc:
        # A folder of zones (TZ=Europe), or a file that is no time zone (TZ=/etc/passwd).
        where = f"TZ={os.environ['TZ']}" if os.environ.get("TZ") else "the time zone of this system"
        raise InputError(
            f"{one_line(where)}: unknown time zone. Use for example TZ=Europe/Berlin or TZ=UTC."
        ) from exc


def _is_day(text: str) -> bool:
    """Return whether a text is a date without a time of the day: 2026-11-30, 20261130."""
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True


SEVERITY_WORDS: Final = ("Critical", "Warning", "Info", "Ok")
PROGRESS_WORDS: Final = ("Triggered", "Processing", "Closed")


def query_of(
    since: str,
    until: str,
    *,
    now: dt.datetime | None = None,
    **filters: Any,  # noqa: ANN401  (attributes of a query)
) -> Query:
    """Return a query from texts; see ``parse_time`` and ``Query``.

    Raises:
        InputError: a value that cannot be used.
    """
    since_name, until_name = option_name("since"), option_name("until")
    start = parse_time(since, since_name, now=now)
    end = parse_time(until, until_name, is_end=True, now=now)
    if start < 0:
        raise InputError(f"{since_name} {since}: before 1970. Use a later time.")
    if start > end:
        raise InputError(f"{since_name} {since}: after {until_name} {until}. Swap them.")
    for name, words in (("severities", SEVERITY_WORDS), ("progress", PROGRESS_WORDS)):
        given = filters.get(name, ())
        word_of = {word.casefold(): word for word in words}
        unknown = [word for word in given if word.casefold() not in word_of]
        if unknown:
            flag = option_name("severity" if name == "severities" else name)
            called = name if flag == "severity" else flag  # the Python parameter is plural
            raise InputError(f"{called} {unknown[0]}: unknown. Use one of {', '.join(words)}.")
        filters[name] = tuple(word_of[word.casefold()] for word in given)
    return Query(start, end, **filters)
