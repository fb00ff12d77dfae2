"""Work that takes long, in a thread: its progress, its questions, and how it is stopped.

Units: ``*_s`` seconds of the monotonic clock.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from bulk_reset.api.credentials import redact
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import SYSTEM_ERRORS, BulkResetError, of_system
from bulk_reset.core.option_names import OptionStyle, name_options_as
from bulk_reset.core.outcome import Outcome
from bulk_reset.core.plan import RowPlan
from bulk_reset.core.safe_text import one_line, shown
from bulk_reset.core.totals import Progress
from bulk_reset.web.phrases import mark

_log = logging.getLogger(__name__)
INTERNAL_ERROR: Final = mark("Internal error. Details are in the terminal of bulk-reset web.")
_SHOWN: Final = 20
_PLANNED: Final = 100
_RATE_S: Final = 2.0
_JOIN_S: Final = 60.0
_TURN_S: Final = 0.2
WAITS: Final = mark("waiting for another sheet that uses the sandbox")


class Work:
    """One piece of work of a task; its attributes are read from other threads.

    Attributes:
        kind: ``check``, ``plan``, ``run``, ``verify``, ``undo`` or ``pull``.
        state: ``working``, ``asking``, ``done`` or ``failed``.
        changes: grows with each change, so that readers notice one.
        result: what the function returned.
        is_paused: whether it was stopped to be continued by the same user later.
    """

    def __init__(self, kind: str, limit_per_s: int = 0) -> None:
        self.kind, self.state, self.changes = kind, "working", 0
        self.error = self.question = ""
        self.result: Any = None
        self.is_stopping = self.is_paused = False
        self._limit_per_s = limit_per_s
        self._progress: dict[str, Any] = {"done": 0, "total": 0}
        self._failures: deque[dict[str, Any]] = deque(maxlen=_SHOWN)
        self._planned: list[dict[str, Any]] = []
        self._sent: Callable[[], list[dict[str, Any]]] | None = None
        self._notices: deque[str] = deque(maxlen=_SHOWN)
        self._starts: deque[tuple[float, int]] = deque()
        self._stops: list[Callable[[], None]] = []
        self._answered, self._answer = threading.Event(), False
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.state in {"working", "asking"}

    def begin(self, function: Callable[[Work], Any]) -> None:
        """Start the function in a thread."""

        def work() -> None:
            try:
                with name_options_as(OptionStyle.COMMAND_LINE):
                    self.result = function(self)
                self._end("done")
            except BulkResetError as error:
                self._end("failed", str(error))
            except SYSTEM_ERRORS as error:
                self._end("failed", str(of_system(error)))
            except Exception:  # noqa: BLE001  (the page must say that it ended)
                _log.error(redact(traceback.format_exc()))
                self._end("failed", INTERNAL_ERROR)

        self._thread = threading.Thread(target=work, name=f"bulk-reset {self.kind}", daemon=True)
        self._thread.start()

    def _end(self, state: str, error: str = "") -> None:
        self.error = redact(one_line(error))
        self.state, self.question = state, ""
        self.changes += 1

    def stop(self, *, is_pause: bool = False) -> None:
        """Stop gracefully; a question is answered with no."""
        self.is_stopping, self.is_paused = True, is_pause
        self.answer(is_confirmed=False)
        for stop in self._stops:
            stop()
        self.changes += 1

    def answer(self, *, is_confirmed: bool) -> None:
        """Answer the question that it asks."""
        self._answer = is_confirmed
        self._answered.set()

    def join(self) -> None:
        """Wait until it has ended."""
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def show(self, done: int, total: int) -> None:
        """Show how far it is; 0 of 0 where that is unknown."""
        self._progress = {"done": done, "total": total}
        self.changes += 1

    def wait_for(self, what: str) -> None:
        """Show what it waits for before it begins."""
        if self._progress.get("waiting") != what:
            self._progress = {"done": 0, "total": 0, "waiting": what}
            self.changes += 1

    def show_planned(self, row: RowPlan) -> None:
        """Show a row of a plan that is about to be confirmed; the first ones by row are kept."""
        if row.verdict == "update":
            self._planned += [
                {
                    "row": row.row_number,
                    "field": one.field,
                    "old": shown(one.old),
                    "new": shown(one.new),
                }
                for one in row.fields
            ]
        if len(self._planned) > 2 * _PLANNED:
            self._planned = self._first_planned()

    def _first_planned(self) -> list[dict[str, Any]]:
        """Return the first changes by row: a plan of an undo is in the order of its run."""
        return sorted(self._planned, key=lambda one: one["row"])[:_PLANNED]

    def callbacks(self, sent: Callable[[], list[dict[str, Any]]] | None = None) -> Callbacks:
        """Return the callbacks by which a check, plan, run or undo reports to this work.

        Args:
            sent: returns the changes that a canary has sent: row, field, old and new text.
        """
        self._sent = sent
        return Callbacks(
            on_notice=self._notice,
            on_read=lambda rows: self.show(rows, 0),
            on_incidents_read=self.show,
            on_progress=self._on_progress,
            on_failure=self._on_failure,
            on_start=self._on_start,
            confirm=self._confirm,
        )

    def _on_start(self, stop: Callable[[], None]) -> None:
        self._stops = [stop]
        if self.is_stopping:
            stop()

    def _notice(self, text: str) -> None:
        self._notices.append(redact(one_line(text)))
        self.changes += 1

    def _on_progress(self, progress: Progress) -> None:
        now_s = time.monotonic()
        if self._starts and self._starts[-1][1] > progress.requests:
            self._starts.clear()  # It counts from 0 again after a canary.
        self._starts.append((now_s, progress.requests))
        while now_s - self._starts[0][0] > _RATE_S:
            self._starts.popleft()
        first_s, first = self._starts[0]
        rate = (progress.requests - first) / (now_s - first_s) if now_s > first_s else 0.0
        self._progress = {
            "done": progress.rows - progress.counts["pending"],
            "total": progress.rows,
            "counts": {name.value: rows for name, rows in progress.counts.items() if rows},
            "left_s": round(progress.left_s),
            "waiting": one_line(progress.waiting_for),
            "rate": round(rate, 1),
            "limit": self._limit_per_s,
            "requests": progress.requests,
            "throttled": progress.throttled,
        }
        self.changes += 1

    def _on_failure(self, outcome: Outcome) -> None:
        self._failures.append(
            {
                "row": outcome.row_number,
                "code": one_line(outcome.error_code),
                "message": redact(one_line(outcome.error_message)),
            }
        )

    def _confirm(self, text: str) -> bool:
        if self.is_stopping:
            return False
        self._answered.clear()
        if self._sent is not None:
            self._planned = self._sent()
        self.state, self.question = "asking", one_line(text)
        self.changes += 1
        self._answered.wait()
        self.state, self.question = "working", ""
        self.changes += 1
        return self._answer

    def as_json(self) -> dict[str, Any]:
        """Return what the page shows."""
        return {
            "kind": self.kind,
            "state": self.state,
            "error": self.error,
            "question": self.question,
            "stopping": self.is_stopping,
            "failures": list(self._failures),
            "notices": list(self._notices),
            "planned": self._first_planned() if self.question else [],
            **self._progress,
        }


class Works:
    """The work of all tasks: one at a time for each task."""

    def __init__(self) -> None:
        self._works: dict[str, Work] = {}
        self._sandbox = threading.Lock()

    def in_turn(self, function: Callable[[Work], Any]) -> Callable[[Work], Any]:
        """Return a function that waits for other work in a sandbox, whose file is of one at a time.

        Work that is stopped while it waits does nothing.
        """

        def work_on(work: Work) -> Any:  # noqa: ANN401  (what the function returns)
            while not self._sandbox.acquire(timeout=_TURN_S):
                work.wait_for(WAITS)
                if work.is_stopping:
                    return None
            try:
                return function(work)
            finally:
                self._sandbox.release()

        return work_on

    def of(self, key: str) -> Work | None:
        """Return the last work of a task."""
        return self._works.get(key)

    def is_running(self, key: str) -> bool:
        """Return whether work of a task has not ended."""
        work = self._works.get(key)
        return work is not None and work.is_running

    def begin(self, key: str, work: Work, function: Callable[[Work], Any]) -> bool:
        """Start work of a task; return whether no other is running."""
        if self.is_running(key):
            return False
        self._works[key] = work
        work.begin(function)
        return True

    def running(self) -> list[Work]:
        """Return the work that has not ended."""
        return [work for work in self._works.values() if work.is_running]

    def stop_all(self) -> None:
        """Stop all work gracefully, and wait for it."""
        works = self.running()
        for work in works:
            work.stop()
        for work in works:
            work.join()
