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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bulk_reset.api.credentials import redact
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.counting import counted
from bulk_reset.core.errors import (
    SYSTEM_ERRORS,
    BulkResetError,
    ExitCode,
    IncompleteSheetError,
    InvalidRowsError,
    LockedError,
    NoRowsError,
    UnansweredError,
    exit_code_of,
    of_system,
)
from bulk_reset.core.file_hash import hash_file
from bulk_reset.core.option_names import OptionStyle, name_options_as
from bulk_reset.core.row_error import RowError
from bulk_reset.core.safe_text import one_line
from bulk_reset.engine.options import Options
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_value_types import seconds_of
from bulk_reset.jobs.job_runs.job_outputs import copy_outputs
from bulk_reset.jobs.job_runs.job_source import copy_sheet, modified_ns, name_in_run_folder
from bulk_reset.jobs.job_runs.remote_source import copy_remote
from bulk_reset.jobs.job_runs.run_end import RunEnd
from bulk_reset.jobs.job_runs.run_record import (
    DEADLINE,
    ENDED,
    INCOMPLETE,
    MOST_ROW_ERRORS,
    OUTAGE,
    RUNNING,
    RunRecord,
)
from bulk_reset.jobs.job_runs.run_watchdog import Watchdog
from bulk_reset.jobs.job_runs.sent_sheets import move_source, next_sheet
from bulk_reset.jobs.job_runs.sheet_trial import require_readable
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.notify.notifications import ping_start
from bulk_reset.jobs.schedule.timetable import DEADLINE_PASSED, Timetable
from bulk_reset.observability.run_log import RunLog, logged
from bulk_reset.records.approvals import copy_approvals
from bulk_reset.workflows.approve import require_approval

if TYPE_CHECKING:
    from bulk_reset.core.totals import Totals

Clock = Callable[[], float]
_MOVING: Final = 'afterwards = "done"'


@dataclass(slots=True)
class JobRun:
    """One run in progress.

    Args:
        record: of a folder that ``StateFolder.begin`` created.
        clock: UTC epoch seconds now.
        sleep: waits until a sheet that was just saved has settled.
    """

    job: Job
    state: StateFolder
    record: RunRecord
    run_log: RunLog
    callbacks: Callbacks
    clock: Clock = time.time
    sleep: Callable[[float], None] = time.sleep
    totals: Totals | None = None
    _failed_steps: list[str] = field(default_factory=list)
    """Steps after the sending that failed: ``page``, ``copy_to`` …"""
    _not_moved: list[str] = field(default_factory=list)
    """Why sheets that were sent cannot be moved away."""
    _previous: RunRecord = field(init=False)
    """The record as this process found it: of a resumed run, that of the attempt before."""
    _deadline_text: str = ""
    _watchdog: Watchdog = field(default_factory=Watchdog)

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
            end = RunEnd(
                self.job, self.state, self.run_log, self._previous, handles_signals=handles_signals
            )
            try:
                self._begin(end, handles_signals=handles_signals)
            except (BulkResetError, *SYSTEM_ERRORS) as error:
                self._record_error(error)
            except KeyboardInterrupt:
                self._record_signal(ExitCode.INTERRUPTED, "interrupted by Ctrl-C")
            except SystemExit as ending:
                self._record_signal(int(ending.code or 0), "terminated")
                if not self._watchdog.has_fired:
                    raise
            except BaseException as error:
                # Whatever it was, the record shows it.
                text = f"internal error: {type(error).__name__}: {error}"
                self._record_end(ExitCode.INTERNAL, text)
                raise
            finally:
                self.record = end.announce(self.record, self.totals)
        return self.record

    def _begin(self, end: RunEnd, *, handles_signals: bool) -> None:
        """Record the start, announce it, and run until the deadline."""
        self._update(
            state=RUNNING,
            started_at=self.record.started_at or self.clock(),
            version=version("bulk-reset"),
            connect=self.job.connection_options(),
        )
        deadline_at, self._deadline_text = self._deadline()
        left_s = None if deadline_at is None else deadline_at - self.clock()
        if failed := ping_start(self.job, end.limit):
            self.run_log.error("notification_failed", why=failed)
        with self._watchdog.watching(left_s if handles_signals else None):
            self._run(deadline_at, handles_signals=handles_signals)

    def _record_error(self, error: Exception) -> None:
        if isinstance(error, InvalidRowsError):
            self._keep_row_errors(error.row_errors)
        known = of_system(error) if isinstance(error, SYSTEM_ERRORS) else error
        stop = INCOMPLETE if isinstance(error, IncompleteSheetError) else ""
        if isinstance(error, LockedError | UnansweredError):
            # The API is down, or another run uses the account: worth another attempt later.
            stop = OUTAGE
        self._record_end(exit_code_of(error), str(known), stop)

    def _deadline(self) -> tuple[float | None, str]:
        """Return when the run stops, and why in words."""
        limit = self.job.limits.max_duration
        reasons = [(self.record.deadline_at, "the deadline was reached")]
        if limit is not None:
            ends_at = self.clock() + seconds_of(limit)
            reasons.append((ends_at, f"it took longer than limits.max_duration ({limit})"))
        known = [(at, text) for at, text in reasons if at is not None]
        return min(known, default=(None, ""))

    def _run(self, deadline_at: float | None, *, handles_signals: bool) -> None:
        if deadline_at is not None and self.clock() >= deadline_at:
            self._record_end(ExitCode.STOPPED, DEADLINE_PASSED, DEADLINE)
            return
        options = self.job.options(self._path("x.report.csv"), self._on_wall_clock(deadline_at))
        sheet = self._sheet(options)
        if sheet is None:
            text = "; ".join(self._not_moved) or "nothing to do: no sheet found"
            self._record_end(ExitCode.NOT_ALL if self._not_moved else ExitCode.DONE, text)
            return
        if self.job.source.pull is None:
            require_readable(sheet, options, self.job.source.read_within)
        report = self._path(f"{sheet.stem}.report.csv")
        options = dataclasses.replace(options, report=report)
        self._update(sheet=sheet.name, sheet_sha256=hash_file(sheet).sha256, report=report.name)
        try:
            self._record_approvals(sheet, options)
            totals = self._send(sheet, options, handles_signals=handles_signals)
        except NoRowsError as error:
            # A pull without anything to change is the usual case.
            if self.job.source.pull is None:
                self.run_log.run_failed(error)
                raise
            self.run_log.info("nothing_to_do", source=self.record.source)
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
        except NoRowsError:
            raise  # whether it is an error depends on the source
        except BaseException as error:
            self.run_log.run_failed(error)
            raise
        self.run_log.run_ended(self.totals)
        return self.totals

    def _record_approvals(self, sheet: Path, options: Options) -> None:
        """Record who approved the plan by now; the run checks it again.

        Raises:
            InputError: an approval is required, and there is no valid one.
        """
        if options.is_approval_required:
            copy_approvals(Path(self.record.source), sheet)
        approved = require_approval(sheet, options, label=self.record.source)
        self._update(note=options.note, approved_by=[str(one) for one in approved])

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
        if self.job.source.is_remote:
            return copy_remote(self.job, self._path(""), self.run_log, self._update)
        found, self._not_moved = next_sheet(self.job, self.state)
        for why in self._not_moved:
            self.run_log.warning("step_failed", what=_MOVING, why=why)
        if found is None:
            return None
        self._update(source=str(found), source_modified_ns=modified_ns(found) or 0)
        target = self._path(name_in_run_folder(found))
        return copy_sheet(found, target, self.job.source.settle, self.clock, self.sleep)

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
        self._update(source=f"{totals.rows:,} of {counted(totals.incidents, 'incident')} pulled")
        callbacks.on_notice(self.record.source)
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
            self._move_source()

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
        is_moved, why_not = move_source(self.record)
        if why_not:
            self._not_moved.append(why_not)
            self._update(not_moved=why_not)
            self.run_log.warning("step_failed", what=_MOVING, why=why_not)
        elif not is_moved:
            why = "modified or removed during the run; not moved"
            self.run_log.warning("step_failed", what=self.record.source, why=why)

    # --- The record --------------------------------------------------------------------------

    def _update(self, **facts: object) -> None:
        self.record = dataclasses.replace(self.record, **facts)  # type: ignore[arg-type]
        self.state.write(self.record)

    def _note(self, **facts: object) -> None:
        """Update the record of an end; a full disk does not change how the run ended."""
        self.record = dataclasses.replace(self.record, **facts)  # type: ignore[arg-type]
        try:
            self.state.write_anyway(self.record)
        except SYSTEM_ERRORS as error:
            # The exit code and the notification show the end, and the run can be resumed.
            self.run_log.error("record_not_written", why=str(error))

    def _record_end(self, code: int, text: str, stop: str = "", **facts: object) -> None:
        self._note(
            state=ENDED,
            ended_at=self.clock(),
            exit_code=int(code),
            stop=stop,
            words=redact(one_line(text)),
            **facts,
        )

    def _record_signal(self, code: int, text: str) -> None:
        """Record that a signal ended the run; with the totals, if the sending was over."""
        if self.totals is not None:
            self._record_totals(self.totals)
            return
        if self._watchdog.has_fired:
            self._record_end(ExitCode.STOPPED, f"stopped: {self._deadline_text}", DEADLINE)
            return
        has_started = self.record.report and self._path(self.record.report).exists()
        when = "before all rows were sent" if has_started else "before the first row was sent"
        self._record_end(code, f"{text} {when}")

    def _record_totals(self, totals: Totals) -> None:
        stop = totals.stop.reason.value if totals.stop is not None else ""
        is_overdue = stop == DEADLINE or (totals.stop is not None and self._watchdog.has_fired)
        counts = {status.value: rows for status, rows in totals.counts.items() if rows}
        facts = {"rows": totals.rows, "counts": counts, "requests": totals.requests}
        result = f"stopped: {self._deadline_text}" if is_overdue else _result(totals)
        texts = [result, *self._not_moved]
        if self._failed_steps:
            texts.append(f"failed steps: {', '.join(self._failed_steps)}")
        code = totals.exit_code
        if code == ExitCode.DONE and self._not_moved:
            code = ExitCode.NOT_ALL
        if is_overdue:
            code, stop = ExitCode.STOPPED, DEADLINE
        self._keep_row_errors(totals.row_errors)
        self._record_end(code, "; ".join(texts), stop, **facts)

    def _keep_row_errors(self, row_errors: Sequence[RowError]) -> None:
        """Record why rows were rejected, the first ones; the log has more of them."""
        if row_errors:
            self._note(row_errors=[_row_error(one) for one in row_errors[:MOST_ROW_ERRORS]])


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


def _row_error(error: RowError) -> dict[str, int | str]:
    return {
        name: redact(one_line(value)) if isinstance(value, str) else value
        for name, value in dataclasses.asdict(error).items()
    }


def _result(totals: Totals) -> str:
    if totals.stop is not None:
        return f"stopped: {totals.stop.message}"
    done = sum(n for status, n in totals.counts.items() if status.is_done)
    text = f"{done:,} of {counted(totals.rows, 'row')} done"
    if totals.verification is not None and not totals.verification.is_right:
        return f"{text}; verification failed for some rows"
    return text
