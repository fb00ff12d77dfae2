"""Whether a run that ended early is resumed, and what its record says if not: pure decisions.

Units: ``*_at`` UTC epoch seconds.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from bulk_reset.core.errors import ExitCode
from bulk_reset.jobs.job_runs.run_record import ABANDONED, ENDED, OUTAGE, RUNNING, RunRecord
from bulk_reset.jobs.schedule.timetable import Timetable

_KILLED: Final = 128 + 9
"""Killed by the system (out of memory) or by a user: the remaining rows are still wanted."""


def retry_at(timetable: Timetable, record: RunRecord, now_at: float) -> float:
    """Return when an open run is to be resumed: after a signal at once, else after a pause."""
    is_lost = record.is_outage or record.exit_code == _KILLED
    if record.state != ENDED or not is_lost or record.ended_at > now_at:
        return now_at  # in the future: recorded while the clock was wrong
    return max(now_at, record.ended_at + timetable.again_s)


def is_retried(record: RunRecord) -> bool:
    """Return whether a scheduled run is to be resumed later: it ended for an outside reason."""
    has_not_ended = record.state != ENDED
    is_lost = has_not_ended or record.is_outage or record.exit_code == _KILLED
    return record.is_scheduled and is_lost


def why_not_resumed(timetable: Timetable, record: RunRecord, now_at: float) -> str:
    """Return why a run is out of date; empty if it can be resumed."""
    if record.deadline_at is not None and now_at >= record.deadline_at:
        return "its deadline has passed"
    following = next(timetable.after(record.due_at), None)
    is_overtaken = following is not None and following.starts_at <= now_at
    if is_overtaken and timetable.catch_up != "all":
        return "the next run is due"
    return ""


def abandoned_record(record: RunRecord, why: str, now_at: float) -> RunRecord:
    """Return the record of a run that will not be resumed."""
    return dataclasses.replace(
        record,
        state=ENDED,
        exit_code=int(ExitCode.STOPPED),
        stop=ABANDONED,
        ended_at=record.ended_at or now_at,
        words=f"{record.words or 'not finished'}; not resumed: {why}",
    )


def exited_record(record: RunRecord, code: int, now_at: float) -> RunRecord | None:
    """Return the record of a run whose process exited without writing its end.

    Args:
        code: the process's exit code; negative for a signal.

    Returns: None if the record is right as it is.
    """
    if record.state == ENDED:
        return None
    if code == ExitCode.LOCKED and record.state == RUNNING:
        return None  # another process runs it
    if code == ExitCode.LOCKED:
        text, stop = "another process was already running the job", OUTAGE
    else:
        text = f"its process exited with code {code} without a result; rows may be pending"
        stop = ""
    return dataclasses.replace(
        record,
        state=ENDED,
        ended_at=now_at,
        exit_code=128 - code if code < 0 else code or int(ExitCode.INTERNAL),
        stop=stop,
        words=text,
    )
