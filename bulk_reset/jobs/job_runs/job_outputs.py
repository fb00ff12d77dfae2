"""What a run of a job leaves outside its own folder: copies of the report."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.totals import Totals
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_runs.run_record import RunRecord
from bulk_reset.reports.own_files import is_page, refuse_other
from bulk_reset.sheets.columns import OWN_PREFIX


def copy_outputs(job: Job, record: RunRecord, totals: Totals, folder: Path) -> None:
    """Copy report, failed rows and page to ``report.copy_to``; raises OSError.

    An older copy is replaced; raises InputError where a file is not one.

    Args:
        folder: the run's.
    """
    due = dt.datetime.fromtimestamp(record.due_at, job.zone)
    stem = (job.report.copy_to or "").format(
        date=f"{due:%Y-%m-%d}", time=f"{due:%H%M}", job=job.name, run=record.id
    )
    target = job.beside(stem)
    target.parent.mkdir(parents=True, exist_ok=True)
    outputs = {
        "report.csv": totals.report,
        "failed.csv": totals.failed,
        "html": str(folder / record.page) if record.page else "",
    }
    for ending, output in outputs.items():
        copy = target.with_name(f"{target.name}.{ending}")
        # With a name like {job}, the failed rows of the run before would otherwise remain.
        refuse_other(copy, _is_own, "copy")
        copy.unlink(missing_ok=True)
        if output:
            with (
                Path(output).open("rb") as source,
                atomic_file(copy, Path(output)) as file,
            ):
                shutil.copyfileobj(source, file)


def _is_own(path: Path) -> bool:
    """Return whether a file is a report, failed rows or a page of this program."""
    with path.open("rb") as file:
        header = file.readline(1 << 16)
    is_report = b"incident_id" in header and b"digest" in header
    return is_report or OWN_PREFIX.encode() in header or is_page(path)
