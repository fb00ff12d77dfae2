"""Comments of groups on a virtual clock: each is added once, and each row has its own result."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import pytest
from virtual_clock import run_virtual

from bulk_reset.api.answers import Answer
from bulk_reset.api.client import Comment, CommentPage
from bulk_reset.core.change import Change
from bulk_reset.core.errors import (
    FatalError,
    PermanentError,
    RequestError,
    ThrottledError,
    TransientError,
    UnknownOutcomeError,
)
from bulk_reset.core.outcome import Outcome
from bulk_reset.engine.comment_groups import gathered, requests_for
from bulk_reset.engine.retry_policy import RetryPolicy
from bulk_reset.engine.stop_signals import CTRL_C
from bulk_reset.engine.worker_pool import WorkerPool
from bulk_reset.quota.limiter import Limiter, Window

ROOMY = (Window(10_000, 1.0), Window(600_000, 60.0))
TEXT = "Retitled"
missing = PermanentError("not found", code="ResourceNotFound", http_status=400)
internal = TransientError("oops", code="InternalError", http_status=500)
lost = UnknownOutcomeError("connection broke", code="connection_lost")
throttled = ThrottledError("slow down", code="RequestTooFrequently", http_status=429)
denied = FatalError("no", code="AccessDenied", http_status=403)
Applies = Callable[[list[str], int], list[str]]
"""Takes the ids of a request and the place of the first bad one; returns those that get it."""
APPLIES: dict[str, Applies] = {
    "none": lambda _ids, _bad: [],
    "those before": lambda ids, bad: ids[:bad],
    "all others": lambda ids, bad: ids[:bad] + ids[bad + 1 :],
}


def id_of(number: int) -> str:
    return f"{number:024x}"


@dataclass
class Server:
    """Incidents that get comments; some of them cannot.

    Attributes:
        bad: id -> the error of every request that has this incident.
        applies: which incidents of such a request get the comment nevertheless.
        script: for the first requests, whether they are applied, and the error that is answered.
        resets: ids whose title is rejected.
        sizes: how many incidents each comment request had.
    """

    bad: dict[str, RequestError] = field(default_factory=dict)
    applies: Applies = APPLIES["none"]
    script: list[tuple[bool, RequestError | None]] = field(default_factory=list)
    resets: set[str] = field(default_factory=set)
    sizes: list[int] = field(default_factory=list)
    reads: int = 0
    latency_s: float = 0.01
    bodies: list[dict[str, object]] = field(default_factory=list)
    comments: dict[str, list[Comment]] = field(default_factory=dict)

    async def reset(self, body: bytes) -> Answer:
        """Set a title, or not."""
        await asyncio.sleep(self.latency_s)
        if json.loads(body)["incident_id"] in self.resets:
            raise missing
        return Answer(200, "reset", None)

    reset_field = reset

    async def list_by_ids(self, incident_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Not read by these tests."""
        raise AssertionError(incident_ids)

    async def comment(self, body: bytes) -> Answer:
        """Add the comment as the script or the bad incidents have it."""
        request = json.loads(body)
        ids: list[str] = request["incident_ids"]
        assert len(ids) == len(set(ids)) <= 100
        self.bodies.append(request)
        self.sizes.append(len(ids))
        await asyncio.sleep(self.latency_s)
        if self.script:
            is_applied, error = self.script.pop(0)
            self._add(ids if is_applied else [], request["comment"])
            if error is not None:
                raise error
            return Answer(200, f"r-{len(self.sizes)}", None)
        places = [place for place, one in enumerate(ids) if one in self.bad]
        if places:
            self._add(self.applies(ids, places[0]), request["comment"])
            raise self.bad[ids[places[0]]]
        self._add(ids, request["comment"])
        return Answer(200, f"r-{len(self.sizes)}", None)

    def _add(self, ids: list[str], text: str) -> None:
        at = asyncio.get_running_loop().time()
        for one in ids:
            if one not in self.bad:
                self.comments.setdefault(one, []).append(Comment(text, at))

    async def comment_page(self, incident_id: str, page: int) -> CommentPage:
        """Return the comments of an incident."""
        assert page == 1
        self.reads += 1
        await asyncio.sleep(self.latency_s)
        return CommentPage(tuple(self.comments.get(incident_id, ())), has_next=False)

    @property
    def most(self) -> int:
        """The most comments that an incident has."""
        return max(map(len, self.comments.values()), default=0)


def changes(count: int, title: str = "", text: str = TEXT) -> list[Change]:
    values = {"title": title, "comment": text} if title else {"comment": text}
    return [Change.of(n + 2, id_of(n), values) for n in range(count)]


def send(
    server: Server,
    rows: Sequence[Change],
    *,
    stops_after: float | None = None,
    mute_reply: bool = False,
    workers: int = 8,
) -> dict[int, Outcome]:
    """Send rows; return their outcomes by row."""
    found: list[Outcome] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1_000)
        pool = WorkerPool(
            server,
            Limiter(ROOMY),
            found.append,
            policy=RetryPolicy(attempts=3, jitter_s=0),
            workers=workers,
            wall_clock=loop.time,
            mute_reply=mute_reply,
        )

        async def batches() -> AsyncIterator[Sequence[Change]]:
            for first in range(0, len(rows), 100):
                pool.expect(rows[first : first + 100])
                yield rows[first : first + 75]
                yield rows[first + 75 : first + 100]

        if stops_after is not None:
            loop.call_later(stops_after, pool.stop, CTRL_C)
        await pool.run(batches())

    run_virtual(main())
    by_row = {one.row_number: one for one in found}
    assert len(by_row) == len(found)
    return by_row


def results(outcomes: dict[int, Outcome]) -> Counter[tuple[str, str]]:
    return Counter((one.status.value, one.error_code) for one in outcomes.values())


def test_a_hundred_incidents_get_the_same_comment_in_one_request() -> None:
    """250 rows take 3 requests, and each has its line."""
    server = Server()
    outcomes = send(server, changes(250))
    assert (sorted(server.sizes), server.reads) == ([50, 100, 100], 0)
    assert results(outcomes) == {("updated", ""): 250}
    assert {(one.attempts, one.fields) for one in outcomes.values()} == {(1, ("comment",))}
    assert (len(server.comments), server.most) == (250, 1)


def test_rows_with_other_fields_share_the_request_of_their_comment() -> None:
    """Those whose title was rejected get no comment."""
    server = Server(resets={id_of(3), id_of(99)})
    outcomes = send(server, changes(100, "Disk full"))
    assert (server.sizes, server.most, len(server.comments)) == ([98], 1, 98)
    assert results(outcomes) == {("updated", ""): 98, ("failed", "ResourceNotFound"): 2}
    assert {one.attempts for one in outcomes.values() if one.status == "updated"} == {2}


@pytest.mark.parametrize("applies", APPLIES)
@pytest.mark.parametrize("bad", [(0,), (1,), (57,), (99,), (0, 1), (3, 98)])
@pytest.mark.parametrize("error", [missing, internal], ids=["rejected", "500"])
def test_bad_incidents_fail_alone_and_no_comment_is_doubled(
    error: RequestError, bad: tuple[int, ...], applies: str
) -> None:
    """Whatever a server does with the other incidents of a request that it rejects."""
    server = Server({id_of(n): error for n in bad}, APPLIES[applies])
    outcomes = send(server, changes(100))
    assert {one.row_number - 2 for one in outcomes.values() if one.status != "updated"} == set(bad)
    assert results(outcomes) == {("updated", ""): 100 - len(bad), ("failed", error.code): len(bad)}
    assert (len(server.comments), server.most) == (100 - len(bad), 1)


def test_a_server_that_rejects_all_or_nothing_is_searched_once() -> None:
    """The first bad incident costs reads of timelines, those after it do not."""
    server = Server({id_of(40): missing, id_of(140): missing})
    assert results(send(server, changes(200), workers=1)) == {
        ("updated", ""): 198,
        ("failed", "ResourceNotFound"): 2,
    }
    assert (server.most, server.reads <= 2 * 100, len(server.sizes) <= 2 * 14 + 2) == (
        1,
        True,
        True,
    )


@pytest.mark.parametrize(
    ("script", "expected", "sizes"),
    [
        ([(True, lost)], {("updated", ""): 100}, [100]),
        ([(False, lost)], {("failed", "comment_in_doubt"): 100}, [100]),
        ([(True, internal)], {("updated", ""): 100}, [100]),
        ([(False, internal)], {("updated", ""): 100}, [100, 50, 50]),
        ([(False, throttled)], {("updated", ""): 100}, [100, 100]),
    ],
)
def test_a_request_in_doubt_is_not_repeated(
    script: list[tuple[bool, RequestError | None]],
    expected: dict[tuple[str, str], int],
    sizes: list[int],
) -> None:
    """What a timeline shows was added; without an answer, what it does not show is in doubt."""
    server = Server(script=script)
    assert (results(send(server, changes(100))), server.sizes) == (expected, sizes)
    assert server.most <= 1


def test_every_second_answer_is_lost_and_no_comment_is_doubled() -> None:
    """5,000 rows, half of whose requests are added without an answer."""
    server = Server(script=[(True, lost if n % 2 else None) for n in range(50)])
    assert results(send(server, changes(5_000))) == {("updated", ""): 5_000}
    assert (len(server.sizes), server.reads, server.most) == (50, 2_500, 1)


@pytest.mark.parametrize("is_applied", [True, False])
def test_a_stop_during_the_request_reads_the_timelines(is_applied: bool) -> None:
    """What they show is updated; the rest is in doubt, and nothing is sent again."""
    server = Server(script=[(is_applied, lost)], latency_s=0.2)
    outcomes = send(server, changes(100), stops_after=0.1)
    expected = ("updated", "") if is_applied else ("failed", "comment_in_doubt")
    assert (results(outcomes), server.sizes) == ({expected: 100}, [100])


def test_a_fatal_error_leaves_the_rows_pending() -> None:
    """The permission is missing: no row has failed."""
    server = Server(script=[(False, denied)])
    assert (send(server, changes(100)), server.sizes) == ({}, [100])


def test_webhooks_are_muted_for_groups_and_for_single_rows() -> None:
    """The request has ``mute_reply``, and only where it is asked for."""
    for is_muted in (False, True):
        server = Server()
        rows = [*changes(2), Change.of(9, id_of(9), {"comment": "Another"})]
        send(server, rows, mute_reply=is_muted)
        assert (
            sorted(map(tuple, server.bodies))
            == [("incident_ids", "comment", *(["mute_reply"] if is_muted else []))] * 2
        )


def test_rows_with_the_same_comment_are_brought_together() -> None:
    """At the place of the first; rows of one incident stay in their order, and are sent alone."""
    texts = ["one", "two", "one", "three", "two", "one"]
    rows = [Change.of(n, id_of(n), {"comment": text}) for n, text in enumerate(texts)]
    (found,) = gathered([rows], lambda incident_id: incident_id == id_of(2))
    assert [one.row_number for one in found] == [0, 5, 1, 4, 2, 3]
    assert requests_for(Counter({b"a": 5_000, b"b": 101, b"c": 1})) == 53
