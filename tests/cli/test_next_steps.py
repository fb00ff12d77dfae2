"""The commands that are suggested next are executed: they work as they are copied."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import (
    FAST,
    QUICK,
    Begin,
    SandboxProcess,
    read_csv,
    seed_id,
    statuses,
    values,
    write_rows,
    write_sheet,
)

Command = Callable[..., "subprocess.CompletedProcess[str]"]
StartSandbox = Callable[..., SandboxProcess]
_STEP = re.compile(r"^(Next|To resume|To verify|To undo): (?:.*: )?(bulk-reset .+)$", re.MULTILINE)
_STATE = ("--sandbox-state", "my state.json", *FAST)


def steps(out: str) -> dict[str, list[str]]:
    """Return the suggested commands by their labels, as words after the program's name."""
    return {label: shlex.split(line)[1:] for label, line in _STEP.findall(out)}


def write_odd_sheet(path: Path, rows: int) -> Path:
    """Write a sheet that can only be read with its reading options."""
    lines = ["Incidents of May;;", "id;Wording;Note"]
    lines += [f"{seed_id(n)};Überschrift {n};x" for n in range(1, rows + 1)]
    path.write_text("\n".join(lines) + "\n", encoding="cp1252")
    return path


READING = (
    *("--header-row", "2", "--map", "title=Wording"),
    *("--delimiter", "semicolon", "--encoding", "cp1252"),
)


def test_pull_plan_run_and_undo_follow_one_another(command: Command, tmp_path: Path) -> None:
    """Each command of the round trip is the one that the command before it suggests."""
    pulled = command("pull", "my month.csv", "--since", "30d", *_STATE, key=None)
    assert pulled.returncode == 0, pulled.stderr
    before = (tmp_path / "my state.json").read_text()
    rows = read_csv(tmp_path / "my month.csv")
    rows[0]["Title"] = "An edited title"
    write_rows(tmp_path / "my month.csv", list(rows[0]), *(list(row.values()) for row in rows))
    planned = command(*steps(pulled.stdout)["Next"], key=None)
    assert planned.returncode == 0, planned.stderr
    ran = command(*steps(planned.stdout)["Next"], key=None)
    assert statuses(tmp_path / "my month.sandbox.report.csv") == {"updated": 1, "unchanged": 299}
    undone = command(*steps(ran.stdout)["To undo"], "--yes", key=None)
    assert undone.returncode == 0, undone.stderr
    titles = [one["title"] for one in json.loads(before).values()]
    now = json.loads((tmp_path / "my state.json").read_text())
    assert [one["title"] for one in now.values()] == titles
    again = command(*steps(undone.stdout)["To undo"], "--yes", key=None)
    assert again.returncode == 0, again.stderr


def test_check_and_a_dry_run_keep_the_reading_options(command: Command, tmp_path: Path) -> None:
    """The suggested run reads the sheet as the check did."""
    write_odd_sheet(tmp_path / "odd.csv", 3)
    checked = command("check", "odd.csv", *READING, key=None)
    assert checked.returncode == 0, checked.stderr
    tried = command(*steps(checked.stdout)["Next"], "--dry-run", *_STATE, key=None)
    assert tried.returncode == 0, tried.stderr
    ran = command(*steps(tried.stdout)["Next"], key=None)
    assert ran.returncode == 0, ran.stderr
    assert statuses(tmp_path / "odd.sandbox.report.csv") == {"updated": 3}


def test_an_option_from_a_variable_is_in_the_next_command(command: Command, tmp_path: Path) -> None:
    """The suggestion also works where the variable is not set."""
    write_sheet(tmp_path / "incidents.csv", 3)
    ran = command("run", "incidents.csv", key=None, BULK_RESET_SANDBOX_STATE="s.json")
    assert ran.returncode == 0, ran.stderr
    assert steps(ran.stdout)["To undo"] == [
        *("undo", "incidents.sandbox.report.csv"),
        *("--sandbox-state", "s.json"),
    ]


def test_an_interrupted_run_resumes_with_its_options(
    begin: Begin, command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """The report, the address and the reading options are kept."""
    sandbox = start_sandbox("--seed-incidents", "300", *QUICK[:4])
    write_odd_sheet(tmp_path / "odd.csv", 300)
    report = tmp_path / "own.report.csv"
    words = ("odd.csv", *READING, "--report", report.name, "--base-url", sandbox.url)
    process = begin("run", *words)
    while not (report.exists() and report.read_bytes().count(b"\n") > 20):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    found = steps(out)
    resumed = command(*found["To resume"], *FAST)
    assert resumed.returncode == 0, resumed.stderr
    assert statuses(report) == {"updated": 300}
    undone = command(*found["To undo"], "--yes", *FAST)
    assert undone.returncode == 0, undone.stderr
    assert sandbox.get("/_incidents")[seed_id(1)]["title"].startswith("CPU usage high")


def test_a_canary_that_was_not_confirmed_resumes(command: Command, tmp_path: Path) -> None:
    """The suggested command answers the question."""
    write_sheet(tmp_path / "incidents.csv", 10)
    first = command("run", "incidents.csv", "--canary", "2", *_STATE, key=None, stdin="")
    assert first.returncode == 3, first.stderr
    resumed = command(*steps(first.stdout)["To resume"], key=None)
    assert resumed.returncode == 0, resumed.stderr
    assert statuses(tmp_path / "incidents.sandbox.report.csv") == {"updated": 10}


def test_a_failed_canary_does_not_suggest_the_other_rows(command: Command, tmp_path: Path) -> None:
    """Only the undo of what was sent is suggested."""
    rows = [[seed_id(n), f"Renamed {n}"] for n in range(1, 10)]
    sheet = write_rows(tmp_path / "incidents.csv", ["incident_id", "title"], *rows)
    with sheet.open("a", encoding="utf-8") as file:
        file.write(f"{'f' * 24},No such incident\n")
    done = command("run", "incidents.csv", "--canary", "2", "--yes", *_STATE, key=None)
    assert done.returncode == 3, done.stderr
    assert list(steps(done.stdout)) == ["To undo"]  # the canary was read back already
    undone = command(*steps(done.stdout)["To undo"], "--yes", key=None)
    assert undone.returncode == 0, undone.stderr


def test_the_failed_rows_run_as_suggested(command: Command, tmp_path: Path) -> None:
    """Options of the first sheet's file do not apply to the file of failed rows."""
    write_odd_sheet(tmp_path / "odd.csv", 2)
    with (tmp_path / "odd.csv").open("a", encoding="cp1252") as file:
        file.write(f"{seed_id(3)};No;x\n")
    words = ("odd.csv", *READING, "--skip-invalid", "--report", "own.report.csv", *_STATE)
    first = command("run", *words, key=None)
    assert first.returncode == 1, first.stderr
    failed = tmp_path / "own.failed.csv"
    failed.write_text(failed.read_text(encoding="utf-8-sig").replace(",No,", ",A longer title,"))
    again = command(*steps(first.stdout)["Next"], key=None)
    assert again.returncode == 0, again.stderr
    assert statuses(tmp_path / "own.failed.sandbox.report.csv") == {"updated": 1}


@pytest.mark.parametrize("what", ["run", "undo"])
def test_conflicts_are_overwritten_as_suggested(
    what: str, command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """A run and an undo both have the option that is suggested."""
    sandbox = start_sandbox("--seed-incidents", "3", *QUICK)
    before = values(sandbox)
    to_api = ("--base-url", sandbox.url, *FAST)
    write_sheet(tmp_path / "incidents.csv", 3)
    write_sheet(tmp_path / "other.csv", 1, title="Another title")
    pulled = command("pull", "month.csv", "--since", "30d", *to_api)
    rows = read_csv(tmp_path / "month.csv")
    for row in rows:
        row["Title"] = f"Edited {row['Title']}"
    write_rows(tmp_path / "month.csv", list(rows[0]), *(list(row.values()) for row in rows))
    assert pulled.returncode == 0, pulled.stderr
    if what == "undo":
        assert command("run", "month.csv", *to_api).returncode == 0
    assert command("run", "other.csv", *to_api).returncode == 0
    words = ("run", "month.csv") if what == "run" else ("undo", "month.report.csv", "--yes")
    first = command(*words, *to_api)
    assert first.returncode == 1, first.stderr
    again = command(*steps(first.stdout)["Next"])
    assert again.returncode == 0, again.stderr
    titles = {one["title"] for one in values(sandbox).values()}
    old = {one["title"] for one in before.values()}
    assert titles == ({f"Edited {title}" for title in old} if what == "run" else old)


@pytest.mark.parametrize("report", ["incidents.sandbox.report.csv", "own.report.csv"])
def test_a_sandbox_without_a_file_has_no_undo(
    report: str, command: Command, tmp_path: Path
) -> None:
    """Its incidents are gone when the command ends; an undo must not use the API instead."""
    write_sheet(tmp_path / "incidents.csv", 2)
    done = command("run", "incidents.csv", "--sandbox", "--report", report, key=None)
    assert (done.returncode, steps(done.stdout)) == (0, {})
    for words in (("undo", "--yes"), ("verify",)):
        refused = command(words[0], report, *words[1:])
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr == (
            f"error: {report}: is from a run with --sandbox, whose incidents no longer exist. Move "
            "it away. Use --sandbox-state FILE for a sandbox run to verify or undo.\n"
            "More: bulk-reset docs options\n"
        )


@pytest.mark.parametrize("report", ["incidents.sandbox.report.csv", "own.report.csv"])
def test_the_report_of_a_sandbox_run_needs_its_sandbox(
    report: str, command: Command, tmp_path: Path
) -> None:
    """Whatever its name: the audit beside it has the state, and the command is suggested."""
    write_sheet(tmp_path / "incidents.csv", 2)
    assert command("run", "incidents.csv", "--report", report, *_STATE).returncode == 0
    for other in (("--sandbox-state", "other.json"), ("--base-url", "http://127.0.0.1:9")):
        refused = command("verify", report, *other)
        assert refused.returncode == 2
        again = command(*steps(refused.stderr)["Next"])
        assert again.returncode == 0, again.stderr
    for words in (("verify", report), ("undo", report, "--yes")):
        refused = command(*words)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.splitlines()[0] == (
            f"error: {report}: is from a sandbox run. Add the --sandbox-state 'my state.json' "
            "you used for that run."
        )
        again = command(*steps(refused.stderr)["Next"], *words[2:])
        assert again.returncode == 0, again.stderr
    (tmp_path / "incidents.sandbox.audit.jsonl").unlink(missing_ok=True)
    refused = command("undo", "incidents.sandbox.report.csv")
    assert "is from a sandbox run" in refused.stderr or "own" in report


def test_a_template_suggests_its_check(command: Command) -> None:
    """The name of the file is quoted."""
    done = command("template", "my sheet.xlsx", key=None)
    assert steps(done.stdout) == {"Next": ["check", "my sheet.xlsx"]}
