"""What happens in a run, told to whoever reads it later: one event a line, never a secret.

``watching`` stands between a run and its callbacks, and writes down what it passes on. There are as
many events as a run has minutes, not as it has rows: what was done is summed up every few
seconds, and of the rows that fail for one reason the first hundred are told one by one.

Units: ``*_s`` seconds; ``at`` is UTC, ISO 8601, to the millisecond.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.defaults import PACE
from bulk_reset.core.errors import ExitCode, exit_code_of
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.totals import Progress, StatusCounts, Totals
from bulk_reset.observability.log_output import LogOutput, log_file, new_log

__all__ = ["LogOutput", "RunLog", "log_file", "logged", "new_run_log"]

BATCH_EVERY_S: Final = 5.0
"""At the quota some 250 rows: 100,000 rows make about 700 events, the waits among them."""
WAIT_EVERY_S: Final = 60.0
"""How often the same wait is told again."""
TOLD_FAILURES: Final = 100
"""Of each error code, one by one."""
TOLD_FAILURES_IN_ALL: Final = 1_000
_TOLD_CODES: Final = 100
_OTHERS: Final = "others"
_UNTOLD: Final = frozenset({"app_key_file", "base_url"})
"""Options not to be repeated: a key given by mistake may stand there."""
_NOTHING: Final = Progress(0, StatusCounts(), 0.0, "")


class RunLog:
    """Writes events, each with the context that the journal was made with.

    No error leaves it: a sink that cannot be written is dropped, and the others are told.
    """

    def __init__(self, log: Any) -> None:  # noqa: ANN401  (structlog's own, which has no one type)
        self._log = log
        self._endings: list[Callable[[], None]] = []

    def bound(self, **context: object) -> RunLog:
        """Return a journal with the same sinks whose events say this, too."""
        return RunLog(self._log.bind(**context))

    def info(self, event: str, **facts: object) -> None:
        """Write what is as it should be."""
        self._log.info(event, **facts)

    def warning(self, event: str, **facts: object) -> None:
        """Write what somebody should look at."""
        self._log.warning(event, **facts)

    def error(self, event: str, **facts: object) -> None:
        """Write what went wrong as a whole."""
        self._log.error(event, **facts)

    def before_end(self, tell: Callable[[], None]) -> None:
        """Have something told right before the end of the run is."""
        self._endings.append(tell)

    def run_started(
        self, sheet: object, options: Mapping[str, object] | None = None, **facts: object
    ) -> None:
        """Log that a run starts, and its options that are not at their default."""
        self.info("run started", sheet=sheet, **facts, options=_told(options or {}))

    def run_ended(self, totals: Totals, *, exit_code: int | None = None, **facts: object) -> None:
        """Tell what became of a run.

        Args:
            exit_code: where it is not what the totals deserve.
        """
        self._end(
            totals.exit_code if exit_code is None else exit_code,
            rows=totals.rows,
            counts={status: rows for status, rows in totals.counts.items() if rows},
            done_before=totals.done_before,
            held_back=totals.held_back,
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
        """Tell that a run ended by an error, before it had any totals."""
        self._end(exit_code_of(error), error=type(error).__name__, message=str(error), **facts)

    def run_left(self, exit_code: int, **facts: object) -> None:
        """Tell that a run ended before it had any totals, as it was told to."""
        self._end(exit_code, **facts)

    def _end(self, exit_code: int, **facts: object) -> None:
        for tell in self._endings:
            tell()
        self._endings.clear()
        levels: dict[int, Callable[..., None]] = {
            ExitCode.DONE: self.info,
            ExitCode.NOT_ALL: self.warning,
        }
        told = {name: value for name, value in facts.items() if value not in (None, "", [], {})}
        levels.get(exit_code, self.error)("run ended", exit_code=int(exit_code), **told)


def new_run_log(
    *outputs: LogOutput,
    notify: Callable[[str], None] = lambda _: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    **context: object,
) -> RunLog:
    """Return a journal that writes to all of the sinks.

    Args:
        say: told, in a sentence, of a sink that is written no more.
        context: what each of its events says.
    """
    return RunLog(new_log(outputs, notify, clock).bind(**context))


def _told(options: Mapping[str, object]) -> dict[str, object]:
    """Return what of the options may be logged; of the address, the host."""
    told = {name: value for name, value in options.items() if name not in _UNTOLD}
    address = options.get("base_url")
    if isinstance(address, str):
        with contextlib.suppress(ValueError):
            told["host"] = urlsplit(address).hostname
    return told


# --- Looking on ------------------------------------------------------------------------------


def logged(
    callbacks: Callbacks, run_log: RunLog, *, clock: Callable[[], float] = time.monotonic
) -> Callbacks:
    """Return a callbacks that passes all on and writes down what there is to know later.

    Args:
        clock: seconds, from anywhere on.
    """
    logging = LoggingCallbacks(callbacks, run_log, clock)
    run_log.before_end(logging.sum_up)
    return logging


class LoggingCallbacks(Callbacks):
    """Passes every call on, and writes down what there is to know later.

    ``_told`` is the progress that the last batch ended with, ``_seen`` the latest one.
    """

    def __init__(self, callbacks: Callbacks, run_log: RunLog, clock: Callable[[], float]) -> None:
        super().__init__(on_read=callbacks.on_read)
        self._callbacks, self._run_log, self._clock = callbacks, run_log, clock
        self._told = self._seen = _NOTHING
        self._told_at = clock()
        self._wait, self._wait_told_at = "", -WAIT_EVERY_S
        self._failed: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()
        self._told_rows = 0

    def on_notice(self, text: str) -> None:
        self._callbacks.on_notice(text)
        self._run_log.info("notice", text=text)

    def on_looked(self, done: int, total: int) -> None:
        self._callbacks.on_looked(done, total)
        if done == total:
            self._run_log.info("incidents read", incidents=total)

    def confirm(self, text: str) -> bool:
        is_yes = self._callbacks.confirm(text)
        self._run_log.info("asked", question=text, answer="yes" if is_yes else "no")
        return is_yes

    def on_progress(self, progress: Progress) -> None:
        self._callbacks.on_progress(progress)
        if progress.requests < self._seen.requests:
            # The rest after a canary counts from nothing again.
            self._tell_batch()
            self._seen = _NOTHING
        if self._seen is _NOTHING:
            self._told, self._told_at = _NOTHING, self._clock()
        self._seen = progress
        if self._clock() - self._told_at >= BATCH_EVERY_S:
            self._tell_batch()
        if progress.waiting_for:
            self._tell_wait(progress)

    def _tell_batch(self) -> None:
        seen, told, now = self._seen, self._told, self._clock()
        counts = Counter(seen.recorded)
        counts.subtract(told.recorded)
        rows = counts.total()
        if rows <= 0:
            return
        took_s = max(now - self._told_at, 0.001)
        throttled = seen.throttled - told.throttled
        (self._run_log.warning if throttled else self._run_log.info)(
            "batch",
            done=sum(n for status, n in seen.counts.items() if status is not Status.PENDING),
            rows=seen.rows,
            counts={status: n for status, n in counts.items() if n},
            requests=seen.requests - told.requests,
            throttled=throttled,
            rows_per_s=round(rows / took_s, 1),
            left_s=seen.left_s,
            waiting_for=seen.waiting_for,
        )
        self._told, self._told_at = seen, now

    def _tell_wait(self, progress: Progress) -> None:
        cause = progress.waiting_for.rpartition(":")[0] or progress.waiting_for
        since_s = self._clock() - self._wait_told_at
        if since_s < (WAIT_EVERY_S if cause == self._wait else BATCH_EVERY_S):
            return
        self._wait, self._wait_told_at = cause, self._clock()
        # The windows are ours; what else holds a run back is the API's trouble.
        is_usual = cause == PACE or cause.endswith("window")
        (self._run_log.info if is_usual else self._run_log.warning)(
            "waiting", waiting_for=progress.waiting_for, left_s=progress.left_s
        )

    def on_failure(self, outcome: Outcome) -> None:
        self._callbacks.on_failure(outcome)
        code = outcome.error_code or outcome.status.value
        if code not in self._failed and len(self._failed) >= _TOLD_CODES:
            code = _OTHERS
        self._failed[code] += 1
        if self._failed[code] > TOLD_FAILURES or self._told_rows >= TOLD_FAILURES_IN_ALL:
            self._untold[code] += 1
            return
        self._told_rows += 1
        self._run_log.warning(
            "row failed",
            row_number=outcome.row_number,
            incident_id=outcome.incident_id,
            status=outcome.status,
            error_code=outcome.error_code,
            error_message=outcome.error_message,
            http_status=outcome.http_status,
            request_id=outcome.request_id,
            attempts=outcome.attempts,
        )

    def sum_up(self) -> None:
        self._tell_batch()
        for code, rows in self._untold.most_common():
            self._run_log.warning("more rows failed", error_code=code, rows=rows)
        self._untold.clear()
