"""Adds a comment once: after an attempt that may have added it, the timeline is read first.

Any answer but a success leaves that open, except a rejection, a quota that was exceeded, and a
connection that was never made. Where there was an answer and the timeline does not have the
comment, it is sent again. Where there was none, the request may still be in progress, so the
comment stays in doubt; the next run of the row reads the timeline again before it sends it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bulk_reset.core.change import Change
from bulk_reset.core.custom_fields import COMMENT_FIELD
from bulk_reset.core.errors import PermanentError, RequestError
from bulk_reset.core.json_codec import loads
from bulk_reset.core.outcome import IN_DOUBT
from bulk_reset.engine.attempts import Attempts, Trail
from bulk_reset.engine.row_outcomes import Answer
from bulk_reset.engine.timeline import Timelines


class CommentSender:
    """Adds the comment of one row; use it once.

    Attributes:
        part: sets the comment and nothing else.
        found: where the timeline had it, why it was read; empty otherwise.
    """

    def __init__(
        self,
        part: Change,
        timelines: Timelines,
        attempts: Attempts,
        wall_clock: Callable[[], float],
    ) -> None:
        self.part, self.found = part, ""
        self._timelines, self._attempts, self._wall_clock = timelines, attempts, wall_clock
        self._since = part.comment_since
        self._last: RequestError | None = None

    @property
    def since(self) -> float:
        """The earliest time at which it may have been added; 0 where it was not sent."""
        return self._since

    async def send(self, trail: Trail, call: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """Add the comment; None where the timeline has it already.

        Raises:
            RequestError: it was not added; or, with the code ``IN_DOUBT``, it may have been.
        """

        async def one_try() -> Answer | None:
            return await self._try(trail, call)

        try:
            return await one_try()
        except RequestError as first:
            try:
                return await self._attempts.retry_by(one_try, first)
            except RequestError as error:
                is_open = error is self._last and trail.is_in_doubt
                if not is_open or self._attempts.has_ended:
                    raise
                if await self._is_added(error):
                    return None
                raise _unseen(error) if error.may_be_applied else error from None

    async def _try(self, trail: Trail, call: Callable[[], Awaitable[Answer]]) -> Answer | None:
        last = self._last
        if (trail.is_in_doubt or self.part.comment_since) and await self._is_added(last):
            return None
        if last is not None and last.may_be_applied:
            raise _unseen(last)
        trail.is_in_doubt = False
        self._since = self._since or self._wall_clock()
        try:
            return await self._attempts.attempt(trail, call)
        except RequestError as error:
            self._last = error
            raise

    async def _is_added(self, last: RequestError | None) -> bool:
        try:
            is_added = await self._timelines.has_comment(
                self.part.incident_id, comment_of(self.part), self._since
            )
        except RequestError as error:
            if self._attempts.has_ended:
                raise (last or error) from None
            raise in_doubt(last or error, unreadable(error)) from None
        if is_added:
            self.found = str(last) if last else "sent by an earlier run"
        return is_added


def comment_of(part: Change) -> str:
    """Return the text of a change that sets a comment."""
    return str(loads(part.rest[-1].body)[COMMENT_FIELD])


def _unseen(error: RequestError) -> RequestError:
    return in_doubt(error, "the timeline does not show it")


def unreadable(error: RequestError) -> str:
    """Return why a timeline does not settle a doubt."""
    return f"the timeline could not be read ({error})"


def in_doubt(error: RequestError, why: str) -> RequestError:
    """Return the error of a comment that may have been added."""
    return PermanentError(
        f"{error}; the comment may have been added, but {why}: see the incident",
        code=IN_DOUBT,
        http_status=error.http_status,
        request_id=error.request_id,
    )
