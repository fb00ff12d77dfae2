"""The notification about a job file that is invalid, so that its job is not run.

It is sent once for each content of the file. Who is notified is in the file itself, or, if that
part cannot be read, in its last valid version: the one that was read before, or that the last run
kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from bulk_reset.core.errors import BulkResetError, ExitCode
from bulk_reset.core.safe_text import one_line
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_file import content_of, notify_in, read_job
from bulk_reset.jobs.job_files.job_schema import Notify
from bulk_reset.jobs.job_runs.run_record import JOB_FILE, RunRecord, run_id_of
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.notify.notifications import send_to
from bulk_reset.jobs.notify.notify_limit import NotifyLimit

INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class InvalidJob:
    """An invalid job file.

    Attributes:
        why: all its errors.
        previous: its last valid version that this process has read; None if there is none.
    """

    path: Path
    why: str
    previous: Job | None = None


def notify_invalid(
    invalid: InvalidJob, state: StateFolder, limit: NotifyLimit | None = None
) -> str:
    """Notify that a job file is invalid, once; return who was notified, and ``failed: …``."""
    path = invalid.path
    content = b""
    with contextlib.suppress(BulkResetError):
        content = content_of(path)
    digest = hashlib.sha256(content + invalid.why.encode("utf-8", "replace")).hexdigest()
    if not state.is_new_invalid(path.stem, digest):
        return ""
    notify = notify_in(path, content) or _notify_before(invalid, state)
    if notify is None:
        return ""
    now_at = time.time()
    record = RunRecord(
        run_id_of(path.stem, now_at),
        path.stem,
        str(path),
        now_at,
        INVALID,
        ended_at=now_at,
        exit_code=int(ExitCode.INPUT),
        words=one_line(f"invalid job file; the job is not run: {invalid.why}"),
    )
    return send_to(notify, path.parent, record, state.path, limit or NotifyLimit())


def _notify_before(invalid: InvalidJob, state: StateFolder) -> Notify | None:
    if invalid.previous is not None:
        return invalid.previous.notify
    job_state = state.job_state(invalid.path.stem)
    kept = state.folder(job_state.run_id) / JOB_FILE if job_state and job_state.run_id else None
    if kept is None or not kept.is_file():
        return None
    try:
        return read_job(invalid.path, content=content_of(kept)).notify
    except BulkResetError:
        return None
