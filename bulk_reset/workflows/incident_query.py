"""Which incidents are meant: when they started, and what else is asked of them.

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

MAX_WINDOW_S: Final = 31 * 24 * 60 * 60
_PAGE: Final = 100
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
"""How many seconds the letter behind a number means."""
_AGO: Final = re.compile(r"(\d+)\s*([smhdw])")


@dataclass(frozen=True, slots=True)
class Query:
    """Which incidents.

    Attributes:
        since_at, until_at: when they started, UTC epoch seconds, both ends included.
        query: the API's full-text search.
        severities, progress: words of the API.
        channels: numbers, or names as the incidents show them.
        team_ids: numbers.
        nums: short numbers as people see them.
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
        """Yield the times to ask for one by one, none longer than 31 days, none overlapping."""
        start = self.since_at
        while start <= self.until_at:
            end = min(start + MAX_WINDOW_S, self.until_at)
            yield start, max(end, start + 1)  # the end has to lie after the start
            start = end + 1

    def body(self, window: tuple[int, int], cursor: str) -> dict[str, Any]:
        """Return the request for a page."""
        numbers = [int(one) for one in self.channels if one.isdecimal()]
        is_by_number = len(numbers) == len(self.channels)
        wanted = {
            "query": self.query,
            "incident_severity": ",".join(self.severities),
            "progress": ",".join(self.progress),
            # With names among them, the incidents themselves are looked at.
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
        """Tell whether an incident is in one of the channels that were named."""
        names = {one.casefold() for one in self.channels}
        its = {str(incident.get(name, "")).casefold() for name in ("channel_id", "channel_name")}
        return not names or bool(names & its)


def parse_time(
    text: str, option: str, *, is_end: bool = False, now: dt.datetime | None = None
) -> int:
    """Return the moment that a text means, in UTC epoch seconds.

    Args:
        text: ``30d`` (also s, m, h, w) ago, ``now``, a date, or a date and time, in the user's
            zone unless it says another.
        option: named in errors.
        is_end: whether a date means its last second.
        now: what ``ago`` is counted from, and the zone of dates; the user's own when None.

    Raises:
        InputError: it means no moment.
    """
    now = now or dt.datetime.now(user_zone())
    told = text.strip().lower()
    if told == "now":
        return int(now.timestamp())
    if ago := _AGO.fullmatch(told):
        return int(now.timestamp()) - int(ago[1]) * UNITS[ago[2]]
    try:
        moment = dt.datetime.fromisoformat(text.strip())
        if is_end and _is_day(text.strip()):
            moment += dt.timedelta(days=1, seconds=-1)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=now.tzinfo)
        return int(moment.timestamp())
    except (ValueError, OverflowError) as exc:
        raise InputError(
            f"{option} {text}: not a moment. Say 30d, 2026-11-01 or '2026-11-01 14:30'."
        ) from exc


def user_zone() -> dt.tzinfo:
    """Return the zone of whoever runs this.

    Raises:
        InputError: nobody knows it.
    """
    try:
        return reload_localzone()  # it may have been changed since
    except LookupError as exc:
        raise InputError(
            f"TZ={os.environ.get('TZ', '')}: no zone of that name is known. Say it like "
            "TZ=Europe/Berlin, or TZ=UTC."
        ) from exc


def _is_day(text: str) -> bool:
    """Tell whether a text that means a moment says no time of the day: 2026-11-30, 20261130."""
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
    **filters: Any,  # noqa: ANN401  (a query's)
) -> Query:
    """Return what to ask for; see ``parse_time`` and ``Query``.

    Raises:
        InputError: it cannot be meant.
    """
    start = parse_time(since, "--since", now=now)
    end = parse_time(until, "--until", is_end=True, now=now)
    if start < 0:
        raise InputError(f"--since {since}: lies before 1970. Say a later moment.")
    if start > end:
        raise InputError(f"--since {since}: lies after --until {until}. Turn them around.")
    for option, words in (("severities", SEVERITY_WORDS), ("progress", PROGRESS_WORDS)):
        told = filters.get(option, ())
        meant = {word.casefold(): word for word in words}
        unknown = [word for word in told if word.casefold() not in meant]
        if unknown:
            name = "severity" if option == "severities" else option
            raise InputError(f"--{name} {unknown[0]}: say one of {', '.join(words)}.")
        filters[option] = tuple(meant[word.casefold()] for word in told)
    return Query(start, end, **filters)
