"""``--log-file`` and ``--metrics-file`` as a user meets them: real commands, a real sandbox."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import (
    FAST,
    KEY,
    ROOT,
    Begin,
    SandboxProcess,
    clean_environment,
    read_csv,
    seed_id,
    write_sheet,
)
from prometheus_client.parser import text_string_to_metric_families

Command = Callable[..., "subprocess.CompletedProcess[str]"]
StartSandbox = Callable[..., SandboxProcess]
QUICK = ("--per-second", "5000", "--per-minute", "300000", "--latency", "0")
BOTH = ("--log-file", "run.log", "--metrics-file", "run.prom")


def events_of(path: Path) -> list[dict[str, Any]]:
    """Return the events of a log, every line of which has to be one."""
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    assert KEY not in text
    return [json.loads(line) for line in text.splitlines()]


def numbers_of(path: Path) -> dict[str, float]:
    """Return name, or name and first label, -> value of a file of numbers."""
    text = path.read_text(encoding="utf-8")
    assert KEY not in text
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_run_and_its_undo_are_logged_and_counted(
    command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """Two commands add to one log, each with its run_id; the metrics are those of the last."""
    sandbox = start_sandbox("--seed-incidents", "20", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 20)
    to_api = ("--base-url", sandbox.url, *FAST, *BOTH)
    before = time.time()
    done = command("run", "incidents.csv", *to_api)
    numbers = numbers_of(tmp_path / "run.prom")
    undone = command("undo", "incidents.report.csv", "--yes", *to_api)
    assert (done.returncode, undone.returncode) == (0, 0), done.stderr + undone.stderr
    events = events_of(tmp_path / "run.log")
    first, second = dict.fromkeys(event["run_id"] for event in events)
    results = {run: [e["event"] for e in events if e["run_id"] == run] for run in (first, second)}
    assert results[first] == ["run_started", "notice", "notice", "progress", "run_ended"]
    assert results[second] == [
        "run_started",
        "incidents_read",
        "confirmation",
        "notice",
        "progress",
        "run_ended",
    ]
    assert [(e["command"], e["sheet"]) for e in events if e["event"] == "run_started"] == [
        ("run", "incidents.csv"),
        ("undo", "incidents.report.csv"),
    ]
    assert [(e["counts"], e["requests"]) for e in events if e["event"] == "run_ended"] == [
        ({"updated": 20}, 21),
        ({"updated": 20}, 21),
    ]
    assert numbers["bulk_reset_rows updated"] == 20
    assert (numbers["bulk_reset_exit_code"], numbers["bulk_reset_rehearsal"]) == (0, 0)
    later = numbers_of(tmp_path / "run.prom")["bulk_reset_last_success_timestamp_seconds"]
    assert before < numbers["bulk_reset_last_success_timestamp_seconds"] < later < time.time()


def test_a_sheet_that_fails_as_a_whole_makes_few_events(
    command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """Of 400 rows that fail alike, 100 are logged one by one and the others as a number."""
    sandbox = start_sandbox(*QUICK)
    write_sheet(tmp_path / "incidents.csv", 400)
    done = command("run", "incidents.csv", "--base-url", sandbox.url, *FAST, *BOTH)
    assert done.returncode == 1, done.stderr
    events = events_of(tmp_path / "run.log")
    counts = Counter(event["event"] for event in events)
    assert (counts["row_failed"], counts["rows_failed_not_logged"], len(events)) == (100, 1, 105)
    failed = next(event for event in events if event["event"] == "row_failed")
    line = next(
        line
        for line in read_csv(tmp_path / "incidents.report.csv")
        if line["row"] == str(failed["row_number"])
    )
    names = ("incident_id", "status", "error_code", "error_message", "request_id")
    assert {name: failed[name] for name in names} == {name: line[name] for name in names}
    numbers = numbers_of(tmp_path / "run.prom")
    assert (numbers["bulk_reset_rows failed"], numbers["bulk_reset_exit_code"]) == (400, 1)


@pytest.mark.slow
@pytest.mark.parametrize("log", ["/dev/full", "/dev/stdout"])
def test_a_log_that_cannot_be_written_ends_no_run(
    log: str, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """A full disk, or a pipe that is not read: every row is done, and the loss is reported once."""
    sandbox = start_sandbox("--seed-incidents", "20", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 20)
    arguments = ["run", "incidents.csv", "--base-url", sandbox.url, *FAST, "--log-file", log]
    with subprocess.Popen(
        [sys.executable, "-m", "bulk_reset", *arguments],
        cwd=tmp_path,
        env=clean_environment(FLASHDUTY_APP_KEY=KEY),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 0, errors
    assert errors.count("the log ends there") == 1
    assert "Traceback" not in errors
    assert len(read_csv(tmp_path / "incidents.report.csv")) == 20


def test_a_run_that_stops_early_is_logged_with_the_reason(
    command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """A wrong key: code 3 in the log and in the numbers, which keep when the last success was."""
    sandbox = start_sandbox("--seed-incidents", "20", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 20)
    arguments = ("run", "incidents.csv", "--base-url", sandbox.url, *FAST, *BOTH)
    assert command(*arguments, "--limit", "5").returncode == 0
    success_at = numbers_of(tmp_path / "run.prom")["bulk_reset_last_success_timestamp_seconds"]
    done = command(*arguments, key="another-key")
    assert done.returncode == 3, done.stderr
    end = events_of(tmp_path / "run.log")[-1]
    assert (end["event"], end["level"], end["exit_code"]) == ("run_ended", "error", 3)
    assert (end["stop"], end["counts"]) == ("fatal", {"updated": 5, "pending": 15})
    assert "another-key" not in (tmp_path / "run.log").read_text(encoding="utf-8")
    numbers = numbers_of(tmp_path / "run.prom")
    assert (numbers["bulk_reset_rows pending"], numbers["bulk_reset_exit_code"]) == (15, 3)
    assert numbers["bulk_reset_last_success_timestamp_seconds"] == success_at


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([ROOT / "samples" / "invalid-rows.csv"], 2, "rows are invalid"),
        (["gone.csv"], 2, "gone.csv"),
        (["incidents.csv", "--workers", "0"], 2, "--workers 0: must be 1 or more."),
        (["incidents.csv", "--plan"], 3, None),
    ],
)
def test_a_run_that_sends_nothing_is_logged(
    arguments: list[str | Path],
    code: int,
    message: str | None,
    command: Command,
    start_sandbox: StartSandbox,
    tmp_path: Path,
) -> None:
    """An invalid sheet, no sheet, or no confirmation: the log and the metrics have the end."""
    sandbox = start_sandbox("--seed-incidents", "5", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 5)
    done = command("run", *arguments, "--base-url", sandbox.url, *FAST, *BOTH)
    assert done.returncode == code, done.stderr
    events = events_of(tmp_path / "run.log")
    start, end = events[0], events[-1]
    assert (start["event"], end["event"], end["exit_code"]) == ("run_started", "run_ended", code)
    assert message is None or message in end["message"]
    assert numbers_of(tmp_path / "run.prom")["bulk_reset_exit_code"] == code


def test_a_signal_is_logged_as_the_end(
    begin: Begin, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """SIGTERM in the middle: the log has an end, and the numbers its exit code."""
    sandbox = start_sandbox("--seed-incidents", "500", *QUICK[:4])
    write_sheet(tmp_path / "incidents.csv", 500)
    process = begin("run", "incidents.csv", "--base-url", sandbox.url, *BOTH)
    report = tmp_path / "incidents.report.csv"
    while not (report.exists() and report.read_bytes().count(b"\n") > 20):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    end = events_of(tmp_path / "run.log")[-1]
    assert (process.returncode, end["exit_code"], end["stop"]) == (143, 143, "terminated")
    assert end["counts"]["updated"] == len(read_csv(report))
    assert numbers_of(tmp_path / "run.prom")["bulk_reset_exit_code"] == 143


@pytest.mark.parametrize(
    ("option", "file", "problem"),
    [
        ("--metrics-file", "run.txt", "Use a name ending in .prom"),
        ("--metrics-file", "missing/run.prom", "cannot be written"),
        ("--log-file", "missing/run.log", "cannot be written"),
        ("--log-file", "incidents.csv", "not a log of bulk-reset"),
    ],
)
def test_an_unusable_file_is_refused_before_anything_is_sent(
    option: str,
    file: str,
    problem: str,
    command: Command,
    start_sandbox: StartSandbox,
    tmp_path: Path,
) -> None:
    """Nothing was sent, exit code 2, and the sheet that was named is as it was."""
    sandbox = start_sandbox("--seed-incidents", "5", *QUICK)
    sheet = write_sheet(tmp_path / "incidents.csv", 5).read_bytes()
    done = command("run", "incidents.csv", "--base-url", sandbox.url, *FAST, option, file)
    assert (done.returncode, sandbox.get("/_stats")["requests"]) == (2, 0)
    assert f"error: {option} {file}: " in done.stderr
    assert problem in done.stderr
    assert (tmp_path / "incidents.csv").read_bytes() == sheet
    assert [path.name for path in tmp_path.iterdir()] == ["incidents.csv"]


def test_a_dry_run_leaves_the_numbers_of_the_last_run(
    command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """A dry run is in the log, and not in the metrics."""
    sandbox = start_sandbox("--seed-incidents", "5", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 5)
    arguments = ("run", "incidents.csv", "--base-url", sandbox.url, *FAST, *BOTH)
    assert command(*arguments, "--dry-run").returncode == 0
    assert not (tmp_path / "run.prom").exists()
    assert events_of(tmp_path / "run.log")[0]["options"]["dry_run"] is True


PROGRAM = """
import sys
from bulk_reset.cli import main
try:
    main()
finally:
    heavy = {"structlog", "prometheus_client", "bulk_reset.observability.run_log"}
    brought = heavy & set(sys.modules)
    print("BROUGHT", sorted(brought), file=sys.stderr)
"""


def test_a_run_without_them_imports_nothing_for_them_even_where_rows_are_retried(
    start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """Without a log nothing is imported for it, and a retry prints nothing into the JSON."""
    faults = tmp_path / "faults.json"
    rule = {"incident_id": seed_id(2), "arrivals": [1], "error": "InternalError"}
    faults.write_text(json.dumps([{**rule, "headers": {"Retry-After": "0"}}]), encoding="utf-8")
    sandbox = start_sandbox("--seed-incidents", "5", "--faults", str(faults), *QUICK)
    write_sheet(tmp_path / "incidents.csv", 5)
    arguments = ["run", "incidents.csv", "--base-url", sandbox.url, *FAST, "--json"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=tmp_path,
        env=clean_environment(FLASHDUTY_APP_KEY=KEY),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["updated"] == 5
    attempts = {
        line["row"]: line["attempts"] for line in read_csv(tmp_path / "incidents.report.csv")
    }
    assert attempts["3"] == "2"
    assert done.stderr.splitlines()[-1] == "BROUGHT []"
