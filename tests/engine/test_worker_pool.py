"""The worker pool on a virtual clock: the outcome of each row, whatever the API does."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from virtual_clock import run_virtual

from bulk_reset.api.answers import Answer
from bulk_reset.api.client import CommentPage
from bulk_reset.core.change import Change
from bulk_reset.core.errors import (
    AccessError,
    ConnectError,
    FatalError,
    PermanentError,
    RequestError,
    ThrottledError,
    TransientError,
    UnknownOutcomeError,
)
from bulk_reset.core.outcome import Outcome, Status, Stop, StopReason
from bulk_reset.engine.circuit_breaker import CircuitBreaker
from bulk_reset.engine.retry_policy import RetryPolicy
from bulk_reset.engine.worker_pool import GRACE_S, WorkerPool
from bulk_reset.quota.limiter import Limiter
from bulk_reset.quota.windows import Window

ROOMY = (Window(10_000, 1.0), Window(600_000, 60.0))
EXACT = RetryPolicy(jitter_s=0)

throttled = ThrottledError("slow down", code="RequestTooFrequently", http_status=429)
throttled_7s = ThrottledError("slow down", code="RequestTooFrequently", retry_after_s=7)
internal = TransientError("oops", code="InternalError", http_status=500, request_id="r-500")
lost = UnknownOutcomeError("connection broke", code="connection_lost")
refused = ConnectError("cannot connect", code="cannot_connect")
invalid = PermanentError("bad title", code="InvalidParameter", http_status=400)
unauthorized = FatalError("who are you", code="Unauthorized", http_status=401)


@dataclass
class ScriptedApi:
    """Answers each request of a row with the next entry of its script, then with success.

    A script's entry is an error to raise, or the seconds after which success comes.

    Attributes:
        always: returns the error to raise instead of a success, given the time.
        reading: returns the error to raise instead of incidents, given the time.
        applies: whether requests that end in an error, or never, were applied.
        gone: incidents that do not exist.
        reads: when which rows were read.
    """

    scripts: dict[int, list[RequestError | float]] = field(default_factory=dict)
    always: Callable[[float], RequestError | None] = lambda _: None
    reading: Callable[[float], RequestError | None] = lambda _: None
    applies: bool = False
    gone: frozenset[int] = frozenset()
    titles: dict[str, str] = field(default_factory=dict)
    reads: list[tuple[float, list[int]]] = field(default_factory=list)
    latency_s: float = 0.01
    requests: list[tuple[float, int]] = field(default_factory=list)
    in_flight: Counter[int] = field(default_factory=Counter)
    most_at_once: int = 0

    async def reset(self, body: bytes) -> Answer:
        """Answer as the script says."""
        loop = asyncio.get_running_loop()
        row = int(json.loads(body)["title"].split()[-1])
        self.requests.append((round(loop.time(), 2), row))
        self.in_flight[int(json.loads(body)["incident_id"], 16)] += 1
        self.most_at_once = max(self.most_at_once, *self.in_flight.values())
        step = self.scripts[row].pop(0) if self.scripts.get(row) else self.latency_s
        if self.applies:
            self.titles[json.loads(body)["incident_id"]] = json.loads(body)["title"]
        try:
            await asyncio.sleep(step if isinstance(step, float) else self.latency_s)
        finally:
            self.in_flight[int(json.loads(body)["incident_id"], 16)] -= 1
        error = step if isinstance(step, RequestError) else self.always(loop.time())
        if error is not None:
            raise error
        self.titles[json.loads(body)["incident_id"]] = json.loads(body)["title"]
        return Answer(200, f"request {row}", None)

    async def list_by_ids(self, incident_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the current titles."""
        loop = asyncio.get_running_loop()
        rows = [int(incident_id, 16) for incident_id in incident_ids]
        self.reads.append((round(loop.time(), 2), rows))
        await asyncio.sleep(self.latency_s)
        error = self.reading(loop.time())
        if error is not None:
            raise error
        return {
            one: {"title": self.titles.get(one, "as before")}
            for one, row in zip(incident_ids, rows, strict=True)
            if row not in self.gone
        }

    async def comment_page(self, incident_id: str, page: int) -> CommentPage:
        """Not read: no row of these tests has a comment."""
        raise AssertionError(incident_id, page)


@dataclass
class RunResult:
    """How a run ended."""

    stop: Stop | None
    outcomes: list[Outcome]
    at: float

    def summary(self) -> list[tuple[int, str, int, str]]:
        """Return row, status, attempts and code of every outcome, by row."""
        return sorted(
            (o.row_number, o.status.value, o.attempts, o.error_code) for o in self.outcomes
        )


def changes(rows: int, incident: Callable[[int], int] = lambda row: row) -> list[Change]:
    return [
        Change.of(row, f"{incident(row):024x}", {"title": f"row {row}"})
        for row in range(2, rows + 2)
    ]


def send(
    api: ScriptedApi,
    rows: list[Change],
    *,
    after: tuple[float, Callable[[WorkerPool], None]] | None = None,
    windows: tuple[Window, ...] = ROOMY,
    policy: RetryPolicy = EXACT,
    breaker: CircuitBreaker | None = None,
    workers: int = 64,
    max_failures: float = float("inf"),
    is_in_order: Callable[[str], bool] = lambda _: False,
) -> RunResult:
    """Send rows on a virtual clock; ``after`` is called with the pool in between."""
    outcomes: list[Outcome] = []

    async def batches() -> AsyncIterator[list[Change]]:
        for start in range(0, len(rows), 10):
            yield rows[start : start + 10]

    async def main() -> RunResult:
        loop = asyncio.get_running_loop()
        pool = WorkerPool(
            api,
            Limiter(windows),
            outcomes.append,
            policy=policy,
            breaker=breaker,
            workers=workers,
            max_failures=max_failures,
            is_in_order=is_in_order,
            wall_clock=loop.time,
        )
        if after is not None:
            loop.call_later(after[0], after[1], pool)
        stop = await pool.run(batches())
        return RunResult(stop, outcomes, round(loop.time(), 1))

    return run_virtual(main())


def test_rows_that_the_api_accepts_are_updated_once() -> None:
    """The ordinary case: one request, one outcome a row, with the API's request id."""
    api = ScriptedApi()
    ended = send(api, changes(25))
    assert ended.summary() == [(row, "updated", 1, "") for row in range(2, 27)]
    assert {(o.row_number, o.request_id) for o in ended.outcomes} == {
        (row, f"request {row}") for row in range(2, 27)
    }
    assert (ended.stop, len(api.requests)) == (None, 25)


def test_429_then_200_is_one_outcome_with_no_attempt_spent() -> None:
    """A pause that the server asks for is honoured and costs no attempt."""
    api = ScriptedApi({2: [throttled_7s]})
    ended = send(api, changes(1))
    assert ended.summary() == [(2, "updated", 1, "")]
    assert [at for at, _ in api.requests] == [0.0, 7.01]


def test_429_without_retry_after_pauses_longer_each_time() -> None:
    """Without Retry-After all requests back off, doubling from a second."""
    api = ScriptedApi({2: [throttled] * 6})
    ended = send(api, changes(1))
    assert ended.summary() == [(2, "updated", 1, "")]
    waits = [round(b[0] - a[0] - 0.01) for a, b in pairwise(api.requests)]
    assert waits == pytest.approx([1, 2, 4, 8, 16, 30], abs=1)


def test_429_pauses_the_other_rows_too() -> None:
    """The quota is the account's: while one row has to wait, no other starts."""
    api = ScriptedApi({2: [throttled_7s]})
    send(api, changes(40), windows=(Window(50, 1.0),))
    assert [at for at, _ in api.requests if 0.2 < at < 7] == []


def test_429_without_end_stops_the_run_after_the_patience() -> None:
    """Where other clients use the quota for 15 minutes, the run stops with rows pending."""
    ended = send(ScriptedApi(always=lambda _: throttled), changes(100))
    assert ended.outcomes == []
    assert ended.stop is not None
    assert (ended.stop.reason, 900 <= ended.at <= 935) == (StopReason.OUTAGE, True)


@pytest.mark.parametrize("error", [internal, lost])
def test_a_temporary_error_costs_an_attempt_and_a_wait(error: RequestError) -> None:
    """A temporary error is retried after 1, 2, 4 … seconds."""
    api = ScriptedApi({2: [error, error]})
    ended = send(api, changes(1))
    assert ended.summary() == [(2, "updated", 3, "")]
    assert [at for at, _ in api.requests] == [0.0, 1.01, 3.02]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ([internal] * 5, (2, "failed", 5, "InternalError")),
        ([lost] * 5, (2, "unknown", 5, "connection_lost")),
        ([lost, internal, internal, internal, internal], (2, "unknown", 5, "InternalError")),
        ([invalid], (2, "failed", 1, "InvalidParameter")),
        ([lost, invalid], (2, "failed", 2, "InvalidParameter")),
    ],
)
def test_after_the_last_attempt_a_row_is_failed_or_unknown_where_reading_fails(
    script: list[RequestError | float], expected: tuple[int, str, int, str]
) -> None:
    """Failed: certainly not applied; unknown: it may have been applied."""
    denied = FatalError("no", code="AccessDenied", http_status=403)
    ended = send(ScriptedApi({2: script}, reading=lambda _: denied), changes(1))
    assert (ended.summary(), ended.stop) == ([expected], None)


@pytest.mark.parametrize("error", [internal, lost])
@pytest.mark.parametrize(
    ("applies", "gone", "expected", "text"),
    [
        (True, False, (2, "updated", 5, ""), "{}; read back: applied"),
        (False, False, (2, "failed", 5, "{code}"), "{}; read back: not applied (title)"),
        (
            False,
            True,
            (2, "failed", 5, "ResourceNotFound"),
            "no such incident (read back after: {})",
        ),
    ],
)
def test_after_the_last_attempt_a_row_is_read_back_so_no_outcome_is_unknown(
    error: RequestError,
    expected: tuple[int, str, int, str],
    text: str,
    *,
    applies: bool,
    gone: bool,
) -> None:
    """The incident shows whether the row was applied, or does not exist."""
    api = ScriptedApi({2: [error] * 5}, applies=applies, gone=frozenset({2} if gone else ()))
    ended = send(api, changes(1))
    row, status, attempts, code = expected
    assert ended.summary() == [(row, status, attempts, code.format(code=error.code))]
    assert ended.outcomes[0].error_message == text.format(error)
    assert [rows for _, rows in api.reads] == [[2]]


def test_rows_that_are_in_doubt_at_the_same_time_share_their_reads() -> None:
    """200 rows in doubt cost a few reads of up to 100 incidents each."""
    api = ScriptedApi({row: [internal] * 5 for row in range(3, 203)}, applies=True)
    ended = send(api, changes(201), workers=201, breaker=CircuitBreaker(1e6))
    assert Counter(o.status for o in ended.outcomes) == {Status.UPDATED: 201}
    assert max(len(rows) for _, rows in api.reads) <= 100
    assert sorted(row for _, rows in api.reads for row in rows) == list(range(3, 203))


def test_a_read_that_fails_for_a_while_is_repeated() -> None:
    """A row is not unknown because a single read failed."""
    failures = iter([lost, internal, lost])
    api = ScriptedApi({2: [lost] * 5}, applies=True, reading=lambda _: next(failures, None))
    ended = send(api, changes(1))
    assert ended.summary() == [(2, "updated", 5, "")]
    assert len(api.reads) == 4


def test_an_outage_at_the_end_of_a_sheet_fails_no_row() -> None:
    """Attempts during an outage, when reading fails too, do not count."""

    def down(at: float) -> RequestError | None:
        return lost if 1 <= at < 601 else None

    api = ScriptedApi({row: [2.0] for row in range(90, 93)}, always=down, reading=down)
    ended = send(api, changes(91))
    assert Counter(o.status for o in ended.outcomes) == {Status.UPDATED: 91}
    assert ended.stop is None
    assert 600 <= ended.at <= 660


def test_where_only_writing_works_the_run_continues() -> None:
    """A key that may not read, or a proxy that breaks lists, does not stop the run."""
    api = ScriptedApi({5: [lost] * 5}, reading=lambda _: lost)
    ended = send(api, changes(2_000), windows=(Window(50, 1.0),))
    assert Counter(o.status for o in ended.outcomes) == {Status.UPDATED: 1_999, Status.UNKNOWN: 1}
    assert ended.stop is None


def test_an_outage_beyond_patience_leaves_rows_in_doubt_unknown() -> None:
    """Where reading fails to the end, rows that may have been applied are unknown."""
    api = ScriptedApi({2: [lost] * 5}, reading=lambda _: lost)
    ended = send(api, changes(1))
    assert ended.summary() == [(2, "unknown", 5, "connection_lost")]
    assert ended.stop is not None
    assert ended.stop.reason is StopReason.OUTAGE


@pytest.mark.parametrize("applies", [True, False])
def test_rows_that_a_stop_leaves_in_doubt_are_read_back(*, applies: bool) -> None:
    """Ctrl-C during a back-off: the row is updated or pending."""
    stop = Stop(StopReason.INTERRUPTED, "Ctrl-C")
    api = ScriptedApi({2: [lost, lost], 3: [internal, internal], 4: [lost, lost]}, applies=applies)
    ended = send(api, changes(3), after=(0.5, lambda pool: pool.stop(stop)))
    expected = [(2, "updated", 1, ""), (4, "updated", 1, "")]
    assert (ended.summary(), ended.at) == (expected if applies else [], 0.5)
    assert [sorted(rows) for _, rows in api.reads] == [[2, 4]]


def test_reading_back_after_a_stop_ends_with_the_grace() -> None:
    """After a stop, the run does not wait long for an API that does not answer."""
    stop = Stop(StopReason.INTERRUPTED, "Ctrl-C")
    api = ScriptedApi({2: [lost, lost]}, latency_s=60.0)
    ended = send(api, changes(1), after=(60.5, lambda pool: pool.stop(stop)))
    assert ended.summary() == [(2, "unknown", 1, "stopped")]
    assert ended.at == 60.5 + GRACE_S


def test_the_breaker_lets_one_probe_through_at_a_time_reads_included() -> None:
    """During an outage one request at a time is sent."""

    def down(at: float) -> RequestError | None:
        return internal if 5 <= at < 1_000 else None

    api = ScriptedApi(always=down, reading=down, latency_s=0.5)
    ended = send(api, changes(2_000), windows=(Window(50, 1.0),), breaker=CircuitBreaker(2_000))
    assert Counter(o.status for o in ended.outcomes) == {Status.UPDATED: 2_000}
    probes = sorted(at for at, _ in [*api.requests, *api.reads] if 8 < at < 1_000)
    assert len(probes) >= 20
    assert min(later - at for at, later in pairwise(probes)) >= 1.49


def test_retry_after_of_a_503_is_honoured() -> None:
    """A server error with Retry-After is retried after that time."""
    busy = TransientError("busy", code="ServiceUnavailable", http_status=503, retry_after_s=12)
    api = ScriptedApi({2: [busy]})
    send(api, changes(1))
    assert [at for at, _ in api.requests] == [0.0, 12.01]


def test_a_fatal_code_stops_the_run_and_leaves_the_rest_pending() -> None:
    """With a wrong key no row can succeed: none is retried, nothing is recorded."""
    api = ScriptedApi(always=lambda _: unauthorized)
    ended = send(api, changes(1_000), windows=(Window(50, 1.0),))
    assert ended.outcomes == []
    assert ended.stop == Stop(StopReason.FATAL, "Unauthorized: who are you")
    assert len(api.requests) <= 64


@pytest.mark.parametrize(
    "refused",
    [
        AccessError("the certificate is not trusted", code="tls"),
        AccessError("the answer is HTML", code="HTTP 404", http_status=404),
    ],
)
def test_a_refused_request_after_successes_is_an_outage(refused: RequestError) -> None:
    """A single TLS alert or page of a gateway costs no row and does not stop the run."""
    api = ScriptedApi({3: [refused], 7: [refused]})
    ended = send(api, changes(10), workers=1)
    assert [row[:2] for row in ended.summary()] == [(n, "updated") for n in range(2, 12)]
    assert ended.stop is None


def test_a_refused_request_before_any_success_stops_the_run() -> None:
    """At the start, a wrong address is more likely than an outage."""
    refused = AccessError("the certificate is not trusted", code="tls")
    ended = send(ScriptedApi(always=lambda _: refused), changes(10), workers=1)
    assert ended.outcomes == []
    assert ended.stop == Stop(StopReason.FATAL, "tls: the certificate is not trusted")


def test_in_flight_requests_at_a_fatal_code_finish() -> None:
    """A stop takes no new row, but waits for in-flight requests."""
    api = ScriptedApi({2: [1.0], 3: [unauthorized]})
    ended = send(api, changes(2), workers=2)
    assert ended.summary() == [(2, "updated", 1, "")]


def test_more_failures_than_allowed_stop_the_run() -> None:
    """With max_failures=2, the third failure stops the run."""
    api = ScriptedApi(always=lambda _: invalid)
    ended = send(api, changes(100), workers=1, max_failures=2)
    assert [row[0] for row in ended.summary()] == [2, 3, 4]
    assert ended.stop is not None
    assert ended.stop.reason is StopReason.MAX_FAILURES


def test_an_outage_of_ten_minutes_costs_no_row() -> None:
    """The breaker waits an outage out with single probes; every row is updated in the end."""

    def down(at: float) -> RequestError | None:
        return internal if 30 <= at < 630 else None

    api = ScriptedApi(always=down)
    ended = send(api, changes(3_000), windows=(Window(50, 1.0),))
    assert Counter(o.status for o in ended.outcomes) == {Status.UPDATED: 3_000}
    assert ended.stop is None
    probes = [at for at, _ in api.requests if 45 < at < 630]
    assert 15 <= len(probes) <= 90
    assert min(b - a for a, b in pairwise(probes)) >= 1
    assert min(b - a for a, b in pairwise(probe for probe in probes if probe > 200)) >= 30


def test_an_unreachable_api_stops_the_run_soon_with_nothing_lost() -> None:
    """A wrong address or a dead server is reported within a minute; all rows are pending."""
    api = ScriptedApi(always=lambda _: refused)
    ended = send(api, changes(100))
    assert ended.outcomes == []
    assert ended.stop is not None
    assert ended.stop.reason is StopReason.OUTAGE
    assert 30 <= ended.at <= 90


def test_an_outage_beyond_patience_leaves_rows_pending_not_failed() -> None:
    """After the patience the run stops; rows that were not sent can be sent later."""
    api = ScriptedApi(always=lambda at: refused if at > 10 else None)
    ended = send(
        api, changes(2_000), windows=(Window(50, 1.0),), breaker=CircuitBreaker(patience_s=120)
    )
    assert {o.status for o in ended.outcomes} == {Status.UPDATED}
    assert 450 <= len(ended.outcomes) <= 550
    assert ended.stop is not None
    assert ended.stop.reason is StopReason.OUTAGE
    assert ended.at == pytest.approx(145, abs=20)


def test_a_row_that_breaks_the_server_fails_alone() -> None:
    """Five rows that always meet a 500 do not keep the others from being updated."""
    poison: dict[int, list[RequestError | float]] = {row: [internal] * 9 for row in range(2, 7)}
    ended = send(ScriptedApi(poison), changes(200))
    assert Counter(o.status for o in ended.outcomes) == {Status.UPDATED: 195, Status.FAILED: 5}


def test_rows_of_one_incident_are_sent_in_order_one_at_a_time() -> None:
    """The second change of an incident waits until the first has ended, retries included."""
    api = ScriptedApi({2: [lost, lost]})
    ended = send(api, changes(9, incident=lambda row: row % 3), is_in_order=lambda _: True)
    assert {o.status for o in ended.outcomes} == {Status.UPDATED}
    order = [row for _, row in api.requests if row % 3 == 2]
    assert order == [2, 2, 2, 5, 8]
    assert api.most_at_once == 1


def test_the_first_stop_lets_requests_finish_and_takes_no_new_row() -> None:
    """First Ctrl-C: in-flight rows are recorded, the others stay pending."""
    stop = Stop(StopReason.INTERRUPTED, "Ctrl-C")
    api = ScriptedApi(latency_s=2.0)
    ended = send(api, changes(20), workers=4, after=(1.0, lambda pool: pool.stop(stop)))
    assert ended.summary() == [(row, "updated", 1, "") for row in range(2, 6)]
    assert (ended.stop, ended.at, len(api.requests)) == (stop, 2.0, 4)


def test_requests_that_outlast_the_grace_period_are_unknown() -> None:
    """The run waits a few seconds for in-flight requests."""
    stop = Stop(StopReason.TERMINATED, "SIGTERM")
    api = ScriptedApi(latency_s=60.0)
    ended = send(api, changes(9), workers=2, after=(1.0, lambda pool: pool.stop(stop)))
    assert ended.summary() == [(2, "unknown", 1, "stopped"), (3, "unknown", 1, "stopped")]
    assert ended.at == 1.0 + GRACE_S


def test_a_second_stop_ends_at_once() -> None:
    """Second Ctrl-C: the run ends now, and in-flight rows are unknown."""

    def twice(pool: WorkerPool) -> None:
        pool.stop(Stop(StopReason.INTERRUPTED, "Ctrl-C"))
        pool.abort()

    ended = send(ScriptedApi(latency_s=60.0), changes(9), workers=1, after=(1.0, twice))
    assert ended.summary() == [(2, "unknown", 1, "stopped")]
    assert ended.at == 1.0


def test_a_row_that_waits_for_a_retry_is_unknown_or_pending() -> None:
    """Stopped during a back-off: unknown if it may have been applied, pending if it was not."""
    stop = Stop(StopReason.INTERRUPTED, "Ctrl-C")
    api = ScriptedApi({2: [lost, lost], 3: [internal, internal]}, reading=lambda _: lost)
    ended = send(api, changes(2), after=(0.5, lambda pool: pool.stop(stop)))
    assert ended.summary() == [(2, "unknown", 1, "stopped")]


def test_many_rows_that_always_break_the_server_end_as_failed() -> None:
    """Twelve such rows at the end of a sheet open the breaker, and still get an outcome."""
    poison: dict[int, list[RequestError | float]] = {row: [internal] * 20 for row in range(90, 102)}
    ended = send(ScriptedApi(poison), changes(100), breaker=CircuitBreaker(patience_s=3_600))
    assert Counter(o.status for o in ended.outcomes) == {Status.UPDATED: 88, Status.FAILED: 12}
    assert ended.stop is None


def test_rejected_rows_between_pauses_do_not_stop_the_run() -> None:
    """A run that makes progress is not stopped, however many pauses it has."""
    answers = iter(range(10**6))

    def sometimes(_: float) -> RequestError:
        return throttled_7s if next(answers) % 40 == 0 else invalid

    ended = send(
        ScriptedApi(always=sometimes), changes(2_000), breaker=CircuitBreaker(60), workers=1
    )
    assert (len(ended.outcomes), ended.stop) == (2_000, None)


def test_a_later_and_longer_retry_after_counts() -> None:
    """Of two 429s in flight, the one that asks for more decides."""
    long = ThrottledError("slow down", code="RequestTooFrequently", retry_after_s=40)
    api = ScriptedApi({2: [throttled], 3: [long]})
    send(api, changes(2))
    assert min(at for at, _ in api.requests[2:]) >= 40
