"""Read incidents back: was an update applied whose answer nobody saw?

Many rows ask at about the same time, when the API is in trouble; those that ask while a
request is on its way share the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from bulk_reset.core.change import Change
from bulk_reset.core.custom_fields import is_same, live_value
from bulk_reset.core.errors import RequestError, ThrottledError
from bulk_reset.engine.attempts import NO_ROW, Attempts, Trail

Incident = Mapping[str, Any]
MAX_IDS: Final = 100
"""So many incidents one request may ask for. Source: the API's page of the operation."""


def differing_fields(change: Change, incident: Incident) -> list[str]:
    """Return the fields that the incident does not have as the change wants them."""
    return [
        name
        for name, value in change.wanted().items()
        if not is_same(live_value(incident, name), value)
    ]


class ReadBack:
    """Reads the incidents of several rows with one request; belongs to one event loop.

    Args:
        list_by_ids: gives id -> incident for at most ``MAX_IDS`` ids, those that exist; may
            raise RequestError.

    Attributes:
        failed_at: when reading last met the API's trouble, in the loop's seconds.
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
            # Whoever had the turn before may have asked for this one as well.
            if not found.done():
                await self._read_wanted()
        incidents = found.result()
        if isinstance(incidents, RequestError):
            raise incidents
        return incidents.get(incident_id)

    async def last(self, incident_ids: Sequence[str]) -> Mapping[str, Incident]:
        """Read at most ``MAX_IDS`` incidents once more after the run's end; raises as above."""
        return await self._attempts.last(partial(self._list_by_ids, incident_ids))

    async def incidents(self, incident_ids: Sequence[str]) -> Mapping[str, Incident]:
        """Return at most ``MAX_IDS`` incidents as they are now; raises as above."""
        trail = Trail(asyncio.current_task(), NO_ROW, is_read=True)
        ask = partial(self._ask, incident_ids)
        try:
            return await self._attempts.attempt(trail, ask)
        except RequestError as error:
            return await self._attempts.retry(trail, ask, error)

    async def _read_wanted(self) -> None:
        # Should this be cancelled, whoever has the next turn asks for all of them.
        ids = list(islice(self._wanted, MAX_IDS))
        answer: Mapping[str, Incident] | RequestError
        try:
            answer = await self.incidents(ids)
        except RequestError as error:
            answer = error
        for incident_id in ids:
            self._wanted.pop(incident_id).set_result(answer)

    async def _ask(self, incident_ids: Sequence[str]) -> Mapping[str, Incident]:
        try:
            return await self._list_by_ids(incident_ids)
        except RequestError as error:
            if error.is_retryable and not isinstance(error, ThrottledError):
                self.failed_at = asyncio.get_running_loop().time()
            raise
