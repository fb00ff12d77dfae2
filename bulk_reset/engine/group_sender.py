"""Adds one comment to a group of incidents, each once; every row gets an outcome of its own.

A request that failed is never repeated as it was. The timelines of its incidents are searched
first: what they show was added. What they do not show was not added where the API has answered,
and is sent in halves, down to the row that the API rejects. Where there was no readable answer,
the request may still be in progress, so those comments are in doubt, as ``comment_sender`` has it.

Whether a rejected request has added some of its comments is not published. Once half of a
rejected group was accepted, and no timeline had the comment in between, the API is known to
reject all or nothing, and later rejections need no search.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from bulk_reset.core.change import Change
from bulk_reset.core.errors import FatalError, PermanentError, RequestError
from bulk_reset.core.outcome import Outcome
from bulk_reset.engine.attempts import Trail
from bulk_reset.engine.comment_groups import Member
from bulk_reset.engine.comment_sender import comment_of, in_doubt, unreadable
from bulk_reset.engine.row_outcomes import Answer, RowOutcomes, merged
from bulk_reset.engine.timeline import LOOK_UPS, Timelines

Worker = asyncio.Task[None] | None
SendAlone = Callable[[Change, Change, Worker], Awaitable[Outcome | None]]
"""Takes a row, the part of it that sets the comment, and the worker."""


class GroupSender:
    """Sends groups; many of them at the same time.

    Args:
        comment: adds a text to the incidents with these ids; raises RequestError.
        send_alone: adds the comment of one row.
    """

    def __init__(
        self,
        comment: Callable[[Sequence[str], str], Awaitable[Answer]],
        send_alone: SendAlone,
        timelines: Timelines,
        outcomes: RowOutcomes,
    ) -> None:
        self._comment, self._send_alone = comment, send_alone
        self._timelines, self._outcomes = timelines, outcomes
        self._attempts = outcomes.attempts
        self._is_all_or_none = False

    async def send(self, members: Sequence[Member], worker: Worker) -> bool:
        """Add the comment to some incidents; return whether one request was accepted for all."""
        if self._attempts.has_ended or not members:
            return False
        if len(members) == 1:
            row, part, *_ = members[0]
            self._end(members[0], await self._send_alone(row, part, worker))
            return False
        since = self._outcomes.wall_clock()
        trail = Trail(worker, members[0].row.row_number, is_once=True)
        ids = [member.part.incident_id for member in members]
        call = partial(self._comment, ids, comment_of(members[0].part))
        try:
            answer = await self._attempts.attempt(trail, call)
        except RequestError as error:
            await self._after(error, members, trail, since)
            return False
        except asyncio.CancelledError:
            if trail.is_in_doubt:
                self._doubt(members, trail, None, since)
            raise
        for member in members:
            self._end(member, self._outcomes.updated(member.part, trail, answer))
        return True

    async def _after(
        self, error: RequestError, members: Sequence[Member], trail: Trail, since: float
    ) -> None:
        """Find what a failed request has added, and send the rest in halves."""
        is_rejected = isinstance(error, PermanentError)
        if isinstance(error, FatalError) or self._attempts.has_ended:
            self._pend(error, members, trail, since)
            return
        missing = list(members)
        if not (is_rejected and self._is_all_or_none):
            missing = await self._look_up(members, error, trail, since)
        half = len(missing) // 2
        is_accepted = await self.send(missing[:half], trail.worker)
        if is_rejected and is_accepted and len(missing) == len(members):
            self._is_all_or_none = True
        await self.send(missing[half:], trail.worker)

    async def _look_up(
        self, members: Sequence[Member], error: RequestError, trail: Trail, since: float
    ) -> list[Member]:
        """Search the timelines, and record what was added or is in doubt; return the others."""
        missing: list[Member] = []
        for first in range(0, len(members), LOOK_UPS):
            some = members[first : first + LOOK_UPS]
            try:
                if error.is_retryable and not first:
                    await asyncio.sleep(self._attempts.first_wait_s)
                results = await asyncio.gather(*(self._is_added(one, since) for one in some))
            except asyncio.CancelledError:
                self._doubt(members[first:], trail, error, since)
                raise
            for member, result in zip(some, results, strict=True):
                if result is True:
                    added = self._outcomes.added(member.part, trail, str(error))
                    self._end(member, added)
                elif result is False and not error.may_be_applied:
                    missing.append(member)
                elif self._attempts.has_ended:
                    self._doubt([member], trail, error, since)
                else:
                    why = result or "the timeline does not show it"
                    doubt = in_doubt(error, str(why))
                    self._end(member, self._outcomes.fail(member.part, trail, doubt))
        return missing

    async def _is_added(self, member: Member, since: float) -> bool | str:
        """Return whether a timeline has the comment, or why that is not known."""
        part = member.part
        try:
            return await self._timelines.has_comment(part.incident_id, comment_of(part), since)
        except RequestError as error:
            return unreadable(error)

    # --- Outcomes ----------------------------------------------------------------------------

    def _pend(
        self, error: RequestError, members: Sequence[Member], trail: Trail, since: float
    ) -> None:
        """Leave rows pending, or in doubt where the comment may have been added."""
        if isinstance(error, PermanentError):
            if not self._is_all_or_none:
                self._doubt(members, trail, error, since)
            return
        for member in members:
            self._outcomes.conclude(member.row, member.part, trail, error, since)

    def _doubt(
        self, members: Sequence[Member], trail: Trail, error: RequestError | None, since: float
    ) -> None:
        for member in members:
            self._outcomes.doubt(member.row, member.part, trail, error, since)

    def _end(self, member: Member, outcome: Outcome | None) -> None:
        if outcome is not None:
            self._outcomes.record(merged(member.row, [*member.done, outcome]))
