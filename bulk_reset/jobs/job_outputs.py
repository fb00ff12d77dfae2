"""What a run of a job leaves outside its own folder: copies of the report."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

from bulk_reset.core.totals import Totals
from bulk_reset.jobs.job import Job
from bulk_reset.jobs.run_record import RunRecord


def copy_outputs(job: Job, record: RunRecord, totals: Totals, folder: Path) -> None:
    """Copy report, failed rows and page to ``report.copy_to``; raises OSError.

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
        copy.unlink(missing_ok=True)
        if output:
            shutil.copyfile(output, copy)
