"""The sheet of a job at an address: copied into the run's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bulk_reset.jobs.job_files.job import Job
from bulk_reset.observability.run_log import RunLog


def copy_remote(job: Job, folder: Path, run_log: RunLog, update: Callable[..., None]) -> Path:
    """Copy the sheet of an address; return the copy, which a resumed run uses.

    Args:
        update: records the address, without its secrets.

    Raises:
        InputError: it cannot be read.
    """
    from bulk_reset.workflows.remote_sheet import fetch, source_of  # noqa: PLC0415  (aiohttp)

    def notify(text: str) -> None:
        run_log.info("notice", text=text)

    sheet = fetch(job.source.sheet or "", folder, "run", notify)
    source = source_of(sheet)
    update(source=source.address if source is not None else "")
    return sheet
