"""The progress of a command: one live line on a terminal, a line now and then elsewhere.

Everything that shows progress goes through one ``ProgressView``, so nothing writes around its
line. A command that waits for the API prints so after two seconds without progress.

State: the bar and its task belong to the thread of the run; a timer only prints one line.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import typer

from bulk_reset.cli.console import Output, print_error
from bulk_reset.cli.streams import is_terminal
from bulk_reset.core.counting import counted, duration
from bulk_reset.core.outcome import Status
from bulk_reset.core.safe_text import one_line
from bulk_reset.core.totals import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_LINE_EVERY_S: Final = 5.0
_SILENT_S: Final = 2.0
_MANY_INCIDENTS: Final = 200
_MANY_ROWS: Final = 20_000
_SHOWN: Final = (Status.FAILED, Status.CONFLICT, Status.UNKNOWN, Status.REJECTED)


class ProgressView:
    """The progress of one command on standard error.

    Attributes:
        is_declined: whether the last question was answered with no.
    """

    def __init__(self, output: Output) -> None:
        self._is_quiet = output.is_quiet
        self._is_terminal = is_terminal(sys.stderr) and not output.is_quiet
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._started_at = self._printed_at = time.monotonic()
        self._rows_read = 0
        self._timer: threading.Timer | None = None
        self._wait_text = ""
        self.is_declined = False
        output.before_notice = self._hide

    @property
    def can_ask(self) -> bool:
        """Whether there is a terminal to ask on."""
        has_input = sys.stdin is not None and sys.stdin.isatty()
        return is_terminal(sys.stderr) and has_input

    def update(self, progress: Progress) -> None:
        """Show the progress of sending; called some ten times a second."""
        self._end_wait()
        done = _done(progress)
        waiting = f"waiting for {progress.waiting_for}" if progress.waiting_for else ""
        left = f"{duration(progress.left_s)} left" if progress.left_s else ""
        if self._is_terminal:
            details = " · ".join(part for part in (_counts(progress), left, waiting) if part)
            self._draw("Sending", done, progress.rows, details)
        elif not self._is_quiet and time.monotonic() - self._printed_at >= _LINE_EVERY_S:
            self._printed_at = time.monotonic()
            elapsed = duration(self._printed_at - self._started_at)
            rows = f"{elapsed}: {done:,} of {counted(progress.rows, 'row')}"
            parts = (rows, _counts(progress), left, waiting)
            print_error(", ".join(part for part in parts if part), is_red=False)

    def incidents_read(self, done: int, total: int) -> None:
        """Show how many incidents were read."""
        self._start_wait()
        if self._is_terminal and total > _MANY_INCIDENTS:
            self._draw("Reading incidents", done, total)

    def rows_read(self, rows: int) -> None:
        """Show how many rows of a large sheet were read."""
        self._start_wait()
        if self._is_terminal and rows - self._rows_read >= _MANY_ROWS:
            self._rows_read = rows
            self._draw("Reading rows", rows, None)

    @contextmanager
    def waiting_for(self, address: str, *, reads_sheet: bool = False) -> Iterator[None]:
        """Print what the command waits for after two seconds without progress.

        Args:
            address: where the requests go.
            reads_sheet: whether a sheet is read before the first request.
        """
        self._wait_text = f"Waiting for {address}. Press Ctrl-C to stop."
        if not reads_sheet:
            self._start_wait()
        try:
            yield
        finally:
            self.close()

    def confirm(self, text: str, *, is_yes: bool) -> bool:
        """Ask whether to continue; without a terminal to ask on, the answer is no.

        Args:
            is_yes: whether ``--yes`` answers the question.
        """
        self.close()
        if is_yes:
            if not self._is_quiet:
                print_error(text, is_red=False)
            return True
        if not self.can_ask:
            self.is_declined = True
            return False
        try:
            question = f"{one_line(text)} Continue?".lstrip()
            is_confirmed = typer.confirm(question, err=True)
        except typer.Abort as abort:
            # Ctrl-C ends the command as anywhere else; the end of the input is no answer.
            if isinstance(abort.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            is_confirmed = False
        self.is_declined = not is_confirmed
        return is_confirmed

    def close(self) -> None:
        """Remove the live line, and restore the terminal."""
        self._end_wait()
        self._rows_read = 0
        self._hide()

    def _hide(self) -> None:
        """Remove the live line; the next progress draws it again."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _start_wait(self) -> None:
        self._end_wait()
        if self._wait_text and not self._is_quiet:
            self._timer = threading.Timer(_SILENT_S, self._show_wait)
            self._timer.daemon = True
            self._timer.start()

    def _show_wait(self) -> None:
        text, self._wait_text = self._wait_text, ""  # once is enough
        print_error(text, is_red=False)

    def _end_wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _draw(self, label: str, done: int, total: int | None, details: str = "") -> None:
        if self._bar is None:
            self._bar = _new_bar()
            self._task = self._bar.add_task(label, total=total, count="", details="")
            self._bar.start()
        assert self._task is not None  # noqa: S101  (made with the bar)
        count = f"{done:,}" if total is None else f"{done:,}/{total:,}"
        self._bar.update(
            self._task,
            description=label,
            completed=done,
            total=total,
            count=count,
            details=one_line(details),
        )


def _new_bar() -> Bar:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, TextColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415
    from rich.table import Column  # noqa: PLC0415

    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[count]}", markup=False),
        TextColumn(
            "{task.fields[details]}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis"),
        ),
        console=Console(stderr=True, markup=False, emoji=False, highlight=False),
        refresh_per_second=10,
        transient=True,
    )


def _done(progress: Progress) -> int:
    return sum(n for status, n in progress.counts.items() if status is not Status.PENDING)


def _counts(progress: Progress) -> str:
    parts = [f"{n:,} {status.value}" for status in _SHOWN if (n := progress.counts.get(status, 0))]
    return " · ".join(parts)
