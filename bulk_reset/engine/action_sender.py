"""Acknowledges, resolves or reopens a group of incidents; every row gets an outcome of its own.

What a request does of which one incident is refused is not published. So after a request that
failed, its incidents are read: those that have the progress are done, and the others are sent in
halves, down to the row that the API rejects. That row alone is sent as any other request is.
An action that is done a second time leaves the same progress, so it may be sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.change import Change
from bulk_reset.core.errors import FatalError, RequestError
from bulk_reset.core.json_codec import loads
from bulk_reset.core.outcome import Outcome
from bulk_reset.engine.attempts import Trail
from bulk_reset.engine.comment_groups import Member
from bulk_reset.engine.group_sender import SendAlone, Worker
from bulk_reset.engine.readback import ReadBack, differing_fields
from bulk_reset.engine.row_outcomes import Answer, RowOutcomes

Act = Callable[[str, Sequence[str]], Awaitable[Answer]]
"""Takes an action and up to 100 ids; raises RequestError."""
GoOn = Callable[[Member, Outcome | None, Worker], Awaitable[None]]
"""Takes a row with the outcome of its action, None if it is pending, and sends the rest."""


class ActionSender:
    """Sends groups; many of them at the same time.

    Args:
        send_alone: sends the action of one row.
    """

    def __init__(
        self,
        act: Act,
        send_alone: SendAlone,
        go_on: GoOn,
        readback: ReadBack,
        outcomes: RowOutcomes,
    ) -> None:
        self._act, self._send_alone, self._go_on = act, send_alone, go_on
        self._readback, self._outcomes = readback, outcomes
        self._attempts = outcomes.attempts

    async def send(self, members: Sequence[Member], worker: Worker) -> None:
        """Act on some incidents, whose rows have the same action; a stop leaves them pending."""
        if self._attempts.has_ended or not members:
            return
        if len(members) == 1:
            outcome = await self._send_alone(members[0].row, members[0].part, worker)
            await self._go_on(members[0], outcome, worker)
            return
        trail = Trail(worker, members[0].row.row_number)
        ids = [member.part.incident_id for member in members]
        call = partial(self._act, action_of(members[0].part), ids)
        try:
            answer = await self._answer(trail, call)
        except RequestError as error:
            await self._after(error, members, trail)
            return
        except asyncio.CancelledError:
            for member in members if trail.is_in_doubt else ():
                self._outcomes.doubt(member.row, member.part, trail)
            raise
        for member in members:
            updated = self._outcomes.updated(member.part, trail, answer)
            await self._go_on(member, updated, worker)

    async def _answer(self, trail: Trail, call: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await self._attempts.attempt(trail, call)
        except RequestError as error:
            return await self._attempts.retry(trail, call, error)

    async def _after(self, error: RequestError, members: Sequence[Member], trail: Trail) -> None:
        """Find what a failed request has done, and send the rest in halves."""
        if isinstance(error, FatalError) or self._attempts.has_ended:
            for member in members:
                outcome = self._outcomes.conclude(member.row, member.part, trail, error)
                await self._go_on(member, outcome, trail.worker)
            return
        missing = await self._missing(error, members, trail)
        half = len(missing) // 2
        await self.send(missing[:half], trail.worker)
        await self.send(missing[half:], trail.worker)

    async def _missing(
        self, error: RequestError, members: Sequence[Member], trail: Trail
    ) -> list[Member]:
        """Read the incidents; return the rows whose action is not done, and end the others."""
        try:
            found = await self._readback.incidents([one.part.incident_id for one in members])
        except RequestError:
            return list(members)
        missing = []
        for member in members:
            incident = found.get(member.part.incident_id)
            if incident is None or differing_fields(member.part, incident):
                missing.append(member)
            else:
                done = self._outcomes.found_applied(member.part, trail, error)
                await self._go_on(member, done, trail.worker)
        return missing


def action_of(part: Change) -> str:
    """Return the action of a change that has nothing else."""
    return str(loads(part.rest[0].body)[ACTION_FIELD])
