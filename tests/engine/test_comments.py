"""Comments on a virtual clock: each is added once, whatever the API answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from virtual_clock import run_virtual

from bulk_reset.api.answers import Answer
from bulk_reset.api.client import Comment, CommentPage
from bulk_reset.core.change import Change
from bulk_reset.core.errors import (
    ConnectError,
    FatalError,
    PermanentError,
    RequestError,
    ThrottledError,
    TransientError,
    UnknownOutcomeError,
)
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.engine.retry_policy import RetryPolicy
from bulk_reset.engine.stop_signals import CTRL_C
from bulk_reset.engine.worker_pool import WorkerPool
from bulk_reset.quota.limiter import Limiter
from bulk_reset.quota.windows import Window

ID = "a" * 24
ROOMY = (Window(10_000, 1.0), Window(600_000, 60.0))
internal = TransientError("oops", code="InternalError", http_status=500)
lost = UnknownOutcomeError("connection broke", code="connection_lost")
page_502 = UnknownOutcomeError("HTTP 502: HTML", code="HTTP 502", http_status=502)
refused = ConnectError("cannot connect", code="cannot_connect")
throttled = ThrottledError("slow down", code="RequestTooFrequently", http_status=429)
invalid = PermanentError("bad", code="InvalidParameter", http_status=400)
denied = FatalError("no", code="AccessDenied", http_status=403)


@dataclass
class Incident:
    """An incident's timeline, and a script of what requests meet.

    Attributes:
        script: for each comment, whether it is added, and the error that is answered.
        feed: errors of the first reads of the timeline.
        delay_s: how long a comment takes until the timeline shows it.
    """

    script: list[tuple[bool, RequestError | None]] = field(default_factory=list)
    feed: list[RequestError] = field(default_factory=list)
    delay_s: float = 0.0
    comments: list[Comment] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    async def reset(self, body: bytes) -> Answer:
        """Not sent by these tests."""
        raise AssertionError(body)

    reset_field = reset

    async def list_by_ids(self, incident_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Not read by these tests."""
        raise AssertionError(incident_ids)

    async def comment(self, body: bytes) -> Answer:
        """Add the comment, or not, and answer as the script says."""
        self.requests.append("comment")
        await asyncio.sleep(0.01)
        is_added, error = self.script.pop(0) if self.script else (True, None)
        if is_added:
            at = asyncio.get_running_loop().time() + self.delay_s
            # The server trims white space.
            self.comments.append(Comment(json.loads(body)["comment"].strip(), at))
        if error is not None:
            raise error
        return Answer(200, "r-1", None)

    async def comment_page(self, incident_id: str, page: int) -> CommentPage:
        """Return the comments that the timeline shows by now."""
        assert (incident_id, page) == (ID, 1)
        self.requests.append("feed")
        await asyncio.sleep(0.01)
        if self.feed:
            raise self.feed.pop(0)
        now = asyncio.get_running_loop().time()
        return CommentPage(tuple(c for c in self.comments if c.added_at <= now), has_next=False)


def send(api: Incident, *, since: float = 0.0, stops_after: float | None = None) -> Outcome:
    """Send one row with a comment at 1,000 s; return its outcome."""
    change = Change.of(2, ID, {"comment": " Retitled "})._replace(comment_since=since)
    outcomes: list[Outcome] = []

    async def batches() -> AsyncIterator[list[Change]]:
        yield [change]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1_000)
        pool = WorkerPool(
            api,
            Limiter(ROOMY),
            outcomes.append,
            policy=RetryPolicy(attempts=3, jitter_s=0),
            workers=1,
            wall_clock=loop.time,
        )
        if stops_after is not None:
            loop.call_later(stops_after, pool.stop, CTRL_C)
        await pool.run(batches())

    run_virtual(main())
    return outcomes[0] if outcomes else Outcome(2, ID, Status.PENDING, (), "")


def result(api: Incident, outcome: Outcome) -> tuple[str, str, int]:
    """Return the row's status and error code, and how many comments the incident has."""
    return outcome.status.value, outcome.error_code, len(api.comments)


@pytest.mark.parametrize(
    ("script", "expected", "requests"),
    [
        # What was added is found, and not added again.
        ([(True, internal)], ("updated", "", 1), ["comment", "feed"]),
        ([(True, lost)], ("updated", "", 1), ["comment", "feed"]),
        ([(True, page_502)], ("updated", "", 1), ["comment", "feed"]),
        # An answer ended the request, so what the timeline does not show was not added.
        ([(False, internal)], ("updated", "", 1), ["comment", "feed", "comment"]),
        (
            [(False, internal), (True, internal)],
            ("updated", "", 1),
            ["comment", "feed", "comment", "feed"],
        ),
        (
            [(False, internal)] * 3,
            ("failed", "InternalError", 0),
            ["comment", "feed", "comment", "feed", "comment", "feed"],
        ),
        ([(False, internal)] * 2 + [(True, internal)], ("updated", "", 1), ["comment", "feed"] * 3),
        # Without an answer, the request may still be in progress.
        ([(False, lost)], ("failed", "comment_in_doubt", 0), ["comment", "feed"]),
        ([(False, page_502)], ("failed", "comment_in_doubt", 0), ["comment", "feed"]),
        # None of these may have added it.
        ([(False, refused)], ("updated", "", 1), ["comment", "comment"]),
        ([(False, throttled)], ("updated", "", 1), ["comment", "comment"]),
        ([(False, invalid)], ("failed", "InvalidParameter", 0), ["comment"]),
    ],
)
def test_a_comment_is_added_once(
    script: list[tuple[bool, RequestError | None]],
    expected: tuple[str, str, int],
    requests: list[str],
) -> None:
    """The timeline is read before a second try."""
    api = Incident(script)
    assert (result(api, send(api)), api.requests) == (expected, requests)


def test_a_comment_that_was_found_is_reported_with_the_error_before() -> None:
    """The report says why the row is updated."""
    outcome = send(Incident([(True, internal)]))
    assert (outcome.error_message, outcome.attempts, outcome.fields) == (
        "oops; found in the timeline: the comment was added",
        1,
        ("comment",),
    )


@pytest.mark.parametrize("feed", [[denied], [invalid], [internal, denied]])
def test_without_a_timeline_a_comment_is_in_doubt(feed: list[RequestError]) -> None:
    """It is not added again, and the run continues."""
    api = Incident([(True, internal)], feed=list(feed))
    outcome = send(api)
    assert result(api, outcome) == ("failed", "comment_in_doubt", 1)
    assert "the timeline could not be read" in outcome.error_message


def test_an_equal_comment_of_earlier_does_not_count() -> None:
    """It was there before this one was sent."""
    api = Incident([(False, internal)], comments=[Comment("Retitled", 990.0)])
    assert result(api, send(api)) == ("updated", "", 2)


def test_a_comment_in_doubt_of_an_earlier_run_is_looked_up_first() -> None:
    """Found: not sent. Not found: sent. Not known: not sent."""
    added = Incident(comments=[Comment("Retitled", 500.0)])
    outcome = send(added, since=400.0)
    assert (result(added, outcome), added.requests) == (("updated", "", 1), ["feed"])
    assert outcome.error_message == (
        "sent by an earlier run; found in the timeline: the comment was added"
    )
    older = Incident(comments=[Comment("Retitled", 300.0)])
    assert (result(older, send(older, since=400.0)), older.requests) == (
        ("updated", "", 2),
        ["feed", "comment"],
    )
    closed = Incident(feed=[denied])
    assert (result(closed, send(closed, since=400.0)), closed.requests) == (
        ("failed", "comment_in_doubt", 0),
        ["feed"],
    )


def test_a_stop_while_a_comment_is_retried_reads_the_timeline_again() -> None:
    """What it shows is updated; what it does not show is in doubt."""
    for is_added, expected in ((True, "updated"), (False, "failed")):
        # The first read of the timeline comes after a wait of a second; the stop comes before it.
        api = Incident([(is_added, internal)])
        outcome = send(api, stops_after=0.5)
        assert (outcome.status.value, api.requests) == (expected, ["comment", "feed"])
