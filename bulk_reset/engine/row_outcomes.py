"""The outcomes of rows: what a request's answer or error means for its row.

State, changed between two awaits of the event loop only:
  * ``doubtful``: requests that a stop left without a readable answer; see ``doubtful_requests``;
  * ``_failures``: rows that failed so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from bulk_reset.core.change import Change
from bulk_reset.core.errors import FatalError, PermanentError, RequestError
from bulk_reset.core.option_names import option_name
from bulk_reset.core.outcome import Outcome, Status, Stop, StopReason
from bulk_reset.engine.attempts import Attempts, Trail
from bulk_reset.records.written_fields import read_back_text


class Answer(Protocol):
    """A successful answer of the API."""

    @property
    def http_status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def request_id(self) -> str:
        """The API's id of the request."""
        ...


class DoubtfulRequest(NamedTuple):
    """A request that was sent and has no readable answer."""

    row: Change
    part: Change
    """What the request sets: the row's change, or a part of it."""
    trail: Trail
    error: RequestError
    comment_since: float = 0.0
    """The earliest time at which it may have added the comment."""


class RowOutcomes:
    """Makes outcomes, and counts failed rows.

    Args:
        stop: called when the run must end early.
        max_failures: how many rows may fail before that.

    Attributes:
        attempts: those of the run.
        record: called with the outcome of each row.
        wall_clock: returns UTC epoch seconds.
    """

    def __init__(
        self,
        attempts: Attempts,
        stop: Callable[[Stop], None],
        record: Callable[[Outcome], None],
        max_failures: float = float("inf"),
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.attempts, self.record, self._stop = attempts, record, stop
        self._max_failures, self._failures = max_failures, 0
        self.wall_clock = wall_clock
        self.doubtful: list[DoubtfulRequest] = []

    def count_failure(self) -> None:
        """Count a failed row, and stop the run when too many have failed."""
        self._failures += 1
        if self._failures > self._max_failures:
            limit = option_name("max_failures")
            message = f"{self._failures:,} rows failed, more than {limit} allows"
            self._stop(Stop(StopReason.MAX_FAILURES, message))

    def updated(self, part: Change, trail: Trail, answer: Answer) -> Outcome:
        """Return the outcome of a request that succeeded."""
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
            finished_at=self.wall_clock(),
            throttled=trail.throttled,
        )

    def failed(
        self, part: Change, trail: Trail, error: RequestError, status: Status = Status.FAILED
    ) -> Outcome:
        """Return the outcome of a request that ended in an error; it is not counted."""
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
            self.wall_clock(),
            trail.throttled,
        )

    def added(self, part: Change, trail: Trail, why: str) -> Outcome:
        """Return the outcome of a comment that the timeline has."""
        text = f"{why}; found in the timeline: the comment was added"
        return self.failed(part, trail, RequestError(text, code=""), Status.UPDATED)

    def found_applied(self, part: Change, trail: Trail, error: RequestError) -> Outcome:
        """Return the outcome of a request whose values were read back."""
        text = f"{error}; {read_back_text(())}"
        return self.failed(part, trail, with_text(error, text, code=""), Status.UPDATED)

    def conclude(
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
        if self.attempts.has_ended and not is_final:
            if trail.is_in_doubt:
                self.doubt(row, part, trail, error, comment_since)
            return None
        is_unknown = trail.is_in_doubt and not is_final and not trail.is_once
        return self.fail(part, trail, error, Status.UNKNOWN if is_unknown else Status.FAILED)

    def fail(
        self, part: Change, trail: Trail, error: RequestError, status: Status = Status.FAILED
    ) -> Outcome:
        """Return the outcome of a request that ended in an error, and count the row as failed."""
        outcome = self.failed(part, trail, error, status)
        self.count_failure()
        return outcome

    def doubt(
        self,
        row: Change,
        part: Change,
        trail: Trail,
        error: RequestError | None = None,
        comment_since: float = 0.0,
    ) -> None:
        """Note a request that a stop left without a readable answer."""
        error = error or RequestError(
            "sent, but the run was stopped before the API answered", code="stopped"
        )
        self.doubtful.append(DoubtfulRequest(row, part, trail, error, comment_since))


def merged(row: Change, parts: Sequence[Outcome]) -> Outcome:
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


def with_text(error: RequestError, text: str, *, code: str | None = None) -> RequestError:
    """Return an error of the same kind with another text."""
    return type(error)(
        text,
        code=error.code if code is None else code,
        http_status=error.http_status,
        request_id=error.request_id,
    )
