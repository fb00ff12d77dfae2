"""``pull``: incidents from the API into a sheet to edit, by time and filters or by their ids.

The API lists up to 31 days at a time and 100 incidents a page: longer periods are split, pages
are followed by their cursor, and rows are written as they arrive.
Source: ``ListIncidentsRequest``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bulk_reset.core.argument_types import or_default, require, require_path
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.custom_fields import custom_column
from bulk_reset.core.errors import RunError
from bulk_reset.core.fields import ID_FIELD, SETTABLE_FIELDS
from bulk_reset.engine.connection import connect, lock_account
from bulk_reset.engine.event_loop import in_new_loop, interruptible
from bulk_reset.engine.incident_reader import IncidentReader, open_incident_reader
from bulk_reset.engine.options import Options, PathLike
from bulk_reset.engine.readback import MAX_IDS
from bulk_reset.sheets.pulled_sheet import PulledSheet
from bulk_reset.workflows.edit_rules import Rules
from bulk_reset.workflows.incident_query import Query, user_zone


@dataclass(frozen=True, slots=True)
class PullTotals:
    """The result of a pull.

    Attributes:
        incidents: read, of which ``rows`` are in the sheet: with rules, those that they change.
        missing: ids that do not exist.
        pages, windows: how many requests and periods it took.
    """

    path: str
    incidents: int
    rows: int
    pages: int
    windows: int
    zone: str
    missing: tuple[str, ...] = ()


@dataclass(slots=True)
class _Pulling:
    """A running pull; counts what it reads."""

    reader: IncidentReader
    on_read: Callable[[int, int], None]
    incidents: int = 0
    pages: int = 0
    windows: int = 0
    missing: list[str] = field(default_factory=list)

    async def of_query(self, query: Query) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the incidents of a query, each once, oldest first."""
        seen: set[bytes] = set()
        for window in query.windows():
            self.windows += 1
            async for incident in self._of_window(query, window):
                key = bytes.fromhex(incident[ID_FIELD])
                if key not in seen:
                    seen.add(key)
                    if query.matches(incident):
                        self.incidents += 1
                        yield incident

    async def _of_window(
        self, query: Query, window: tuple[int, int]
    ) -> AsyncIterator[Mapping[str, Any]]:
        cursor, ids = "", set[bytes]()
        before = self.incidents
        while True:
            page = await self.reader.page(query.body(window, cursor))
            self.pages += 1
            # A page may repeat incidents in place of others, so only different ids count.
            ids.update(bytes.fromhex(incident[ID_FIELD]) for incident in page.items)
            read = len(ids)
            for incident in page.items:
                yield incident
            self.on_read(before + read, before + max(read, page.total))
            if not page.has_next:
                break
            if not page.cursor or page.cursor == cursor or not page.items:
                raise RunError(
                    f"the API listed {read:,} incidents and reports more, but gives no cursor to "
                    "them. Use a shorter period."
                )
            cursor = page.cursor
        if read < page.total:
            raise RunError(
                f"the API reports {page.total:,} incidents but listed {read:,}. Pull again, or "
                "use a shorter period."
            )

    async def of_ids(self, ids: Sequence[str]) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the incidents of these ids, in their order."""
        done = 0
        async for found in self.reader.each(ids):
            some = ids[done : done + MAX_IDS]
            self.pages += 1
            done += len(some)
            for incident_id in some:
                incident = found.get(incident_id)
                if incident is None:
                    self.missing.append(incident_id)
                else:
                    self.incidents += 1
                    yield incident
            self.on_read(done, len(ids))


def pull(  # noqa: PLR0913  (its options)
    path: PathLike,
    wanted: Query | Sequence[str],
    options: Options | None = None,
    callbacks: Callbacks | None = None,
    *,
    custom: Sequence[str] = (),
    rules: Sequence[str] = (),
    overwrite: bool = False,
) -> PullTotals:
    """Read incidents into a sheet to edit.

    Args:
        path: of the sheet, ``.csv`` or ``.xlsx``.
        wanted: a query, or ids.
        custom: columns for custom fields, like ``field:NAME`` or ``field:NAME:json``.
        rules: edits like ``title={{ title | upper }}``; then the sheet has only
            incidents that they change.
        overwrite: replace an existing sheet.

    Raises:
        InputError: a rule or a column is invalid, or the sheet cannot be written.
        RunError: the incidents could not be read; no sheet was written.
    """
    options = or_default("options", options, Options)
    callbacks = or_default("callbacks", callbacks, Callbacks)
    require_path("path", path)
    if not isinstance(wanted, Query):
        expected = "a query (see query_of), or a list of ids"
        require("wanted", wanted, Sequence, expected, but_not=(str, bytes))
    parsed = Rules.of(rules)
    further = [name for name in parsed.templates if _is_further(name)]
    customs = list(dict.fromkeys([*(custom_column(name) or name for name in custom), *further]))
    zone = user_zone()
    zone_name = getattr(zone, "key", None) or "local time"
    with (
        interruptible(),
        connect(options, callbacks) as connection,
        lock_account(connection, options, str(path), callbacks) as own,
        PulledSheet(
            Path(path), custom=customs, zone=zone, zone_name=zone_name, overwrite=overwrite
        ) as sheet,
    ):

        async def read() -> _Pulling:
            async with open_incident_reader(own, options) as reader:
                pulling = _Pulling(reader, callbacks.on_incidents_read)
                found = (
                    pulling.of_query(wanted)
                    if isinstance(wanted, Query)
                    else pulling.of_ids(wanted)
                )
                async for incident in found:
                    edits = parsed.wanted(incident, sheet.rows + 2)
                    if edits or not parsed.templates:
                        sheet.write(incident, edits)
            return pulling

        pulling = in_new_loop(read)
        return PullTotals(
            str(path),
            pulling.incidents,
            sheet.rows,
            pulling.pages,
            pulling.windows,
            zone_name,
            tuple(pulling.missing),
        )


def first_incidents(
    query: Query, count: int, options: Options, callbacks: Callbacks
) -> list[Mapping[str, Any]]:
    """Return the first incidents of a query, to try a rule on.

    Raises:
        RunError: the incidents could not be read.
    """
    found: list[Mapping[str, Any]] = []
    with (
        connect(options, callbacks) as connection,
        lock_account(connection, options, "a preview", callbacks) as own,
    ):

        async def read() -> None:
            async with open_incident_reader(own, options) as reader:
                async for incident in _Pulling(reader, lambda *_: None).of_query(query):
                    found.append(incident)
                    if len(found) == count:
                        return

        in_new_loop(read)
    return found


def _is_further(name: str) -> bool:
    return name not in SETTABLE_FIELDS
