"""The state folder: the runs of jobs, each in a folder of its own, and the state of each job.

    STATE/runs/ID/run.json     the run's record (``RunRecord``)
    STATE/runs/ID/             job file, sheet, report, previous values, page, log
    STATE/jobs/NAME.json       the last due time that was handled (``JobState``)
    STATE/jobs/NAME.lock       locked while the job runs
    STATE/jobs/NAME.due.lock   locked while ``job run --if-due`` checks it and waits for its run
    STATE/jobs/NAME.invalid    the digest of an invalid job file that was notified
    STATE/schedule.health      whether the schedule that uses the folder works
    STATE/begin.lock           locked while a run's folder is created

A run's folder can be created only once, so a due time cannot be run twice: the process that
creates it runs it. Files get their names when they are complete and on the disk. They may have
been edited, so what they contain is validated.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.errors import SYSTEM_ERRORS, InputError, LockedError
from bulk_reset.core.input_file import open_input
from bulk_reset.jobs.job_runs.run_record import (
    JOB_FILE,
    MISSED,
    RECORD,
    RUNNING,
    WAITING,
    JobState,
    RunRecord,
)
from bulk_reset.quota.account_ledger import user_state_folder

_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,127}", re.ASCII)
_BEGIN_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.01
_ASKED_S: Final = 0.2
"""Longer than another process holds a lock only to learn whether it is locked."""
_MOST_RUNS_AT_ONCE: Final = 1_000
T = TypeVar("T")


class StateFolder:
    """Where runs are kept.

    Args:
        path: the user's own state folder when None.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = (path or default_state_path()).absolute()
        self.runs, self.jobs = self.path / "runs", self.path / "jobs"
        self.health = self.path / "schedule.health"
        self._create()

    def _create(self) -> None:
        """Create the folders where they are missing: they may have been removed meanwhile."""
        try:
            for folder in (self.path, self.runs, self.jobs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise InputError(
                f"{self.path}: cannot be written ({exc.strerror}). Use --state-dir DIR."
            ) from exc

    def folder(self, run_id: str) -> Path:
        """Return a run's folder."""
        return self.runs / run_id

    def begin(self, record: RunRecord, job_file: bytes) -> RunRecord | None:
        """Create a run's folder; return its record, or None if the folder already exists.

        A run that is not scheduled gets a number behind its id instead.
        """
        self._create()
        busy = "another process has been creating a run for 30 s. Try again later."
        with _locked(self.path / "begin.lock", f"{self.path}: {busy}", _BEGIN_TIMEOUT_S):
            return self._begin(record, job_file)

    def _begin(self, record: RunRecord, job_file: bytes) -> RunRecord | None:
        for number in range(1, _MOST_RUNS_AT_ONCE):
            run_id = record.id if number == 1 else f"{record.id}-{number}"
            folder = self.folder(run_id)
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                if not record.is_scheduled:
                    continue
                if (folder / RECORD).exists():
                    return None
                # The process that created it was killed before it wrote the record.
            except OSError as exc:
                raise InputError(
                    f"{folder}: cannot be created ({exc.strerror}). Use --state-dir DIR."
                ) from exc
            if job_file:
                self.keep_job_file(run_id, job_file)
            created = dataclasses.replace(record, id=run_id)
            self.write(created)
            return created
        raise InputError(
            f"{self.runs}: has {_MOST_RUNS_AT_ONCE:,} runs named {record.id}. "
            "Remove old runs first."
        ).with_next("To remove old runs", "runs clean", options={"older-than": "90d"})

    def keep_job_file(self, run_id: str, content: bytes) -> None:
        """Write the version of the job file that a run uses."""
        with atomic_file(self.folder(run_id) / JOB_FILE) as file:
            file.write(content)

    def write(self, record: RunRecord) -> None:
        """Write the record of a run, replacing the previous one."""
        with atomic_file(self.folder(record.id) / RECORD) as file:
            file.write(_dumps(dataclasses.asdict(record)))

    def write_anyway(self, record: RunRecord) -> None:
        """Write the record of a run; over the previous one where the disk is full.

        Raises:
            OSError: it cannot be written at all.
        """
        try:
            self.write(record)
        except (InputError, *SYSTEM_ERRORS):
            self.overwrite(record)

    def overwrite(self, record: RunRecord) -> None:
        """Write the record of a run over the previous one, which takes no space on a full disk.

        Raises:
            OSError: it does not fit or cannot be written.
        """
        with (self.folder(record.id) / RECORD).open("r+b") as file:
            file.write(_dumps(dataclasses.asdict(record)))
            file.truncate()

    def read(self, run_id: str) -> RunRecord:
        """Return the record of a run.

        Raises:
            InputError: there is no such run.
        """
        is_name = _ID.fullmatch(run_id) is not None
        record = _read_record(self.folder(run_id) / RECORD) if is_name else None
        if record is None:
            raise InputError(
                f"{run_id}: no such run in {self.runs}. Check the ID, or use --state-dir DIR for "
                "another state folder."
            ).with_next("To list the runs", "runs")
        return record

    def records(self, job: str | None = None) -> list[RunRecord]:
        """Return all runs, the oldest first; folders without a valid record are ignored."""
        found = [_read_record(path) for path in self.runs.glob(f"*/{RECORD}")]
        some = [one for one in found if one is not None and job in {None, one.job}]
        return sorted(some, key=lambda one: (one.due_at, one.id))

    def clean(self, older_than_at: float, job: str | None = None) -> list[str]:
        """Remove the runs that ended before this time; return their ids.

        The last run of each job is kept, and so are a run in progress, and one whose sheet was
        sent and could not be moved: without its record, the sheet would be sent again.

        Args:
            job: only runs of this one.
        """
        records = self.records(job)
        last = {record.job: record.id for record in records if record.state != MISSED}
        removed = []
        for record in records:
            # A killed run has no end; the last time that is known of it counts.
            last_at = max(record.ended_at, record.started_at, record.due_at, record.last_due_at)
            is_active = record.state in {WAITING, RUNNING} and self.is_locked(record.job)
            is_kept = is_active or record.not_moved or last.get(record.job) == record.id
            if last_at < older_than_at and not is_kept:
                self._remove(record.id)
                removed.append(record.id)
        return removed

    def _remove(self, run_id: str) -> None:
        try:
            shutil.rmtree(self.folder(run_id))
        except OSError as exc:
            raise InputError(
                f"{exc.filename}: cannot be removed ({exc.strerror}). Fix that, then run the "
                "command again."
            ) from exc

    @contextlib.contextmanager
    def locked(self, job: str) -> Iterator[None]:
        """Lock a job until the block ends: it runs once at a time.

        Raises:
            LockedError: it is already running.
        """
        busy = f"{job}: already running. Wait until that run has ended."
        with _locked(self.jobs / f"{job}.lock", busy, _ASKED_S):
            yield

    @contextlib.contextmanager
    def checked(self, job: str) -> Iterator[bool]:
        """Lock the check whether a job is due until the block ends.

        Yields: False if another process checks it, or the job is running: nothing is to be done.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(_locked(self.jobs / f"{job}.due.lock", ""))
            except LockedError:
                yield False
                return
            yield not self.is_locked(job)

    @contextlib.contextmanager
    def scheduled(self) -> Iterator[None]:
        """Lock the state folder for one schedule until the block ends.

        Raises:
            LockedError: another schedule uses it.
        """
        busy = f"{self.path}: in use by another schedule. Stop that one, or use --state-dir DIR."
        with _locked(self.path / "schedule.lock", busy, _ASKED_S):
            yield

    def is_locked(self, job: str) -> bool:
        """Return whether a job is running."""
        try:
            with _locked(self.jobs / f"{job}.lock", ""):
                return False
        except LockedError:
            return True

    def is_cut_short(self, record: RunRecord) -> bool:
        """Return whether the record says ``running`` although its process was killed."""
        return record.state == RUNNING and not self.is_locked(record.job)

    def is_new_invalid(self, job: str, digest: str) -> bool:
        """Remember an invalid job file; return whether it differs from the one before."""
        path = self.jobs / f"{job}.invalid"
        try:
            if path.read_text("ascii") == digest:
                return False
        except (OSError, ValueError):
            pass  # there is none
        self._create()
        with atomic_file(path) as file:
            file.write(digest.encode())
        return True

    def forget_invalid(self, job: str) -> None:
        """Forget that a job file was invalid: it is valid now."""
        with contextlib.suppress(OSError):
            (self.jobs / f"{job}.invalid").unlink(missing_ok=True)

    def job_state(self, job: str) -> JobState | None:
        """Return the state of a job; None before its first."""
        return _read(_job_state_adapter(), self.jobs / f"{job}.json")

    def save_job_state(self, job: str, job_state: JobState) -> None:
        """Save the state of a job."""
        self._create()
        with atomic_file(self.jobs / f"{job}.json") as file:
            file.write(_dumps(dataclasses.asdict(job_state)))


def default_state_path() -> Path:
    """Return the user's own state folder.

    Raises:
        InputError: this user has none.
    """
    own = user_state_folder("")
    if own is None:
        raise InputError(
            "This user has no home directory in which runs could be kept. Use --state-dir DIR, "
            "or set XDG_STATE_HOME."
        )
    return own


@contextlib.contextmanager
def _locked(path: Path, busy: str, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold a lock until the block ends.

    Args:
        busy: the message if another process holds it for longer than the timeout.

    Raises:
        LockedError: another process holds it.
        InputError: the lock cannot be created.
    """
    lock = FileLock(path, timeout=timeout_s, mode=0o600)
    try:
        lock.acquire(poll_interval=_POLL_S)
    except Timeout as exc:
        raise LockedError(busy) from exc
    except OSError as exc:
        raise InputError(
            f"{path}: cannot be locked ({exc.strerror}). Use --state-dir DIR."
        ) from exc
    try:
        yield
    finally:
        lock.release()


def _dumps(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, ensure_ascii=False, indent=2) + "\n").encode("utf-8", "replace")


@functools.cache
def _record_adapter() -> TypeAdapter[RunRecord]:
    return TypeAdapter(RunRecord)


@functools.cache
def _job_state_adapter() -> TypeAdapter[JobState]:
    return TypeAdapter(JobState)


def _read(adapter: TypeAdapter[T], path: Path) -> T | None:
    """Return what a file contains; None if it is missing or invalid."""
    try:
        with open_input(path) as file:
            return adapter.validate_json(file.read(), strict=True)
    except (OSError, ValueError):
        return None


def _read_record(path: Path) -> RunRecord | None:
    record = _read(_record_adapter(), path)
    # With a renamed folder, another run would be removed or overwritten.
    return record if record is not None and record.id == path.parent.name else None
