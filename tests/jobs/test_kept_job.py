"""A run uses one version of its job file, and keeps it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bulk_reset.core.errors import InputError, LockedError
from bulk_reset.jobs.job_files.job_file import read_job
from bulk_reset.jobs.job_files.kept_job import job_of_run
from bulk_reset.jobs.job_runs.run_record import ENDED, RUNNING, WAITING, RunRecord
from bulk_reset.jobs.job_runs.state_folder import StateFolder

OLD = '[source]\nsheet = "old.csv"\n'
NEW = '[source]\nsheet = "new.csv"\n'


def begun(folder: Path, **more: Any) -> tuple[Path, StateFolder, RunRecord]:  # noqa: ANN401
    """Begin a run with the old version; then the file has the new one."""
    path, state = folder / "nightly.toml", StateFolder(folder / "state")
    path.write_text(OLD)
    made = state.begin(RunRecord("r1", "nightly", str(path), 1.0), OLD.encode())
    assert made is not None
    record = dataclasses.replace(made, **more)
    state.write(record)
    path.write_text(NEW)
    return path, state, record


def used(path: Path, state: StateFolder, record: RunRecord) -> tuple[str | None, str]:
    """Return the sheet of the version that is used, and the text of the one that is kept."""
    job = job_of_run(path, state, record)
    assert job.path == path
    return job.source.sheet, (state.folder(record.id) / "job.toml").read_text()


@pytest.mark.parametrize(
    "more",
    [
        {"state": WAITING},
        {"state": RUNNING},
        {"state": ENDED, "exit_code": 143, "report": "in.report.csv"},
        {"state": ENDED, "exit_code": 3, "stop": "outage", "report": "in.report.csv"},
    ],
)
def test_a_run_that_waits_or_has_begun_uses_the_version_it_was_created_with(
    more: dict[str, Any], tmp_path: Path
) -> None:
    """However the file was edited since; also if it is invalid or gone now."""
    path, state, record = begun(tmp_path, **more)
    (state.folder("r1") / "in.report.csv").write_text("x")
    for text in (NEW, "not TOML"):
        path.write_text(text)
        assert used(path, state, record) == ("old.csv", OLD)
    path.unlink()
    assert used(path, state, record) == ("old.csv", OLD)


def test_a_run_that_sent_nothing_is_resumed_with_the_current_version(tmp_path: Path) -> None:
    """After an error in the file was fixed; that version is kept, and its sheet is copied again."""
    facts = {"sheet": "old.csv", "sheet_sha256": "0", "source": "/old.csv"}
    path, state, record = begun(tmp_path, state=ENDED, exit_code=2, report="x.csv", **facts)
    assert used(path, state, record) == ("new.csv", NEW)
    assert {name: getattr(state.read("r1"), name) for name in facts} == dict.fromkeys(facts, "")


def test_a_version_is_not_changed_while_the_run_is_in_progress(tmp_path: Path) -> None:
    """Another process may resume it at this moment."""
    path, state, record = begun(tmp_path, state=ENDED, exit_code=2)
    with state.locked("nightly"), pytest.raises(LockedError):
        job_of_run(path, state, record)
    assert (state.folder("r1") / "job.toml").read_text() == OLD


def test_an_invalid_current_version_changes_nothing(tmp_path: Path) -> None:
    """Its errors are reported with their lines."""
    path, state, record = begun(tmp_path, state=ENDED, exit_code=2)
    path.write_text(f"{NEW}x = 1\n")
    with pytest.raises(InputError, match=r"nightly\.toml:3: source\.x: no such key"):
        job_of_run(path, state, record)
    assert (state.folder("r1") / "job.toml").read_text() == OLD


def test_content_that_is_read_already_is_not_read_again(tmp_path: Path) -> None:
    """Paths in it are relative to the file."""
    path = tmp_path / "nightly.toml"
    path.write_text(NEW)
    job = read_job(path, content=OLD.encode())
    assert (job.source.sheet, job.beside("a")) == ("old.csv", tmp_path / "a")
