"""The job files of a folder, kept up to date, and the state of each job.

Changed files are read again; an invalid file does not stop the other jobs.

State: ``jobs`` (the valid files), ``_invalid`` (the others) and ``_job_states`` (the last state
read of each job, in case the state folder is removed). They change only in ``reread`` and
``save_job_state``, on one event loop.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bulk_reset.core.errors import BulkResetError, InputError
from bulk_reset.jobs.job_files.invalid_job import InvalidJob
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_file import JobFileError, JobFileProblem, content_of, read_job
from bulk_reset.jobs.job_runs.run_record import JobState
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.schedule.timetable import Timetable
from bulk_reset.observability.run_log import RunLog

LATE_POD_S: Final = 600.0
"""How late the first pod of a job may start: its image may have to be downloaded."""
FileStamp = tuple[int, ...]
"""Modification time, size and inode: a changed file has another stamp."""


@dataclass(frozen=True, slots=True)
class LoadedJob:
    """A valid job file, as it was read: a run keeps and uses this content."""

    job: Job
    timetable: Timetable
    stamp: FileStamp
    content: bytes


@dataclass(slots=True)
class JobFolder:
    """The jobs of a folder, by name.

    Args:
        clock: UTC epoch seconds now.
        only: the one file to read; all job files of the folder when None.
        is_once: this process ends after one check, so a new job's due times count from the
            minute of the check.
        is_called_when_due: whether another scheduler starts this process at due times and to
            retry: there is no jitter, an interrupted run is resumed at once, and a new job's due
            times count from ``LATE_POD_S`` ago.

    Attributes:
        jobs: the valid ones.
    """

    folder: Path
    state: StateFolder
    run_log: RunLog
    clock: Callable[[], float] = time.time
    only: str | None = None
    is_once: bool = False
    is_called_when_due: bool = False
    jobs: dict[str, LoadedJob] = field(default_factory=dict)
    _invalid: dict[str, tuple[FileStamp, str]] = field(default_factory=dict)
    _new_invalid: list[InvalidJob] = field(default_factory=list)
    _job_states: dict[str, JobState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise InputError(
                f"{self.folder}: no such folder. Use a folder with job files (*.toml)."
            )

    @property
    def invalid(self) -> dict[str, str]:
        """File -> why it is invalid."""
        return {name: why for name, (_, why) in list(self._invalid.items())}

    def take_new_invalid(self) -> list[InvalidJob]:
        """Return the files that were found to be invalid since the last call."""
        found, self._new_invalid = self._new_invalid, []
        return found

    def reread(self) -> tuple[list[str], list[str]]:
        """Read new and changed files.

        Returns: the names of the jobs that were read, and of those that are gone.
        """
        found = dict(self._files())
        changed = [file for file, stamp in found.items() if stamp != self._stamp(file)]
        before = set(self.jobs)
        for file in changed:
            self._read(self.folder / file, found[file])
        for name in [name for name in self.jobs if f"{name}.toml" not in found]:
            del self.jobs[name]
            self.run_log.info("job_removed", job=name)
        for file in [file for file in self._invalid if file not in found]:
            del self._invalid[file]
        names = [file.removesuffix(".toml") for file in changed]
        return [name for name in names if name in self.jobs], sorted(before - set(self.jobs))

    def _stamp(self, file: str) -> FileStamp | None:
        loaded = self.jobs.get(file.removesuffix(".toml"))
        invalid = self._invalid.get(file)
        return loaded.stamp if loaded else invalid[0] if invalid else None

    def _files(self) -> Iterator[tuple[str, FileStamp]]:
        """Yield the job files with their stamps."""
        for path in sorted(self.folder.glob(self.only or "*.toml")):
            try:
                status = path.stat()
            except OSError:
                continue  # just removed
            yield path.name, (status.st_mtime_ns, status.st_size, status.st_ino)

    def _read(self, path: Path, stamp: FileStamp) -> None:
        before = self.jobs.pop(path.stem, None)
        self._invalid.pop(path.name, None)
        try:
            content = content_of(path)
            job = read_job(path, content=content)
            timetable = Timetable.of(job)
            if timetable is None:
                problem = "this table is missing, so the job is never due. Add it with cron."
                raise JobFileError(str(path), [JobFileProblem(1, "schedule", problem)])
            if self.is_called_when_due:
                timetable = dataclasses.replace(timetable, jitter_s=0.0, again_s=0.0)
            self._refresh_state(job, timetable)
        except BulkResetError as error:
            self._invalid[path.name] = (stamp, str(error))
            what = "invalid job file; the job is not run"
            self.run_log.error("job_invalid", file=str(path), why=str(error), what=what)
            found = InvalidJob(path, str(error), before.job if before else None)
            self._new_invalid.append(found)
            return
        self.state.forget_invalid(job.name)
        self.jobs[job.name] = LoadedJob(job, timetable, stamp, content)

    def refresh_states(self) -> None:
        """Make the state of every job match its timetable and the clock."""
        for loaded in self.jobs.values():
            self._refresh_state(loaded.job, loaded.timetable)

    def _refresh_state(self, job: Job, timetable: Timetable) -> None:
        """Create the job's state: due times of a new job or timetable count from now."""
        job_state = self.state.job_state(job.name)
        if job_state is not None and _is_another(Path(job_state.job_file), job.path):
            raise InputError(
                f"{job.path}: the job {job_state.job_file} already has this name. Rename one of "
                "them, or use another --state-dir."
            )
        now_at = self.clock()
        is_current = (
            job_state is not None
            and job_state.timetable == timetable.key
            # A time in the future was recorded while the clock was wrong.
            and job_state.handled_at <= now_at
        )
        if not is_current:
            run_id = job_state.run_id if job_state else ""
            handled_at = now_at
            if self.is_once:
                # The next check would be too late.
                known_at = job_state.handled_at if job_state else 0.0
                late_s = LATE_POD_S if self.is_called_when_due else 0.0
                first_at = timetable.first_handled_at(now_at - late_s)
                handled_at = max(first_at, known_at if known_at <= now_at else 0.0)
            fresh = JobState(str(job.path), timetable.key, handled_at, run_id)
            self.save_job_state(job.name, fresh)

    def job_state(self, name: str) -> JobState | None:
        """Return the state of a job; None if it has none yet."""
        job_state = self.state.job_state(name) or self._job_states.get(name)
        if job_state is not None:
            self._job_states[name] = job_state
        return job_state

    def save_job_state(self, name: str, job_state: JobState) -> None:
        """Save the state of a job."""
        self._job_states[name] = job_state
        self.state.save_job_state(name, job_state)


def account_of(job: Job) -> str:
    """Return a text that identifies the job's account: runs of one account run one by one."""
    api = job.api
    if api.sandbox or api.sandbox_state:
        return f"sandbox {job.beside(api.sandbox_state) if api.sandbox_state else job.name}"
    file = job.beside_or_none(api.access_token_file or api.app_key_file)
    key = api.account or str(file or "environment")
    return f"{api.base_url} {key}"


def _is_another(known: Path, path: Path) -> bool:
    """Return whether both files exist and differ; one file may have many names."""
    try:
        return not known.samefile(path)
    except OSError:
        return False  # it was moved here, or is gone
