"""Notifications that the scheduler itself sends: for runs that have no process to do so.

Each is sent in a thread. State: ``limit``, which ends those that are being sent.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import math
from dataclasses import dataclass, field

from bulk_reset.jobs.job_files.invalid_job import InvalidJob, notify_invalid
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_runs.run_record import RunRecord, missed_record
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.notify.notifications import ping_end, send_notification
from bulk_reset.jobs.notify.notify_limit import NotifyLimit
from bulk_reset.jobs.schedule.timetable import Missed
from bulk_reset.observability.run_log import RunLog


@dataclass(slots=True)
class ScheduleNotices:
    """Sends and records notifications."""

    state: StateFolder
    run_log: RunLog
    limit: NotifyLimit = field(default_factory=NotifyLimit)

    def stop(self) -> None:
        """Let notifications that are being sent end soon."""
        self.limit.stop.set()

    async def missed(self, job: Job, missed: Missed, now_at: float) -> None:
        """Record, log and notify due times that were missed."""
        record = self.state.begin(missed_record(job.name, str(job.path), missed, now_at), b"")
        if record is None:
            return  # recorded before
        self.run_log.warning(
            "runs_missed",
            job=job.name,
            count=missed.times,
            first=iso(missed.first.due_at),
            last=iso(missed.last.due_at),
            why=missed.why,
        )
        await self.ended(job, record)

    async def ended(self, job: Job, record: RunRecord) -> None:
        """Notify how a run ended that was missed, abandoned or killed."""
        if job.notify is not None:
            notified = await asyncio.to_thread(self._send, job, record)
            self.state.write(dataclasses.replace(record, notified=notified))

    def _send(self, job: Job, record: RunRecord) -> str:
        if failed := ping_end(job, record, self.limit):
            self.run_log.error("notification_failed", job=job.name, why=failed)
        folder = self.state.folder(record.id)
        return send_notification(job, record, folder, limit=self.limit)

    async def invalid(self, invalid: InvalidJob) -> None:
        """Notify that a job file is invalid."""
        notified = await asyncio.to_thread(notify_invalid, invalid, self.state, self.limit)
        if "failed: " in notified:
            self.run_log.error("notification_failed", file=str(invalid.path), why=notified)


def iso(epoch_s: float | None) -> str:
    """Return a time as it is logged; ``never`` for None and for infinity."""
    if epoch_s is None or epoch_s == math.inf:
        return "never"
    return dt.datetime.fromtimestamp(epoch_s, dt.UTC).isoformat(timespec="seconds")
