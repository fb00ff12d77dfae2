"""One row: its requests, their attempts, the read-back where needed, and one outcome.

A row whose attempts are used up by requests that may have been applied is read back, so its
outcome is updated or failed. It is unknown only where reading fails too. A comment is looked up in
the incident's timeline instead; see ``comment_sender``.
Rows with the same action or comment are sent as a group; see ``comment_groups``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.change import Change
from bulk_reset.core.custom_fields import COMMENT_FIELD, comment_body
from bulk_reset.core.errors import RequestError
from bulk_reset.core.fields import SETTABLE_FIELDS
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.engine.action_sender import ActionSender, action_of
from bulk_reset.engine.attempts import Trail
from bulk_reset.engine.comment_groups import GROUPED, CommentGroups, Member
from bulk_reset.engine.comment_sender import CommentSender, comment_of
from bulk_reset.engine.doubtful_requests import DoubtfulRequests
from bulk_reset.engine.group_sender import GroupSender, Worker
from bulk_reset.engine.readback import Incident, ReadBack, differing_fields
from bulk_reset.engine.row_outcomes import Answer, RowOutcomes, merged, with_text
from bulk_reset.engine.timeline import Timelines
from bulk_reset.records.written_fields import read_back_text

if TYPE_CHECKING:
    from bulk_reset.api.client import CommentPage

_ACTION: Final = (ACTION_FIELD,)
_COMMENT: Final = (COMMENT_FIELD,)


class Api(Protocol):
    """The calls of a client that the engine needs."""

    async def reset(self, body: bytes) -> Answer:
        """Set fields of an incident; raises RequestError and nothing else."""
        ...

    async def reset_field(self, body: bytes) -> Answer:
        """Set a custom field of an incident; raises RequestError and nothing else."""
        ...

    async def comment(self, body: bytes) -> Answer:
        """Add a comment to an incident; raises RequestError and nothing else."""
        ...

    async def act(self, action: str, incident_ids: Sequence[str]) -> Answer:
        """Acknowledge, resolve or reopen incidents; raises RequestError and nothing else."""
        ...

    async def list_by_ids(self, incident_ids: Sequence[str]) -> Mapping[str, Incident]:
        """Read up to 100 incidents; raises RequestError and nothing else."""
        ...

    async def comment_page(self, incident_id: str, page: int) -> CommentPage:
        """Read a page of an incident's comments; raises RequestError and nothing else."""
        ...


Call = Callable[[], Awaitable[Answer]]


class RowSender:
    """Sends rows, one call a row; many calls run at the same time.

    Args:
        mute_reply: whether webhooks are not called for comments.

    Attributes:
        groups: the actions and comments of the rows that were read ahead.
        doubtful: what a stop left without a readable answer.
    """

    def __init__(self, api: Api, outcomes: RowOutcomes, *, mute_reply: bool = False) -> None:
        self._api, self._attempts, self._outcomes = api, outcomes.attempts, outcomes
        self._mute_reply = mute_reply
        self._readback = ReadBack(api.list_by_ids, self._attempts)
        self._timelines = Timelines(api.comment_page, self._attempts)
        self.groups = CommentGroups()
        self._group_sender = GroupSender(
            self._comment, self._send_comment, self._timelines, outcomes
        )
        self._action_sender = ActionSender(
            self._act, self._send_part, self._send_rest, self._readback, outcomes
        )
        self.doubtful = DoubtfulRequests(outcomes, self._readback, self._timelines)

    async def send(self, change: Change, worker: Worker) -> None:
        """Send a row and record its outcome; a stop leaves it pending.

        A row of a group is recorded when the last row of the group has been sent.
        """
        if not change.rest:
            outcome = await self._send_part(change, change, worker)
            if outcome is not None:
                self._outcomes.record(outcome)
            return
        await self._send_parts(change, tuple(self._parts(change)), [], worker)

    async def _send_parts(
        self, row: Change, parts: Sequence[Change], done: list[Outcome], worker: Worker
    ) -> None:
        """Send the parts of a row that are left, until one of them waits for its group."""
        for place, part in enumerate(parts):
            group = self.groups.take(row, part.fields[0])
            if group is not None:
                member = Member(row, part, tuple(done), tuple(parts[place + 1 :]))
                await self._send_group(part.fields[0], group.arrive(member), worker)
                return
            outcome = await self._send_part(row, part, worker)
            if outcome is not None:
                done.append(outcome)
            if outcome is None or outcome.status is not Status.UPDATED:
                await self._end(row, outcome, done, worker)
                return
        self._outcomes.record(merged(row, done))

    async def _send_rest(self, member: Member, outcome: Outcome | None, worker: Worker) -> None:
        """Send what follows the action of a row; its outcome is None if it is pending."""
        done = [*member.done, *([outcome] if outcome is not None else [])]
        if outcome is not None and outcome.status is Status.UPDATED:
            await self._send_parts(member.row, member.rest, done, worker)
        else:
            await self._end(member.row, outcome, done, worker)

    async def _end(
        self, row: Change, last: Outcome | None, done: Sequence[Outcome], worker: Worker
    ) -> None:
        """End a row before its last part; the groups that wait for it are sent without it."""
        if last is not None:
            self._outcomes.record(merged(row, done))
        for field in GROUPED:
            group = self.groups.take(row, field)
            if group is not None:
                await self._send_group(field, group.arrive(None), worker)

    async def _send_group(self, field: str, members: Sequence[Member], worker: Worker) -> None:
        sender = self._action_sender if field == ACTION_FIELD else self._group_sender
        await sender.send(members, worker)

    async def incidents(self, incident_ids: Sequence[str]) -> Mapping[str, Incident]:
        """Read up to ``MAX_IDS`` incidents; raises RequestError."""
        return await self._readback.incidents(incident_ids)

    # --- Requests ----------------------------------------------------------------------------

    def _parts(self, change: Change) -> Iterator[Change]:
        """Yield each request of a row as a change of its own; a comment comes last."""
        if change.body:
            fields = tuple(name for name in change.fields if name in SETTABLE_FIELDS)
            yield change._replace(fields=fields, rest=())
        for part in change.rest:
            yield change._replace(fields=(part.field,), body=b"", rest=(part,))

    def _call(self, part: Change) -> Call:
        """Return what sends a part that is no comment."""
        if part.body:
            return partial(self._api.reset, part.body)
        if part.fields == _ACTION:
            return partial(self._act, action_of(part), [part.incident_id])
        return partial(self._api.reset_field, part.rest[0].body)

    def _act(self, action: str, incident_ids: Sequence[str]) -> Awaitable[Answer]:
        """Acknowledge, resolve or reopen incidents; raises RequestError."""
        return self._api.act(action, incident_ids)

    def _comment(self, incident_ids: Sequence[str], text: str) -> Awaitable[Answer]:
        """Add a comment; raises RequestError."""
        body = comment_body(incident_ids, text, mute_reply=self._mute_reply)
        return self._api.comment(body)

    async def _send_part(self, row: Change, part: Change, worker: Worker) -> Outcome | None:
        """Send one request of a row, which may be all that the row needs."""
        if part.fields == _COMMENT:
            return await self._send_comment(row, part, worker)
        trail, call = Trail(worker, part.row_number), self._call(part)
        try:
            try:
                answer = await self._attempts.attempt(trail, call)
            except RequestError as error:
                return await self._retry(row, part, trail, call, error)
        except asyncio.CancelledError:
            if trail.is_in_doubt:
                self._outcomes.doubt(row, part, trail)
            raise
        return self._outcomes.updated(part, trail, answer)

    async def _send_comment(self, row: Change, part: Change, worker: Worker) -> Outcome | None:
        trail = Trail(worker, part.row_number, is_once=True)
        wall_clock = self._outcomes.wall_clock
        comment = CommentSender(part, self._timelines, self._attempts, wall_clock)
        call = partial(self._comment, [part.incident_id], comment_of(part))
        try:
            answer = await comment.send(trail, call)
        except RequestError as error:
            return self._outcomes.conclude(row, part, trail, error, comment.since)
        except asyncio.CancelledError:
            if trail.is_in_doubt:
                self._outcomes.doubt(row, part, trail, comment_since=comment.since)
            raise
        if answer is not None:
            return self._outcomes.updated(part, trail, answer)
        return self._outcomes.added(part, trail, comment.found)

    async def _retry(
        self, row: Change, part: Change, trail: Trail, call: Call, error: RequestError
    ) -> Outcome | None:
        """Attempt again, and read the incident back when the attempts are used up."""
        while True:
            try:
                answer = await self._attempts.retry(trail, call, error)
            except RequestError as latest:
                last = latest
            else:
                return self._outcomes.updated(part, trail, answer)
            if self._attempts.has_ended or not last.is_retryable:
                return self._outcomes.conclude(row, part, trail, last)
            is_settled, outcome = await self._read_back(row, part, trail, last)
            if is_settled:
                return outcome
            error = last

    # --- Reading back ------------------------------------------------------------------------

    async def _read_back(
        self, row: Change, part: Change, trail: Trail, error: RequestError
    ) -> tuple[bool, Outcome | None]:
        """Read the incident of a request whose attempts are used up; False: send it again."""
        began_at = asyncio.get_running_loop().time()
        try:
            incident = await self._readback.incident(part.incident_id)
        except RequestError as read_error:
            failed = with_text(error, f"{error}; reading it back failed too: {read_error}")
            return True, self._outcomes.conclude(row, part, trail, failed)
        differing = differing_fields(part, incident) if incident is not None else []
        if incident is None:
            trail.is_in_doubt = False
            text = f"no such incident (read back after: {error})"
            missing = with_text(error, text, code="ResourceNotFound")
            return True, self._outcomes.conclude(row, part, trail, missing)
        if not differing:
            return True, self._outcomes.found_applied(part, trail, error)
        if self._readback.failed_at >= began_at and not self._attempts.has_ended:
            # Reading failed for a while as well, so the attempts were used up by an outage.
            return False, None
        trail.is_in_doubt = False
        text = f"{error}; {read_back_text(differing)}"
        return True, self._outcomes.conclude(row, part, trail, with_text(error, text))
