"""Actions on a virtual clock: a hundred incidents a request, and an outcome for each row."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field

import pytest
from virtual_clock import run_virtual

from bulk_reset.api.answers import Answer
from bulk_reset.api.client import CommentPage
from bulk_reset.core.change import Change
from bulk_reset.core.errors import (
    FatalError,
    PermanentError,
    RequestError,
    TransientError,
    UnknownOutcomeError,
)
from bulk_reset.core.outcome import Outcome
from bulk_reset.engine.retry_policy import RetryPolicy
from bulk_reset.engine.stop_signals import CTRL_C
from bulk_reset.engine.worker_pool import WorkerPool
from bulk_reset.quota.limiter import Limiter
from bulk_reset.quota.windows import Window

ROOMY = (Window(10_000, 1.0), Window(600_000, 60.0))
invalid = PermanentError("bad", code="InvalidParameter", http_status=400)
internal = TransientError("oops", code="InternalError", http_status=500)
lost = UnknownOutcomeError("connection broke", code="connection_lost")
denied = FatalError("no", code="AccessDenied", http_status=403)


def id_of(number: int) -> str:
    return f"{number:024x}"


@dataclass
class Account:
    """Incidents that can be acted on, and what requests meet.

    Attributes:
        bad: incidents for which a request is refused.
        applies_some: whether a refused request acts on its other incidents.
        script: for each request, whether it is applied, and the error that is answered.
        refuses_field: incidents whose reset is refused.
        requests: the path and number of incidents of each request.
        when_asked: called when a request arrives.
    """

    bad: Collection[str] = ()
    applies_some: bool = False
    script: list[tuple[bool, RequestError | None]] = field(default_factory=list)
    refuses_field: Collection[str] = ()
    progress: dict[str, str] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    titles: dict[str, str] = field(default_factory=dict)
    comments: Counter[str] = field(default_factory=Counter)
    requests: list[tuple[str, int]] = field(default_factory=list)
    when_asked: Callable[[], None] = lambda: None

    async def reset(self, body: bytes) -> Answer:
        """Set the title."""
        values = json.loads(body)
        await self._arrive("reset", 1)
        if values["incident_id"] in self.refuses_field:
            raise invalid
        self.titles[values["incident_id"]] = values["title"]
        return Answer(200, "r-1", None)

    async def act(self, action: str, incident_ids: Sequence[str]) -> Answer:
        """Act on all incidents, or on none or some of them where one is bad."""
        await self._arrive(action, len(incident_ids))
        is_applied, error = self.script.pop(0) if self.script else (True, None)
        refused = set(self.bad).intersection(incident_ids)
        if is_applied and (not refused or self.applies_some):
            after = {"ack": "Processing", "resolve": "Closed", "reopen": "Triggered"}[action]
            done = [one for one in incident_ids if one not in refused]
            self.progress |= dict.fromkeys(done, after)
            self.times.update(done)
        if refused or error is not None:
            raise error or invalid
        return Answer(200, f"r-{len(self.requests)}", None)

    async def comment(self, body: bytes) -> Answer:
        """Add a comment."""
        ids = json.loads(body)["incident_ids"]
        await self._arrive("comment", len(ids))
        self.comments.update(ids)
        return Answer(200, f"r-{len(self.requests)}", None)

    async def list_by_ids(self, incident_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Read incidents."""
        await self._arrive("read", len(incident_ids))
        return {one: {"progress": self.progress.get(one, "Triggered")} for one in incident_ids}

    async def comment_page(self, incident_id: str, page: int) -> CommentPage:
        """Not read by these tests."""
        raise AssertionError(incident_id, page)

    async def _arrive(self, path: str, count: int) -> None:
        self.requests.append((path, count))
        self.when_asked()
        await asyncio.sleep(0.01)


def change(number: int, **values: str) -> Change:
    return Change.of(number + 1, id_of(number), values or {"action": "resolve"})


def send(api: Account, changes: Sequence[Change], *, is_stopped: bool = False) -> list[Outcome]:
    """Send rows by four workers, a hundred at a time; return their outcomes."""
    outcomes: list[Outcome] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        pool = WorkerPool(
            api,
            Limiter(ROOMY),
            outcomes.append,
            policy=RetryPolicy(attempts=2, jitter_s=0),
            workers=4,
            wall_clock=loop.time,
        )

        async def batches() -> AsyncIterator[Sequence[Change]]:
            for first in range(0, len(changes), 100):
                some = changes[first : first + 100]
                pool.expect(some)
                yield some

        if is_stopped:
            api.when_asked = lambda: pool.stop(CTRL_C)
        await pool.run(batches())

    run_virtual(main())
    return sorted(outcomes)


def counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    return dict(Counter(one.status.value for one in outcomes))


def test_a_hundred_incidents_are_one_request() -> None:
    """250 rows are three requests; every row has its own outcome."""
    api = Account()
    outcomes = send(api, [change(n) for n in range(1, 251)])
    assert sorted(api.requests) == [("resolve", 50), ("resolve", 100), ("resolve", 100)]
    assert [(one.row_number, one.fields) for one in outcomes] == [
        (n + 1, ("action",)) for n in range(1, 251)
    ]
    assert (counts(outcomes), set(api.times.values())) == ({"updated": 250}, {1})


def test_different_actions_are_different_requests() -> None:
    """Each request has the incidents of one action."""
    api = Account()
    changes = [change(n, action=("ack", "resolve", "reopen")[n % 3]) for n in range(1, 10)]
    assert counts(send(api, changes)) == {"updated": 9}
    assert sorted(api.requests) == [("ack", 3), ("reopen", 3), ("resolve", 3)]


@pytest.mark.parametrize("applies_some", [False, True])
def test_a_bad_incident_is_found_by_halving(*, applies_some: bool) -> None:
    """It alone fails, whether a refused request acts on the others or on none."""
    api = Account(bad={id_of(77)}, applies_some=applies_some)
    outcomes = send(api, [change(n) for n in range(1, 101)])
    failed = [one for one in outcomes if one.status.value == "failed"]
    assert [(one.row_number, one.error_code) for one in failed] == [(78, "InvalidParameter")]
    assert counts(outcomes) == {"updated": 99, "failed": 1}
    assert set(api.times.values()) == {1}
    assert len(api.requests) <= (3 if applies_some else 22)


@pytest.mark.parametrize("error", [lost, internal])
def test_an_answer_that_is_lost_leaves_no_row_unknown(error: RequestError) -> None:
    """The request is sent again; where no answer comes at all, the incidents are read."""
    api = Account(script=[(True, error)] * 2)
    outcomes = send(api, [change(n) for n in range(1, 101)])
    assert counts(outcomes) == {"updated": 100}
    assert api.requests == [("resolve", 100), ("resolve", 100), ("read", 100)]
    assert outcomes[0].error_message == f"{error}; read back: applied"


def test_fields_come_first_and_a_comment_last() -> None:
    """A row whose title is refused is neither resolved nor commented on; the others are."""
    api = Account(refuses_field={id_of(3)})
    rows = [
        change(n, title=f"Title {n}", action="resolve", comment="Cleaned up") for n in range(1, 11)
    ]
    outcomes = send(api, rows)
    assert counts(outcomes) == {"updated": 9, "failed": 1}
    assert outcomes[2].error_message == "title: bad"
    assert set(outcomes[0].fields) == {"title", "action", "comment"}
    assert api.requests[-2:] == [("resolve", 9), ("comment", 9)]
    ids = {id_of(n) for n in range(1, 11)} - {id_of(3)}
    assert set(api.titles) == set(api.progress) == set(api.comments) == ids


def test_a_row_whose_action_is_refused_gets_no_comment() -> None:
    """Its line says what was set before."""
    api = Account(bad={id_of(2)})
    rows = [change(n, title="New", action="ack", comment="Seen") for n in range(1, 5)]
    outcomes = send(api, rows)
    assert counts(outcomes) == {"updated": 3, "failed": 1}
    assert outcomes[1].error_message == "action: bad; updated: title"
    assert api.comments == Counter([id_of(1), id_of(3), id_of(4)])


def test_a_key_without_the_right_stops_the_run_and_fails_no_row() -> None:
    """Its rows are pending, and nothing is read or halved."""
    api = Account(script=[(False, denied)])
    assert send(api, [change(n) for n in range(1, 101)]) == []
    assert api.requests == [("resolve", 100)]


def test_a_stop_leaves_no_row_failed() -> None:
    """In-flight requests end, and the rows after them are pending."""
    api = Account()
    outcomes = send(api, [change(n) for n in range(1, 1001)], is_stopped=True)
    assert counts(outcomes) == {"updated": 100 * len(api.requests)}
    assert len(api.requests) < 10
