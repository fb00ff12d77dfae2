"""The health of a schedule, as a command of another process reads it."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bulk_reset.cli import app
from bulk_reset.core.errors import InputError
from bulk_reset.core.temporary_folder import use_temporary_folder
from bulk_reset.jobs.job_runs.run_record import RunRecord
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.schedule.job_folder import JobFolder
from bulk_reset.jobs.schedule.schedule_health import read_health, write_health
from bulk_reset.jobs.schedule.scheduler import Scheduler
from bulk_reset.observability.run_log import new_run_log


async def _no_start(*_: object) -> int:
    return 0


@pytest.fixture
def scheduler(tmp_path: Path) -> Scheduler:
    state = StateFolder(tmp_path / "state")
    return Scheduler(JobFolder(tmp_path, state, new_run_log()), _no_start)


def health(scheduler: Scheduler) -> tuple[int, str]:
    """Return exit code and output of the command."""
    arguments = ["schedule", "--health", "--state-dir", str(scheduler.state.path)]
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.output.strip()


def test_a_schedule_that_works_is_healthy(scheduler: Scheduler) -> None:
    """An invalid job file is named, and does not restart a container."""
    scheduler.last_reread_at = time.time()
    scheduler.folder.jobs.clear()
    with scheduler.state.scheduled():
        write_health(scheduler)
        assert health(scheduler) == (0, "0 jobs")


def test_no_schedule_is_not_healthy(scheduler: Scheduler) -> None:
    """A file that a schedule has left behind does not count."""
    scheduler.last_reread_at = time.time()
    write_health(scheduler)
    assert health(scheduler) == (1, f"{scheduler.state.path}: no schedule is running")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"at": 1.0, "is_healthy": True, "message": "x"}, "the schedule has not responded for "),
        ({"at": 9e9, "is_healthy": False, "message": "stuck"}, "stuck"),
        ({"at": "x"}, "cannot be read; the schedule is starting"),
        ([], "cannot be read; the schedule is starting"),
    ],
)
def test_what_is_not_healthy_is_said(content: object, text: str, scheduler: Scheduler) -> None:
    """A silent schedule, one that says so itself, and one that has not begun."""
    scheduler.state.health.write_text(json.dumps(content))
    with scheduler.state.scheduled():
        is_healthy, message = read_health(scheduler.state)
    assert is_healthy is False
    assert text in message


def test_a_machine_without_temporary_files_uses_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a container with a read-only root; for this process and those that it starts."""
    state = StateFolder(tmp_path / "state")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])
    monkeypatch.setenv("TMPDIR", "")
    use_temporary_folder(state.path)
    assert tempfile.gettempdir() == str(state.path / "tmp")
    with tempfile.TemporaryFile() as file:
        file.write(b"x")


def test_without_any_folder_the_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fix is one line in a deployment."""
    state = StateFolder(tmp_path / "state")
    (state.path / "tmp").write_text("a file")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])
    with pytest.raises(InputError, match="Set TMPDIR to a folder that can be written"):
        use_temporary_folder(state.path)


def test_old_runs_of_one_job_are_removed(tmp_path: Path) -> None:
    """Not the last one, not those of other jobs, and none whose sheet waits to be moved."""
    state = StateFolder(tmp_path / "state")
    for number, (job, not_moved) in enumerate(
        [("a", ""), ("a", "why"), ("b", ""), ("a", ""), ("b", ""), ("a", "")]
    ):
        at = 1_000.0 + number
        record = RunRecord(
            f"r{number}", job, "x", at, "ended", ended_at=at, exit_code=0, not_moved=not_moved
        )
        state.begin(record, b"")
    assert state.clean(2_000.0, job="a") == ["r0", "r3"]
    assert [one.id for one in state.records()] == ["r1", "r2", "r4", "r5"]
