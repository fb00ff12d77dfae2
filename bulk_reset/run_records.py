"""The runs of jobs, each in a folder of its own: what is kept of them, and what is cleaned away.

    STATE/runs/ID/run.json     what became of it (``RunRecord``)
    STATE/runs/ID/             the job file, the sheet, the report, before-images, page, log
    STATE/jobs/NAME.json       the last due moment that was handled (``JobBook``)
    STATE/jobs/NAME.lock       held while the job runs

A folder is made once, so that a due moment cannot be run twice: whoever makes it, runs it. All
files get their names when they are whole and on the disk. Units: ``*_at`` UTC epoch seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout
from platformdirs import user_state_path

from bulk_reset.errors import InputError, LockedError
from bulk_reset.timetable import Missed
from bulk_reset.whole_file import whole_file

RECORD: Final = "run.json"
LOG: Final = "log.jsonl"
JOB_FILE: Final = "job.toml"
WAITING, RUNNING, ENDED, MISSED = "waiting", "running", "ended", "missed"
UNANSWERED: Final = "outage"
_CUT_SHORT: Final = frozenset({129, 130, 143})
"""Exit codes of runs that were told to end, and are gone on with."""


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
    job: str
    job_file: str
    due_at: float
    state: str = WAITING
    is_scheduled: bool = False
    started_at: float = 0.0
    ended_at: float = 0.0
    deadline_at: float | None = None
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
    reach: list[str] = field(default_factory=list)
    notified: str = ""
    version: str = ""
    missed: int = 0
    last_due_at: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it may be gone on with: it was killed, told to end, or nobody answered it."""
        return self.state in {WAITING, RUNNING} or (
            self.state == ENDED and (self.exit_code in _CUT_SHORT or self.is_unanswered)
        )

    @property
    def is_unanswered(self) -> bool:
        """Whether it stopped because the API was down, or somebody else had the account."""
        return self.stop == UNANSWERED


class StateFolder:
    """Where runs are kept.

    Args:
        path: the user's own when None.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = (path or user_state_path("bulk-reset")).absolute()
        self.runs, self.jobs = self.path / "runs", self.path / "jobs"
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
            if job_file:
                with whole_file(folder / JOB_FILE) as file:
                    file.write(job_file)
            self.write(named)
            return named
        raise InputError(f"{self.runs}: {record.id} is there a thousand times. Clean it.")

    def write(self, record: RunRecord) -> None:
        """Keep what is known of a run, in place of what was known."""
        with whole_file(self.folder(record.id) / RECORD) as file:
            file.write(_dumps(dataclasses.asdict(record)))

    def read(self, run_id: str) -> RunRecord:
        """Return what is known of a run.

        Raises:
            InputError: there is no such run.
        """
        record = _read_record(self.folder(run_id) / RECORD)
        if record is None or "/" in run_id:
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
            ended_at = record.ended_at or record.last_due_at
            goes_on = record.state in {WAITING, RUNNING} and self.is_locked(record.job)
            if ended_at < older_than_at and not goes_on and last.get(record.job) != record.id:
                shutil.rmtree(self.folder(record.id))
                removed.append(record.id)
        return removed

    @contextlib.contextmanager
    def locked(self, job: str) -> Iterator[None]:
        """Hold a job until the block ends: it runs once at a time.

        Raises:
            LockedError: it is running already.
        """
        try:
            with FileLock(self.jobs / f"{job}.lock", timeout=0, mode=0o600):
                yield
        except Timeout as exc:
            raise LockedError(f"{job}: is running already. Wait until it has ended.") from exc

    def is_locked(self, job: str) -> bool:
        """Tell whether a job is running."""
        try:
            with self.locked(job):
                return False
        except LockedError:
            return True

    def book(self, job: str) -> JobBook | None:
        """Return what was handled of a job, None where it was never seen."""
        told = _read_json(self.jobs / f"{job}.json")
        with contextlib.suppress(TypeError, KeyError):
            return JobBook(
                told["job_file"], told["timetable"], float(told["handled_at"]), told["run_id"]
            )
        return None

    def keep_book(self, job: str, book: JobBook) -> None:
        """Keep what was handled of a job."""
        with whole_file(self.jobs / f"{job}.json") as file:
            file.write(_dumps(dataclasses.asdict(book)))


@dataclass(frozen=True, slots=True)
class JobBook:
    """What was handled of a job.

    Attributes:
        timetable: its mark; another one counts from when it is first seen.
        handled_at: the last due moment that was run, or about which it was said why not.
        run_id: the last run that was begun because it was due; empty before the first.
    """

    job_file: str
    timetable: str
    handled_at: float
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
        missed=dues.moments,
        last_due_at=dues.last.due_at,
    )


def _dumps(told: dict[str, Any]) -> bytes:
    return (json.dumps(told, ensure_ascii=False, indent=2) + "\n").encode()


def _read_json(path: Path) -> Any:  # noqa: ANN401  (JSON)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _read_record(path: Path) -> RunRecord | None:
    told = _read_json(path)
    if not isinstance(told, dict):
        return None
    names = {one.name for one in dataclasses.fields(RunRecord)}
    try:
        return RunRecord(**{name: value for name, value in told.items() if name in names})
    except TypeError:
        return None
