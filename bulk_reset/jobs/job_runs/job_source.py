"""Where a job's rows come from: finding the sheet, and copying it into the run's folder."""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from bulk_reset.core.errors import IncompleteSheetError, InputError
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_value_types import seconds_of
from bulk_reset.jobs.job_runs.run_record import JOB_FILE, LOG, RECORD
from bulk_reset.sheets.file_types import TEXT_EXTENSIONS, is_last_line_ended

DONE_FOLDER: Final = "done"
"""Where a sheet is moved with ``afterwards = "done"``, beside the sheet."""
_OUTPUT_ENDINGS: Final = (
    *(".report.csv", ".before.csv", ".failed.csv", ".undo.csv", ".not-restored.csv"),
    *(".answer.xlsx", ".audit.jsonl", ".approval", ".html", ".tmp", "~"),
)
"""Endings of files that runs write: never a sheet to send."""
_UNDO_SHEET: Final = re.compile(r"\.undo-[0-9]+\.csv$")
_LONGEST_WAIT_S: Final = 10.0
"""A job that has to wait longer for its sheet ends, and is tried again later."""
_LONGEST_NAME_BYTES: Final = 200
"""File systems allow 255, and the names of reports are longer than that of their sheet."""


def find_sheet(job: Job, ignored: AbstractSet[Path] = frozenset()) -> Path | None:
    """Return the sheet that the job's ``[source]`` names; None if there is none.

    Args:
        ignored: sheets that are not to be sent.

    Raises:
        InputError: there is none, and the job requires one.
    """
    source = job.source
    if source.sheet is not None:
        path = job.beside(source.sheet)
        found = path if modified_ns(path) is not None else None
    else:
        found = _newest(job, ignored)
    if found is None and not ignored and source.if_none != "nothing":
        key = f"newest = {source.newest!r}" if source.newest else f"sheet = {source.sheet!r}"
        raise InputError(
            f"{job.path}: {key}: no such file. Create the file, or use "
            'if_none = "nothing" to end such a run without an error.'
        )
    return found


def _newest(job: Job, ignored: AbstractSet[Path]) -> Path | None:
    pattern = Path(job.source.newest or "").expanduser()
    root = Path(pattern.anchor) if pattern.is_absolute() else job.path.parent
    found = [
        (time_ns, path.name, path)
        for path in root.glob(str(pattern.relative_to(pattern.anchor)))
        if (time_ns := modified_ns(path)) is not None
        and path not in ignored
        and not _is_ignored(job, path)
    ]
    return max(found)[2] if found else None


def _is_ignored(job: Job, path: Path) -> bool:
    """Whether a file was written by a run, is hidden, or was moved away when it was done."""
    is_done = job.source.afterwards == "done" and path.parent.name == DONE_FOLDER
    is_output = path.name.endswith(_OUTPUT_ENDINGS) or _UNDO_SHEET.search(path.name) is not None
    return is_done or is_output or path.name.startswith(("~$", "."))


def name_in_run_folder(sheet: Path) -> str:
    """Return the sheet's name, or ``sheet.csv`` if its name cannot be kept in the run's folder.

    A name that is not printable text could not be recorded, so report and undo would be lost.
    """
    name = sheet.name
    is_taken = name in {RECORD, LOG, JOB_FILE}
    is_long = len(os.fsencode(name)) > _LONGEST_NAME_BYTES
    is_usable = name.isprintable() and not is_taken and not is_long
    return name if is_usable else f"sheet{sheet.suffix}"


def copy_sheet(
    source: Path,
    target: Path,
    settle: str,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Copy a sheet that is complete; return the copy.

    Args:
        settle: how long the sheet must not have changed; a few seconds are waited for here.
        clock: UTC epoch seconds now.

    Raises:
        IncompleteSheetError: another program is writing it, or its last line has no end.
        InputError: it cannot be read.
    """
    try:
        before = source.stat()
        wait_s = _seconds_to_settle(source, clock() - before.st_mtime, settle)
        if wait_s > 0:
            sleep(wait_s)
        shutil.copyfile(source, target)
        # What is made of it gets no more permissions, also outside the run's folder.
        target.chmod(stat.S_IMODE(source.stat().st_mode) & 0o666 | 0o600)
        after = source.stat()
    except OSError as exc:
        raise InputError(
            f"{source}: cannot be copied ({exc.strerror}). Make the file readable for this "
            "user, or free disk space."
        ) from exc
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        target.unlink()
        raise IncompleteSheetError(
            f"{source}: another program is writing it. Run the job again when the file is complete."
        )
    if source.suffix.lower() in TEXT_EXTENSIONS and not is_last_line_ended(target):
        target.unlink()
        raise IncompleteSheetError(
            f"{source}: the last line has no line break, so the file may be incomplete. "
            "Complete the file, and end its last line with a line break."
        )
    return target


def _seconds_to_settle(source: Path, age_s: float, settle: str) -> float:
    settle_s = seconds_of(settle)
    # A time in the future was set by another machine's clock.
    wait_s = min(settle_s - age_s, settle_s) if abs(age_s) < settle_s else 0.0
    if wait_s > _LONGEST_WAIT_S:
        raise IncompleteSheetError(
            f'{source}: modified less than source.settle = "{settle}" ago. Run the job again later.'
        )
    return wait_s


def modified_ns(path: Path) -> int | None:
    """Return when a regular file was last modified, in nanoseconds; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns if stat.S_ISREG(status.st_mode) else None
