"""Metrics: written as a whole, kept from run to run, and served only on loopback."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from bulk_reset.core.errors import InputError
from bulk_reset.core.outcome import Status, Stop, StopReason
from bulk_reset.core.totals import Peak, Totals
from bulk_reset.observability.metrics import RunFacts, check_metrics_file, families, write_metrics
from bulk_reset.observability.metrics_server import MetricsServer

STARTED_AT, ENDED_AT = 1_700_000_000.25, 1_700_000_062.5
LAST_SUCCESS = "bulk_reset_last_success_timestamp_seconds"
Values = dict[tuple[str, ...], float]


def totals(stop: Stop | None = None, **counts: int) -> Totals:
    by_status = {status: counts.get(status.value, 0) for status in Status}
    return Totals(
        "sheet.csv",
        sum(by_status.values()),
        by_status,
        requests=7,
        throttled=2,
        elapsed_s=60.0,
        peaks=(Peak(1.0, 50, 7), Peak(60.0, 1_000, 7)),
        waited_s={"the pace": 0.5},
        stop=stop,
    )


def write(path: Path, ended: Totals | None, **more: Any) -> None:  # noqa: ANN401
    write_metrics(path, ended, started_at=STARTED_AT, ended_at=ENDED_AT, **more)


def values_of(text: str) -> Values:
    """Return name and labels -> value, as Prometheus reads them."""
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def read(path: Path) -> Values:
    return values_of(path.read_text(encoding="utf-8"))


# --- The file --------------------------------------------------------------------------------


def test_a_run_is_written_as_numbers_that_prometheus_reads(tmp_path: Path) -> None:
    """Counts by status, requests, times, the exit code and the quota's proof, in base units."""
    path = tmp_path / "run.prom"
    write(path, totals(updated=5, failed=1))
    values = read(path)
    rows = {key[1]: value for key, value in values.items() if key[0] == "bulk_reset_rows"}
    assert rows == {
        f"status={status.value}": float({"updated": 5, "failed": 1}.get(status.value, 0))
        for status in Status
    }
    assert {key: value for key, value in values.items() if key[0] != "bulk_reset_rows"} == {
        ("bulk_reset_requests",): 7.0,
        ("bulk_reset_throttled",): 2.0,
        ("bulk_reset_quota_peak_requests", "window=1s"): 7.0,
        ("bulk_reset_quota_peak_requests", "window=60s"): 7.0,
        ("bulk_reset_quota_limit_requests", "window=1s"): 50.0,
        ("bulk_reset_quota_limit_requests", "window=60s"): 1_000.0,
        ("bulk_reset_waited_seconds", "cause=the pace"): 0.5,
        ("bulk_reset_run_seconds",): 62.25,
        ("bulk_reset_run_started_timestamp_seconds",): STARTED_AT,
        ("bulk_reset_run_ended_timestamp_seconds",): ENDED_AT,
        ("bulk_reset_last_success_timestamp_seconds",): 0.0,
        ("bulk_reset_exit_code",): 1.0,
        ("bulk_reset_rehearsal",): 0.0,
    }
    assert list(tmp_path.iterdir()) == [path]


def test_every_number_is_a_gauge_with_a_help_and_a_name_as_prometheus_wants_it() -> None:
    """No metric of the last run is a counter, and each has a help text."""
    run = RunFacts(totals=totals(updated=1), started_at=STARTED_AT, ended_at=ENDED_AT)
    made = families([run])
    assert {metric.type for metric in made} == {"gauge"}
    for metric in made:
        assert re.fullmatch(r"bulk_reset_[a-z_]+[a-z]", metric.name)
        assert not metric.name.endswith(("_total", "_count", "_sum", "_ms"))
        assert metric.documentation.endswith(".")
    assert len({metric.name for metric in made}) == len(made) == 12


def test_jobs_share_the_families_and_keep_their_labels() -> None:
    """Two jobs in one answer are two labels of one number, as the format asks for."""
    runs = [
        RunFacts(totals=totals(updated=rows), started_at=1.0, ended_at=2.0, job=job)
        for job, rows in (('the "night" job\n', 5), ("day", 6))
    ]
    (rows,) = (metric for metric in families(runs) if metric.name == "bulk_reset_rows")
    assert {
        sample.labels["job"]: sample.value
        for sample in rows.samples
        if sample.labels["status"] == "updated"
    } == {'the "night" job\n': 5, "day": 6}


@pytest.mark.parametrize(
    ("then", "more", "kept"),
    [
        (totals(updated=1), {}, False),
        (totals(failed=1), {}, True),
        (totals(Stop(StopReason.OUTAGE, "down"), pending=1), {}, True),
        (totals(updated=1), {"exit_code": 1}, True),
        (totals(updated=1), {"is_rehearsal": True}, True),
        (None, {"exit_code": 2}, True),
        (None, {}, True),
    ],
)
def test_when_the_last_success_was_is_kept_by_runs_that_are_none(
    then: Totals | None, more: dict[str, Any], kept: bool, tmp_path: Path
) -> None:
    """An alarm for "no success since yesterday" survives failures, refusals and rehearsals."""
    path = tmp_path / "run.prom"
    write_metrics(path, totals(updated=1), job="night", started_at=100.0, ended_at=200.5)
    write(path, then, job="night", **more)
    success_at = read(path)[LAST_SUCCESS, "job=night"]
    assert success_at == (200.5 if kept else ENDED_AT)


def test_a_run_without_totals_has_only_its_exit_code(tmp_path: Path) -> None:
    """A sheet with errors shows as exit code 2, not as a run of 0 rows."""
    path = tmp_path / "run.prom"
    write(path, None, exit_code=2)
    assert {key[0] for key in read(path)} == {
        "bulk_reset_exit_code",
        "bulk_reset_last_success_timestamp_seconds",
        "bulk_reset_rehearsal",
        "bulk_reset_run_seconds",
        "bulk_reset_run_started_timestamp_seconds",
        "bulk_reset_run_ended_timestamp_seconds",
    }
    assert read(path)["bulk_reset_exit_code",] == 2


@pytest.mark.parametrize(
    "content",
    [
        b"node_load1 0.5\n",
        b"bulk_reset_rows 1\nother_rows 1\n",
        b"incident_id,title\n",
        b"\xff\xfe",
        b"bulk_reset_rows{\n",
        b"bulk_reset_rows 1\n" * 100_000,
    ],
)
def test_a_file_with_other_content_is_not_replaced(content: bytes, tmp_path: Path) -> None:
    """A typing error on the command line replaces no other metrics."""
    path = tmp_path / "node.prom"
    path.write_bytes(content)
    for attempt in (lambda: check_metrics_file(path), lambda: write(path, totals(updated=1))):
        with pytest.raises(InputError, match="not metrics of bulk-reset"):
            attempt()
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["run.txt", "run", ".prom", "run.prom.txt"])
def test_a_name_that_the_node_exporter_does_not_read_is_refused(name: str, tmp_path: Path) -> None:
    """The user learns at once why metrics would not arrive."""
    with pytest.raises(InputError, match=r"Use a name ending in \.prom"):
        check_metrics_file(tmp_path / name)


def test_a_place_that_cannot_be_written_is_found_before_anything_is_sent(tmp_path: Path) -> None:
    """A missing folder and a folder of that name are errors; a valid place stays empty."""
    (tmp_path / "folder.prom").mkdir()
    for path in (tmp_path / "missing" / "run.prom", tmp_path / "folder.prom"):
        with pytest.raises(InputError, match="cannot be written"):
            check_metrics_file(path)
    check_metrics_file(tmp_path / "run.prom")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.prom"]


def test_numbers_that_cannot_be_written_leave_the_older_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at the end leaves a whole file, if an old one, and no other behind."""
    path = tmp_path / "run.prom"
    write(path, totals(updated=1))
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("prometheus_client.exposition.os.rename", full)
    with pytest.raises(InputError, match="No space left"):
        write(path, totals(updated=9))
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (before, [path])


# --- The page --------------------------------------------------------------------------------


class Health:
    """What a test's server is asked about."""

    def __init__(self) -> None:
        self.is_well = True

    def scrape(self) -> list[Metric]:
        """Return the numbers of a run; fail where that is wanted."""
        if not self.is_well:
            raise RuntimeError("secret")
        run = RunFacts(totals=totals(updated=5), started_at=STARTED_AT, ended_at=ENDED_AT)
        return families([run])

    def healthz(self) -> tuple[bool, str]:
        """Return the health of the test."""
        return (True, "2 jobs") if self.is_well else (False, "the schedule has stopped")


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def server(health: Health) -> Iterator[MetricsServer]:
    """Serve on a free port until the test has ended."""
    server = MetricsServer(0, health.scrape, health.healthz)
    yield server
    server.close()


@pytest.fixture
def ask(server: MetricsServer) -> Callable[..., tuple[int, dict[str, str], str]]:
    """Ask the server; return status, headers and body."""

    def ask(path: str, method: str = "GET", host: str | None = None) -> Any:  # noqa: ANN401
        connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
        headers = {"Host": host} if host is not None else {}
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    return ask


Ask = Callable[..., tuple[int, dict[str, str], str]]


def test_the_metrics_page_is_valid_for_prometheus(ask: Ask) -> None:
    """Prometheus gets what the file would hold, and nothing of the process itself."""
    status, headers, body = ask("/metrics")
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    values = values_of(body)
    assert values["bulk_reset_rows", "status=updated"] == 5
    assert {key[0].split("_")[0] for key in values} == {"bulk"}


def test_the_health_page_has_status_503_when_unhealthy(ask: Ask, health: Health) -> None:
    """A supervisor uses the status; a person reads the reason."""
    well = ask("/healthz")
    health.is_well = False
    ill = ask("/healthz")
    assert [(status, json.loads(body)) for status, _, body in (well, ill)] == [
        (200, {"is_healthy": True, "message": "2 jobs"}),
        (503, {"is_healthy": False, "message": "the schedule has stopped"}),
    ]


@pytest.mark.parametrize("path", ["/metrics", "/healthz"])
def test_head_is_get_without_its_body(path: str, ask: Ask) -> None:
    """A probe that asks for no body gets none, and the headers of the whole page."""
    full, head = ask(path), ask(path, "HEAD")
    assert (head[0], head[2]) == (200, "")
    assert head[1]["Content-Length"] == full[1]["Content-Length"] == str(len(full[2]))


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 404),
        ("/metrics/", "GET", 404),
        ("/favicon.ico", "GET", 404),
        ("/metrics", "POST", 405),
        ("/metrics", "OPTIONS", 405),
        ("/healthz", "DELETE", 405),
    ],
)
def test_there_are_two_pages_and_they_are_only_read(
    path: str, method: str, status: int, ask: Ask
) -> None:
    """All other requests are rejected."""
    assert ask(path, method)[0] == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:9100", 200),
        ("localhost:80", 200),
        ("LOCALHOST", 200),
        ("[::1]:9100", 200),
        ("rebound.example.com", 421),
        ("rebound.example.com:9100", 421),
        ("127.0.0.1.example.com", 421),
        ("localhost:", 421),
        ("", 421),
    ],
)
def test_only_who_calls_it_by_a_name_of_this_machine_is_answered(
    host: str, status: int, ask: Ask
) -> None:
    """A page in a browser here that points its own name at this machine reads nothing."""
    assert ask("/metrics", host=host)[0] == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("10.1.2.3:9100", 200),
        ("10.1.2.3", 200),
        ("[fd00::1]:9100", 200),
        ("127.0.0.1:9100", 200),
        ("jobs.example:9100", 200),
        ("JOBS.example", 200),
        ("other.example:9100", 421),
        ("10.1.2.3.example", 421),
        ("", 421),
    ],
)
def test_a_probe_by_address_is_answered_where_others_can_connect(
    host: str, status: int, health: Health
) -> None:
    """A kubelet uses the pod's address; a name has to be allowed, as any page could have one."""
    server = MetricsServer(
        0,
        health.scrape,
        health.healthz,
        host="0.0.0.0",  # noqa: S104  (for this test)
        names=("jobs.example",),
    )
    try:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", "/healthz", headers={"Host": host})
        assert connection.getresponse().status == status
        connection.close()
    finally:
        server.close()


def test_an_address_on_loopback_answers_its_own_names_only(ask: Ask) -> None:
    """Without --host, other addresses are as foreign as other names."""
    assert ask("/healthz", host="10.1.2.3")[0] == 421


@pytest.mark.parametrize("host", ["example.com", "", "localhost", "1.2.3"])
def test_a_host_that_is_no_address_is_an_error(host: str) -> None:
    """A name could stand for several addresses, or for another machine."""
    with pytest.raises(InputError, match="not an IP address"):
        MetricsServer(0, list, host=host)


def test_a_failing_scrape_is_an_error_without_details(
    ask: Ask, health: Health, capfd: pytest.CaptureFixture[str]
) -> None:
    """A bug in a scrape does not stop the server, prints nothing and shows no details."""
    health.is_well = False
    assert ask("/metrics")[::2] == (500, "RuntimeError\n")
    health.is_well = True
    assert ask("/metrics")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_in_use_or_invalid_is_an_error_with_a_fix(server: MetricsServer) -> None:
    """The second schedule on a port fails with a fix."""
    for port in (server.port, 70_000, -1):
        with pytest.raises(InputError, match=f"port {port} of 127.0.0.1: .* Use another port"):
            MetricsServer(port, list)


def test_closing_frees_the_port_despite_an_idle_connection() -> None:
    """Closing waits for no one who has connected and sends nothing."""
    server = MetricsServer(0, list)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20):
        server.close()
    again = MetricsServer(server.port, list)
    again.close()
    assert repr(again) == f"<MetricsServer http://127.0.0.1:{server.port}>"


def test_a_client_that_resets_its_connection_prints_nothing(
    server: MetricsServer, ask: Ask, capfd: pytest.CaptureFixture[str]
) -> None:
    """Standard error has the log of a schedule as JSON, so no traceback may appear there."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    reset = struct.pack("ii", 1, 0)  # RST instead of FIN
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    assert ask("/healthz")[0] == 200  # the first connection is accepted by now
    client.close()
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join(timeout=20)
    assert capfd.readouterr() == ("", "")
