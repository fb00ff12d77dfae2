"""Faults between client and server: no row is lost, updated unnoticed or reported wrongly.

Each fault hits the first attempt of a row or all attempts, a few rows or all rows; then the same
command runs again without it. What the server recorded decides. A whole run is tested, from the
sheet to the report, on a virtual clock.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import os
import ssl
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from hostile_server import (
    KEY,
    PEM,
    RESET,
    Exchange,
    Fault,
    Hangup,
    HostileServer,
    error,
    http,
    success,
)
from programs import read_csv, seed_id
from virtual_clock import VirtualLoop

from bulk_reset import Options
from bulk_reset.api.client import MAX_ANSWER_BYTES
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.outcome import Status, StopReason
from bulk_reset.core.totals import Progress, Totals
from bulk_reset.engine import account, connection, event_loop, run_sender
from bulk_reset.engine.retry_policy import MAX_PAUSE_S
from bulk_reset.records.previous_values import read_previous_values
from bulk_reset.records.summary import summarise
from bulk_reset.workflows.run import run

ROWS: Final = 30
IDS: Final = [seed_id(n) for n in range(1, ROWS + 1)]
FEW: Final = frozenset((IDS[4], IDS[14], IDS[24]))
PATIENCE_S: Final = 900.0
TIMEOUT_S: Final = 30.0


# --- Faults ----------------------------------------------------------------------------------


def answers(*parts: bytes, applies: bool = False, then: str = "") -> Fault:
    """Return a fault that sends these bytes, then closes or resets the connection."""

    async def fault(exchange: Exchange) -> None:
        if applies and exchange.path == RESET:
            exchange.apply()
        for part in parts:
            await exchange.send(part)
        if then == "hang up":
            raise Hangup
        if then == "reset":
            exchange.reset()
        if then == "hang":
            await asyncio.Event().wait()

    return fault


def slowly(seconds: float, *, applies: bool = True) -> Fault:
    """Return a fault that sends a success in pieces, so many seconds apart."""

    async def fault(exchange: Exchange) -> None:
        if applies and exchange.path == RESET:
            exchange.apply()
        answer = success()
        for piece in (answer[:20], answer[20:-10], answer[-10:]):
            await asyncio.sleep(seconds)
            await exchange.send(piece)

    return fault


async def gigantic(exchange: Exchange) -> None:
    """Apply, and answer with more than a client should read."""
    if exchange.path == RESET:
        exchange.apply()
    await exchange.send(http(200, b'{"request_id": "R", "data": "', length=1 << 40))
    for _ in range(1 << 10):
        await exchange.send(b"x" * (1 << 20))


def date_in(seconds: float) -> str:
    """Return an HTTP date so many seconds after the one that the answer carries."""
    now = datetime(2031, 1, 1, tzinfo=UTC)  # whatever the clock says here
    until = format_datetime(now + timedelta(seconds=seconds), usegmt=True)
    return f"Retry-After: {until}\r\nDate: {format_datetime(now, usegmt=True)}"


def throttled(*headers: str) -> Fault:
    return answers(error(429, "RequestTooFrequently", *headers))


PAGE: Final = b"<html><h1>Bad gateway</h1></html>"
HTML: Final = "Content-Type: text/html"
BOMB: Final = gzip.compress(b" " * (1 << 26))


@dataclass(frozen=True)
class Case:
    """A fault, the expected result, and its code in the report."""

    name: str
    kind: str
    code: str
    fault: Fault
    applies: bool = False

    def __repr__(self) -> str:
        return self.name


def doubt(name: str, code: str, *parts: bytes, applies: bool, then: str = "") -> Case:
    return Case(name, "doubt", code, answers(*parts, applies=applies, then=then), applies=applies)


CASES: Final = (
    Case("429", "wait", "RequestTooFrequently", throttled()),
    Case("429, Retry-After in seconds", "wait", "", throttled("Retry-After: 7")),
    Case("429, Retry-After as a date", "wait", "", throttled(date_in(20))),
    Case("429, Retry-After of ten years", "years", "", throttled("Retry-After: 315360000")),
    Case("429, Retry-After below zero", "wait", "", throttled("Retry-After: -5")),
    Case("429, Retry-After as a word", "wait", "", throttled("Retry-After: soon")),
    Case("429, a page", "wait", "", answers(http(429, PAGE, HTML))),
    Case("500", "trouble", "InternalError", answers(error(500, "InternalError"))),
    Case(
        "500 after applying",
        "trouble",
        "InternalError",
        answers(error(500, "InternalError"), applies=True),
        applies=True,
    ),
    Case("503", "trouble", "ServiceUnavailable", answers(error(503, "ServiceUnavailable"))),
    Case(
        "503, Retry-After",
        "trouble",
        "ServiceUnavailable",
        answers(error(503, "ServiceUnavailable", "Retry-After: 3")),
    ),
    Case(
        "200 with an error of the server",
        "trouble",
        "InternalError",
        answers(error(200, "InternalError")),
    ),
    doubt("502, a page", "HTTP 502", http(502, PAGE, HTML), applies=False),
    doubt("502 after applying, a page", "HTTP 502", http(502, PAGE, HTML), applies=True),
    doubt("504, empty", "HTTP 504", http(504), applies=True),
    doubt("408", "HTTP 408", http(408), applies=False),
    doubt("200, empty", "HTTP 200", http(200), applies=True),
    doubt("200, empty, not applied", "HTTP 200", http(200), applies=False),
    doubt("204", "HTTP 204", b"HTTP/1.1 204 X\r\n\r\n", applies=True),
    doubt("200, cut JSON", "HTTP 200", http(200, b'{"request_id": "R1", "da'), applies=True),
    doubt("200, no object", "HTTP 200", http(200, b"[1]"), applies=True),
    doubt("200 with an unknown error", "Strange", error(200, "Strange"), applies=True),
    doubt(
        "an answer shorter than it says",
        "connection_lost",
        http(200, b'{"request_id": "R1"', length=99),
        applies=True,
        then="hang up",
    ),
    doubt("no HTTP at all", "connection_lost", b"SSH-2.0-Open\r\n\r\n", applies=False),
    doubt(
        "headers without end",
        "connection_lost",
        b"HTTP/1.1 200 X\r\n" + b"X-Filler: " + b"x" * (1 << 20),
        applies=True,
        then="hang up",
    ),
    doubt("hung up without an answer", "connection_lost", applies=False, then="hang up"),
    doubt("reset before applying", "connection_lost", applies=False, then="reset"),
    doubt("reset after applying", "connection_lost", applies=True, then="reset"),
    doubt("hang before applying", "timeout", applies=False, then="hang"),
    doubt("hang after applying", "timeout", applies=True, then="hang"),
    doubt("hang within the answer", "timeout", success()[:-9], applies=True, then="hang"),
    Case("too slow a body", "doubt", "timeout", slowly(12), applies=True),
    Case("a gigantic body", "doubt", "HTTP 200", gigantic, applies=True),
    doubt(
        "a body that swells when it is unpacked",
        "HTTP 200",
        http(200, BOMB, "Content-Encoding: gzip"),
        applies=True,
    ),
    Case("a slow body", "good", "", slowly(8)),
    Case(
        "JSON that is called HTML",
        "good",
        "",
        answers(http(200, success().split(b"\r\n\r\n")[1], HTML), applies=True),
    ),
    Case(
        "hung up after each answer",
        "good",
        "",
        answers(success(), applies=True, then="hang up"),
    ),
    Case("200 with an error of the row", "row", "BadRequest", answers(error(200, "BadRequest"))),
    Case("403, a page", "trouble", "HTTP 403", answers(http(403, PAGE, HTML))),
    Case("413, a page", "row", "HTTP 413", answers(http(413, PAGE, HTML))),
    Case("403, an unknown code", "trouble", "Blocked", answers(error(403, "Blocked"))),
    Case("404, a page", "gateway", "HTTP 404", answers(http(404, PAGE, HTML))),
    Case("401, a page", "gateway", "HTTP 401", answers(http(401, PAGE, HTML))),
    Case("a redirect", "gateway", "HTTP 302", answers(http(302, b"", "Location: /login"))),
    Case("the key is refused", "fatal", "Unauthorized", answers(error(401, "Unauthorized"))),
)


# --- What has to come of them ----------------------------------------------------------------

EXPECTED: Final = {
    # kind, which attempts, which rows: status of the rows that meet it, attempts, exit code.
    # "settled" is updated where it was applied and failed where it was not.
    ("good", "first", "few"): ("updated", {1}, 0),
    ("good", "first", "every"): ("updated", {1}, 0),
    ("good", "all", "few"): ("updated", {1}, 0),
    ("good", "all", "every"): ("updated", {1}, 0),
    ("wait", "first", "few"): ("updated", {1}, 0),
    ("wait", "first", "every"): ("updated", {1}, 0),
    ("wait", "all", "few"): ("pending", set(), 3),
    ("wait", "all", "every"): ("pending", set(), 3),
    ("years", "first", "few"): ("updated", {1}, 0),
    # Every pause is five minutes and ends with the next rejection, until patience does.
    ("years", "first", "every"): ("pending", set(), 3),
    ("years", "all", "few"): ("pending", set(), 3),
    ("years", "all", "every"): ("pending", set(), 3),
    ("trouble", "first", "few"): ("updated", {2}, 0),
    ("trouble", "first", "every"): ("updated", {2}, 0),
    ("trouble", "all", "few"): ("settled", {5}, 1),
    ("trouble", "all", "every"): ("pending", set(), 3),
    ("doubt", "first", "few"): ("updated", {2}, 0),
    ("doubt", "first", "every"): ("updated", {2}, 0),
    ("doubt", "all", "few"): ("settled", {5}, 1),
    ("doubt", "all", "every"): ("updated where applied", {1, 2}, 3),
    ("row", "first", "few"): ("failed", {1}, 1),
    ("row", "first", "every"): ("failed", {1}, 1),
    ("row", "all", "few"): ("failed", {1}, 1),
    ("row", "all", "every"): ("failed", {1}, 1),
    ("fatal", "first", "few"): ("pending", set(), 3),
    ("fatal", "first", "every"): ("pending", set(), 3),
    ("fatal", "all", "few"): ("pending", set(), 3),
    ("fatal", "all", "every"): ("pending", set(), 3),
}


@dataclass
class Bench:
    """Runs a sheet of 30 titles against a server, on a virtual clock."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    looks: bool = False

    def __post_init__(self) -> None:
        self.sheet = self.folder / "incidents.csv"
        with self.sheet.open("w", newline="", encoding="utf-8") as file:
            rows = [(one, f"title {one}") for one in IDS]
            csv.writer(file).writerows([("incident_id", "title"), *rows])
        self.monkeypatch.setenv("FLASHDUTY_APP_KEY", KEY)
        self.monkeypatch.setenv("XDG_STATE_HOME", str(self.folder / "state"))
        # The ledger of permits counts by the same clock as the loop.
        self.loops: list[VirtualLoop] = []
        store = partial(account.LocalStore, clock=lambda: int(1e6 * self._time()))
        self.monkeypatch.setattr(account, "LocalStore", store)
        share = partial(connection.PermitShare, clock=self._time)
        self.monkeypatch.setattr(connection, "PermitShare", share)

    def _time(self) -> float:
        """Return the virtual seconds of all loops, an hour apart."""
        return 3600.0 + sum(3600.0 + loop.time() for loop in self.loops)

    def _new_loop(self) -> VirtualLoop:
        self.loops.append(VirtualLoop())
        return self.loops[-1]

    def run(
        self,
        server: HostileServer | None,
        *,
        meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None,
        callbacks: Callbacks | None = None,
        tick_s: float = 10.0,
        **options: Any,  # noqa: ANN401  (options of a run)
    ) -> Totals:
        """Send the sheet; the server lives as long as the run does.

        Args:
            tick_s: how often progress is computed; hours pass here, and most tests do not see it.
        """

        async def around(main: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401
            if server is None:
                return await main
            async with server.serve():
                task = asyncio.create_task(meanwhile()) if meanwhile else None
                try:
                    return await main
                finally:
                    if task is not None:
                        task.cancel()

        def run_loop(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:  # noqa: ANN401
            with asyncio.Runner(loop_factory=self._new_loop) as runner:
                return runner.run(around(main()))

        self.monkeypatch.setattr(event_loop, "run_loop", run_loop)
        self.monkeypatch.setattr(run_sender, "_TICK_S", tick_s)
        wanted = {
            "patience_s": PATIENCE_S,
            "timeout_s": TIMEOUT_S,
            "before": self.looks,
            **options,
        }
        wanted.setdefault("base_url", server.url if server else None)
        return run(self.sheet, Options(**wanted), callbacks)

    def report(self) -> dict[str, dict[str, str]]:
        """Return incident -> its line of the report; the last one counts."""
        path = self.sheet.with_name("incidents.report.csv")
        return {line["incident_id"]: line for line in read_csv(path)}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def is_done(server: HostileServer, ids: Iterable[str]) -> bool:
    """Return whether the server has the values of the sheet."""
    return all(server.incidents[one]["title"] == f"title {one}" for one in ids)


def check_report(
    server: HostileServer,
    report: dict[str, dict[str, str]],
    totals: Totals,
    *,
    sees_all: bool = True,
) -> None:
    """Compare the report with what the server received; true for every run.

    Args:
        sees_all: whether all that was sent arrived.
    """
    arrived = sum(server.arrivals.values()) + server.reads
    assert totals.requests == arrived or (totals.requests > arrived and not sees_all)
    assert sum(totals.counts.values()) == ROWS
    assert len(report) == ROWS - totals.counts[Status.PENDING]
    assert Counter(line["status"] for line in report.values()) == Counter(
        {status.value: n for status, n in totals.counts.items() if n and status != "pending"}
    )
    for one in IDS:
        line = report.get(one)
        if line is None:
            continue
        sent = int(line["attempts"]) + int(line["throttled"])
        assert sent == server.arrivals[one] or (sent > server.arrivals[one] and not sees_all)
        if line["status"] == "updated":
            assert is_done(server, [one])
            assert line["error_code"] == ""
        else:
            assert line["error_code"]
            assert line["error_message"]
        if line["status"] == "failed":
            assert server.applied[one] == 0
    assert server.keys <= {KEY}
    assert summarise(Path(totals.report)).lines >= len(report)


@pytest.mark.parametrize(
    "looks",
    [pytest.param(False, marks=pytest.mark.slow, id="blind"), pytest.param(True, id="looks")],
)
@pytest.mark.parametrize("which", ["few", "every"])
@pytest.mark.parametrize("when", ["first", "all"])
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_a_fault_loses_no_row_and_is_reported_as_it_was(
    case: Case, when: str, which: str, looks: bool, bench: Bench
) -> None:
    """Outcome, attempts, exit code, report and server agree; after the fault, all rows are done.

    Where the run reads incidents first, there are previous values of every row that was sent.
    """
    kind = case.kind
    if kind == "gateway":  # fatal before the first success, an outage after it
        kind = "fatal" if which == "every" and not looks else "trouble"
    bench.looks = looks
    hit = FEW if which == "few" else frozenset(IDS)
    server = HostileServer(
        IDS, case.fault, lambda one, arrival: one in hit and (when == "all" or arrival == 1)
    )
    totals = bench.run(server)
    report = bench.report()
    check_report(server, report, totals)
    wanted, attempts, exit_code = EXPECTED[kind, when, which]
    if wanted == "settled":
        wanted, exit_code = ("updated", 0) if case.applies else ("failed", 1)
    statuses_of = {one: report[one]["status"] if one in report else "pending" for one in IDS}
    if wanted == "updated where applied":
        # After a read that succeeded, the API is waited for longer.
        attempts = attempts | {3} if looks else attempts
        assert statuses_of == {one: "updated" if server.applied[one] else "pending" for one in IDS}
        assert case.applies == ("updated" in statuses_of.values())
    elif kind == "fatal":
        assert {statuses_of[one] for one in hit} == {"pending"}
        assert totals.stop is not None
        assert (totals.stop.reason, totals.stop.message.split(":")[0]) == (
            StopReason.FATAL,
            case.code,
        )
        assert max(server.arrivals.values()) == 1
    else:
        assert statuses_of == {one: wanted if one in hit else "updated" for one in IDS}
    assert {int(report[one]["attempts"]) for one in hit if one in report} <= attempts
    assert int(totals.exit_code) == exit_code
    for one in hit & report.keys():
        assert report[one]["status"] == "updated" or report[one]["error_code"] == case.code
    again(bench, server)
    if looks:
        images = list(read_previous_values(bench.sheet.with_name("incidents.before.csv")))
        assert {image.incident_id for image in images} == set(IDS)
        assert {image.before["title"] for image in images} == {"as before"}


def again(bench: Bench, server: HostileServer) -> None:
    """Run the same command again without the fault: all rows are done, none twice."""
    done = {one for one, line in bench.report().items() if line["status"] == "updated"}
    arrived = server.arrivals.copy()
    server.fault = None
    totals = bench.run(server, retry_failed=True)
    done_rows = totals.counts[Status.UPDATED] + totals.counts[Status.UNCHANGED]
    assert (totals.exit_code, done_rows) == (0, ROWS)
    assert is_done(server, IDS)
    assert {one for one in done if server.arrivals[one] > arrived[one]} == set()


DOUBTFUL: Final = [
    case
    for case in CASES
    # Of a list of incidents, much more is read than of an update's answer.
    if case.kind == "doubt" and not case.name.startswith(("a gigantic", "a body that swells"))
]


@pytest.mark.parametrize("case", DOUBTFUL, ids=repr)
def test_rows_that_cannot_be_read_back_either_are_unknown(case: Case, bench: Bench) -> None:
    """Where reading meets the same fault, the outcome is unknown, and reported so."""
    server = HostileServer(IDS, case.fault, lambda one, _: one in FEW, breaks_reads=True)
    totals = bench.run(server)
    report = bench.report()
    check_report(server, report, totals)
    assert {one for one, line in report.items() if line["status"] == "unknown"} == FEW
    assert {report[one]["error_code"] for one in FEW} <= {case.code, "stopped"}
    assert int(totals.exit_code) == 3
    again(bench, server)


@pytest.mark.parametrize("when", ["first", "all"])
@pytest.mark.parametrize(
    ("case", "shortest_s", "longest_s"),
    [
        ("429", 1.0, 31.0),
        ("429, Retry-After in seconds", 7.0, 7.1),
        ("429, Retry-After as a date", 20.0, 20.1),
        ("429, Retry-After of ten years", MAX_PAUSE_S, MAX_PAUSE_S + 0.1),
        ("429, Retry-After below zero", 1.0, 31.0),
        ("429, Retry-After as a word", 1.0, 31.0),
    ],
)
def test_retry_after_is_honoured_up_to_five_minutes(
    case: str, when: str, shortest_s: float, longest_s: float, bench: Bench
) -> None:
    """A wait of seconds is honoured; a wait of years becomes five minutes."""
    [fault] = [one.fault for one in CASES if one.name == case]
    server = HostileServer(
        IDS, fault, lambda one, arrival: one == IDS[4] and (when == "all" or arrival == 1)
    )
    bench.run(server)
    gaps = [later - at for at, later in pairwise(server.times) if later - at > 0.9]
    assert gaps
    assert shortest_s <= min(gaps)
    assert max(gaps) <= longest_s


def test_a_huge_body_is_not_read_to_its_end(bench: Bench) -> None:
    """An announced terabyte costs a few megabytes in the buffers of both sides."""
    server = HostileServer(IDS, gigantic, lambda one, arrival: one == IDS[4] and arrival == 1)
    bench.run(server)
    assert MAX_ANSWER_BYTES <= server.sent_bytes <= 16 * MAX_ANSWER_BYTES


def test_lines_reach_the_disk_during_the_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut loses the lines of the last second, not all of them."""
    sizes: list[tuple[float, int]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        if asyncio._get_running_loop() is not None:  # noqa: SLF001  (None, and no exception)
            sizes.append((asyncio.get_running_loop().time(), os.fstat(descriptor).st_size))

    server = HostileServer(IDS, slowly(8), lambda one, _: one == IDS[4])
    monkeypatch.setattr(os, "fsync", fsync)
    bench.run(server, tick_s=0.1)
    whole = Path(bench.sheet.with_name("incidents.report.csv")).stat().st_size
    on_disk_early = max(size for at, size in sizes if at < 2)
    assert whole * (ROWS - 2) // ROWS < on_disk_early < whole


# --- Where there is no connection ------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(status: int, bench: Bench) -> None:
    """The run stops at once, and neither the key nor a row is sent elsewhere."""
    elsewhere = HostileServer(IDS)
    moved = http(status, b"", f"Location: {elsewhere.url}{RESET}")
    server = HostileServer(IDS, answers(moved))

    async def listen() -> None:
        async with elsewhere.serve():
            await asyncio.Event().wait()

    totals = bench.run(server, meanwhile=listen)
    assert (int(totals.exit_code), totals.counts[Status.PENDING]) == (3, ROWS)
    assert totals.stop is not None
    assert "redirect" in totals.stop.message
    assert (elsewhere.connections, elsewhere.keys) == (0, set())
    again(bench, server)


def test_an_untrusted_certificate_stops_the_run(bench: Bench, tmp_path: Path) -> None:
    """No request is sent over a connection that can be intercepted."""
    pem = tmp_path / "server.pem"
    pem.write_text(PEM)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    server = HostileServer(IDS, tls=tls)
    totals = bench.run(server)
    assert (int(totals.exit_code), totals.counts[Status.PENDING]) == (3, ROWS)
    assert totals.stop is not None
    assert (totals.stop.reason, totals.stop.message[:4]) == (StopReason.FATAL, "tls:")
    assert (sum(server.arrivals.values()), server.keys) == (0, set())


def test_an_unknown_host_name_stops_the_run_soon(bench: Bench) -> None:
    """A wrong name, or no network: nothing is lost, and the error is reported."""
    totals = bench.run(None, base_url="https://api.invalid")
    assert (int(totals.exit_code), totals.counts[Status.PENDING]) == (3, ROWS)
    assert totals.stop is not None
    assert totals.stop.reason is StopReason.OUTAGE
    assert "cannot connect" in totals.stop.message


def test_a_closed_port_stops_the_run_soon(bench: Bench) -> None:
    """Once the server listens, the same command resumes."""
    server = HostileServer(IDS)

    async def go_away() -> None:
        server.stop()

    totals = bench.run(server, meanwhile=go_away)
    assert (int(totals.exit_code), totals.counts[Status.PENDING]) == (3, ROWS)
    assert sum(server.arrivals.values()) == 0
    again(bench, server)


# --- Outages and clocks ----------------------------------------------------------------------

OUTAGES: Final = ("500", "503", "502, a page", "200, cut JSON", "hang before applying")


@pytest.mark.parametrize("begins_s", [0.2, 0.55])
@pytest.mark.parametrize("name", [*OUTAGES, "reset after applying", "refused"])
def test_an_outage_of_ten_minutes_costs_no_row(name: str, begins_s: float, bench: Bench) -> None:
    """In any form, in the middle of a sheet and at its end."""
    server = HostileServer(IDS)

    async def outage() -> None:
        await asyncio.sleep(begins_s)
        if name == "refused":
            server.stop()
        else:
            [server.fault] = [case.fault for case in CASES if case.name == name]
            server.breaks_reads = True
        await asyncio.sleep(600)
        server.fault, server.breaks_reads = None, False
        if name == "refused":
            await server.start()
        await asyncio.Event().wait()

    totals = bench.run(server, meanwhile=outage)
    check_report(server, bench.report(), totals, sees_all=name != "refused")
    assert (totals.exit_code, totals.counts[Status.UPDATED]) == (0, ROWS)
    probes = [at for at in server.times if begins_s + 60 < at < begins_s + 600]
    assert all(later - at >= 5 for at, later in pairwise(probes))


def test_during_an_outage_no_time_left_is_shown(bench: Bench) -> None:
    """How long an outage takes is unknown."""
    seen: list[Progress] = []
    [fault] = [case.fault for case in CASES if case.name == "502, a page"]
    server = HostileServer(IDS, fault, lambda one, arrival: one in IDS[9:] and arrival < 3)
    bench.run(server, tick_s=0.1, callbacks=Callbacks(on_progress=seen.append))
    estimates = [progress for progress in seen if progress.left_s]
    is_estimated = {one.waiting_for: one.left_s > 0 for one in estimates}
    waited = [progress for progress in seen if "API unavailable" in progress.waiting_for]
    assert len(waited) > 10
    assert {progress.left_s for progress in waited} == {0.0}
    assert is_estimated == {"": True}


def test_a_server_that_restarts_in_the_middle_loses_no_row(bench: Bench) -> None:
    """Connections break, then the port is closed for a while, then the run continues."""
    server = HostileServer(IDS, latency_s=0.3)

    async def restart() -> None:
        await asyncio.sleep(0.45)
        server.stop()
        await asyncio.sleep(5)
        await server.start()
        await asyncio.Event().wait()

    totals = bench.run(server, meanwhile=restart)
    check_report(server, bench.report(), totals, sees_all=False)
    assert (totals.exit_code, totals.counts[Status.UPDATED]) == (0, ROWS)
    assert max(server.applied.values()) <= 2


@pytest.mark.parametrize("jump_s", [-86_400.0, -3.0, 3.0, 86_400.0])
def test_a_clock_that_is_set_during_a_run_changes_timestamps_only(
    jump_s: float, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pace and outcomes do not depend on the time of day."""
    real, server = time.time, HostileServer(IDS)
    monkeypatch.setattr(
        time, "time", lambda: real() + jump_s * (sum(server.arrivals.values()) > ROWS // 2)
    )
    totals = bench.run(server)
    check_report(server, bench.report(), totals)
    assert (totals.exit_code, totals.counts[Status.UPDATED]) == (0, ROWS)
    assert server.times[-1] - server.times[0] == pytest.approx((ROWS - 1) / 50, abs=0.1)
    assert {later - at < 0.2 for at, later in pairwise(server.times)} == {True}


def test_the_matrix_is_complete() -> None:
    """Every kind of fault has expectations, and all names differ."""
    kinds = {case.kind for case in CASES} - {"gateway"}
    assert {
        (kind, when, which)
        for kind in kinds
        for when in ("first", "all")
        for which in ("few", "every")
    } == EXPECTED.keys()
    assert len({case.name for case in CASES}) == len(CASES)
    assert json.loads(success().split(b"\r\n\r\n")[1])["data"] is None
