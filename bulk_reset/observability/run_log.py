"""The log of a run: one event a line, never a secret.

``logged`` wraps the callbacks of a run and logs what passes through. The number of events grows
with a run's duration, not with its rows: progress is logged every few seconds, and of the rows
that fail for one reason only the first hundred are logged one by one.

Units: ``*_s`` seconds; ``at`` is UTC, ISO 8601, to the millisecond.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.defaults import PACE
from bulk_reset.core.errors import ExitCode, InvalidRowsError, exit_code_of
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.row_error import RowError
from bulk_reset.core.totals import Progress, StatusCounts, Totals
from bulk_reset.observability.log_output import LogOutput, log_file, new_log

__all__ = ["LogOutput", "RunLog", "log_file", "logged", "new_run_log"]

PROGRESS_EVERY_S: Final = 5.0
"""About 250 rows at the quota: 100,000 rows make about 700 events, waits included."""
WAIT_EVERY_S: Final = 60.0
"""How often the same wait is logged again."""
MAX_FAILURES_PER_CODE: Final = 100
"""Rows logged one by one for each error code."""
MAX_FAILURES: Final = 1_000
_MAX_CODES: Final = 100
_OTHERS: Final = "others"
_UNLOGGED_OPTIONS: Final = frozenset(
    {"access_token_file", "app_key_file", "base_url", "hmac_key_file"}
)
"""Options whose values are not logged: they may contain a key by accident."""
_NOTHING: Final = Progress(0, StatusCounts(), 0.0, "")


class RunLog:
    """Writes events, each with the context of this log.

    It never raises: an output that fails is dropped, which is logged to the others.
    """

    def __init__(self, log: Any) -> None:  # noqa: ANN401  (structlog's own, which has no one type)
        self._log = log
        self._before_end: list[Callable[[], None]] = []

    def bound(self, **context: object) -> RunLog:
        """Return a log with the same outputs and more context."""
        return RunLog(self._log.bind(**context))

    def info(self, event: str, **facts: object) -> None:
        """Log a normal event."""
        self._log.info(event, **facts)

    def warning(self, event: str, **facts: object) -> None:
        """Log an event that needs attention."""
        self._log.warning(event, **facts)

    def error(self, event: str, **facts: object) -> None:
        """Log an error of the run as a whole."""
        self._log.error(event, **facts)

    def before_end(self, log_more: Callable[[], None]) -> None:
        """Register a function to call right before the end of the run is logged."""
        self._before_end.append(log_more)

    def run_started(
        self, sheet: object, options: Mapping[str, object] | None = None, **facts: object
    ) -> None:
        """Log that a run starts, and its options that are not at their default."""
        self.info("run_started", sheet=sheet, **facts, options=_loggable(options or {}))

    def run_ended(self, totals: Totals, *, exit_code: int | None = None, **facts: object) -> None:
        """Log the result of a run.

        Args:
            exit_code: if it differs from that of the totals.
        """
        self._end(
            totals.exit_code if exit_code is None else exit_code,
            rows=totals.rows,
            counts={status: rows for status, rows in totals.counts.items() if rows},
            done_before=totals.done_before,
            beyond_limit=totals.beyond_limit,
            requests=totals.requests,
            throttled=totals.throttled,
            seconds=totals.elapsed_s,
            waited_s=totals.waited_s,
            peaks=[dataclasses.asdict(peak) for peak in totals.peaks],
            stop=totals.stop.reason if totals.stop else None,
            message=totals.stop.message if totals.stop else None,
            report=totals.report,
            before=totals.before,
            failed=totals.failed,
            **facts,
        )

    def run_failed(self, error: BaseException, **facts: object) -> None:
        """Log that a run ended with an error, before it had any totals; and its invalid rows."""
        if isinstance(error, InvalidRowsError):
            self.rows_invalid(error.row_errors)
        self._end(exit_code_of(error), error=type(error).__name__, message=str(error), **facts)

    def rows_invalid(self, row_errors: Sequence[RowError]) -> None:
        """Log why rows are invalid, the first ones."""
        for one in row_errors[:MAX_FAILURES_PER_CODE]:
            self.warning("row_invalid", **dataclasses.asdict(one))
        if len(row_errors) > MAX_FAILURES_PER_CODE:
            self.warning("rows_invalid_not_logged", errors=len(row_errors) - MAX_FAILURES_PER_CODE)

    def run_exited(self, exit_code: int, **facts: object) -> None:
        """Log that a run exited before it had any totals, without an error."""
        self._end(exit_code, **facts)

    def _end(self, exit_code: int, **facts: object) -> None:
        for log_more in self._before_end:
            log_more()
        self._before_end.clear()
        levels: dict[int, Callable[..., None]] = {
            ExitCode.DONE: self.info,
            ExitCode.NOT_ALL: self.warning,
        }
        given = {name: value for name, value in facts.items() if value not in (None, "", [], {})}
        levels.get(exit_code, self.error)("run_ended", exit_code=int(exit_code), **given)


def new_run_log(
    *outputs: LogOutput,
    notify: Callable[[str], None] = lambda _: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    **context: object,
) -> RunLog:
    """Return a log that writes to all outputs.

    Args:
        notify: called with a sentence when an output is dropped.
        context: keys that each event gets.
    """
    return RunLog(new_log(outputs, notify, clock).bind(**context))


def _loggable(options: Mapping[str, object]) -> dict[str, object]:
    """Return the options that may be logged; of the address, the host."""
    shown = {name: value for name, value in options.items() if name not in _UNLOGGED_OPTIONS}
    address = options.get("base_url")
    if isinstance(address, str):
        with contextlib.suppress(ValueError):
            shown["host"] = urlsplit(address).hostname
    return shown


# --- Callbacks that log ----------------------------------------------------------------------


def logged(
    callbacks: Callbacks, run_log: RunLog, *, clock: Callable[[], float] = time.monotonic
) -> Callbacks:
    """Return callbacks that log and call the given ones.

    Args:
        clock: monotonic seconds.
    """
    logging = LoggingCallbacks(callbacks, run_log, clock)
    run_log.before_end(logging.log_remaining)
    return logging


class LoggingCallbacks(Callbacks):
    """Logs each call and passes it on.

    ``_logged`` is the progress of the last ``progress`` event, ``_latest`` the latest progress.
    """

    def __init__(self, callbacks: Callbacks, run_log: RunLog, clock: Callable[[], float]) -> None:
        super().__init__(on_read=callbacks.on_read, on_start=callbacks.on_start)
        self._callbacks, self._run_log, self._clock = callbacks, run_log, clock
        self._logged = self._latest = _NOTHING
        self._logged_at = clock()
        self._wait, self._wait_logged_at = "", -WAIT_EVERY_S
        self._failed: Counter[str] = Counter()
        self._not_logged: Counter[str] = Counter()
        self._logged_failures = 0

    def on_notice(self, text: str) -> None:
        self._callbacks.on_notice(text)
        self._run_log.info("notice", text=text)

    def on_incidents_read(self, done: int, total: int) -> None:
        self._callbacks.on_incidents_read(done, total)
        if done == total:
            self._run_log.info("incidents_read", incidents=total)

    def confirm(self, text: str) -> bool:
        is_confirmed = self._callbacks.confirm(text)
        answer = "yes" if is_confirmed else "no"
        self._run_log.info("confirmation", question=text, answer=answer)
        return is_confirmed

    def on_progress(self, progress: Progress) -> None:
        self._callbacks.on_progress(progress)
        if progress.requests < self._latest.requests:
            # After a canary, progress counts from zero again.
            self._log_progress()
            self._latest = _NOTHING
        if self._latest is _NOTHING:
            self._logged, self._logged_at = _NOTHING, self._clock()
        self._latest = progress
        if self._clock() - self._logged_at >= PROGRESS_EVERY_S:
            self._log_progress()
        if progress.waiting_for:
            self._log_wait(progress)

    def _log_progress(self) -> None:
        latest, logged, now = self._latest, self._logged, self._clock()
        counts = Counter(latest.recorded)
        counts.subtract(logged.recorded)
        rows = counts.total()
        if rows <= 0:
            return
        took_s = max(now - self._logged_at, 0.001)
        throttled = latest.throttled - logged.throttled
        (self._run_log.warning if throttled else self._run_log.info)(
            "progress",
            done=sum(n for status, n in latest.counts.items() if status is not Status.PENDING),
            rows=latest.rows,
            counts={status: n for status, n in counts.items() if n},
            requests=latest.requests - logged.requests,
            throttled=throttled,
            rows_per_s=round(rows / took_s, 1),
            left_s=latest.left_s,
            waiting_for=latest.waiting_for,
        )
        self._logged, self._logged_at = latest, now

    def _log_wait(self, progress: Progress) -> None:
        cause = progress.waiting_for.rpartition(":")[0] or progress.waiting_for
        since_s = self._clock() - self._wait_logged_at
        if since_s < (WAIT_EVERY_S if cause == self._wait else PROGRESS_EVERY_S):
            return
        self._wait, self._wait_logged_at = cause, self._clock()
        # Waiting for the quota's windows is normal; any other wait is caused by the API.
        is_usual = cause == PACE or cause.endswith("window")
        (self._run_log.info if is_usual else self._run_log.warning)(
            "waiting", waiting_for=progress.waiting_for, left_s=progress.left_s
        )

    def on_failure(self, outcome: Outcome) -> None:
        self._callbacks.on_failure(outcome)
        code = outcome.error_code or outcome.status.value
        if code not in self._failed and len(self._failed) >= _MAX_CODES:
            code = _OTHERS
        self._failed[code] += 1
        is_over = self._failed[code] > MAX_FAILURES_PER_CODE
        if is_over or self._logged_failures >= MAX_FAILURES:
            self._not_logged[code] += 1
            return
        self._logged_failures += 1
        self._run_log.warning(
            "row_failed",
            row_number=outcome.row_number,
            incident_id=outcome.incident_id,
            status=outcome.status,
            error_code=outcome.error_code,
            error_message=outcome.error_message,
            http_status=outcome.http_status,
            request_id=outcome.request_id,
            attempts=outcome.attempts,
        )

    def log_remaining(self) -> None:
        self._log_progress()
        for code, rows in self._not_logged.most_common():
            self._run_log.warning("rows_failed_not_logged", error_code=code, rows=rows)
        self._not_logged.clear()
