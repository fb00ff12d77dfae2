"""One run of a job, from the job file to the word about it.

    source ──copy or pull──▶ run folder ──run──▶ report, page, log ──▶ record ──▶ who is told

All of it happens in the run's own folder; the sheet itself is only copied, and moved away
afterwards where that is wanted. A run that was cut short is gone on with in its folder: its
report knows what is done.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import shutil
import stat
import time
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bulk_reset.api.credentials import redact
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import (
    BulkResetError,
    ExitCode,
    InputError,
    LockedError,
    NoRowsError,
    UnansweredError,
)
from bulk_reset.core.file_hash import hash_file
from bulk_reset.core.safe_text import one_line
from bulk_reset.engine.options import Options
from bulk_reset.jobs.job import Job
from bulk_reset.jobs.notifications import tell
from bulk_reset.jobs.run_records import (
    ENDED,
    JOB_FILE,
    LOG,
    RECORD,
    RUNNING,
    UNANSWERED,
    RunRecord,
    StateFolder,
)
from bulk_reset.jobs.timetable import Timetable
from bulk_reset.observability.run_log import RunLog, logged

if TYPE_CHECKING:
    from bulk_reset.core.totals import Totals

_OWN: Final = (
    *(".report.csv", ".before.csv", ".failed.csv", ".undo.csv", ".not-restored.csv"),
    *(".answer.xlsx", ".audit.jsonl", ".html", ".tmp", "~"),
)
"""Ends of names that runs write: no sheets of anybody."""
_DONE: Final = "done"
_LONGEST_NAME_BYTES: Final = 200
"""255 are what file systems take, and reports get longer names."""
Clock = Callable[[], float]


@dataclass(slots=True)
class JobRun:
    """One run on its way.

    Args:
        record: of a folder that was made by ``StateFolder.begin``.
        clock: UTC epoch seconds now.
    """

    job: Job
    state: StateFolder
    record: RunRecord
    run_log: RunLog
    callbacks: Callbacks
    clock: Clock = time.time
    totals: Totals | None = None
    _undone: list[str] = field(default_factory=list)
    """What could not be left for people."""
    _was: RunRecord = field(init=False)
    """The record before, where the run is gone on with."""

    def run(self, *, handles_signals: bool = False) -> RunRecord:
        """Run it, and keep what became of it, however it ends.

        Raises:
            LockedError: the job is running already; nothing was done, and nothing is kept.
        """
        with self.state.locked(self.job.name):
            # Until it was locked, somebody else may have gone on with it, and to its end.
            self.record = self._was = self.state.read(self.record.id)
            if self.record.state == ENDED and self.record.exit_code == ExitCode.DONE:
                return self.record
            self._keep(
                state=RUNNING,
                started_at=self.record.started_at or self.clock(),
                version=version("bulk-reset"),
                connect=self.job.connect(),
            )
            try:
                self._run(handles_signals=handles_signals)
            except (LockedError, UnansweredError) as error:
                # The API is down, or somebody else has the account: it is worth another try.
                self._keep_end(error.exit_code, str(error), UNANSWERED)
            except BulkResetError as error:
                self._keep_end(error.exit_code, str(error))
            except KeyboardInterrupt:
                self._keep_told_to_end(ExitCode.INTERRUPTED, "stopped by Ctrl-C")
            except SystemExit as end:
                self._keep_told_to_end(int(end.code or 0), "told to end")
                raise
            except BaseException as error:
                # Whatever it was, in the morning it is seen that it was.
                words = f"internal error: {type(error).__name__}: {error}"
                self._keep_end(ExitCode.INTERNAL, words)
                raise
            finally:
                self._tell()
        return self.record

    def _run(self, *, handles_signals: bool) -> None:
        deadline_at = self.record.deadline_at
        if deadline_at is not None and self.clock() >= deadline_at:
            self._keep_end(
                ExitCode.STOPPED, "its deadline had come before it could begin", "deadline"
            )
            return
        options = self.job.options(self._place("x.report.csv"), self._on_wall_clock(deadline_at))
        sheet = self._sheet(options)
        if sheet is None:
            self._keep_end(ExitCode.DONE, "nothing to do: there is no sheet")
            return
        options = dataclasses.replace(options, report=self._place(f"{sheet.stem}.report.csv"))
        self._keep(
            sheet=sheet.name,
            sheet_sha256=hash_file(sheet).sha256,
            report=_name(options.report),
        )
        try:
            totals = self._send(sheet, options, handles_signals=handles_signals)
        except NoRowsError:
            # A pull that finds nothing to change is what most nights are like.
            if self.job.source.pull is None:
                raise
            self._keep_end(ExitCode.DONE, "nothing to do: no incident is to be changed")
            return
        self._leave_for_people(totals, sheet)
        self._keep_totals(totals)

    def _send(self, sheet: Path, options: Options, *, handles_signals: bool) -> Totals:
        from bulk_reset.workflows.run import (  # noqa: PLC0415  (brings pandas and aiohttp along)
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

    def _place(self, name: str) -> Path:
        return self.state.folder(self.record.id) / name

    def _on_wall_clock(self, moment_at: float | None) -> float | None:
        """Return a moment as ``time.time`` will have it."""
        return None if moment_at is None else time.time() + moment_at - self.clock()

    # --- The sheet ---------------------------------------------------------------------------

    def _sheet(self, options: Options) -> Path | None:
        """Return the sheet in the run's folder, copied or pulled now; None where there is none."""
        if self.record.sheet and self._place(self.record.sheet).exists():
            return self._place(self.record.sheet)
        source = self.job.source
        if source.pull is not None:
            return self._pulled(options)
        found = self._found()
        if found is None:
            if source.if_none == "nothing":
                return None
            what = f"newest = {source.newest!r}" if source.newest else f"sheet = {source.sheet!r}"
            raise InputError(
                f"{self.job.path}: {what}: there is no such file. Put it there, or say "
                'if_none = "nothing".'
            )
        self._keep(source=str(found))
        return _copied(found, self._place(_plain_name(found)))

    def _found(self) -> Path | None:
        source = self.job.source
        if source.sheet is not None:
            path = self.job.beside(source.sheet)
            return path if _written_at(path) is not None else None
        pattern = Path(source.newest or "").expanduser()
        root = Path(pattern.anchor) if pattern.is_absolute() else self.job.path.parent
        found = [
            (written_at, path.name, path)
            for path in root.glob(str(pattern.relative_to(pattern.anchor)))
            if (written_at := _written_at(path)) is not None and not self._is_out(path)
        ]
        return max(found)[2] if found else None

    def _is_out(self, path: Path) -> bool:
        """Tell whether a file is no sheet of anybody, or was moved away when it was done."""
        is_done = self.job.source.afterwards == "done" and path.parent.name == _DONE
        return is_done or path.name.startswith(("~$", ".")) or path.name.endswith(_OWN)

    def _pulled(self, options: Options) -> Path:
        from bulk_reset.workflows.pull import pull  # noqa: PLC0415  (brings aiohttp along)

        told = self.job.source.pull
        assert told is not None  # noqa: S101  (who asks has looked)
        sheet = self._place(f"{self.job.name}.csv")
        now = dt.datetime.fromtimestamp(self.record.due_at, self._zone())
        callbacks = logged(self.callbacks, self.run_log)
        totals = pull(
            sheet,
            told.query_at(now),
            options,
            callbacks,
            custom=[f"field:{name}" for name in told.field],
            rules=self.job.rules(),
            overwrite=True,
        )
        source = f"{totals.rows:,} of {totals.incidents:,} incidents, pulled"
        self._keep(source=source)
        callbacks.on_notice(source)
        return sheet

    def _zone(self) -> dt.tzinfo | None:
        told = self.job.schedule
        return zoneinfo.ZoneInfo(told.time_zone) if told else None

    # --- What is left behind -----------------------------------------------------------------

    def _leave_for_people(self, totals: Totals, sheet: Path) -> None:
        """Write the page, copy the report, move the sheet away: what fails is said, no more."""
        steps: list[tuple[str, Callable[[], None]]] = []
        if self.job.report.html and totals.report:
            steps.append(("the page", self._write_page))
        if self.job.report.copy_to:
            steps.append(("copy_to", lambda: self._copy_out(totals)))
        is_through = totals.exit_code in {ExitCode.DONE, ExitCode.NOT_ALL}
        if self.job.source.afterwards == "done" and is_through:
            steps.append(('afterwards = "done"', lambda: self._move_away(sheet)))
        for name, step in steps:
            self._try(name, step)

    def _try(self, name: str, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001  (all is sent; a run is not worse for it)
            self._undone.append(name)
            self.run_log.warning("left undone", what=name, why=str(error))

    def _write_page(self) -> None:
        from bulk_reset.reports.report_writer import write_page  # noqa: PLC0415  (rarely needed)

        page = write_page(self._place(self.record.report))
        self._keep(page=page.name)

    def _copy_out(self, totals: Totals) -> None:
        moment = dt.datetime.fromtimestamp(self.record.due_at, self._zone())
        stem = (self.job.report.copy_to or "").format(
            date=f"{moment:%Y-%m-%d}",
            time=f"{moment:%H%M}",
            job=self.job.name,
            run=self.record.id,
        )
        target = self.job.beside(stem)
        target.parent.mkdir(parents=True, exist_ok=True)
        named = {"report.csv": totals.report, "failed.csv": totals.failed}
        if self.record.page:
            named["html"] = str(self._place(self.record.page))
        for ending in ("report.csv", "failed.csv", "html"):
            copy = target.with_name(f"{target.name}.{ending}")
            # By a name like {job} alone, the rows that failed the night before would stay there.
            copy.unlink(missing_ok=True)
            if named.get(ending):
                shutil.copyfile(named[ending], copy)

    def _move_away(self, sheet: Path) -> None:
        """Move the source away, if it still is what was sent."""
        source = Path(self.record.source)
        if not source.exists() or hash_file(source).sha256 != self.record.sheet_sha256:
            self.run_log.warning("left undone", what=str(source), why="it has changed meanwhile")
            return
        done = source.parent / _DONE
        done.mkdir(exist_ok=True)
        target = done / source.name
        if target.exists():
            target = done / f"{self.record.id}-{sheet.name}"
        source.rename(target)

    # --- The record --------------------------------------------------------------------------

    def _keep(self, **facts: object) -> None:
        self.record = dataclasses.replace(self.record, **facts)  # type: ignore[arg-type]
        self.state.write(self.record)

    def _keep_end(self, code: int, words: str, stop: str = "") -> None:
        self._keep(
            state=ENDED,
            ended_at=self.clock(),
            exit_code=int(code),
            stop=stop,
            words=redact(one_line(words)),
        )

    def _keep_told_to_end(self, code: int, words: str) -> None:
        """Keep that it was told to end; by what was sent, where all of that is known."""
        if self.totals is not None:
            self._keep_totals(self.totals)
            return
        has_sent = self.record.report and self._place(self.record.report).exists()
        self._keep_end(code, f"{words} before it {'was through' if has_sent else 'had begun'}")

    def _keep_totals(self, totals: Totals) -> None:
        stop = totals.stop.reason.value if totals.stop is not None else ""
        self._keep(rows=totals.rows, counts=_counts(totals), requests=totals.requests)
        undone = f"; left undone: {', '.join(self._undone)}" if self._undone else ""
        self._keep_end(totals.exit_code, f"{_words(totals)}{undone}", stop)

    def _tell(self) -> None:
        """Say how it ended: into the log, and to whom the job names."""
        record, was = self.record, self._was
        say = self.run_log.info if record.exit_code == 0 else self.run_log.error
        say("job ended", exit_code=record.exit_code, words=record.words)
        if self.job.report.metrics_file:
            self._try("metrics_file", self._write_metrics)
        if self.job.notify is None or record.state != ENDED:
            return
        is_problem = record.exit_code != ExitCode.DONE
        # Of an outage it is told when it begins, not every quarter of an hour, and when it is over;
        # so of all that is gone on with. Where nobody could be told, it is still news.
        is_told = was.is_open and was.notified != "" and not was.notified.startswith("failed")
        is_news = self.job.notify.when == "always" or is_problem or is_told
        if is_news and not (is_told and was.is_unanswered and record.is_unanswered):
            notified = tell(self.job, record, self._place(""))
            self._keep(notified=notified)
            if "failed: " in notified:
                self.run_log.error("not all were told", why=notified)

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
    """Return the record of a run that is to be made."""
    return RunRecord(
        run_id,
        job.name,
        str(job.path),
        due_at,
        is_scheduled=is_scheduled,
        deadline_at=deadline_of(job, due_at),
    )


def deadline_of(job: Job, moment_at: float) -> float | None:
    """Return when a run of a moment stops, None where it does not."""
    timetable = Timetable.of(job)
    return timetable.deadline_after(moment_at) if timetable else None


def _words(totals: Totals) -> str:
    if totals.stop is not None:
        return f"stopped: {totals.stop.message}"
    done = sum(n for status, n in totals.counts.items() if status.is_done)
    text = f"{done:,} of {totals.rows:,} rows are done"
    if totals.verification is not None and not totals.verification.is_right:
        return f"{text}; some are not as they were written"
    return text


def _counts(totals: Totals) -> dict[str, int]:
    return {status.value: rows for status, rows in totals.counts.items() if rows}


def _name(path: Path | None) -> str:
    return path.name if path is not None else ""


def _plain_name(sheet: Path) -> str:
    """Return the sheet's name, or one in its place that can be kept in a record and be typed.

    Of a sheet whose name is no text, nobody would find the report, and no undo.
    """
    name = sheet.name
    is_last_written = name in {RECORD, LOG, JOB_FILE}
    is_long = len(os.fsencode(name)) > _LONGEST_NAME_BYTES
    return (
        name
        if name.isprintable() and not is_last_written and not is_long
        else f"sheet{sheet.suffix}"
    )


def _written_at(path: Path) -> int | None:
    """Return when a file was written last, in nanoseconds; None where there is none."""
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_mtime_ns if stat.S_ISREG(told.st_mode) else None


def _copied(source: Path, target: Path) -> Path:
    """Copy a sheet that nobody is writing.

    Raises:
        InputError: it cannot be read, or somebody is writing it.
    """
    try:
        before = source.stat()
        shutil.copyfile(source, target)
        after = source.stat()
    except OSError as exc:
        raise InputError(f"{source}: cannot be copied ({exc.strerror}). Let it be read.") from exc
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        target.unlink()
        raise InputError(f"{source}: somebody is writing it. Run it when it is whole.")
    return target
