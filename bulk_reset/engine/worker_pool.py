"""The worker pool: change -> permit -> attempt -> decide -> outcome, recorded once.

A row whose attempts are spent on requests that may have been applied is read back, and so
known to be updated or failed; its outcome is unknown only where reading fails too.

State, and who may touch it:
  * ``_batch``: the changes read but not taken; workers take, the one that holds
    ``_refill`` adds;
  * ``_stop``: set once, by ``stop``; from then on nothing new is taken;
  * ``_doubtful``: the rows that a stop left without a readable answer, each with the request
    that got none; workers add, ``run``
    settles them when all workers have ended;
  * outcomes leave through ``record``, once a change. A change that was taken and neither
    recorded nor in doubt is pending.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Protocol
from weakref import WeakValueDictionary

from bulk_reset.core.change import Change
from bulk_reset.core.custom_fields import COMMENT_FIELD, is_custom
from bulk_reset.core.defaults import WORKERS
from bulk_reset.core.errors import FatalError, PermanentError, RequestError
from bulk_reset.core.fields import SETTABLE_FIELDS
from bulk_reset.core.outcome import Outcome, Status, Stop, StopReason
from bulk_reset.engine.attempts import Attempts, Trail
from bulk_reset.engine.circuit_breaker import CircuitBreaker
from bulk_reset.engine.readback import MAX_IDS, Incident, ReadBack, differing_fields
from bulk_reset.engine.retry_policy import RetryPolicy
from bulk_reset.quota.limiter import Limiter

GRACE_S: Final = 5.0
"""How long requests on their way may take to finish once the run is stopped."""


class Answer(Protocol):
    """What an API's success looks like."""

    @property
    def http_status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def request_id(self) -> str:
        """The API's id of the request."""
        ...


class Api(Protocol):
    """What the engine needs of a client."""

    async def reset(self, body: bytes) -> Answer:
        """Set fields of an incident; raises RequestError and nothing else."""
        ...

    async def reset_field(self, body: bytes) -> Answer:
        """Set a custom field of an incident; raises RequestError and nothing else."""
        ...

    async def comment(self, body: bytes) -> Answer:
        """Add a comment to an incident; raises RequestError and nothing else."""
        ...

    async def list_by_ids(self, incident_ids: Sequence[str]) -> Mapping[str, Incident]:
        """Read incidents, at most 100; raises RequestError and nothing else."""
        ...


class Engine:
    """Sends changes, within the quota, until they are through or the run is stopped.

    Changes of an incident for which ``is_in_order`` is true are sent in the order of their
    coming, never two at a time.

    Attributes:
        stopped: why the run ended early, None while it has not.
    """

    def __init__(  # noqa: PLR0913  (the parts of a run meet here)
        self,
        api: Api,
        quota: Limiter,
        record: Callable[[Outcome], None],
        *,
        policy: RetryPolicy | None = None,
        breaker: CircuitBreaker | None = None,
        workers: int = WORKERS,
        max_failures: float = float("inf"),
        is_in_order: Callable[[str], bool] = lambda _: False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._api, self._quota, self._record = api, quota, record
        self._attempts = Attempts(
            quota, policy or RetryPolicy(), breaker or CircuitBreaker(), self.stop, wall_clock
        )
        self._reads = ReadBack(api.list_by_ids, self._attempts)
        self._worker_count, self._max_failures = workers, max_failures
        self._is_in_order = is_in_order
        self._wall_clock = wall_clock
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._batch: deque[Change] = deque()
        self._refill = asyncio.Lock()
        self._workers: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._doubtful: list[tuple[Change, Change, Trail, RequestError]] = []
        self._is_aborted = False
        self._grace: asyncio.TimerHandle | None = None
        self.stopped: Stop | None = None

    def __repr__(self) -> str:
        return (
            f"<Engine {self.in_flight} in flight, {len(self._batch)} read ahead, {self._quota!r}>"
        )

    async def run(self, batches: AsyncIterator[Sequence[Change]]) -> Stop | None:
        """Send every change of every batch.

        Returns: why it ended early, or None. What was taken and has no outcome is pending.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._worker_count):
                    self._workers.add(group.create_task(self._work(batches)))
            await self._settle_doubtful()
        finally:
            if self._grace is not None:
                self._grace.cancel()
            for row, change, trail, error in self._doubtful:
                outcome = self._ended(change, trail, Status.UNKNOWN, error)
                if change.fields == _COMMENT:
                    # An unknown row is sent again, and it might stand there twice.
                    outcome = self._ended(change, trail, Status.FAILED, _comment_in_doubt(error))
                self._record(outcome._replace(fields=row.fields))
        return self.stopped

    def stop(self, stop: Stop) -> None:
        """Take no new row, let what is in flight finish for a few seconds, then end."""
        if self.stopped is not None:
            return
        self.stopped, self._attempts.has_ended = stop, True
        for worker in self._workers - self._attempts.in_flight - {asyncio.current_task()}:
            worker.cancel()
        self._grace = asyncio.get_running_loop().call_later(GRACE_S, self.abort)

    def abort(self) -> None:
        """End now: requests in flight are given up, and their rows are unknown."""
        self._is_aborted = True
        for worker in self._workers:
            worker.cancel()

    @property
    def in_flight(self) -> int:
        """Requests on their way."""
        return len(self._attempts.in_flight)

    @property
    def throttled(self) -> int:
        """Answers so far that said the quota was used up (HTTP 429)."""
        return self._attempts.throttled

    @property
    def is_waiting_for_api(self) -> bool:
        """Whether the API looks down and is only probed."""
        return self._attempts.is_waiting_for_api

    # --- Rows --------------------------------------------------------------------------------

    async def _work(self, batches: AsyncIterator[Sequence[Change]]) -> None:
        worker = asyncio.current_task()
        while await self._has_next(batches):
            change = self._batch.popleft()
            if self._is_in_order(change.incident_id):
                turn = self._turns.setdefault(change.incident_id, asyncio.Lock())
                async with turn:
                    outcome = await self._handle(change, worker)
            else:
                outcome = await self._handle(change, worker)
            if outcome is not None:
                self._record(outcome)

    async def _has_next(self, batches: AsyncIterator[Sequence[Change]]) -> bool:
        """Tell whether there is a change to take at once; read on where there is none."""
        while self.stopped is None and not self._batch:
            async with self._refill:
                if not self._batch:
                    batch = await anext(batches, None)
                    if batch is None:
                        return False
                    self._batch.extend(batch)
        return self.stopped is None

    async def _handle(self, change: Change, worker: asyncio.Task[None] | None) -> Outcome | None:
        """Work on a change until it has an outcome, or is left pending by a stop."""
        if not change.rest:
            return await self._send(change, change, partial(self._api.reset, change.body), worker)
        outcome, done = None, list[Outcome]()
        for part, send in self._parts(change):
            outcome = await self._send(change, part, send, worker)
            if outcome is None:
                break
            done.append(outcome)
            if outcome.status is not Status.UPDATED:
                break
        return _merged(change, done) if outcome is not None else None

    def _parts(self, change: Change) -> Iterator[tuple[Change, Callable[[], Awaitable[Answer]]]]:
        """Yield each request of a row as a change of its own; a comment comes last."""
        if change.body:
            fields = tuple(name for name in change.fields if name in SETTABLE_FIELDS)
            yield (
                change._replace(fields=fields, rest=()),
                partial(self._api.reset, change.body),
            )
        for part in change.rest:
            call = self._api.reset_field if is_custom(part.field) else self._api.comment
            alone = change._replace(fields=(part.field,), body=b"", rest=(part,))
            yield alone, partial(call, part.body)

    async def _send(
        self,
        row: Change,
        change: Change,
        send: Callable[[], Awaitable[Answer]],
        worker: asyncio.Task[None] | None,
    ) -> Outcome | None:
        """Work on one request: all that its row asks for, or a part of that."""
        trail = Trail(worker, change.row_number)
        try:
            try:
                answer = await self._attempts.attempt(trail, send)
            except RequestError as error:
                if change.fields == _COMMENT and error.may_be_applied:
                    # Sent again, it might stand there twice; and nobody can read it back.
                    return self._conclude(row, change, trail, _comment_in_doubt(error))
                return await self._insist(row, change, trail, send, error)
        except asyncio.CancelledError:
            if trail.is_in_doubt:
                self._doubtful.append((row, change, trail, _interrupted()))
            raise
        return self._sent(change, trail, answer)

    def _sent(self, change: Change, trail: Trail, answer: Answer) -> Outcome:
        return Outcome(
            change.row_number,
            change.incident_id,
            Status.UPDATED,
            change.fields,
            change.digest,
            trail.attempts,
            answer.http_status,
            request_id=answer.request_id,
            started_at=trail.started_at,
            finished_at=self._wall_clock(),
            throttled=trail.throttled,
        )

    async def _insist(
        self,
        row: Change,
        change: Change,
        trail: Trail,
        send: Callable[[], Awaitable[Answer]],
        error: RequestError,
    ) -> Outcome | None:
        """Attempt again, and read back where that was in vain."""
        while True:
            try:
                answer = await self._attempts.retry(trail, send, error)
            except RequestError as latest:
                last = latest
            else:
                return self._sent(change, trail, answer)
            if self.stopped is not None or not last.is_retryable:
                return self._conclude(row, change, trail, last)
            is_settled, outcome = await self._settle(row, change, trail, last)
            if is_settled:
                return outcome
            error = last

    def _conclude(
        self, row: Change, change: Change, trail: Trail, error: RequestError
    ) -> Outcome | None:
        if isinstance(error, FatalError):
            self.stop(Stop(StopReason.FATAL, f"{error.code}: {error}"))
        is_final = isinstance(error, PermanentError)
        if self.stopped is not None and not is_final:
            if trail.is_in_doubt:
                self._doubtful.append((row, change, trail, error))
            return None
        in_doubt = trail.is_in_doubt and not is_final
        outcome = self._ended(change, trail, Status.UNKNOWN if in_doubt else Status.FAILED, error)
        self.count_failure()
        return outcome

    def count_failure(self) -> None:
        """Count a row that failed, and stop the run where that is one too many."""
        self._failures += 1
        if self._failures > self._max_failures:
            message = f"{self._failures} rows failed, more than --max-failures allows"
            self.stop(Stop(StopReason.MAX_FAILURES, message))

    def _ended(self, change: Change, trail: Trail, status: Status, error: RequestError) -> Outcome:
        return Outcome(
            change.row_number,
            change.incident_id,
            status,
            change.fields,
            change.digest,
            trail.attempts,
            error.http_status,
            error.code,
            str(error),
            error.request_id,
            trail.started_at,
            self._wall_clock(),
            trail.throttled,
        )

    # --- Reading back ------------------------------------------------------------------------

    async def incidents(self, incident_ids: Sequence[str]) -> Mapping[str, Incident]:
        """Read at most ``MAX_IDS`` incidents as they are now; raises RequestError."""
        return await self._reads.incidents(incident_ids)

    async def _settle(
        self, row: Change, change: Change, trail: Trail, error: RequestError
    ) -> tuple[bool, Outcome | None]:
        """Read the incident of a change whose attempts are spent; False: send it again."""
        began_at = asyncio.get_running_loop().time()
        try:
            incident = await self._reads.incident(change.incident_id)
        except RequestError as unread:
            failed = _with_text(error, f"{error}; reading it back failed too: {unread}")
            return True, self._conclude(row, change, trail, failed)
        differing = differing_fields(change, incident) if incident is not None else []
        if incident is None:
            trail.is_in_doubt = False
            text = f"there is no such incident (read back after: {error})"
            missing = _with_text(error, text, code="ResourceNotFound")
            return True, self._conclude(row, change, trail, missing)
        if not differing:
            return True, self._found_applied(change, trail, error)
        if self._reads.failed_at >= began_at and self.stopped is None:
            # Reading failed for a while as well, so the attempts were spent on an outage.
            return False, None
        trail.is_in_doubt = False
        text = f"{error}; read back: not applied ({', '.join(differing)})"
        return True, self._conclude(row, change, trail, _with_text(error, text))

    def _found_applied(self, change: Change, trail: Trail, error: RequestError) -> Outcome:
        text = f"{error}; read back: applied"
        return self._ended(change, trail, Status.UPDATED, _with_text(error, text, code=""))

    async def _settle_doubtful(self) -> None:
        """Read back what a stop left in doubt, as long as the grace lasts."""
        if not self._doubtful or self._is_aborted:
            return
        settling = asyncio.create_task(self._read_doubtful())
        self._workers = {settling}
        try:
            await asyncio.wait(self._workers)
        finally:
            settling.cancel()
        if not settling.cancelled():
            settling.result()

    async def _read_doubtful(self) -> None:
        while self._doubtful:
            some = self._doubtful[:MAX_IDS]
            try:
                incidents = await self._reads.last([change.incident_id for change, *_ in some])
            except RequestError:
                return
            del self._doubtful[:MAX_IDS]
            for row, change, trail, error in some:
                incident = incidents.get(change.incident_id)
                # Where it was not applied, or was not the last of its row, the row is pending.
                is_last = change.fields[-1] == row.fields[-1]
                if incident is not None and is_last and not differing_fields(change, incident):
                    outcome = self._found_applied(change, trail, error)
                    self._record(outcome._replace(fields=row.fields))


_COMMENT: Final = (COMMENT_FIELD,)


def _comment_in_doubt(error: RequestError) -> RequestError:
    text = f"{error}; whether the comment was added cannot be read back: look at the incident"
    return PermanentError(
        text,
        code="comment_in_doubt",
        http_status=error.http_status,
        request_id=error.request_id,
    )


def _merged(row: Change, parts: Sequence[Outcome]) -> Outcome:
    """Return the outcome of a row whose requests ended so; the last of them decides."""
    last = parts[-1]
    message = last.error_message
    if last.status is not Status.UPDATED:
        names = ", ".join(name for part in parts[:-1] for name in part.fields)
        message = f"{', '.join(last.fields)}: {message}{f'; done: {names}' if names else ''}"
    return last._replace(
        fields=row.fields,
        attempts=sum(part.attempts for part in parts),
        throttled=sum(part.throttled for part in parts),
        error_message=message,
    )


def _with_text(error: RequestError, text: str, *, code: str | None = None) -> RequestError:
    """Return an error of the same kind that says something else."""
    return type(error)(
        text,
        code=error.code if code is None else code,
        http_status=error.http_status,
        request_id=error.request_id,
    )


def _interrupted() -> RequestError:
    return RequestError("sent, then the run was stopped before the answer came", code="stopped")
