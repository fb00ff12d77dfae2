"""One sending of a sheet: the books balance however it ends, or it is said loudly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.change import Change
from bulk_reset.core.errors import InternalError
from bulk_reset.core.outcome import Outcome, Status, Stop, StopReason
from bulk_reset.engine.connection import connect
from bulk_reset.engine.options import Options
from bulk_reset.engine.sending import Sending
from bulk_reset.engine.work_source import WorkSource
from bulk_reset.records.report_file import Report
from bulk_reset.sheets.sheet import open_sheet
from bulk_reset.sheets.sheet_check import check_rows

QUICK = Options(sandbox=True, per_second=5_000, per_minute=300_000)
ROWS = 2_500


def frame() -> pd.DataFrame:
    """Return rows of which every tenth is wrong."""
    titles = ["no" if n % 10 == 0 else f"title {n}" for n in range(ROWS)]
    return pd.DataFrame({"id": [f"{n:024x}" for n in range(ROWS)], "title": titles})


class InterruptedFeed(WorkSource):
    """Its run is stopped while the second batch is being read."""

    sending: Sending

    def batches(self) -> Iterator[tuple[list[Change], list[Outcome]]]:
        """Stop the run, and only then go on reading."""
        for number, batch in enumerate(super().batches()):
            if number == 1:
                assert self.sending._engine is not None  # noqa: SLF001
                self.sending._engine.stop(Stop(StopReason.INTERRUPTED, "Ctrl-C"))  # noqa: SLF001
            yield batch


def test_a_stop_while_a_batch_is_read_leaves_its_rows_pending() -> None:
    """Ctrl-C at the worst moment: what was read and not sent is pending, and adds up."""
    with open_sheet(frame()) as sheet, connect(QUICK, Callbacks()) as connection:
        work = InterruptedFeed(sheet, check_rows(sheet), "")
        sending = Sending(QUICK, connection, work, ROWS, None, Callbacks())
        work.sending = sending
        stop = asyncio.run(sending.send(handles_signals=False))
        totals = sending.totals(stop)
    assert sum(totals.counts.values()) == ROWS
    assert totals.counts[Status.REJECTED] == 200
    assert totals.counts[Status.PENDING] >= ROWS - 200 - 900


def test_books_that_do_not_balance_are_said_loudly() -> None:
    """An outcome that was lost on the way is an internal error, not a number that looks right."""
    with open_sheet(frame().head(20)) as sheet, connect(QUICK, Callbacks()) as connection:
        sending = Sending(
            QUICK, connection, WorkSource(sheet, check_rows(sheet), ""), 18, None, Callbacks()
        )
        stop = asyncio.run(sending.send(handles_signals=False))
        assert sum(sending.totals(stop).counts.values()) == 20
        sending._counts[Status.UPDATED] -= 1  # noqa: SLF001
        with pytest.raises(InternalError, match="the books do not balance"):
            sending.totals(stop)


class SyncedReport(Report):
    """Ends the run as soon as lines were brought to the disk."""

    end: Callable[[], object]
    synced_lines = 0

    def sync(self) -> None:
        """Bring the lines to the disk, and see which."""
        is_dirty = self._is_dirty
        super().sync()
        if is_dirty and not self.synced_lines:
            self.synced_lines = self.path.read_bytes().count(b"\n") - 1
            self.end()


async def test_lines_are_brought_to_the_disk_while_the_run_goes_on(tmp_path: Path) -> None:
    """A power cut costs half a second of lines, not all of a long run's."""
    rows = frame().iloc[1:5]
    slow = Options(sandbox=True, per_second=1, per_minute=100)
    with (
        open_sheet(rows) as sheet,
        SyncedReport(tmp_path / "report.csv") as report,
        connect(slow, Callbacks()) as connection,
    ):
        work = WorkSource(sheet, check_rows(sheet), "")
        sending = Sending(slow, connection, work, 4, report, Callbacks())
        loop, told = asyncio.get_running_loop(), Stop(StopReason.INTERRUPTED, "synced")

        def end() -> None:
            assert sending._engine is not None  # noqa: SLF001
            loop.call_soon_threadsafe(sending._engine.stop, told)  # noqa: SLF001

        report.end = end
        stop = await sending.send(handles_signals=False)
        assert (stop, report.synced_lines) == (told, 1)
