"""Sheets of ``afterwards = "done"``: moved away once they are sent, and never sent twice.

A sheet that could not be moved is still the newest one at the next due time. The record of its run
has the reason, so the next run moves it, if it can by then, instead of sending it again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Set as AbstractSet
from pathlib import Path

from bulk_reset.core.file_hash import hash_file
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_runs.job_source import DONE_FOLDER, find_sheet, modified_ns
from bulk_reset.jobs.job_runs.run_record import RunRecord
from bulk_reset.jobs.job_runs.state_folder import StateFolder


def move_source(record: RunRecord) -> tuple[bool, str]:
    """Move the sheet into ``done/`` beside it, if it still is what was sent.

    Returns: whether it was moved, and why it cannot be; neither if it was modified or removed.
    """
    source = Path(record.source)
    try:
        return _move(source, record), ""
    except OSError as exc:
        return False, (
            f"{source}: sent, but it cannot be moved to {DONE_FOLDER}/ ({exc.strerror or exc}). "
            "Make the folder writable, or move the file; it will not be sent again."
        )


def _move(source: Path, record: RunRecord) -> bool:
    if not source.exists() or hash_file(source).sha256 != record.sheet_sha256:
        return False
    done = source.parent / DONE_FOLDER
    done.mkdir(exist_ok=True)
    target = done / source.name
    if target.exists():
        target = done / f"{record.id}-{record.sheet}"
    source.rename(target)
    return True


def next_sheet(job: Job, state: StateFolder) -> tuple[Path | None, list[str]]:
    """Return the sheet to send, and why sheets that were sent before cannot be moved.

    Raises:
        InputError: there is none, and the job requires one.
    """
    not_moved: dict[Path, str] = {}
    while True:
        found = _find(job, not_moved.keys())
        earlier = _sent_by(state, job, found) if found is not None else None
        if found is None or earlier is None:
            return found, list(not_moved.values())
        is_moved, why = move_source(dataclasses.replace(earlier, source=str(found)))
        state.write(dataclasses.replace(earlier, not_moved=why))
        if not is_moved and not why:
            return found, list(not_moved.values())  # just modified: it is a new sheet
        if why:
            not_moved[found] = why


def _find(job: Job, ignored: AbstractSet[Path]) -> Path | None:
    if job.source.sheet is not None and ignored:
        return None
    return find_sheet(job, ignored)


def _sent_by(state: StateFolder, job: Job, sheet: Path) -> RunRecord | None:
    """Return the run that sent this sheet and could not move it; None if there is none."""
    if job.source.afterwards != "done":
        return None
    # As it is recorded: a name that is no text loses characters.
    source, stamp = str(sheet).encode("utf-8", "replace").decode(), modified_ns(sheet)
    for record in reversed(state.records(job.name)):
        is_same = (record.source, record.source_modified_ns) == (source, stamp)
        if is_same and record.not_moved and hash_file(sheet).sha256 == record.sheet_sha256:
            return record
    return None
