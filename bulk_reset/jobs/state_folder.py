"""The runs of jobs, each in a folder of its own: what is kept of them, and what is cleaned away.

    STATE/runs/ID/run.json     what became of it (``RunRecord``)
    STATE/runs/ID/             the job file, the sheet, the report, before-images, page, log
    STATE/jobs/NAME.json       the last due moment that was handled (``JobState``)
    STATE/jobs/NAME.lock       held while the job runs
    STATE/begin.lock           held for the moment in which a run's folder is made

A folder is made once, so that a due moment cannot be run twice: whoever makes it, runs it. All
files get their names when they are whole and on the disk. What a file says is believed only as
far as it can be so: somebody may have edited it. Units: ``*_at`` UTC epoch seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from filelock import FileLock, Timeout
from pydantic import Field, TypeAdapter

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.errors import InputError, LockedError
from bulk_reset.jobs.timetable import Missed
from bulk_reset.quota.account_ledger import user_state_folder

RECORD: Final = "run.json"
LOG: Final = "log.jsonl"
JOB_FILE: Final = "job.toml"
WAITING, RUNNING, ENDED, MISSED = "waiting", "running", "ended", "missed"
OUTAGE: Final = "outage"
ABANDONED: Final = "given-up"
_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,127}", re.ASCII)
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
_LONGEST_BEGIN_S: Final = 30.0
_POLL_S: Final = 0.01
T = TypeVar("T")
MomentAt = Annotated[float, Field(ge=0, lt=1e11, allow_inf_nan=False)]
"""Such that a calendar has it."""
_CUT_SHORT: Final = frozenset({129, 130, 137, 143})
"""Exit codes of runs that were told to end, or killed, and are gone on with."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is known of one run of a job.

    Attributes:
        state: ``waiting`` (made, not begun), ``running``, ``ended``, or ``missed``.
        due_at: the moment it stands for; of one that nobody scheduled, when it was asked for.
        stop: why it ended early (``StopReason``), in a word.
        words: what became of it, in a sentence.
        missed: of a ``missed`` one, how many due moments it stands for, up to ``last_due_at``.
        counts: rows by status.
        sheet: in the run's folder; ``source`` is where it came from.
        reach: options with which verify and undo reach the same API.
        notified: who was told, or why that failed.
    """

    id: str
    job: Annotated[str, Field(pattern=_NAME)]
    job_file: str
    due_at: MomentAt
    state: str = WAITING
    is_scheduled: bool = False
    started_at: MomentAt = 0.0
    ended_at: MomentAt = 0.0
    deadline_at: MomentAt | None = None
    exit_code: int | None = None
    stop: str = ""
    words: str = ""
    rows: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    source: str = ""
    sheet: str = ""
    sheet_sha256: str = ""
    report: str = ""
    page: str = ""
    connect: list[str] = field(default_factory=list)
    notified: str = ""
    version: str = ""
    missed: int = 0
    last_due_at: MomentAt = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it may be gone on with: it was killed, told to end, or nobody answered it."""
        return self.state in {WAITING, RUNNING} or (
            self.state == ENDED and (self.exit_code in _CUT_SHORT or self.is_outage)
        )

    @property
    def is_outage(self) -> bool:
        """Whether it stopped because the API was down, or somebody else had the account."""
        return self.stop == OUTAGE


class StateFolder:
    """Where runs are kept.

    Args:
        path: the user's own when None.
    """

    def __init__(self, path: Path | None = None) -> None:
        own = path or user_state_folder("")
        if own is None:
            raise InputError(
                "This user has no home in which runs could be kept. Say --state-dir DIR, or set "
                "XDG_STATE_HOME."
            )
        self.path = own.absolute()
        self.runs, self.jobs = self.path / "runs", self.path / "jobs"
        self._make()

    def _make(self) -> None:
        """See that the folders are there: somebody may have removed them meanwhile."""
        try:
            for folder in (self.path, self.runs, self.jobs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise InputError(
                f"{self.path}: cannot be written ({exc.strerror}). Say --state-dir DIR."
            ) from exc

    def folder(self, run_id: str) -> Path:
        """Return a run's folder."""
        return self.runs / run_id

    def begin(self, record: RunRecord, job_file: bytes) -> RunRecord | None:
        """Make a run's folder; return its record, or None where somebody has made it already.

        A run that nobody scheduled gets a number behind its id instead.
        """
        self._make()
        busy = "another run is being made there, and for long. Try it again."
        with _held(self.path / "begin.lock", f"{self.path}: {busy}", _LONGEST_BEGIN_S):
            return self._begin(record, job_file)

    def _begin(self, record: RunRecord, job_file: bytes) -> RunRecord | None:
        for number in range(1, 1_000):
            named = (
                record if number == 1 else dataclasses.replace(record, id=f"{record.id}-{number}")
            )
            folder = self.folder(named.id)
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                if not record.is_scheduled:
                    continue
                if (folder / RECORD).exists():
                    return None
                # Whoever made it was killed before a word was written.
            except OSError as exc:
                raise InputError(
                    f"{folder}: cannot be made ({exc.strerror}). Say --state-dir DIR."
                ) from exc
            if job_file:
                with atomic_file(folder / JOB_FILE) as file:
                    file.write(job_file)
            self.write(named)
            return named
        raise InputError(f"{self.runs}: {record.id} is there a thousand times. Clean it.")

    def write(self, record: RunRecord) -> None:
        """Keep what is known of a run, in place of what was known."""
        with atomic_file(self.folder(record.id) / RECORD) as file:
            file.write(_dumps(dataclasses.asdict(record)))

    def read(self, run_id: str) -> RunRecord:
        """Return what is known of a run.

        Raises:
            InputError: there is no such run.
        """
        is_name = _ID.fullmatch(run_id) is not None
        record = _read_record(self.folder(run_id) / RECORD) if is_name else None
        if record is None:
            raise InputError(f"{run_id}: no such run in {self.runs}. bulk-reset runs lists them.")
        return record

    def records(self, job: str | None = None) -> list[RunRecord]:
        """Return all runs, the oldest first; what is no run's folder is passed over."""
        found = [_read_record(path) for path in self.runs.glob(f"*/{RECORD}")]
        some = [one for one in found if one is not None and job in {None, one.job}]
        return sorted(some, key=lambda one: (one.due_at, one.id))

    def clean(self, older_than_at: float) -> list[str]:
        """Remove the runs that ended before a moment; return their ids.

        The last run of each job stays, and so does one that goes on.
        """
        records = self.records()
        last = {record.job: record.id for record in records if record.state != MISSED}
        removed = []
        for record in records:
            # One that was killed has no end; the last that is known of it has to do.
            last_at = max(record.ended_at, record.started_at, record.due_at, record.last_due_at)
            goes_on = record.state in {WAITING, RUNNING} and self.is_locked(record.job)
            if last_at < older_than_at and not goes_on and last.get(record.job) != record.id:
                self._remove(record.id)
                removed.append(record.id)
        return removed

    def _remove(self, run_id: str) -> None:
        try:
            shutil.rmtree(self.folder(run_id))
        except OSError as exc:
            raise InputError(
                f"{exc.filename}: cannot be removed ({exc.strerror}). Mend that, and say it again."
            ) from exc

    @contextlib.contextmanager
    def locked(self, job: str) -> Iterator[None]:
        """Hold a job until the block ends: it runs once at a time.

        Raises:
            LockedError: it is running already.
        """
        busy = f"{job}: is running already. Wait until it has ended."
        with _held(self.jobs / f"{job}.lock", busy):
            yield

    @contextlib.contextmanager
    def scheduled(self) -> Iterator[None]:
        """Hold the state for one schedule until the block ends.

        Raises:
            LockedError: another schedule has it.
        """
        busy = f"{self.path}: another schedule has it. End that one, or say --state-dir DIR."
        with _held(self.path / "schedule.lock", busy):
            yield

    def is_locked(self, job: str) -> bool:
        """Tell whether a job is running."""
        try:
            with self.locked(job):
                return False
        except LockedError:
            return True

    def is_cut_short(self, record: RunRecord) -> bool:
        """Tell whether a run says that it runs, and nobody runs it: its process was killed."""
        return record.state == RUNNING and not self.is_locked(record.job)

    def job_state(self, job: str) -> JobState | None:
        """Return what was handled of a job, None where it was never seen."""
        return _read(_of_books(), self.jobs / f"{job}.json")

    def save_job_state(self, job: str, job_state: JobState) -> None:
        """Keep what was handled of a job."""
        self._make()
        with atomic_file(self.jobs / f"{job}.json") as file:
            file.write(_dumps(dataclasses.asdict(job_state)))


@dataclass(frozen=True, slots=True)
class JobState:
    """What was handled of a job.

    Attributes:
        timetable: its mark; another one counts from when it is first seen.
        handled_at: the last due moment that was run, or about which it was said why not.
        run_id: the last run that was begun because it was due; empty before the first.
    """

    job_file: str
    timetable: str
    handled_at: MomentAt
    run_id: str = ""


def run_id_of(job: str, due_at: float) -> str:
    """Return the id of the run of a due moment: ``20261125T023000Z-nightly``."""
    moment = dt.datetime.fromtimestamp(due_at, dt.UTC)
    return f"{moment:%Y%m%dT%H%M%SZ}-{job}"


def missed_record(job: str, job_file: str, dues: Missed, now_at: float) -> RunRecord:
    """Return the record that says that due moments were missed, and why."""
    return RunRecord(
        run_id_of(job, dues.first.due_at),
        job,
        job_file,
        dues.first.due_at,
        MISSED,
        is_scheduled=True,
        ended_at=now_at,
        words=dues.why,
        missed=dues.times,
        last_due_at=dues.last.due_at,
    )


@contextlib.contextmanager
def _held(path: Path, busy: str, longest_s: float = 0.0) -> Iterator[None]:
    """Hold a lock until the block ends.

    Raises:
        LockedError: somebody else has it, and had it for so long; says what ``busy`` is.
        InputError: there can be none.
    """
    lock = FileLock(path, timeout=longest_s, mode=0o600)
    try:
        lock.acquire(poll_interval=_POLL_S)
    except Timeout as exc:
        raise LockedError(busy) from exc
    except OSError as exc:
        raise InputError(
            f"{path}: cannot be locked ({exc.strerror}). Say --state-dir DIR."
        ) from exc
    try:
        yield
    finally:
        lock.release()


def _dumps(told: dict[str, Any]) -> bytes:
    return (json.dumps(told, ensure_ascii=False, indent=2) + "\n").encode("utf-8", "replace")


@functools.cache
def _of_records() -> TypeAdapter[RunRecord]:
    return TypeAdapter(RunRecord)


@functools.cache
def _of_books() -> TypeAdapter[JobState]:
    return TypeAdapter(JobState)


def _read(kind: TypeAdapter[T], path: Path) -> T | None:
    """Return what a file of ours says, None where that cannot be so."""
    try:
        return kind.validate_json(path.read_bytes(), strict=True)
    except (OSError, ValueError):
        return None


def _read_record(path: Path) -> RunRecord | None:
    record = _read(_of_records(), path)
    # One whose folder was renamed would be removed, or written, in another's place.
    return record if record is not None and record.id == path.parent.name else None
