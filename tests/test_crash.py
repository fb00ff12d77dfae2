"""Killed processes, full disks and replaced reports: no row is lost or reported wrongly."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

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
from signal_steps import ROWS, rows_at
from soak import FAULTS, slow_sandbox, soak


@pytest.mark.slow
@pytest.mark.parametrize("faults", [[], FAULTS], ids=["no faults", "faults"])
def test_a_run_that_is_killed_repeatedly_updates_every_row(
    faults: list[dict[str, object]], tmp_path: Path
) -> None:
    """Every row is updated and has one line; only in-flight requests are repeated."""
    with slow_sandbox(tmp_path, 400, faults) as sandbox:
        result = soak(tmp_path, sandbox, rows=400, kills=4, seed=7)
    assert result.is_correct, result
    assert result.kills == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("message", "more"),
    [
        ("report.csv: the report cannot be written", ["--no-before"]),
        ("before.csv: the previous values cannot be written", []),
    ],
)
def test_a_disk_that_fills_up_stops_the_run_and_the_next_run_resumes(
    message: str,
    more: list[str],
    command: Callable[..., subprocess.CompletedProcess[str]],
    start_sandbox: Callable[..., SandboxProcess],
    tmp_path: Path,
) -> None:
    """Only in-flight requests are not reported; with free space, the next run finishes."""
    sandbox = start_sandbox("--seed-incidents", "2000", *FAST)
    write_sheet(tmp_path / "incidents.csv", 2_000)
    arguments = ["run", "incidents.csv", "--base-url", sandbox.url, *more, *FAST]
    full = on_a_full_disk(arguments, tmp_path)
    report = tmp_path / "incidents.report.csv"
    reported = report.read_bytes().count(b"\n") - 1
    applied = sandbox.get("/_stats")["applied"]
    assert (full.returncode, "Traceback" in full.stderr) == (3, False), full.stderr
    assert (
        f"incidents.{message} (File too large), so the run stopped. Free disk space, "
        in full.stderr
    )
    assert 0 < reported < 2_000
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    # In-flight requests may be unknown at first when the disk is full; the last line counts.
    ended = {line["row"]: line["status"] for line in read_csv(report)}
    assert Counter(ended.values()) == {"updated": 2_000}
    incidents = sandbox.get("/_incidents").values()
    assert sorted(one["title"] for one in incidents) == sorted(
        f"Renamed service {n}" for n in range(1, 2_001)
    )
    assert sum(one["applied"] for one in incidents) - 2_000 <= applied - reported


def test_a_disk_too_full_for_the_failed_rows_loses_only_that_file(
    command: Callable[..., subprocess.CompletedProcess[str]],
    start_sandbox: Callable[..., SandboxProcess],
    tmp_path: Path,
) -> None:
    """The run ends with its report; with free space, the same command writes the file."""
    sandbox = start_sandbox("--seed-incidents", "5", *FAST)
    sheet = write_sheet(tmp_path / "incidents.csv", 5)
    with sheet.open("a") as file:
        file.writelines(f"{n:024x},{'long ' * 1_300}\n" for n in range(60))
    (tmp_path / "incidents.failed.csv").write_text("fixed\n")
    arguments = ["run", "incidents.csv", "--base-url", sandbox.url, "--skip-invalid", *FAST]
    full = on_a_full_disk(arguments, tmp_path)
    assert (full.returncode, "Traceback" in full.stderr) == (1, False), full.stderr
    assert "incidents.failed.csv: could not be written: [Errno 27] File too large" in full.stderr
    assert (tmp_path / "incidents.failed.csv").read_text() == "fixed\n"
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "incidents.audit.jsonl",
        "incidents.before.csv",
        "incidents.csv",
        "incidents.failed.csv",
        "incidents.report.csv",
    ]
    done = command(*arguments)
    counts = Counter(line["status"] for line in read_csv(tmp_path / "incidents.report.csv"))
    assert (done.returncode, counts) == (1, {"updated": 5, "rejected": 60})
    assert len(read_csv(tmp_path / "incidents.failed.csv")) == 60
    assert sandbox.get("/_stats")["applied"] == 5


def test_a_disk_too_full_for_the_account_ledger_sends_nothing(
    start_sandbox: Callable[..., SandboxProcess], tmp_path: Path
) -> None:
    """The ledger is written before the first request is sent."""
    sandbox = start_sandbox("--seed-incidents", "5", *FAST)
    write_sheet(tmp_path / "incidents.csv", 5)
    arguments = ["run", "incidents.csv", "--base-url", sandbox.url, *FAST]
    full = on_a_full_disk(arguments, tmp_path, blocks=10)
    assert (full.returncode, sandbox.get("/_stats")["requests"]) == (2, 0), full.stderr
    assert "the account's permits cannot be stored (" in full.stderr
    again = on_a_full_disk(arguments, tmp_path)
    assert (again.returncode, sandbox.get("/_stats")["applied"]) == (0, 5), again.stderr


def test_a_report_that_was_deleted_is_written_again(
    command: Callable[..., subprocess.CompletedProcess[str]],
    start_sandbox: Callable[..., SandboxProcess],
    tmp_path: Path,
) -> None:
    """The current values show that no row has to be sent again."""
    sandbox = start_sandbox("--seed-incidents", "5", *FAST)
    write_sheet(tmp_path / "incidents.csv", 5)
    for _ in range(2):
        done = command("run", "incidents.csv", "--base-url", sandbox.url, *FAST)
        assert (done.returncode, "done already" in done.stderr) == (0, False)
        report = tmp_path / "incidents.report.csv"
        assert Counter(line["status"] for line in read_csv(report)) == {"updated": 5}
        report.unlink()
        incidents = sandbox.get("/_incidents").values()
        assert {one["applied"] for one in incidents} == {1}


def test_a_report_saved_by_a_spreadsheet_during_the_run_stops_it(
    begin: Begin,
    command: Callable[..., subprocess.CompletedProcess[str]],
    start_sandbox: Callable[..., SandboxProcess],
    tmp_path: Path,
) -> None:
    """The run does not continue without a report; the next run finishes every row."""
    sandbox = start_sandbox("--seed-incidents", "600", *FAST)
    write_sheet(tmp_path / "incidents.csv", 600)
    arguments = ["run", "incidents.csv", "--base-url", sandbox.url]
    process = begin(*arguments)
    while sandbox.get("/_stats")["applied"] < 60:
        assert process.poll() is None
    report, saved = tmp_path / "incidents.report.csv", tmp_path / "saved"
    whole = report.read_bytes()
    saved.write_bytes(whole[: whole.rindex(b"\n") + 1].replace(b"\n", b"\r\n"))
    saved.replace(report)
    _, err = process.communicate(timeout=60)
    assert (
        process.returncode,
        "moved, removed, replaced or shortened by another program" in err,
    ) == (3, True)
    applied = sandbox.get("/_stats")["applied"]
    assert applied < 600
    done = command(*arguments, *FAST)
    assert done.returncode == 0, done.stderr
    assert "saved by another program; kept that file as" in done.stderr
    assert Counter(line["status"] for line in read_csv(report)) == {"updated": 600}
    incidents = sandbox.get("/_incidents").values()
    assert {one["title"] for one in incidents} == {f"Renamed service {n}" for n in range(1, 601)}
    assert sum(one["applied"] for one in incidents) <= 600 + applied


@pytest.mark.slow
def test_a_plan_and_its_run_that_are_killed_leave_no_half_plan_and_no_lost_row(
    begin: Begin,
    command: Callable[..., subprocess.CompletedProcess[str]],
    start_sandbox: Callable[..., SandboxProcess],
    tmp_path: Path,
) -> None:
    """A killed ``plan --out`` leaves no plan; a killed run of a plan resumes with the next one."""
    sandbox = start_sandbox("--seed-incidents", "600", "--latency", "0.2", *FAST)
    write_sheet(tmp_path / "incidents.csv", 600)
    api = ["--base-url", sandbox.url]
    begun = begin("plan", "incidents.csv", "--out", "x.plan", *api)
    while sandbox.get("/_stats")["requests"] < 2:
        assert begun.poll() is None
    begun.kill()
    begun.communicate(timeout=30)
    assert not (tmp_path / "x.plan").exists()
    for name in ("x.plan", "x.plan.tmp"):
        refused = command("run", name, *api, "--yes")
        assert (refused.returncode, "Traceback" in refused.stderr) == (2, False), refused.stderr
    assert command("plan", "incidents.csv", "--out", "x.plan", *api, *FAST).returncode == 0
    begun = begin("run", "x.plan", *api)
    while sandbox.get("/_stats")["applied"] < 60:
        assert begun.poll() is None
    begun.kill()
    begun.communicate(timeout=30)
    applied = sandbox.get("/_stats")["applied"]
    assert applied < 600
    done = command("run", "x.plan", *api, *FAST)
    assert done.returncode == 0, done.stderr
    lines = read_csv(tmp_path / "x.plan.report.csv")
    assert Counter(line["status"] for line in lines) == {"updated": 600}
    incidents = sandbox.get("/_incidents").values()
    assert {one["title"] for one in incidents} == {f"Renamed service {n}" for n in range(1, 601)}
    assert sum(one["applied"] for one in incidents) == 600


def on_a_full_disk(
    arguments: list[str], folder: Path, blocks: int = 400
) -> subprocess.CompletedProcess[str]:
    """Run the command where no file can grow beyond this many blocks of 512 bytes."""
    limited = ["/bin/sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh", sys.executable, "-m"]
    return subprocess.run(
        [*limited, "bulk_reset", *arguments],
        cwd=folder,
        env=clean_environment(FLASHDUTY_APP_KEY=KEY),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "scene", "code", "steps"),
    [
        ("SIGKILL", "fresh", -9, 8),
        ("SIGKILL", "saved", -9, 13),
        ("SIGINT", "saved", 130, 13),
    ],
)
def test_a_signal_at_any_file_operation_loses_no_row(
    number: str,
    scene: str,
    code: int,
    steps: int,
    start_sandbox: Callable[..., SandboxProcess],
    tmp_path: Path,
) -> None:
    """Wherever the run ends (open, half a write, sync, rename), the next run finishes it.

    In one scene a spreadsheet has saved the report, with half of its lines.
    """
    sandbox = start_sandbox("--seed-incidents", "400", "--latency", "0", *FAST)
    script = str(ROOT / "tests" / "doubles" / "signal_steps.py")
    done = subprocess.run(
        [sys.executable, script, number, scene, sandbox.url, str(tmp_path)],
        env=clean_environment(FLASHDUTY_APP_KEY=KEY, OPENBLAS_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) > steps
    codes = {one["code"] for one in found if one["step"]}
    # SIGINT after the last row was sent does not change the exit code.
    assert code in codes <= ({code} if number == "SIGKILL" else {code, 1})
    assert {one["then"] for one in found} == {1}
    incidents = sandbox.get("/_incidents")
    most = 1 + (scene == "saved") + (number == "SIGKILL")
    for step, one in enumerate(found, 1):
        folder = tmp_path / str(step)
        numbers = rows_at(step)[:-1]
        applied = {incidents[seed_id(n)]["applied"] for n in numbers}
        assert max(applied) <= most, one
        assert {incidents[seed_id(n)]["title"] for n in numbers} == {
            f"Renamed service {n}" for n in numbers
        }, one
        lines = read_csv(folder / "incidents.report.csv")
        counts = Counter(line["status"] for line in lines)
        assert counts == {"updated": ROWS - 1, "failed": 1, "rejected": 1}, one
        assert len({line["row"] for line in lines}) == ROWS + 1
        assert len(read_csv(folder / "incidents.failed.csv")) == 2
        assert (folder / "incidents.failed.csv~").read_text() == "fixed\n"
        assert not list(folder.glob("*.tmp"))
        assert number == "SIGKILL" or not any(name.endswith(".tmp") for name in one["left"]), one
        assert "Traceback" not in (folder / "output").read_text()
