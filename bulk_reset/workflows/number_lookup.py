"""Looks up the incidents of short numbers, up to 100 numbers a request.

The API lists incidents of a period only: that of the sheet's times, with a day around it, or else
that of ``numbers_since``. A number without an incident, or with several, is an error of its row.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.counting import counted
from bulk_reset.core.fields import ID_FIELD, MAX_IDS
from bulk_reset.core.incident_ids import is_id, short_number
from bulk_reset.core.look_alikes import plain_name
from bulk_reset.core.option_names import option_name
from bulk_reset.core.outcome import Outcome
from bulk_reset.engine.connection import Connection, lock_account
from bulk_reset.engine.event_loop import in_new_loop
from bulk_reset.engine.incident_reader import open_incident_reader
from bulk_reset.engine.options import Options
from bulk_reset.sheets.cell_rules import CellError, shorten
from bulk_reset.sheets.sheet import Sheet
from bulk_reset.sheets.short_numbers import ShortNumbers
from bulk_reset.workflows.incident_query import Query, query_of, user_zone
from bulk_reset.workflows.pull import Pulling

_STARTED_NAMES: Final = tuple(
    map(plain_name, ("started", "start time", "start_at", "开始时间", "触发时间", "发生时间"))
)
"""Names of columns with the time at which an incident started."""
_DAY_S: Final = 86_400
_SHOWN: Final = 5
_Found = dict[str, list[Mapping[str, Any]]]


def look_up_numbers(
    table: Sheet, connection: Connection, options: Options, callbacks: Callbacks
) -> None:
    """Find the incidents of a sheet's short numbers; from then on, its rows have their ids.

    Raises:
        RunError: the incidents could not be read.
    """
    numbers, times = _read(table)
    query = _query(times, options)
    found: _Found = {number: [] for number in numbers}
    with lock_account(connection, options, table.label, callbacks) as own:

        async def read() -> None:
            async with open_incident_reader(own, options) as reader:
                for first in range(0, len(numbers), MAX_IDS):
                    some = replace(query, nums=tuple(numbers[first : first + MAX_IDS]))
                    async for incident in Pulling(reader, lambda *_: None).of_query(some):
                        number = str(incident.get("num", "")).upper()
                        if number in found:
                            found[number].append(incident)

        in_new_loop(read)
    table.columns = replace(table.columns, numbers=_meaning(found, query, has_times=bool(times)))


def recall_numbers(table: Sheet, outcomes: Iterable[Outcome]) -> None:
    """Take the incidents of a sheet's short numbers from the report of its run."""
    place = table.columns.position[ID_FIELD]
    number_of_row: dict[int, str] = {}
    for chunk in table.chunks():
        for row_number, text in zip(chunk.numbers, chunk.columns[place], strict=True):
            if number := short_number(text.strip().lower()):
                number_of_row[row_number] = number
    if not number_of_row:
        return  # the report is not read
    ids = {
        number_of_row[one.row_number]: one.incident_id
        for one in outcomes
        if one.row_number in number_of_row and is_id(one.incident_id)
    }
    if ids:
        table.columns = replace(table.columns, numbers=ShortNumbers(is_known=True, ids=ids))


def _read(table: Sheet) -> tuple[list[str], list[float]]:
    """Return the short numbers of a sheet, each once, and the times of its rows."""
    place = table.columns.position[ID_FIELD]
    header = [plain_name(name.partition("(")[0]) for name in table.columns.header]
    at = next((header.index(name) for name in _STARTED_NAMES if name in header), None)
    numbers: dict[str, None] = {}
    times: list[float] = []
    zone = user_zone()
    for chunk in table.chunks():
        found = map(short_number, (text.strip().lower() for text in chunk.columns[place]))
        numbers |= dict.fromkeys(filter(None, found))
        if at is not None and at < len(chunk.columns):
            times += _times(chunk.columns[at], zone)
    return list(numbers), times


def _times(texts: Sequence[str], zone: dt.tzinfo) -> Iterator[float]:
    for text in filter(None, texts):
        try:
            time = dt.datetime.fromisoformat(text.strip())
            yield (time if time.tzinfo else time.replace(tzinfo=zone)).timestamp()
        except (ValueError, OverflowError):
            continue


def _query(times: Sequence[float], options: Options) -> Query:
    """Return the query for the period in which the incidents started."""
    if not times:
        return query_of(options.numbers_since, "now")
    return Query(max(0, int(min(times)) - _DAY_S), int(max(times)) + _DAY_S)


def _meaning(found: _Found, query: Query, *, has_times: bool) -> ShortNumbers:
    errors: dict[str, CellError] = {}
    since, until = (_shown_time(at) for at in (query.since_at, query.until_at))
    hint = f"Use the ID, or an earlier {option_name('numbers_since')}"
    if has_times:
        hint = "Use the ID, or correct the time"
    for number, incidents in found.items():
        if not incidents:
            problem = f"no incident from {since} to {until} has the number {number}"
            errors[number] = ("number_unknown", problem, hint)
        elif len(incidents) > 1:
            shown = ", ".join(map(_candidate, incidents[:_SHOWN]))
            problem = f"{counted(len(incidents), 'incident')} have the number {number}: {shown}"
            errors[number] = ("number_ambiguous", problem, "Use the ID of one of them")
    ids = {number: str(one[0][ID_FIELD]).lower() for number, one in found.items() if len(one) == 1}
    return ShortNumbers(is_known=True, ids=ids, errors=errors)


def _candidate(incident: Mapping[str, Any]) -> str:
    started = _shown_time(incident.get("start_time"))
    return f"{incident[ID_FIELD]} {shorten(str(incident.get('title', '')))!r} ({started})"


def _shown_time(at: object) -> str:
    if not isinstance(at, int | float):
        return "unknown time"
    return f"{dt.datetime.fromtimestamp(at, user_zone()):%Y-%m-%d %H:%M}"
