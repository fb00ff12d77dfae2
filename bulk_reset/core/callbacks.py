"""Callbacks: how a program follows a run, and answers its questions."""

from __future__ import annotations

from collections.abc import Callable

from bulk_reset.core.outcome import Outcome
from bulk_reset.core.totals import Progress


class Callbacks:
    """What a run calls while it works.

    Give functions by keyword, or subclass it and override methods. Every method is called from
    the run's own thread, and does nothing by default.
    """

    def __init__(  # noqa: PLR0913  (one for each event)
        self,
        *,
        on_notice: Callable[[str], None] | None = None,
        on_read: Callable[[int], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_looked: Callable[[int, int], None] | None = None,
        on_failure: Callable[[Outcome], None] | None = None,
        confirm: Callable[[str], bool] | None = None,
    ) -> None:
        given = {
            "on_notice": on_notice,
            "on_read": on_read,
            "on_progress": on_progress,
            "on_looked": on_looked,
            "on_failure": on_failure,
            "confirm": confirm,
        }
        for name, function in given.items():
            if function is not None:
                setattr(self, name, function)

    def on_notice(self, text: str) -> None:
        """Take a sentence about how the sheet was read or the report resumed."""

    def on_read(self, rows: int) -> None:
        """Take the number of rows read so far while the sheet is checked, once a chunk."""

    def on_progress(self, progress: Progress) -> None:
        """Take the progress of a run, some ten times a second while rows are sent."""

    def on_looked(self, done: int, total: int) -> None:
        """Take how many incidents have been read, of how many, while none is updated."""

    def on_failure(self, outcome: Outcome) -> None:
        """Take the outcome of a row that is not done."""

    def confirm(self, text: str) -> bool:
        """Decide whether the run continues after ``text``; a program continues."""
        del text
        return True
