"""The job files of a folder, as they are now, and what was handled of each job.

Files that have changed are read again; one that cannot be read as a job keeps nobody else from
being run. State, and who may touch it: ``jobs`` is what the files say, ``broken`` which cannot be
read, ``_books`` what was read of each job last, for when somebody has removed the state; all of
it changes by ``reread`` and ``save_job_state`` alone, and belongs to one event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bulk_reset.core.errors import BulkResetError, InputError
from bulk_reset.jobs.job import Job
from bulk_reset.jobs.job_file import JobFileError, JobFileProblem, read_job
from bulk_reset.jobs.state_folder import JobState, StateFolder
from bulk_reset.jobs.timetable import Timetable
from bulk_reset.observability.run_log import RunLog

_BROKEN_TEXT: Final = "the file cannot be read as a job, and is not run"


@dataclass(frozen=True, slots=True)
class LoadedJob:
    """A job file as it was read.

    Attributes:
        seen: what tells this state of the file from another.
    """

    job: Job
    timetable: Timetable
    seen: tuple[int, ...]


@dataclass(slots=True)
class JobFolder:
    """The jobs of a folder, by name.

    Args:
        clock: UTC epoch seconds now.
        only: the one file that is looked at; all job files of the folder when None.

    Attributes:
        jobs: those that can be read.
    """

    folder: Path
    state: StateFolder
    run_log: RunLog
    clock: Callable[[], float] = time.time
    only: str | None = None
    jobs: dict[str, LoadedJob] = field(default_factory=dict)
    _broken: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    _books: dict[str, JobState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: no such folder. Say one with job files (*.toml).")

    @property
    def broken(self) -> dict[str, str]:
        """File -> why it cannot be read."""
        return {name: why for name, (_, why) in list(self._broken.items())}

    def reread(self) -> tuple[list[str], list[str]]:
        """Read what is new or has changed.

        Returns: the names of the jobs that were read, and of those that are none any more.
        """
        found = dict(self._files())
        changed = [file for file, seen in found.items() if seen != self._seen(file)]
        before = set(self.jobs)
        for file in changed:
            self._read(self.folder / file, found[file])
        for name in [name for name in self.jobs if f"{name}.toml" not in found]:
            del self.jobs[name]
            self.run_log.info("job_removed", job=name)
        for file in [file for file in self._broken if file not in found]:
            del self._broken[file]
        names = [file.removesuffix(".toml") for file in changed]
        return [name for name in names if name in self.jobs], sorted(before - set(self.jobs))

    def _seen(self, file: str) -> tuple[int, ...] | None:
        loaded = self.jobs.get(file.removesuffix(".toml"))
        broken = self._broken.get(file)
        return loaded.seen if loaded else broken[0] if broken else None

    def _files(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the job files, each with what tells this state of it from another."""
        for path in sorted(self.folder.glob(self.only or "*.toml")):
            try:
                told = path.stat()
            except OSError:
                continue  # gone in this moment
            yield path.name, (told.st_mtime_ns, told.st_size, told.st_ino)

    def _read(self, path: Path, seen: tuple[int, ...]) -> None:
        self.jobs.pop(path.stem, None)
        self._broken.pop(path.name, None)
        try:
            job = read_job(path)
            timetable = Timetable.of(job)
            if timetable is None:
                problem = "this table is missing, so the job is never due. Write cron in it."
                raise JobFileError(str(path), [JobFileProblem(1, "schedule", problem)])
            self._refresh_state(job, timetable)
        except BulkResetError as error:
            self._broken[path.name] = (seen, str(error))
            self.run_log.error("job_invalid", file=str(path), why=str(error), what=_BROKEN_TEXT)
            return
        self.jobs[job.name] = LoadedJob(job, timetable, seen)

    def refresh_states(self) -> None:
        """See that every job has a book that its timetable and the clock agree with."""
        for loaded in self.jobs.values():
            self._refresh_state(loaded.job, loaded.timetable)

    def _refresh_state(self, job: Job, timetable: Timetable) -> None:
        """See that there is a book: a job, or a timetable, counts from when it is first seen."""
        job_state = self.state.job_state(job.name)
        if job_state is not None and _is_another(Path(job_state.job_file), job.path):
            raise InputError(
                f"{job.path}: a job of this name is {job_state.job_file} already. Rename one, or say "
                "another --state-dir."
            )
        now_at = self.clock()
        if (
            job_state is None
            or job_state.timetable != timetable.key
            or job_state.handled_at > now_at
        ):
            # What was handled in the time to come was so by a clock that was wrong.
            run_id = job_state.run_id if job_state else ""
            self.save_job_state(job.name, JobState(str(job.path), timetable.key, now_at, run_id))

    def job_state(self, name: str) -> JobState | None:
        """Return what was handled of a job, None where it was never seen."""
        job_state = self.state.job_state(name) or self._books.get(name)
        if job_state is not None:
            self._books[name] = job_state
        return job_state

    def save_job_state(self, name: str, job_state: JobState) -> None:
        """Keep what was handled of a job."""
        self._books[name] = job_state
        self.state.save_job_state(name, job_state)


def account_of(job: Job) -> str:
    """Return what tells the accounts apart that jobs use: one is used by one run at a time."""
    api = job.api
    if api.sandbox or api.sandbox_state:
        return f"sandbox {job.beside(api.sandbox_state) if api.sandbox_state else job.name}"
    key = api.account or (str(job.beside(api.app_key_file)) if api.app_key_file else "environment")
    return f"{api.base_url} {key}"


def _is_another(known: Path, path: Path) -> bool:
    """Tell whether two files are there; one may be called by many names."""
    try:
        return not known.samefile(path)
    except OSError:
        return False  # it was moved here, or is gone
