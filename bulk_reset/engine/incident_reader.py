"""Reads incidents for what sends nothing: plan, verify and pull.

It uses the same quota as a run, with the same retries.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from bulk_reset.api.log_entries import LogPage
from bulk_reset.core.errors import FatalError, RequestError, RunError, UnansweredError
from bulk_reset.core.field_types import FieldTypes
from bulk_reset.core.fields import MAX_IDS
from bulk_reset.core.outcome import Stop
from bulk_reset.engine.attempts import NO_ROW, Attempts, Trail
from bulk_reset.engine.change_authors import ChangeAuthors
from bulk_reset.engine.circuit_breaker import CircuitBreaker
from bulk_reset.engine.connection import Connection
from bulk_reset.engine.options import Options
from bulk_reset.engine.readback import Incident, ReadBack
from bulk_reset.quota.limiter import Limiter

if TYPE_CHECKING:
    from bulk_reset.api.client import Client, Page

_READERS: Final = 4
"""In-flight reads: the API takes long to answer for a hundred incidents."""


class IncidentReader:
    """Reads incidents within the quota; use ``open_incident_reader`` to get one."""

    def __init__(self, client: Client, limiter: Limiter, options: Options) -> None:
        self._client = client
        self.limiter = limiter
        self._stop: Stop | None = None
        self._attempts = Attempts(
            limiter, options.policy(), CircuitBreaker(options.patience_s), self._end
        )
        self._readback = ReadBack(client.list_by_ids, self._attempts)

    def authors(self) -> ChangeAuthors:
        """Return what finds the authors of changes."""
        return ChangeAuthors(self._client, self._attempts.last)

    def _end(self, stop: Stop) -> None:
        self._stop, self._attempts.has_ended = stop, True

    async def incidents(self, incident_ids: Sequence[str]) -> Mapping[str, Incident]:
        """Return up to 100 incidents, those that exist; raises RunError."""
        with self._errors():
            return await self._readback.incidents(incident_ids)

    async def field_types(self) -> FieldTypes:
        """Return the custom fields of the account; raises RunError."""
        trail = Trail(asyncio.current_task(), NO_ROW, is_read=True)
        with self._errors("the custom fields could not be read"):
            try:
                return await self._attempts.attempt(trail, self._client.field_types)
            except RequestError as error:
                return await self._attempts.retry(trail, self._client.field_types, error)

    async def page(self, query: Mapping[str, Any]) -> Page:
        """Return a page of a list; raises RunError."""
        trail = Trail(asyncio.current_task(), NO_ROW, is_read=True)
        read = partial(self._client.list_page, query)
        with self._errors():
            try:
                return await self._attempts.attempt(trail, read)
            except RequestError as error:
                return await self._attempts.retry(trail, read, error)

    async def log_page(self, query: Mapping[str, Any]) -> LogPage:
        """Return a page of the provider's audit log; raises RunError."""
        trail = Trail(asyncio.current_task(), NO_ROW, is_read=True)
        read = partial(self._client.log_page, query)
        with self._errors("the audit log could not be read"):
            try:
                return await self._attempts.attempt(trail, read)
            except RequestError as error:
                return await self._attempts.retry(trail, read, error)

    async def each(
        self, incident_ids: Iterable[str]
    ) -> AsyncIterator[tuple[Sequence[str], Mapping[str, Incident]]]:
        """Read any number of incidents, in order.

        Yields: up to 100 ids, and those of their incidents that exist.
        """
        ids = iter(incident_ids)
        while parts := list(islice(iter(lambda: list(islice(ids, MAX_IDS)), []), _READERS)):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.incidents(part)) for part in parts]
            for part, task in zip(parts, tasks, strict=True):
                yield part, task.result()

    @contextlib.contextmanager
    def _errors(self, where: str = "the incidents could not be read") -> Iterator[None]:
        try:
            yield
        except RequestError as error:
            code = "" if error.code.startswith("HTTP") else f"{error.code}: "
            text = self._stop.message if self._stop else f"{code}{error}"
            if isinstance(error, FatalError):
                raise RunError(f"{where}: {text}.") from None
            raise UnansweredError(f"{where}: {text}. Try again later.") from None


@contextlib.asynccontextmanager
async def open_incident_reader(
    connection: Connection, options: Options
) -> AsyncIterator[IncidentReader]:
    """Open connections for reading until the block ends."""
    from bulk_reset.api.client import open_client  # noqa: PLC0415  (imports aiohttp)

    async with open_client(
        connection.credentials, connections=_READERS, timeout_s=options.timeout_s
    ) as client:
        yield IncidentReader(client, connection.limiter(options), options)
