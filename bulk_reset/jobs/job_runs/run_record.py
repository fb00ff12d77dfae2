"""What is recorded of a run and of a job: plain data, stored as JSON by ``state_folder``.

Files of earlier versions are read, so keys are added, never renamed. Units: ``*_at`` UTC epoch
seconds.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Annotated, Final

from pydantic import Field

from bulk_reset.jobs.schedule.timetable import Missed

RECORD: Final = "run.json"
LOG: Final = "log.jsonl"
JOB_FILE: Final = "job.toml"
WAITING, RUNNING, ENDED, MISSED = "waiting", "running", "ended", "missed"
OUTAGE: Final = "outage"
DEADLINE: Final = "deadline"
INCOMPLETE: Final = "incomplete-sheet"
ABANDONED: Final = "given-up"
MOST_ROW_ERRORS: Final = 20
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
INTERRUPTED: Final = frozenset({129, 130, 137, 143})
"""Exit codes of runs that a signal ended; such runs can be resumed."""
EpochS = Annotated[float, Field(ge=0, lt=1e11, allow_inf_nan=False)]
"""A time that a calendar can show."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of a job.

    Attributes:
        state: ``waiting`` (created, not started), ``running``, ``ended`` or ``missed``.
        due_at: its due time; of a run started by hand, when it was requested.
        stop: why it ended early (``StopReason``, or ``given-up``).
        words: the result, in a sentence.
        row_errors: the first invalid rows: ``row_number``, ``column``, ``value``, ``problem`` and
            ``fix``.
        missed: of a ``missed`` record, how many due times it stands for, up to ``last_due_at``.
        counts: rows by status.
        sheet: in the run's folder; ``source`` is where it came from, ``source_modified_ns`` when
            that was written last.
        not_moved: why a sheet that was sent could not be moved to ``done/``.
        connect: options with which verify and undo reach the same API.
        notified: who was notified, or why that failed.
        note: ``run.note`` of the job: why it runs.
        approved_by: who approved the plan, a line for each approval.
    """

    id: str
    job: Annotated[str, Field(pattern=_NAME)]
    job_file: str
    due_at: EpochS
    state: str = WAITING
    is_scheduled: bool = False
    started_at: EpochS = 0.0
    ended_at: EpochS = 0.0
    deadline_at: EpochS | None = None
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
    row_errors: list[dict[str, int | str]] = field(default_factory=list)
    source_modified_ns: int = 0
    not_moved: str = ""
    missed: int = 0
    last_due_at: EpochS = 0.0
    note: str = ""
    approved_by: list[str] = field(default_factory=list)

    def row_texts(self) -> list[str]:
        """Return why rows are invalid: ``row 2, title: 'ab': 2 characters; … Enter more.``."""
        return [
            f"row {one.get('row_number')}, {one.get('column')}: {str(one.get('value'))!r}: "
            f"{one.get('problem')}. {one.get('fix')}."
            for one in self.row_errors
        ]

    @property
    def is_open(self) -> bool:
        """Whether it can be resumed: not finished, ended by a signal, or stopped by an outage."""
        return self.state in {WAITING, RUNNING} or (
            self.state == ENDED and (self.exit_code in INTERRUPTED or self.is_outage)
        )

    @property
    def is_outage(self) -> bool:
        """Whether it is worth another attempt later.

        The API was down, another run used the account, or the sheet was still being written.
        """
        return self.stop in {OUTAGE, INCOMPLETE}


@dataclass(frozen=True, slots=True)
class JobState:
    """How far the due times of a job are handled.

    Attributes:
        timetable: its key; with another timetable, due times count from when it is first read.
        handled_at: the last due time that was run or recorded as missed.
        run_id: the last run that was created because it was due; empty before the first.
    """

    job_file: str
    timetable: str
    handled_at: EpochS
    run_id: str = ""


def run_id_of(job: str, due_at: float) -> str:
    """Return the id of the run of a due time: ``20261125T023000Z-nightly``."""
    due = dt.datetime.fromtimestamp(due_at, dt.UTC)
    return f"{due:%Y%m%dT%H%M%SZ}-{job}"


def missed_record(job: str, job_file: str, missed: Missed, now_at: float) -> RunRecord:
    """Return the record of due times that were missed, with the reason."""
    return RunRecord(
        run_id_of(job, missed.first.due_at),
        job,
        job_file,
        missed.first.due_at,
        MISSED,
        is_scheduled=True,
        ended_at=now_at,
        words=missed.why,
        missed=missed.times,
        last_due_at=missed.last.due_at,
    )
