"""Which version of a job file a run uses: one, which is kept in the run's folder.

The file may be edited while a run waits or is interrupted. A run uses the version that it was
created with; one that ended before it sent anything may be resumed with the current version, for
example after an error in the file was fixed. That version is then the one that is kept.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_file import content_of, read_job
from bulk_reset.jobs.job_runs.run_record import ENDED, JOB_FILE, RunRecord
from bulk_reset.jobs.job_runs.state_folder import StateFolder


def job_of_run(path: Path, state: StateFolder, record: RunRecord) -> Job:
    """Return the job of an existing run, and keep its version.

    Args:
        path: of the job file; other paths are relative to its folder.

    Raises:
        InputError: the version is invalid, for example because a variable is not set.
        LockedError: the job is running; nothing was changed.
    """
    kept = state.folder(record.id) / JOB_FILE
    content = kept.read_bytes() if kept.is_file() else content_of(path)
    if not _may_change(record, state) or not path.is_file() or content_of(path) == content:
        return read_job(path, content=content)
    content = content_of(path)
    job = read_job(path, content=content)
    with state.locked(record.job):
        # The sheet was made by the version before, too.
        state.write(dataclasses.replace(record, sheet="", sheet_sha256="", source=""))
        state.keep_job_file(record.id, content)
    return job


def _may_change(record: RunRecord, state: StateFolder) -> bool:
    has_report = bool(record.report) and (state.folder(record.id) / record.report).exists()
    return record.state == ENDED and not has_report
