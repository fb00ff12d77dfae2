"""Callbacks: how a program follows a run, and answers its questions.

from bulk_reset import Callbacks, Options, Progress, run

def show(progress: Progress) -> None:
done = progress.rows - progress.counts["pending"]
print(f"{done:,} of {progress.rows:,} rows, {progress.left_s:.0f} s left")

run("incidents.csv", Options(sandbox=True), Callbacks(on_progress=show, on_notice=print))
"""

from __future__ import annotations

from collections.abc import Callable

from bulk_reset.core.outcome import Outcome
from bulk_reset.core.totals import Progress


class Callbacks:
    """Functions that a run calls while it works; each does nothing by default.

    Pass functions by keyword, or override methods in a subclass. ``on_progress`` and
    ``on_failure`` are called from the thread that sends: in a notebook, and in any program with
    a running event loop, that is not the main thread. An error that a callback raises ends the
    run.
    """

    def __init__(  # noqa: PLR0913  (one for each event)
        self,
        *,
        on_notice: Callable[[str], None] | None = None,
        on_read: Callable[[int], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_incidents_read: Callable[[int, int], None] | None = None,
        on_failure: Callable[[Outcome], None] | None = None,
        confirm: Callable[[str], bool] | None = None,
        on_start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        given = {
            "on_notice": on_notice,
            "on_read": on_read,
            "on_progress": on_progress,
            "on_incidents_read": on_incidents_read,
            "on_failure": on_failure,
            "confirm": confirm,
            "on_start": on_start,
        }
        for name, function in given.items():
            if function is not None:
                setattr(self, name, function)

    def on_notice(self, text: str) -> None:
        """Receive a fact: how the sheet was read, what was resumed, what is waited for."""

    def on_read(self, rows: int) -> None:
        """Receive the number of rows read so far while the sheet is checked."""

    def on_progress(self, progress: Progress) -> None:
        """Receive the progress of a run, about ten times a second while rows are sent."""

    def on_incidents_read(self, done: int, total: int) -> None:
        """Receive how many incidents were read, of how many, by plan, pull, verify or undo."""

    def on_failure(self, outcome: Outcome) -> None:
        """Receive the outcome of a row that is not done: failed, rejected, conflict or unknown."""

    def confirm(self, text: str) -> bool:
        """Return whether the run continues after a canary or a plan; True by default."""
        del text
        return True

    def on_start(self, stop: Callable[[], None]) -> None:
        """Receive a function that stops the run gracefully; it may be called in any thread.

        It is called when sending starts, for a canary and for the rest.
        """
