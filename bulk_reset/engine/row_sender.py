"""One row: its requests, their attempts, the read-back where needed, and one outcome.

A row whose attempts are used up by requests that may have been applied is read back, so its
outcome is updated or failed. It is unknown only where reading fails too. A comment is looked up in
the incident's timeline instead; see ``comment_sender``.

State, changed between two awaits of the event loop only:
  * ``_doubtful``: requests that a stop left without a readable answer. ``send`` adds to it;
    ``read_doubtful`` and ``take_doubtful`` empty it when all workers have ended;
  * ``_failures``: rows that failed so far.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

from bulk_reset.api.client import CommentPage
from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.change import Change
from bulk_reset.core.custom_fields import COMMENT_FIELD, is_custom
from bulk_reset.core.errors import FatalError, PermanentError, RequestError
from bulk_reset.core.fields import SETTABLE_FIELDS
from bulk_reset.core.json_codec import loads
from bulk_reset.core.option_names import option_name
from bulk_reset.core.outcome import Outcome, Status, Stop, StopReason
from bulk_reset.engine.attempts import Attempts, Trail
from bulk_reset.engine.comment_sender import Answer, CommentSender, comment_of, in_doubt
from bulk_reset.engine.readback import MAX_IDS, Incident, ReadBack, differing_fields
from bulk_reset.engine.timeline import Timelines
from bulk_reset.records.written_fields import read_back_text

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


class _Doubtful(NamedTuple):
    """A request that was sent and has no readable answer."""

    row: Change
    part: Change
    """What the request sets: the row's change, or a part of it."""
    trail: Trail
    error: RequestError
    comment_since: float = 0.0
    """The earliest time at which it may have added the comment."""


class RowSender:
    """Sends rows, one call a row; many calls run at the same time.

    Args:
        stop: called when the run must end early.
        max_failures: how many rows may fail before that.
        wall_clock: returns UTC epoch seconds.
    """

    def __init__(
        self,
        api: Api,
        attempts: Attempts,
        stop: Callable[[Stop], None],
        max_failures: float,
        wall_clock: Callable[[], float],
    ) -> None:
        self._api, self._attempts, self._stop = api, attempts, stop
        self._readback = ReadBack(api.list_by_ids, attempts)
        self._timelines = Timelines(api.comment_page, attempts)
        self._max_failures, self._failures = max_failures, 0
        self._wall_clock = wall_clock
        self._doubtful: list[_Doubtful] = []

    async def send(self, change: Change, worker: asyncio.Task[None] | None) -> Outcome | None:
        """Send a row until it has an outcome; None where a stop leaves it pending."""
        if not change.rest:
            reset = partial(self._api.reset, change.body)
            return await self._send_part(change, change, reset, worker)
        outcome, done = None, list[Outcome]()
        for part, call in self._parts(change):
            outcome = await self._send_part(change, part, call, worker)
            if outcome is None:
                break
            done.append(outcome)
            if outcome.status is not Status.UPDATED:
                break
        return _merged(change, done) if outcome is not None else None

    async def incidents(self, incident_ids: Sequence[str]) -> Mapping[str, Incident]:
        """Read up to ``MAX_IDS`` incidents; raises RequestError."""
        return await self._readback.incidents(incident_ids)

    def count_failure(self) -> None:
        """Count a failed row, and stop the run when too many have failed."""
        self._failures += 1
        if self._failures > self._max_failures:
            limit = option_name("max_failures")
            message = f"{self._failures:,} rows failed, more than {limit} allows"
            self._stop(Stop(StopReason.MAX_FAILURES, message))

    # --- Requests ----------------------------------------------------------------------------

    def _parts(self, change: Change) -> Iterator[tuple[Change, Call]]:
        """Yield each request of a row as a change of its own; a comment comes last."""
        if change.body:
            fields = tuple(name for name in change.fields if name in SETTABLE_FIELDS)
            yield change._replace(fields=fields, rest=()), partial(self._api.reset, change.body)
        for part in change.rest:
            alone = change._replace(fields=(part.field,), body=b"", rest=(part,))
            if part.field == ACTION_FIELD:
                action = loads(part.body)[ACTION_FIELD]
                yield alone, partial(self._api.act, action, [change.incident_id])
                continue
            call = self._api.reset_field if is_custom(part.field) else self._api.comment
            yield alone, partial(call, part.body)

    async def _send_part(
        self, row: Change, part: Change, call: Call, worker: asyncio.Task[None] | None
    ) -> Outcome | None:
        """Send one request of a row, which may be all that the row needs."""
        if part.fields == _COMMENT:
            return await self._send_comment(row, part, call, worker)
        trail = Trail(worker, part.row_number)
        try:
            try:
                answer = await self._attempts.attempt(trail, call)
            except RequestError as error:
                return await self._retry(row, part, trail, call, error)
        except asyncio.CancelledError:
            if trail.is_in_doubt:
                self._doubtful.append(_Doubtful(row, part, trail, _interrupted()))
            raise
        return self._updated(part, trail, answer)

    async def _send_comment(
        self, row: Change, part: Change, call: Call, worker: asyncio.Task[None] | None
    ) -> Outcome | None:
        trail = Trail(worker, part.row_number, is_once=True)
        comment = CommentSender(part, self._timelines, self._attempts, self._wall_clock)
        try:
            answer = await comment.send(trail, call)
        except RequestError as error:
            return self._conclude(row, part, trail, error, comment.since)
        except asyncio.CancelledError:
            if trail.is_in_doubt:
                doubtful = _Doubtful(row, part, trail, _interrupted(), comment.since)
                self._doubtful.append(doubtful)
            raise
        if answer is not None:
            return self._updated(part, trail, answer)
        return self._added(part, trail, comment.found)

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
                return self._updated(part, trail, answer)
            if self._attempts.has_ended or not last.is_retryable:
                return self._conclude(row, part, trail, last)
            is_settled, outcome = await self._read_back(row, part, trail, last)
            if is_settled:
                return outcome
            error = last

    # --- Outcomes ----------------------------------------------------------------------------

    def _updated(self, part: Change, trail: Trail, answer: Answer) -> Outcome:
        return Outcome(
            part.row_number,
            part.incident_id,
            Status.UPDATED,
            part.fields,
            part.digest,
            trail.attempts,
            answer.http_status,
            request_id=answer.request_id,
            started_at=trail.started_at,
            finished_at=self._wall_clock(),
            throttled=trail.throttled,
        )

    def _outcome(self, part: Change, trail: Trail, status: Status, error: RequestError) -> Outcome:
        return Outcome(
            part.row_number,
            part.incident_id,
            status,
            part.fields,
            part.digest,
            trail.attempts,
            error.http_status,
            error.code,
            str(error),
            error.request_id,
            trail.started_at,
            self._wall_clock(),
            trail.throttled,
        )

    def _added(self, part: Change, trail: Trail, why: str) -> Outcome:
        """Return the outcome of a comment that the timeline has."""
        text = f"{why}; found in the timeline: the comment was added"
        return self._outcome(part, trail, Status.UPDATED, RequestError(text, code=""))

    def _conclude(
        self,
        row: Change,
        part: Change,
        trail: Trail,
        error: RequestError,
        comment_since: float = 0.0,
    ) -> Outcome | None:
        """Return the outcome of a request that ended in an error; None where it is pending."""
        if isinstance(error, FatalError):
            self._stop(Stop(StopReason.FATAL, f"{error.code}: {error}"))
        is_final = isinstance(error, PermanentError)
        if self._attempts.has_ended and not is_final:
            if trail.is_in_doubt:
                self._doubtful.append(_Doubtful(row, part, trail, error, comment_since))
            return None
        is_unknown = trail.is_in_doubt and not is_final and not trail.is_once
        status = Status.UNKNOWN if is_unknown else Status.FAILED
        outcome = self._outcome(part, trail, status, error)
        self.count_failure()
        return outcome

    # --- Reading back ------------------------------------------------------------------------

    async def _read_back(
        self, row: Change, part: Change, trail: Trail, error: RequestError
    ) -> tuple[bool, Outcome | None]:
        """Read the incident of a request whose attempts are used up; False: send it again."""
        began_at = asyncio.get_running_loop().time()
        try:
            incident = await self._readback.incident(part.incident_id)
        except RequestError as read_error:
            failed = _with_text(error, f"{error}; reading it back failed too: {read_error}")
            return True, self._conclude(row, part, trail, failed)
        differing = differing_fields(part, incident) if incident is not None else []
        if incident is None:
            trail.is_in_doubt = False
            text = f"no such incident (read back after: {error})"
            missing = _with_text(error, text, code="ResourceNotFound")
            return True, self._conclude(row, part, trail, missing)
        if not differing:
            return True, self._found_applied(part, trail, error)
        if self._readback.failed_at >= began_at and not self._attempts.has_ended:
            # Reading failed for a while as well, so the attempts were used up by an outage.
            return False, None
        trail.is_in_doubt = False
        text = f"{error}; {read_back_text(differing)}"
        return True, self._conclude(row, part, trail, _with_text(error, text))

    def _found_applied(self, part: Change, trail: Trail, error: RequestError) -> Outcome:
        text = f"{error}; {read_back_text(())}"
        return self._outcome(part, trail, Status.UPDATED, _with_text(error, text, code=""))

    # --- After a stop ------------------------------------------------------------------------

    @property
    def has_doubtful(self) -> bool:
        """Whether a stop left requests without a readable answer."""
        return bool(self._doubtful)

    async def read_doubtful(self, record: Callable[[Outcome], None]) -> None:
        """Read back what a stop left in doubt, and record the rows that were updated."""
        comments = [one for one in self._doubtful if one.part.fields == _COMMENT]
        others = [one for one in self._doubtful if one.part.fields != _COMMENT]
        while others:
            batch = others[:MAX_IDS]
            try:
                incidents = await self._readback.last([one.part.incident_id for one in batch])
            except RequestError:
                return
            del others[:MAX_IDS]
            self._doubtful = others + comments
            for row, part, trail, error, _ in batch:
                incident = incidents.get(part.incident_id)
                # Where it was not applied, or was not the row's last request, the row is pending.
                is_last = part.fields[-1] == row.fields[-1]
                if incident is not None and is_last and not differing_fields(part, incident):
                    outcome = self._found_applied(part, trail, error)
                    record(outcome._replace(fields=row.fields))
        await self._look_up(comments, record)

    async def _look_up(
        self, comments: Sequence[_Doubtful], record: Callable[[Outcome], None]
    ) -> None:
        for one in comments:
            text = comment_of(one.part)
            try:
                is_added = await self._timelines.has_comment(
                    one.part.incident_id, text, one.comment_since, is_last=True
                )
            except RequestError:
                return
            if is_added:
                self._doubtful.remove(one)
                outcome = self._added(one.part, one.trail, str(one.error))
                record(outcome._replace(fields=one.row.fields))

    def take_doubtful(self) -> Iterator[Outcome]:
        """Yield an outcome for each row that is still in doubt."""
        while self._doubtful:
            row, part, trail, error, _ = self._doubtful.pop(0)
            outcome = self._outcome(part, trail, Status.UNKNOWN, error)
            if part.fields == _COMMENT:
                unseen = in_doubt(error, "the timeline did not show it")
                outcome = self._outcome(part, trail, Status.FAILED, unseen)
            yield outcome._replace(fields=row.fields)


def _merged(row: Change, parts: Sequence[Outcome]) -> Outcome:
    """Return the outcome of a row from those of its requests; the last of them decides."""
    last = parts[-1]
    message = last.error_message
    if last.status is not Status.UPDATED:
        names = ", ".join(name for part in parts[:-1] for name in part.fields)
        message = f"{', '.join(last.fields)}: {message}{f'; updated: {names}' if names else ''}"
    return last._replace(
        fields=row.fields,
        attempts=sum(part.attempts for part in parts),
        throttled=sum(part.throttled for part in parts),
        error_message=message,
    )


def _with_text(error: RequestError, text: str, *, code: str | None = None) -> RequestError:
    """Return an error of the same kind with another text."""
    return type(error)(
        text,
        code=error.code if code is None else code,
        http_status=error.http_status,
        request_id=error.request_id,
    )


def _interrupted() -> RequestError:
    return RequestError("sent, but the run was stopped before the API answered", code="stopped")
