"""Reads incidents back: was an update applied whose answer was lost?

When the API is in trouble, many rows ask at about the same time. Rows that ask while a read is
in flight share the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from bulk_reset.core.change import Change
from bulk_reset.core.custom_fields import has_value, live_value
from bulk_reset.core.errors import PermanentError, RequestError, ThrottledError
from bulk_reset.core.fields import MAX_IDS
from bulk_reset.engine.attempts import NO_ROW, Attempts, Trail

Incident = Mapping[str, Any]
_REJECTED: Final = "InvalidParameter"


def differing_fields(change: Change, incident: Incident) -> list[str]:
    """Return the fields of which the incident does not have the change's value."""
    return [
        name
        for name, value in change.wanted().items()
        if not has_value(name, live_value(incident, name), value)
    ]


class ReadBack:
    """Reads the incidents of several rows with one request; belongs to one event loop.

    Args:
        list_by_ids: takes up to ``MAX_IDS`` ids, returns id -> incident for those that exist;
            may raise RequestError.

    Attributes:
        failed_at: when a read last failed because of the API, in the loop's seconds.
    """

    def __init__(
        self,
        list_by_ids: Callable[[Sequence[str]], Awaitable[Mapping[str, Incident]]],
        attempts: Attempts,
    ) -> None:
        self._list_by_ids, self._attempts = list_by_ids, attempts
        self._turn = asyncio.Lock()
        self._wanted: dict[str, asyncio.Future[Mapping[str, Incident] | RequestError]] = {}
        self.failed_at = float("-inf")

    async def incident(self, incident_id: str) -> Incident | None:
        """Return the incident as it is now, None where there is no such incident.

        Raises:
            RequestError: reading failed.
        """
        loop = asyncio.get_running_loop()
        found = self._wanted.setdefault(incident_id, loop.create_future())
        async with self._turn:
            # The row that had the turn before may have read this incident as well.
            if not found.done():
                await self._read_wanted()
        incidents = found.result()
        if isinstance(incidents, RequestError):
            raise incidents
        return incidents.get(incident_id)

    async def last(self, incident_ids: Sequence[str]) -> Mapping[str, Incident]:
        """Read up to ``MAX_IDS`` incidents after the run's end; raises RequestError."""
        return await self._attempts.last(partial(self._list_by_ids, incident_ids))

    async def incidents(self, incident_ids: Sequence[str]) -> Mapping[str, Incident]:
        """Return up to ``MAX_IDS`` incidents as they are now; raises RequestError.

        An id that the API rejects is missing from them, as an unknown one is.
        """
        try:
            return await self._incidents(incident_ids)
        except PermanentError as error:
            if error.code != _REJECTED or len(incident_ids) == 1:
                raise
            return await self._halves(incident_ids, error)

    async def _halves(
        self, incident_ids: Sequence[str], error: PermanentError
    ) -> Mapping[str, Incident]:
        """Read incidents in halves, down to the ids that are rejected; raises if all are."""
        half, found = len(incident_ids) // 2, list[Mapping[str, Incident]]()
        for some in (incident_ids[:half], incident_ids[half:]):
            try:
                found.append(await self.incidents(some))
            except PermanentError as latest:
                if latest.code != _REJECTED:
                    raise
                error = latest
        if not found:
            raise error
        return {name: one for some in found for name, one in some.items()}

    async def _incidents(self, incident_ids: Sequence[str]) -> Mapping[str, Incident]:
        trail = Trail(asyncio.current_task(), NO_ROW, is_read=True)
        read = partial(self._read, incident_ids)
        try:
            return await self._attempts.attempt(trail, read)
        except RequestError as error:
            return await self._attempts.retry(trail, read, error)

    async def _read_wanted(self) -> None:
        # If this is cancelled, the row that has the next turn reads all of them.
        ids = list(islice(self._wanted, MAX_IDS))
        answer: Mapping[str, Incident] | RequestError
        try:
            answer = await self.incidents(ids)
        except RequestError as error:
            answer = error
        for incident_id in ids:
            self._wanted.pop(incident_id).set_result(answer)

    async def _read(self, incident_ids: Sequence[str]) -> Mapping[str, Incident]:
        try:
            return await self._list_by_ids(incident_ids)
        except RequestError as error:
            if error.is_retryable and not isinstance(error, ThrottledError):
                self.failed_at = asyncio.get_running_loop().time()
            raise
