"""One run of a job, from the job file to the notification about it.

    source ──copy or pull──▶ run folder ──run──▶ report, page, log ──▶ record ──▶ notification

Everything happens in the run's own folder. The sheet itself is only copied, and moved afterwards
if the job says so. An interrupted run is resumed in its folder: its report knows which rows are
done.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bulk_reset.api.credentials import redact
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.counting import counted
from bulk_reset.core.errors import (
    BulkResetError,
    ExitCode,
    LockedError,
    NoRowsError,
    UnansweredError,
)
from bulk_reset.core.file_hash import hash_file
from bulk_reset.core.option_names import OptionStyle, name_options_as
from bulk_reset.core.safe_text import one_line
from bulk_reset.engine.options import Options
from bulk_reset.jobs.job import Job
from bulk_reset.jobs.job_outputs import copy_outputs, move_source
from bulk_reset.jobs.job_source import copy_sheet, find_sheet, name_in_run_folder
from bulk_reset.jobs.notifications import send_notification
from bulk_reset.jobs.run_record import ENDED, OUTAGE, RUNNING, RunRecord
from bulk_reset.jobs.sheet_trial import require_readable
from bulk_reset.jobs.state_folder import StateFolder
from bulk_reset.jobs.timetable import DEADLINE_PASSED, Timetable
from bulk_reset.observability.run_log import RunLog, logged

if TYPE_CHECKING:
    from bulk_reset.core.totals import Totals

Clock = Callable[[], float]


@dataclass(slots=True)
class JobRun:
    """One run in progress.

    Args:
        record: of a folder that ``StateFolder.begin`` created.
        clock: UTC epoch seconds now.
    """

    job: Job
    state: StateFolder
    record: RunRecord
    run_log: RunLog
    callbacks: Callbacks
    clock: Clock = time.time
    totals: Totals | None = None
    _failed_steps: list[str] = field(default_factory=list)
    """Steps after the sending that failed: ``page``, ``copy_to`` …"""
    _previous: RunRecord = field(init=False)
    """The record as this process found it: of a resumed run, that of the attempt before."""

    def run(self, *, handles_signals: bool = False) -> RunRecord:
        """Run it, and record the result however it ends.

        Raises:
            LockedError: the job is already running; nothing was done and nothing is recorded.
        """
        with self.state.locked(self.job.name), name_options_as(OptionStyle.JOB_FILE):
            # Before the lock was acquired, another process may have resumed and finished the run.
            self.record = self._previous = self.state.read(self.record.id)
            if self.record.state == ENDED and self.record.exit_code == ExitCode.DONE:
                return self.record
            self._update(
                state=RUNNING,
                started_at=self.record.started_at or self.clock(),
                version=version("bulk-reset"),
                connect=self.job.connection_options(),
            )
            try:
                self._run(handles_signals=handles_signals)
            except (LockedError, UnansweredError) as error:
                # The API is down, or another run uses the account: worth another attempt later.
                self._record_end(error.exit_code, str(error), OUTAGE)
            except BulkResetError as error:
                self._record_end(error.exit_code, str(error))
            except KeyboardInterrupt:
                self._record_signal(ExitCode.INTERRUPTED, "interrupted by Ctrl-C")
            except SystemExit as end:
                self._record_signal(int(end.code or 0), "terminated")
                raise
            except BaseException as error:
                # Whatever it was, the record shows it.
                text = f"internal error: {type(error).__name__}: {error}"
                self._record_end(ExitCode.INTERNAL, text)
                raise
            finally:
                self._announce_end()
        return self.record

    def _run(self, *, handles_signals: bool) -> None:
        deadline_at = self.record.deadline_at
        if deadline_at is not None and self.clock() >= deadline_at:
            self._record_end(ExitCode.STOPPED, DEADLINE_PASSED, "deadline")
            return
        options = self.job.options(self._path("x.report.csv"), self._on_wall_clock(deadline_at))
        sheet = self._sheet(options)
        if sheet is None:
            self._record_end(ExitCode.DONE, "nothing to do: no sheet found")
            return
        if self.job.source.pull is None:
            require_readable(sheet, options, self.job.source.read_within)
        report = self._path(f"{sheet.stem}.report.csv")
        options = dataclasses.replace(options, report=report)
        self._update(sheet=sheet.name, sheet_sha256=hash_file(sheet).sha256, report=report.name)
        try:
            totals = self._send(sheet, options, handles_signals=handles_signals)
        except NoRowsError:
            # A pull without anything to change is the usual case.
            if self.job.source.pull is None:
                raise
            self._record_end(ExitCode.DONE, "nothing to do: no incident needs a change")
            return
        self._finish(totals)
        self._record_totals(totals)

    def _send(self, sheet: Path, options: Options, *, handles_signals: bool) -> Totals:
        from bulk_reset.workflows.run import (  # noqa: PLC0415  (imports pandas)
            run,
        )

        self.run_log.run_started(sheet, options.changed(), source=self.record.source)
        callbacks = logged(self.callbacks, self.run_log)
        try:
            self.totals = run(sheet, options, callbacks, handles_signals=handles_signals)
        except BaseException as error:
            self.run_log.run_failed(error)
            raise
        self.run_log.run_ended(self.totals)
        return self.totals

    def _path(self, name: str) -> Path:
        return self.state.folder(self.record.id) / name

    def _on_wall_clock(self, epoch_s: float | None) -> float | None:
        """Return a time of ``clock`` as ``time.time`` counts it."""
        return None if epoch_s is None else time.time() + epoch_s - self.clock()

    # --- The sheet ---------------------------------------------------------------------------

    def _sheet(self, options: Options) -> Path | None:
        """Return the sheet in the run's folder, copied or pulled now; None if there is none."""
        if self.record.sheet and self._path(self.record.sheet).exists():
            return self._path(self.record.sheet)
        if self.job.source.pull is not None:
            return self._pull(options)
        found = find_sheet(self.job)
        if found is None:
            return None
        self._update(source=str(found))
        return copy_sheet(found, self._path(name_in_run_folder(found)))

    def _pull(self, options: Options) -> Path:
        from bulk_reset.workflows.pull import pull  # noqa: PLC0415  (brings aiohttp)

        query = self.job.source.pull
        assert query is not None  # noqa: S101  (the caller has checked)
        sheet = self._path(f"{self.job.name}.csv")
        due = dt.datetime.fromtimestamp(self.record.due_at, self.job.zone)
        callbacks = logged(self.callbacks, self.run_log)
        totals = pull(
            sheet,
            query.query_at(due),
            options,
            callbacks,
            custom=[f"field:{name}" for name in query.field],
            rules=self.job.rules(),
            overwrite=True,
        )
        source = f"{totals.rows:,} of {counted(totals.incidents, 'incident')} pulled"
        self._update(source=source)
        callbacks.on_notice(source)
        return sheet

    # --- After the sending -------------------------------------------------------------------

    def _finish(self, totals: Totals) -> None:
        """Write the page, copy the report, move the sheet; a failed step is logged, no more."""
        if self.job.report.html and totals.report:
            self._try("page", self._write_page)
        if self.job.report.copy_to:
            folder = self._path("")
            self._try("copy_to", lambda: copy_outputs(self.job, self.record, totals, folder))
        is_sent = totals.exit_code in {ExitCode.DONE, ExitCode.NOT_ALL}
        if self.job.source.afterwards == "done" and is_sent:
            self._try('afterwards = "done"', self._move_source)

    def _try(self, step: str, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception as error:  # noqa: BLE001  (all rows are sent; that result stands)
            self._failed_steps.append(step)
            self.run_log.warning("step_failed", what=step, why=str(error))

    def _write_page(self) -> None:
        from bulk_reset.reports.report_page import write_page  # noqa: PLC0415  (rarely needed)

        page = write_page(self._path(self.record.report))
        self._update(page=page.name)

    def _move_source(self) -> None:
        if not move_source(self.record):
            why = "modified or removed during the run; not moved"
            self.run_log.warning("step_failed", what=self.record.source, why=why)

    # --- The record --------------------------------------------------------------------------

    def _update(self, **facts: object) -> None:
        self.record = dataclasses.replace(self.record, **facts)  # type: ignore[arg-type]
        self.state.write(self.record)

    def _record_end(self, code: int, text: str, stop: str = "") -> None:
        self._update(
            state=ENDED,
            ended_at=self.clock(),
            exit_code=int(code),
            stop=stop,
            words=redact(one_line(text)),
        )

    def _record_signal(self, code: int, text: str) -> None:
        """Record that a signal ended the run; with the totals, if the sending was over."""
        if self.totals is not None:
            self._record_totals(self.totals)
            return
        has_started = self.record.report and self._path(self.record.report).exists()
        when = "before all rows were sent" if has_started else "before the first row was sent"
        self._record_end(code, f"{text} {when}")

    def _record_totals(self, totals: Totals) -> None:
        stop = totals.stop.reason.value if totals.stop is not None else ""
        counts = {status.value: rows for status, rows in totals.counts.items() if rows}
        self._update(rows=totals.rows, counts=counts, requests=totals.requests)
        failed = f"; failed steps: {', '.join(self._failed_steps)}" if self._failed_steps else ""
        self._record_end(totals.exit_code, f"{_result(totals)}{failed}", stop)

    def _announce_end(self) -> None:
        """Log the result, write the metrics, and notify if the job says so."""
        record = self.record
        log = self.run_log.info if record.exit_code == 0 else self.run_log.error
        log("job_ended", exit_code=record.exit_code, words=record.words)
        if self.job.report.metrics_file:
            self._try("metrics_file", self._write_metrics)
        if record.state == ENDED and self._is_news():
            notified = send_notification(self.job, record, self._path(""))
            self._update(notified=notified)
            if "failed: " in notified:
                self.run_log.error("notification_failed", why=notified)

    def _is_news(self) -> bool:
        """Whether the end of the run is to be notified.

        An outage is notified when it begins and when it is over, not after every retry; the same
        holds for every resumed run. A notification that failed does not count.
        """
        if self.job.notify is None:
            return False
        record, previous = self.record, self._previous
        has_notified = previous.notified != "" and not previous.notified.startswith("failed")
        is_notified = previous.is_open and has_notified
        is_problem = record.exit_code != ExitCode.DONE
        is_wanted = self.job.notify.when == "always" or is_problem or is_notified
        return is_wanted and not (is_notified and previous.is_outage and record.is_outage)

    def _write_metrics(self) -> None:
        from bulk_reset.observability.metrics import write_metrics  # noqa: PLC0415  (rarely needed)

        write_metrics(
            self.job.beside(self.job.report.metrics_file or ""),
            self.totals,
            job=self.job.name,
            started_at=self.record.started_at,
            ended_at=self.record.ended_at,
            exit_code=self.record.exit_code,
            is_rehearsal=self.job.api.sandbox or self.job.api.sandbox_state is not None,
        )


def new_record(job: Job, due_at: float, run_id: str, *, is_scheduled: bool) -> RunRecord:
    """Return the record of a run that is about to be created."""
    return RunRecord(
        run_id,
        job.name,
        str(job.path),
        due_at,
        is_scheduled=is_scheduled,
        deadline_at=deadline_of(job, due_at),
    )


def deadline_of(job: Job, due_at: float) -> float | None:
    """Return when a run with this due time stops; None without a deadline."""
    timetable = Timetable.of(job)
    return timetable.deadline_after(due_at) if timetable else None


def _result(totals: Totals) -> str:
    if totals.stop is not None:
        return f"stopped: {totals.stop.message}"
    done = sum(n for status, n in totals.counts.items() if status.is_done)
    text = f"{done:,} of {counted(totals.rows, 'row')} done"
    if totals.verification is not None and not totals.verification.is_right:
        return f"{text}; verification failed for some rows"
    return text
