"""After a stop: the result of the requests that have no readable answer.

Incidents are read back, and timelines are searched for comments, in single attempts, until the
grace period of the stop ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from bulk_reset.core.custom_fields import COMMENT_FIELD
from bulk_reset.core.errors import RequestError
from bulk_reset.core.fields import MAX_IDS
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.engine.comment_sender import comment_of, in_doubt
from bulk_reset.engine.readback import ReadBack, differing_fields
from bulk_reset.engine.row_outcomes import DoubtfulRequest, RowOutcomes
from bulk_reset.engine.timeline import LOOK_UPS, Timelines

Record = Callable[[Outcome], None]


class DoubtfulRequests:
    """Reads back what ``RowOutcomes.doubtful`` has, when all workers have ended."""

    def __init__(self, outcomes: RowOutcomes, readback: ReadBack, timelines: Timelines) -> None:
        self._outcomes, self._readback, self._timelines = outcomes, readback, timelines

    async def read(self, record: Record) -> None:
        """Read back what a stop left in doubt, and record the rows that were updated."""
        every = self._outcomes.doubtful
        comments = [one for one in every if _is_comment(one)]
        others = [one for one in every if not _is_comment(one)]
        while others:
            batch = others[:MAX_IDS]
            try:
                incidents = await self._readback.last([one.part.incident_id for one in batch])
            except RequestError:
                return
            del others[:MAX_IDS]
            self._outcomes.doubtful = others + comments
            for row, part, trail, error, _ in batch:
                incident = incidents.get(part.incident_id)
                # Where it was not applied, or was not the row's last request, the row is pending.
                is_last = part.fields[-1] == row.fields[-1]
                if incident is not None and is_last and not differing_fields(part, incident):
                    outcome = self._outcomes.found_applied(part, trail, error)
                    record(outcome._replace(fields=row.fields))
        for first in range(0, len(comments), LOOK_UPS):
            if not await self._look_up(comments[first : first + LOOK_UPS], record):
                return

    async def _look_up(self, comments: Sequence[DoubtfulRequest], record: Record) -> bool:
        """Search the timelines of some incidents; return whether all could be read."""
        found = await asyncio.gather(*map(self._has_comment, comments))
        for one, is_added in zip(comments, found, strict=True):
            if is_added:
                self._outcomes.doubtful.remove(one)
                outcome = self._outcomes.added(one.part, one.trail, str(one.error))
                record(outcome._replace(fields=one.row.fields))
        return None not in found

    async def _has_comment(self, one: DoubtfulRequest) -> bool | None:
        incident_id, text = one.part.incident_id, comment_of(one.part)
        try:
            return await self._timelines.has_comment(
                incident_id, text, one.comment_since, is_last=True
            )
        except RequestError:
            return None

    def take(self) -> Iterator[Outcome]:
        """Yield an outcome for each row that is still in doubt."""
        while self._outcomes.doubtful:
            row, part, trail, error, _ = one = self._outcomes.doubtful.pop(0)
            outcome = self._outcomes.failed(part, trail, error, Status.UNKNOWN)
            if _is_comment(one):
                unseen = in_doubt(error, "the timeline did not show it")
                outcome = self._outcomes.failed(part, trail, unseen)
            yield outcome._replace(fields=row.fields)


def _is_comment(one: DoubtfulRequest) -> bool:
    return one.part.fields == (COMMENT_FIELD,)
