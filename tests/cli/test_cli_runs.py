"""``bulk-reset runs``: list, show, undo and remove the runs of jobs."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import SandboxProcess, seed_id, write_sheet

from bulk_reset.jobs.job_runs.run_record import ENDED, MISSED, RUNNING, RunRecord, run_id_of
from bulk_reset.jobs.job_runs.state_folder import StateFolder

Command = Callable[..., subprocess.CompletedProcess[str]]
StartSandbox = Callable[..., SandboxProcess]
NIGHT = 1_795_833_000.0  # Saturday, 2026-11-28 02:30 UTC
DAY = 86_400.0


def keep(folder: Path, job: str, due_at: float = NIGHT, **facts: object) -> RunRecord:
    """Keep a run of a job."""
    ended = {
        "state": ENDED,
        "exit_code": 0,
        "started_at": due_at,
        "ended_at": due_at + 65,
        "is_scheduled": True,
        **facts,
    }
    record = RunRecord(run_id_of(job, due_at), job, f"/jobs/{job}.toml", due_at, **ended)  # type: ignore[arg-type]
    assert StateFolder(folder / "state").begin(record, b"") is not None
    return record


@pytest.fixture
def runs(command: Command) -> Command:
    """Run the command on the runs of this test."""
    return lambda *arguments, **more: command("runs", *arguments, "--state-dir", "state", **more)


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return the lines of a table by their first word, white space folded."""
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    return {line.split(" ", 1)[0]: line for line in lines if line.startswith("2026")}


# --- The list --------------------------------------------------------------------------------


def test_no_runs_are_no_error(runs: Command, tmp_path: Path) -> None:
    """Before the first run the list is empty; the folder is named."""
    done = runs()
    expected = f"No runs in {tmp_path}/state. Use --state-dir DIR for another state folder.\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")
    assert json.loads(runs("--json").stdout) == {"runs": [], "exit_code": 0}


def test_runs_are_listed_with_their_results(runs: Command, tmp_path: Path) -> None:
    """Due time, duration, rows and result."""
    first = keep(tmp_path, "a", words="1,200 of 1,200 rows done", rows=1_200)
    second = keep(tmp_path, "b", NIGHT + 60, exit_code=1, words="2 of 3 rows done", rows=3)
    third = keep(
        tmp_path, "c", NIGHT + 120, state=MISSED, exit_code=None, missed=3, words="too late"
    )
    fourth = keep(tmp_path, "d", NIGHT + 180, state=RUNNING, exit_code=None, ended_at=0.0)
    fifth = keep(tmp_path, "e", NIGHT + 240, state=RUNNING, exit_code=None, ended_at=0.0)
    sixth = keep(tmp_path, "f", NIGHT + 300, is_scheduled=False, words="1 of 1 row done")
    day = "Sat 2026-11-28"
    with StateFolder(tmp_path / "state").locked("d"):
        listed = list(rows(runs()).values())
    assert listed == [
        f"{first.id} {day} 02:30 UTC 1 min 05 s 1,200 exit code 0: 1,200 of 1,200 rows done",
        f"{second.id} {day} 02:31 UTC 1 min 05 s 3 exit code 1: 2 of 3 rows done",
        f"{third.id} {day} 02:32 UTC 1 min 05 s missed 3 times: too late",
        f"{fourth.id} {day} 02:33 UTC running",
        f"{fifth.id} {day} 02:34 UTC interrupted; rows may be pending",
        f"{sixth.id} {day} 02:35 UTC, by hand 1 min 05 s exit code 0: 1 of 1 row done",
    ]
    results = json.loads(runs("--json").stdout)
    assert results["runs"] == [
        dataclasses.asdict(one) for one in (first, second, third, fourth, fifth, sixth)
    ]


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"exit_code": 0}, 0),
        ({"exit_code": 1}, 1),
        ({"exit_code": 3}, 1),
        ({"state": MISSED, "exit_code": None, "missed": 1}, 1),
    ],
)
def test_the_exit_code_is_0_if_the_last_run_of_each_job_is_done(
    facts: dict[str, object], code: int, runs: Command, tmp_path: Path
) -> None:
    """A failed run before the last one does not count."""
    keep(tmp_path, "a", exit_code=3)
    keep(tmp_path, "a", NIGHT + DAY, **facts)
    keep(tmp_path, "b", NIGHT - DAY)
    assert runs().returncode == code
    assert runs("--job", "b").returncode == 0


def test_a_list_is_of_one_job_or_of_the_last_runs(runs: Command, tmp_path: Path) -> None:
    """The number of older runs is printed."""
    kept = [keep(tmp_path, job, NIGHT + n * DAY).id for n, job in enumerate("ababa")]
    assert list(rows(runs("--job", "a"))) == [kept[0], kept[2], kept[4]]
    last = runs("--last", "2")
    assert list(rows(last)) == kept[3:]
    assert last.stdout.splitlines()[-1] == "… and 3 older runs; --last N shows more."
    assert [one["id"] for one in json.loads(runs("--last", "1", "--json").stdout)["runs"]] == kept[
        4:
    ]


def test_texts_of_other_programs_cannot_control_the_terminal(runs: Command, tmp_path: Path) -> None:
    """Neither escape codes nor the markup of rich have an effect."""
    record = keep(tmp_path, "a", words="[red]\x1b[31m\nx[/red]", source="\x1b]0;x\x07")
    for done in (runs(), runs("show", record.id), runs("--json")):
        assert "\x1b" not in done.stdout
    assert "[red]" in runs().stdout


# --- One run ---------------------------------------------------------------------------------


def test_the_undo_command_of_a_run_restores_its_values(
    command: Command, runs: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """The commands that are shown work as they are copied."""
    sandbox = start_sandbox("--seed-incidents", "3", "--latency", "0")
    before = {one: results["title"] for one, results in sandbox.get("/_incidents").items()}
    folder = tmp_path / "two words"
    folder.mkdir()
    write_sheet(folder / "in.csv", 3)
    api = f'[api]\nbase_url = "{sandbox.url}"\n[report]\nhtml = false\n'
    (folder / "nightly.toml").write_text(f'[source]\nsheet = "in.csv"\n{api}')
    done = command("job", "run", "two words/nightly.toml", "--state-dir", "state")
    assert done.returncode == 0, done.stderr
    [record] = StateFolder(tmp_path / "state").records()
    shown = runs("show", record.id)
    assert (shown.returncode, shown.stderr) == (0, "")
    results = {line[:10].strip(): line[10:] for line in shown.stdout.splitlines()}
    assert results["Result"] == "exit code 0: 3 of 3 rows done"
    assert (results["Rows"], results["SHA-256"]) == ("3 updated", record.sheet_sha256)
    assert results["Source"] == str(folder / "in.csv")
    assert results["Folder"] == str(tmp_path / "state" / "runs" / record.id)
    assert "in.report.csv, job.toml, log.jsonl, run.json" in results["Files"]
    report = command(*shlex.split(results["Report"])[1:])
    assert (report.returncode, "updated" in report.stdout) == (0, True)
    undo = command(*shlex.split(results["Undo"])[1:], "--yes")
    assert undo.returncode == 0, undo.stderr
    after = {one: results["title"] for one, results in sandbox.get("/_incidents").items()}
    assert after == before


def test_the_undo_command_of_a_sandbox_run_uses_the_sandbox(
    command: Command, runs: Command, tmp_path: Path
) -> None:
    """It never uses the API, from any folder."""
    write_sheet(tmp_path / "in.csv", 1)
    api = '[api]\nsandbox_state = "rehearsal.json"\n[report]\nhtml = false\n'
    (tmp_path / "nightly.toml").write_text(f'[source]\nsheet = "in.csv"\n{api}')
    assert command("job", "run", "nightly.toml", "--state-dir", "state").returncode == 0
    [record] = StateFolder(tmp_path / "state").records()
    [line] = [one for one in runs("show", record.id).stdout.splitlines() if one.startswith("Undo")]
    assert line.endswith(f"--sandbox-state {tmp_path / 'rehearsal.json'}")
    undo = command(*shlex.split(line)[2:], "--yes", key=None)
    assert undo.returncode == 0, undo.stderr
    results = json.loads((tmp_path / "rehearsal.json").read_text())
    assert not results[seed_id(1)]["title"].startswith("Renamed")


def test_a_missed_run_is_shown(runs: Command, tmp_path: Path) -> None:
    """Unknown facts are left out, and there is no command to undo it."""
    missed = keep(tmp_path, "a", state=MISSED, exit_code=None, missed=2, words="too late")
    shown = runs("show", missed.id)
    assert "missed 2 times: too late" in shown.stdout
    assert not {"Undo", "Report", "SHA-256"} & {
        line.split(" ")[0] for line in shown.stdout.split("\n")
    }
    results = json.loads(runs("show", missed.id, "--json").stdout)
    assert results == {
        "run": dataclasses.asdict(missed),
        "folder": str(tmp_path / "state" / "runs" / missed.id),
        "exit_code": 0,
    }


# --- Cleaning --------------------------------------------------------------------------------


def test_clean_removes_runs_older_than_the_age(runs: Command, tmp_path: Path) -> None:
    """Their number is printed; the last run of each job stays."""
    now_at = time.time()
    kept = [keep(tmp_path, "a", now_at - days * DAY).id for days in (100, 50, 10, 1)]
    done = runs("clean", "--older-than", "30d")
    assert (done.returncode, done.stdout) == (0, "2 runs removed\n")
    results = runs("clean", "--older-than", "1w", "--json")
    assert json.loads(results.stdout) == {"removed": [kept[2]], "exit_code": 0}
    assert runs("clean", "--older-than", "0h").stdout == "0 runs removed\n"
    assert [one.id for one in StateFolder(tmp_path / "state").records()] == kept[3:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "gone"], "gone: no such run in "),
        (["show", "../jobs"], "../jobs: no such run in "),
        (
            ["clean", "--older-than", "30"],
            "--older-than 30: is not an age. Use for example 90d, 12w or 36h.",
        ),
        (
            ["clean", "--older-than", "-1d"],
            "--older-than -1d: is not an age. Use for example 90d, 12w or 36h.",
        ),
        (
            ["clean", "--older-than", "9" * 400 + "d"],
            "is not an age. Use for example 90d, 12w or 36h.",
        ),
    ],
)
def test_an_error_is_one_line_and_nothing_is_removed(
    arguments: list[str], message: str, runs: Command, tmp_path: Path
) -> None:
    """Exit code 2, what is wrong, and how to fix it."""
    keep(tmp_path, "a")
    keep(tmp_path, "a", NIGHT + DAY)
    done = runs(*arguments)
    line, *more = done.stderr.splitlines()
    assert (done.returncode, done.stdout, message in line) == (2, "", True)
    step = ["To list the runs: bulk-reset runs --state-dir state"] if "show" in arguments else []
    assert more == [*step, "More: bulk-reset docs options"]
    assert len(StateFolder(tmp_path / "state").records()) == 2


def test_clean_requires_an_age(runs: Command) -> None:
    """It removes previous values, so it has no default."""
    done = runs("clean")
    assert (done.returncode, "Missing option '--older-than'" in done.stderr) == (2, True)


@pytest.mark.parametrize("stop", ["deadline", "given-up"])
def test_a_run_that_stopped_at_its_deadline_resumes_with_the_command_shown(
    stop: str, runs: Command, command: Command, tmp_path: Path
) -> None:
    """The user knows that it is late; it stops at the next deadline."""
    file = tmp_path / "late.toml"
    file.write_text(
        '[source]\nsheet = "in.csv"\n[api]\nsandbox_state = "rehearsal.json"\n[schedule]\n'
        'cron = "0 2 * * *"\ntime_zone = "UTC"\ndeadline = "03:00"\n'
    )
    write_sheet(tmp_path / "in.csv", 2)
    due_at = time.time() - 3 * DAY
    record = RunRecord(
        *(run_id_of("late", due_at), "late", str(file), due_at, ENDED),
        is_scheduled=True,
        deadline_at=due_at + 60,
        exit_code=3,
        stop=stop,
    )
    state = StateFolder(tmp_path / "state")
    assert state.begin(record, file.read_bytes()) is not None
    [line] = [
        one for one in runs("show", record.id).stdout.splitlines() if one.startswith("Resume")
    ]
    done = command(*shlex.split(line)[2:])
    assert done.returncode == 0, done.stderr
    ended = state.read(record.id)
    assert (ended.words, ended.stop) == ("2 of 2 rows done", "")
    assert ended.deadline_at is not None
    assert 0 < ended.deadline_at - time.time() <= DAY
