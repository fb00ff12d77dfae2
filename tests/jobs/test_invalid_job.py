"""An invalid job file is notified once, by whatever part of it can still be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_reset.core.errors import InputError
from bulk_reset.jobs.job_files.invalid_job import InvalidJob, notify_invalid
from bulk_reset.jobs.job_files.job_file import read_job
from bulk_reset.jobs.job_runs.run_record import JobState, RunRecord
from bulk_reset.jobs.job_runs.state_folder import StateFolder

TELL = """
[notify]
command = ["sh", "-c", "echo \\"$BULK_RESET_TEXT\\" >> told.txt"]
"""
SHEET = '[source]\nsheet = "in.csv"\n'


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


def broken(folder: Path, text: str) -> InvalidJob:
    """Write a job file, and return its errors."""
    path = folder / "nightly.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_job(path)
    return InvalidJob(path, str(caught.value))


def told(folder: Path) -> list[str]:
    """Return the notifications that were sent."""
    file = folder / "told.txt"
    return file.read_text().splitlines() if file.exists() else []


def test_the_file_itself_says_who_is_notified(state: StateFolder, tmp_path: Path) -> None:
    """Once for each content; again after it was edited, and after it was valid."""
    found = broken(tmp_path, f"{SHEET}x = 1\n{TELL}")
    assert [notify_invalid(found, state) for _ in range(3)] == ["sh", "", ""]
    text = f"nightly: invalid job file; the job is not run: {found.why} (exit code 2)"
    assert told(tmp_path) == [text]
    other = broken(tmp_path, f"{SHEET}y = 1\n{TELL}")
    assert notify_invalid(other, state) == "sh"
    state.forget_invalid("nightly")
    assert notify_invalid(other, state) == "sh"
    assert len(told(tmp_path)) == 3


def test_the_version_before_does_where_the_file_cannot(state: StateFolder, tmp_path: Path) -> None:
    """A file that is no TOML any more was valid once."""
    path = tmp_path / "nightly.toml"
    path.write_text(f"{SHEET}{TELL}")
    before = read_job(path)
    found = broken(tmp_path, "x")
    assert notify_invalid(InvalidJob(found.path, found.why, before), state) == "sh"
    assert len(told(tmp_path)) == 1


def test_the_version_of_the_last_run_does_after_a_restart(
    state: StateFolder, tmp_path: Path
) -> None:
    """It is in the folder of that run."""
    found = broken(tmp_path, "x")
    state.begin(RunRecord("r1", "nightly", str(found.path), 1.0), f"{SHEET}{TELL}".encode())
    state.save_job_state("nightly", JobState(str(found.path), "* * * * * UTC", 1.0, "r1"))
    assert notify_invalid(found, state) == "sh"
    assert told(tmp_path)[0].startswith("nightly: invalid job file; the job is not run: ")


@pytest.mark.parametrize("text", ["x", f"{SHEET}x = 1", f'{SHEET}[notify]\nwebhook = "ftp://x"\n'])
def test_where_no_one_is_known_no_one_is_notified(
    text: str, state: StateFolder, tmp_path: Path
) -> None:
    """The log and the metrics have it."""
    assert notify_invalid(broken(tmp_path, text), state) == ""
