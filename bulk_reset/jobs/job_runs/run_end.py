"""What follows when a run of a job has ended: log, metrics, notifications, removal of old runs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bulk_reset.core.errors import ExitCode
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_value_types import seconds_of
from bulk_reset.jobs.job_runs.run_record import ENDED, INTERRUPTED, RunRecord
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.notify.notifications import ping_end, send_notification
from bulk_reset.jobs.notify.notify_limit import NotifyLimit, stopped_by_signals
from bulk_reset.observability.run_log import RunLog

if TYPE_CHECKING:
    from bulk_reset.core.totals import Totals

_INTERRUPTED_TEXT: Final = "failed: stopped by a signal"


@dataclass(slots=True)
class RunEnd:
    """The end of one run.

    Args:
        previous: the record as the process found it: of a resumed run, that of the attempt before.
        handles_signals: whether a signal gives notifications a last time limit.
    """

    job: Job
    state: StateFolder
    run_log: RunLog
    previous: RunRecord
    handles_signals: bool = False
    limit: NotifyLimit = field(default_factory=NotifyLimit)

    def announce(self, record: RunRecord, totals: Totals | None) -> RunRecord:
        """Log the result, write the metrics, notify and ping; return the record with that."""
        log = self.run_log.info if record.exit_code == 0 else self.run_log.error
        log("job_ended", exit_code=record.exit_code, words=record.words)
        if self.job.report.metrics_file:
            self._try("metrics_file", lambda: self._write_metrics(record, totals))
        if record.state == ENDED and self.job.notify is not None:
            if record.exit_code in INTERRUPTED:
                self.limit.stop.set()
            signals = stopped_by_signals(self.limit) if self.handles_signals else None
            with signals or contextlib.nullcontext():
                record = self._notify(record)
        if self.job.keep is not None:
            self._try("keep", lambda: self._remove_old_runs(record))
        return record

    def _notify(self, record: RunRecord) -> RunRecord:
        if failed := ping_end(self.job, record, self.limit):
            self.run_log.error("notification_failed", why=failed)
        if not self._is_news(record):
            return record
        try:
            notified = send_notification(
                self.job, record, self.state.folder(record.id), limit=self.limit
            )
        except BaseException:
            self.state.write(dataclasses.replace(record, notified=_INTERRUPTED_TEXT))
            raise
        record = dataclasses.replace(record, notified=notified)
        # A full disk does not change how the run ended.
        self._try("record", lambda: self.state.write_anyway(record))
        if "failed: " in notified:
            self.run_log.error("notification_failed", why=notified)
        return record

    def _is_news(self, record: RunRecord) -> bool:
        """Whether the end of the run is to be notified.

        An outage is notified when it begins and when it is over, not after every retry; the same
        holds for every resumed run. A notification that failed does not count.
        """
        notify, previous = self.job.notify, self.previous
        if notify is None or (notify.command is None and notify.webhook is None):
            return False
        has_notified = previous.notified != "" and not previous.notified.startswith("failed")
        is_notified = previous.is_open and has_notified
        is_problem = record.exit_code != ExitCode.DONE
        is_wanted = notify.when == "always" or is_problem or is_notified
        return is_wanted and not (is_notified and previous.is_outage and record.is_outage)

    def _write_metrics(self, record: RunRecord, totals: Totals | None) -> None:
        from bulk_reset.observability.metrics import write_metrics  # noqa: PLC0415  (rarely needed)

        write_metrics(
            self.job.beside(self.job.report.metrics_file or ""),
            totals,
            job=self.job.name,
            started_at=record.started_at,
            ended_at=record.ended_at,
            exit_code=record.exit_code,
            is_rehearsal=self.job.api.sandbox or self.job.api.sandbox_state is not None,
        )

    def _remove_old_runs(self, record: RunRecord) -> None:
        keep_s = seconds_of(self.job.keep or "")
        removed = self.state.clean(record.ended_at - keep_s, job=self.job.name)
        if removed:
            self.run_log.info("runs_removed", runs=removed)

    def _try(self, step: str, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception as error:  # noqa: BLE001  (the run's result stands)
            self.run_log.warning("step_failed", what=step, why=str(error))
