"""Timelines: was a comment added whose request has no success as its answer?

A comment cannot be read back with its incident, and sending it again adds it again. So the
timeline is read before a second try. It proves that a comment was added; that it does not show one
proves nothing while the request may still be in progress.

Times are compared after the difference between the server's clock and this machine's is removed.
Source: the Flashduty Open API's ``ListIncidentFeedRequest`` and ``FeedDetailIncidentComment``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from bulk_reset.core.errors import RequestError, UnknownOutcomeError
from bulk_reset.engine.attempts import NO_ROW, Attempts, Trail

if TYPE_CHECKING:
    from bulk_reset.api.client import CommentPage

_SLACK_S: Final = 2.0
"""The server's clock is known to the second."""
_MOST_PAGES: Final = 10
LOOK_UPS: Final = 8
"""How many timelines are read at the same time for the comments of one request."""


ReadPage = Callable[[str, int], "Awaitable[CommentPage]"]
"""Takes an incident's id and the number of a page, from 1; raises RequestError."""


class Timelines:
    """Looks comments up; belongs to one event loop."""

    def __init__(self, read_page: ReadPage, attempts: Attempts) -> None:
        self._read_page, self._attempts = read_page, attempts

    async def has_comment(
        self, incident_id: str, text: str, since: float, *, is_last: bool = False
    ) -> bool:
        """Return whether a comment was added since then.

        Args:
            since: UTC epoch seconds.
            is_last: read after the end of the run, in single attempts.

        Raises:
            RequestError: the timeline could not be read.
        """
        wanted, earliest = _plain(text), since - _SLACK_S
        for page in range(1, _MOST_PAGES + 1):
            read = partial(self._read_page, incident_id, page)
            found = await (self._attempts.last(read) if is_last else self._read(read))
            comments = found.comments
            if any(one.added_at >= earliest and _plain(one.text) == wanted for one in comments):
                return True
            is_past = bool(comments) and comments[0].added_at >= comments[-1].added_at < earliest
            if is_past or not found.has_next:
                return False
        raise UnknownOutcomeError("the timeline is too long", code="long_timeline")

    async def _read(self, read: Callable[[], Awaitable[CommentPage]]) -> CommentPage:
        trail = Trail(asyncio.current_task(), NO_ROW, is_read=True)
        try:
            return await self._attempts.attempt(trail, read)
        except RequestError as error:
            return await self._attempts.retry(trail, read, error)


def _plain(text: str) -> str:
    """Return a comment as it is compared: the server trims white space."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
