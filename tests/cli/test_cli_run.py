"""``bulk-reset run`` as a process, against a sandbox in another: what a user meets."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import FAST, KEY, ROOT, Begin, clean_environment, read_csv, seed_id, write_sheet
from waiting import wait_until

Command = Callable[..., "subprocess.CompletedProcess[str]"]
ONE_READ = 1
"""Requests that read the current values of up to 100 incidents before an update."""
QUICK = ("--per-second", "5000", "--per-minute", "300000", "--latency", "0")


def test_a_sheet_of_incidents_is_updated_and_every_row_reported(
    command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """The main job: the API has the values of the sheet, and the report has a line for each row."""
    sandbox = start_sandbox("--seed-incidents", "50", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 50)
    done = command("run", "incidents.csv", "--base-url", sandbox.url, *FAST)
    assert done.returncode == 0, done.stderr
    incidents = sandbox.get("/_incidents")
    assert {incidents[seed_id(n)]["title"] for n in range(1, 51)} == {
        f"Renamed service {n}" for n in range(1, 51)
    }
    report = read_csv(tmp_path / "incidents.report.csv")
    assert sorted(int(line["row"]) for line in report) == list(range(2, 52))
    assert Counter(line["status"] for line in report) == {"updated": 50}
    assert "Report: incidents.report.csv" in done.stdout
    assert "Most requests started in any 1 s: 51" in done.stdout


def test_the_same_command_again_sends_nothing(
    command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """A repeated run sends no row again."""
    sandbox = start_sandbox("--seed-incidents", "20", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 20)
    arguments = ("run", "incidents.csv", "--base-url", sandbox.url, *FAST)
    command(*arguments)
    before = (tmp_path / "incidents.report.csv").read_bytes()
    again = command(*arguments)
    assert again.returncode == 0
    assert "resumed; 20 of 20 rows already done" in again.stderr
    assert "No row needed to be sent." in again.stdout
    assert (tmp_path / "incidents.report.csv").read_bytes() == before
    assert sandbox.get("/_stats")["requests"] == 20 + ONE_READ


def test_a_killed_run_resumes_where_it_stopped(
    command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """Kill -9 in the middle: nothing is lost, few rows are sent twice."""
    sandbox = start_sandbox("--seed-incidents", "400", *QUICK[:4])
    sheet = write_sheet(tmp_path / "incidents.csv", 400)
    report = tmp_path / "incidents.report.csv"
    limits = ("--per-second", "200", "--per-minute", "12000")
    arguments = ["run", str(sheet), "--base-url", sandbox.url, *limits]
    process = subprocess.Popen(
        [sys.executable, "-m", "bulk_reset", *arguments],
        env=clean_environment(FLASHDUTY_APP_KEY=KEY),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for_lines(report, 100)
    process.kill()
    process.wait(timeout=30)
    seen = command("report", report)
    assert seen.returncode == 0
    done_before = len(read_csv(report))
    assert 100 <= done_before < 400

    again = command(*arguments)
    assert again.returncode == 0, again.stderr
    assert f"resumed; {done_before} of 400 rows already done" in again.stderr
    lines = read_csv(report)
    assert sorted(int(line["row"]) for line in lines) == list(range(2, 402))
    assert Counter(line["status"] for line in lines) == {"updated": 400}
    stats = sandbox.get("/_stats")
    assert stats["incidents_updated"] == 400
    assert stats["applied"] <= 400 + 64


def wait_for_lines(report: Path, lines: int) -> None:
    """Wait until a report has more than ``lines`` lines."""
    wait_until(lambda: report.exists() and report.read_bytes().count(b"\n") > lines)


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, "Ctrl-C"),
        (signal.SIGTERM, 143, "SIGTERM"),
        (signal.SIGHUP, 129, "the terminal was closed"),
    ],
)
def test_a_signal_ends_the_run_gracefully(
    number: signal.Signals,
    code: int,
    word: str,
    begin: Begin,
    start_sandbox: Callable,
    tmp_path: Path,
) -> None:
    """What was sent is reported, the rest is pending, and the command to resume is printed."""
    sandbox = start_sandbox("--seed-incidents", "500", *QUICK[:4])
    write_sheet(tmp_path / "incidents.csv", 500)
    process = begin("run", "incidents.csv", "--base-url", sandbox.url)
    wait_for_lines(tmp_path / "incidents.report.csv", 20)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    lines = read_csv(tmp_path / "incidents.report.csv")
    assert process.returncode == code
    assert f"stopped: {word}. {500 - len(lines)} rows are pending." in err
    assert f"To resume: bulk-reset run incidents.csv --base-url {sandbox.url}\n" in out
    assert sandbox.get("/_stats")["applied"] == len(lines)


def test_invalid_rows_stop_the_run_before_anything_is_sent(
    command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """A sheet with invalid rows sends nothing and lists each error with its fix."""
    sandbox = start_sandbox(*QUICK)
    sheet = ROOT / "samples" / "invalid-rows.csv"
    report = tmp_path / "r.report.csv"
    done = command("run", sheet, "--base-url", sandbox.url, "--report", report)
    assert (done.returncode, sandbox.get("/_stats")["requests"]) == (2, 0)
    assert not report.exists()
    assert "Use Critical" in done.stderr
    assert "use --skip-invalid to send the other rows" in done.stderr


def test_skip_invalid_sends_the_valid_rows_and_the_failed_file_runs_after_a_fix(
    command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """Invalid rows are rejected, valid ones updated; the failed rows are a sheet to fix and run."""
    sandbox = start_sandbox("--any-id", *QUICK)
    report = tmp_path / "r.report.csv"
    to_api = ("--base-url", sandbox.url, *FAST)
    sheet = ROOT / "samples" / "invalid-rows.csv"
    done = command("run", sheet, *to_api, "--skip-invalid", "--report", report)
    assert done.returncode == 1, done.stderr
    counts = Counter(line["status"] for line in read_csv(report))
    assert counts == {"updated": 8, "skipped": 1, "rejected": 23}
    failed = tmp_path / "r.failed.csv"
    rows = read_csv(failed)
    assert len(rows) == 23
    assert sandbox.get("/_stats")["applied"] == 8

    for number, row in enumerate(rows):
        row.update(dict.fromkeys(row.keys() & {"description", "impact", "root_cause"}, ""))
        row.update(
            incident_id=f"{number:024x}",
            title="A fixed title",
            resolution="",
            incident_severity="",
        )
    text = "\n".join([",".join(rows[0]), *(",".join(f'"{v}"' for v in r.values()) for r in rows)])
    failed.write_text(text, encoding="utf-8")
    fixed = command("run", failed, *to_api)
    assert fixed.returncode == 0, fixed.stderr
    assert sandbox.get("/_stats")["applied"] == 8 + 23


def test_a_wrong_key_is_one_clear_line_and_few_requests(
    command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """With a wrong key no row can succeed: no retries, rows pending, exit 3."""
    sandbox = start_sandbox("--seed-incidents", "300", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 300)
    done = command("run", "incidents.csv", "--base-url", sandbox.url, key="wrong-key-123")
    assert done.returncode == 3
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("stopped:")]
    assert line.startswith("stopped: Unauthorized:")
    assert line.endswith("300 rows are pending.")
    assert sandbox.get("/_stats")["requests"] <= 64
    assert "wrong-key-123" not in done.stdout + done.stderr


def test_no_key_lists_the_places_of_a_key(command: Command, tmp_path: Path) -> None:
    """Without a key nothing is sent, and all three places are named."""
    write_sheet(tmp_path / "incidents.csv", 3)
    done = command("run", "incidents.csv", key=None)
    assert done.returncode == 2
    for place in ("FLASHDUTY_APP_KEY", "--app-key-file", "~/.flashduty/config.yaml", "--sandbox"):
        assert place in done.stderr


def test_an_unreachable_api_stops_the_run_with_all_rows_pending(
    command: Command, tmp_path: Path
) -> None:
    """No server: exit code 3, all rows pending, and the run can be resumed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    write_sheet(tmp_path / "incidents.csv", 5)
    done = command("run", "incidents.csv", "--base-url", url, "--patience", "1")
    assert done.returncode == 3
    assert "the API is down or cannot be reached: cannot connect to the API" in done.stderr
    assert "5 rows are pending" in done.stderr
    assert read_csv(tmp_path / "incidents.report.csv") == []


@pytest.mark.parametrize(
    ("name", "fault", "applied"),
    [
        ("cut JSON", {"cut": True}, 11),
        ("an HTML page", {"html": 502}, 10),
        ("a reset connection", {"reset": "after"}, 11),
        ("an empty answer", {"empty": True}, 11),
    ],
)
def test_a_broken_response_is_retried_and_the_row_updated(
    name: str, fault: dict, applied: int, command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """A response that breaks once costs a retry, and the row is updated."""
    del name
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps([{"incident_id": seed_id(4), "arrivals": [1], **fault}]))
    sandbox = start_sandbox("--seed-incidents", "10", "--faults", str(faults), *QUICK)
    write_sheet(tmp_path / "incidents.csv", 10)
    done = command("run", "incidents.csv", "--base-url", sandbox.url, *FAST)
    assert done.returncode == 0, done.stderr
    lines = {int(line["row"]): line for line in read_csv(tmp_path / "incidents.report.csv")}
    assert {row: int(line["attempts"]) for row, line in lines.items() if row != 5} == dict.fromkeys(
        (row for row in range(2, 12) if row != 5), 1
    )
    assert (lines[5]["status"], lines[5]["attempts"]) == ("updated", "2")
    assert sandbox.get("/_stats")["applied"] == applied


def test_a_second_run_with_the_same_report_is_refused_while_the_first_runs(
    command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """Two runs never mix their lines: the second exits with 4 and sends nothing."""
    sandbox = start_sandbox("--seed-incidents", "300", *QUICK[:4])
    write_sheet(tmp_path / "incidents.csv", 300)
    arguments = ["run", "incidents.csv", "--base-url", sandbox.url]
    first = subprocess.Popen(
        [sys.executable, "-m", "bulk_reset", *arguments, "--quiet"],
        cwd=tmp_path,
        env=clean_environment(FLASHDUTY_APP_KEY=KEY),
        stderr=subprocess.PIPE,
    )
    wait_for_lines(tmp_path / "incidents.report.csv", 5)
    second = command(*arguments)
    results = Path(f"/proc/{first.pid}/cmdline").read_bytes() if Path("/proc").exists() else b""
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=30)
    assert KEY.encode() not in results
    assert sandbox.get("/_stats")["applied"] == len(read_csv(tmp_path / "incidents.report.csv"))
    assert second.returncode == 4
    assert "another run is writing it" in second.stderr


def test_a_dry_run_sends_nothing_and_prints_the_time(command: Command, tmp_path: Path) -> None:
    """Everything but the sending, without a key, and no report is left behind."""
    write_sheet(tmp_path / "incidents.csv", 1_300)
    done = command("run", "incidents.csv", "--dry-run", key=None)
    assert done.returncode == 0
    assert "1,300 rows: 1,300 requests take at least 1 min 06 s. Nothing was sent." in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["incidents.csv"]


def test_a_limit_sends_n_rows_and_the_next_run_the_rest(
    command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """Ten rows first: rows beyond the limit are pending, not failed."""
    sandbox = start_sandbox("--seed-incidents", "30", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 30)
    arguments = ("run", "incidents.csv", "--base-url", sandbox.url, *FAST)
    first = command(*arguments, "--limit", "10")
    applied_first = sandbox.get("/_stats")["applied"]
    second = command(*arguments)
    assert (first.returncode, applied_first) == (0, 10)
    assert (second.returncode, sandbox.get("/_stats")["applied"]) == (0, 30)


def test_json_is_one_object_on_standard_output(
    command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """Scripts read standard output; everything for people goes to standard error."""
    sandbox = start_sandbox("--seed-incidents", "3", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 4)
    done = command("run", "incidents.csv", "--base-url", sandbox.url, "--json", *FAST)
    results = json.loads(done.stdout)
    assert done.returncode == results["exit_code"] == 1
    assert results["counts"] == {
        "updated": 3,
        "unchanged": 0,
        "rejected": 0,
        "skipped": 0,
        "failed": 1,
        "conflict": 0,
        "unknown": 0,
        "pending": 0,
    }
    (error,) = results["errors"]
    assert (error["code"], error["rows"], error["row_number"]) == ("ResourceNotFound", 1, 5)
    assert results["failed"] == "incidents.failed.csv"


def test_quiet_prints_nothing_if_all_rows_are_done(
    command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """A successful job sends no mail from cron."""
    sandbox = start_sandbox("--seed-incidents", "3", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 3)
    done = command("run", "incidents.csv", "--base-url", sandbox.url, "--quiet", *FAST)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_standard_input_is_a_sheet_too(
    command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """``-`` reads CSV from a pipe; its report is in the current folder."""
    sandbox = start_sandbox("--seed-incidents", "3", *QUICK)
    text = write_sheet(tmp_path / "incidents.csv", 3).read_text()
    done = command("run", "-", "--base-url", sandbox.url, *FAST, stdin=text)
    assert done.returncode == 0, done.stderr
    assert len(read_csv(tmp_path / "stdin.report.csv")) == 3


def test_a_sandbox_run_needs_no_key_and_has_a_report_of_its_own(
    command: Command, tmp_path: Path
) -> None:
    """--sandbox tries a real sheet without any risk, with a separate report."""
    write_sheet(tmp_path / "incidents.csv", 30)
    done = command("run", "incidents.csv", "--sandbox", *FAST, key=None)
    assert done.returncode == 0, done.stderr
    assert len(read_csv(tmp_path / "incidents.sandbox.report.csv")) == 30
    assert not (tmp_path / "incidents.report.csv").exists()


def test_a_report_of_another_sheet_is_refused(
    command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """A report that has no row of the sheet belongs to another sheet."""
    sandbox = start_sandbox("--seed-incidents", "5", *QUICK)
    write_sheet(tmp_path / "one.csv", 5)
    write_sheet(tmp_path / "two.csv", 5, title="Something else")
    to_api = ("--base-url", sandbox.url, "--report", "r.report.csv", *FAST)
    command("run", "one.csv", *to_api)
    done = command("run", "two.csv", *to_api)
    assert done.returncode == 2
    assert "belongs to another sheet or API; it has no row of two.csv" in done.stderr
    assert sandbox.get("/_stats")["requests"] == 5 + ONE_READ


def test_failed_rows_are_sent_again_only_with_retry_failed(
    command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """Rows that the API rejected stay failed until --retry-failed."""
    faults = tmp_path / "faults.json"
    faults.write_text(
        json.dumps(
            [{"path": "/incident/reset", "arrivals": [1], "error": "InvalidParameter", "times": 2}]
        )
    )
    sandbox = start_sandbox("--seed-incidents", "5", "--faults", str(faults), *QUICK)
    write_sheet(tmp_path / "incidents.csv", 5)
    arguments = ("run", "incidents.csv", "--base-url", sandbox.url, *FAST)
    codes = [command(*arguments, *more).returncode for more in ((), (), ("--retry-failed",))]
    assert codes == [1, 1, 0]
    assert sandbox.get("/_stats")["requests"] == 7 + 2 * ONE_READ
    assert (tmp_path / "incidents.failed.csv").exists() is False


def test_too_many_failures_stop_the_run(
    command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """A sheet for another account stops after a few rows, not after all."""
    sandbox = start_sandbox(*QUICK)
    write_sheet(tmp_path / "incidents.csv", 1_000)
    done = command("run", "incidents.csv", "--base-url", sandbox.url, "--max-failures", "5")
    assert done.returncode == 3
    assert "6 rows failed, more than --max-failures allows" in done.stderr
    assert sandbox.get("/_stats")["requests"] <= 64


def test_a_run_that_left_only_unconfirmed_rows_can_be_repeated(
    command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """The command that is suggested next sends them."""
    faults = tmp_path / "faults.json"
    rules = [
        {"empty": True, "times": 2},
        {"path": "/incident/list-by-ids", "html": 502, "times": 1},
    ]
    faults.write_text(json.dumps(rules))
    sandbox = start_sandbox("--seed-incidents", "2", "--faults", str(faults), *QUICK)
    write_sheet(tmp_path / "incidents.csv", 2)
    arguments = ("run", "incidents.csv", "--base-url", sandbox.url, "--no-before", *FAST)
    first = command(*arguments, "--attempts", "1")
    second = command(*arguments)
    assert (first.returncode, second.returncode) == (1, 0), second.stderr
    assert "Next: send the unconfirmed rows again: bulk-reset run incidents.csv" in first.stdout


@pytest.mark.parametrize(("timeout", "code"), [("0.2", 1), ("20", 0)])
def test_a_response_is_waited_for_until_the_timeout(
    timeout: str, code: int, command: Command, start_sandbox: Callable, tmp_path: Path
) -> None:
    """A server that takes a second is too slow for --timeout 0.2, and fast enough for 20."""
    sandbox = start_sandbox("--seed-incidents", "1", *QUICK[:4], "--latency", "1")
    write_sheet(tmp_path / "incidents.csv", 1)
    arguments = ("--timeout", timeout, "--attempts", "1", "--patience", "1", "--no-before")
    done = command("run", "incidents.csv", "--base-url", sandbox.url, *FAST, *arguments)
    assert done.returncode == code, done.stderr


def test_a_closed_standard_error_does_not_end_a_run(
    start_sandbox: Callable, tmp_path: Path
) -> None:
    """A closed pipe on standard error does not end a run."""
    sandbox = start_sandbox("--seed-incidents", "300", *QUICK[:4])
    write_sheet(tmp_path / "incidents.csv", 300)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "bulk_reset",
            "run",
            "incidents.csv",
            "--base-url",
            sandbox.url,
            *QUICK[:4],
        ],
        cwd=tmp_path,
        env=clean_environment(FLASHDUTY_APP_KEY=KEY),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    process.stderr.readline()
    process.stderr.close()
    process.wait(timeout=60)
    assert len(read_csv(tmp_path / "incidents.report.csv")) == 300
