"""What a run looks like while it goes on: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import typer

from bulk_reset.cli.console import Output, duration
from bulk_reset.cli.streams import is_terminal
from bulk_reset.core.outcome import Status
from bulk_reset.core.safe_text import without_controls
from bulk_reset.core.totals import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_LINE_EVERY_S: Final = 5.0
_FEW: Final = 200


@contextmanager
def reading(output: Output) -> Iterator[Callable[[int], None]]:
    """Show how many rows were read, on a terminal, once there are many."""
    is_shown = is_terminal(sys.stderr) and not output.is_quiet
    shown = 0

    def on_read(rows: int) -> None:
        nonlocal shown
        if is_shown and rows - shown >= 20_000:  # noqa: PLR2004
            shown = rows
            sys.stderr.write(f"\r{rows:,} rows read …")
            sys.stderr.flush()

    try:
        yield on_read
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")


class SendingView:
    """The progress of a run on standard error."""

    def __init__(self, output: Output) -> None:
        self._is_quiet = output.is_quiet
        self._is_terminal = is_terminal(sys.stderr) and not output.is_quiet
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._began_at = self._line_at = time.monotonic()

    def update(self, progress: Progress) -> None:
        """Show a new state; called some ten times a second."""
        if self._is_terminal:
            self._draw(progress)
        elif not self._is_quiet and time.monotonic() - self._line_at >= _LINE_EVERY_S:
            self._line_at = time.monotonic()
            sys.stderr.write(_line(progress, self._line_at - self._began_at) + "\n")

    def looked(self, done: int, total: int) -> None:
        """Show how many incidents were read."""
        if self._is_terminal and total > _FEW:
            sys.stderr.write(f"\r\x1b[K{done:,} of {total:,} incidents read …")
            if done == total:
                sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def confirm(self, text: str, *, says_yes: bool) -> bool:
        """Ask whether to go on; without a terminal to ask on, the answer is no.

        Args:
            says_yes: whether that was answered beforehand.
        """
        self.close()
        if says_yes:
            if not self._is_quiet:
                typer.echo(without_controls(text), err=True)
            return True
        if not (is_terminal(sys.stderr) and sys.stdin is not None and sys.stdin.isatty()):
            return False
        try:
            return typer.confirm(f"{without_controls(text)} Go on?", err=True)
        except typer.Abort as abort:
            # Ctrl-C ends the command as anywhere else; where nothing comes, nobody says yes.
            if isinstance(abort.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            return False

    def close(self) -> None:
        """Leave the terminal as it was found."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            self._bar = _new_bar()
            self._task = self._bar.add_task("", total=progress.rows, counts="", left="", waiting="")
            self._bar.start()
        assert self._task is not None  # noqa: S101  (made with the bar)
        self._bar.update(
            self._task,
            completed=_done(progress),
            counts=_counts(progress),
            left=f"{duration(progress.left_s)} left" if progress.left_s else "",
            waiting=f"waits for {progress.waiting_for}" if progress.waiting_for else "",
        )


def _new_bar() -> Bar:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    return Bar(
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}"),
        TextColumn("{task.fields[left]}"),
        TextColumn("[dim]{task.fields[waiting]}"),
        console=Console(stderr=True),
        refresh_per_second=10,
        transient=True,
    )


def _done(progress: Progress) -> int:
    return sum(n for status, n in progress.counts.items() if status is not Status.PENDING)


def _counts(progress: Progress) -> str:
    shown = (Status.FAILED, Status.CONFLICT, Status.UNKNOWN, Status.REJECTED)
    parts = [f"{n:,} {s.value}" for s in shown if (n := progress.counts.get(s, 0))]
    return " · ".join(parts)


def _line(progress: Progress, elapsed_s: float) -> str:
    parts = [
        f"{duration(elapsed_s)}: {_done(progress):,} of {progress.rows:,} rows",
        _counts(progress),
    ]
    if progress.left_s:
        parts.append(f"{duration(progress.left_s)} left")
    if progress.waiting_for:
        parts.append(f"waits for {progress.waiting_for}")
    return ", ".join(part for part in parts if part)
