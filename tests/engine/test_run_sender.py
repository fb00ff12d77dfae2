"""Sending a sheet: the totals match however it ends, or the error is reported."""

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
from bulk_reset.engine.run_sender import RunSender
from bulk_reset.engine.work_source import WorkSource
from bulk_reset.records.report_file import Report
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.sheet_check import check_rows

QUICK = Options(sandbox=True, per_second=5_000, per_minute=300_000)
ROWS = 2_500


def frame() -> pd.DataFrame:
    """Return rows of which every tenth is invalid."""
    titles = ["no" if n % 10 == 0 else f"title {n}" for n in range(ROWS)]
    return pd.DataFrame({"id": [f"{n:024x}" for n in range(ROWS)], "title": titles})


class InterruptedWork(WorkSource):
    """Its run is stopped while the second batch is being read."""

    sender: RunSender

    def batches(self) -> Iterator[tuple[list[Change], list[Outcome]]]:
        """Stop the run, and only then read on."""
        for number, batch in enumerate(super().batches()):
            if number == 1:
                self.sender.stop()
            yield batch


def test_a_stop_while_a_batch_is_read_leaves_its_rows_pending() -> None:
    """Ctrl-C while rows are read: rows that were read and not sent are pending, and add up."""
    with open_sheet(frame()) as sheet, connect(QUICK, Callbacks()) as connection:
        work = InterruptedWork(sheet, check_rows(sheet), "")
        work.sender = RunSender(QUICK, connection, work, ROWS, None, Callbacks())
        totals = asyncio.run(work.sender.send(handles_signals=False)).totals
    assert sum(totals.counts.values()) == ROWS
    assert totals.counts[Status.REJECTED] == 200
    assert totals.counts[Status.PENDING] >= ROWS - 200 - 900


def test_totals_that_do_not_match_are_an_internal_error() -> None:
    """A lost outcome is an internal error, not a number that looks right."""
    with open_sheet(frame().head(20)) as sheet, connect(QUICK, Callbacks()) as connection:
        work = WorkSource(sheet, check_rows(sheet), "")
        sender = RunSender(QUICK, connection, work, 18, None, Callbacks())
        result = asyncio.run(sender.send(handles_signals=False))
        assert sum(result.totals.counts.values()) == 20
        sender.recorder.counts[Status.UPDATED] -= 1
        with pytest.raises(InternalError, match="totals do not match"):
            sender.result()


class SyncedReport(Report):
    """Stops the run as soon as lines were synced to the disk."""

    end: Callable[[], object]
    synced_lines = 0

    def sync(self) -> None:
        """Sync the lines, and count them."""
        is_dirty = self._is_dirty
        super().sync()
        if is_dirty and not self.synced_lines:
            self.synced_lines = self.path.read_bytes().count(b"\n") - 1
            self.end()


async def test_lines_are_synced_to_the_disk_during_the_run(tmp_path: Path) -> None:
    """A power cut loses half a second of lines, not all lines of a long run."""
    rows = frame().iloc[1:5]
    slow = Options(sandbox=True, per_second=1, per_minute=100)
    with (
        open_sheet(rows) as sheet,
        SyncedReport(tmp_path / "report.csv") as report,
        connect(slow, Callbacks()) as connection,
    ):
        work = WorkSource(sheet, check_rows(sheet), "")
        sender = RunSender(slow, connection, work, 4, report, Callbacks())
        loop, stop = asyncio.get_running_loop(), Stop(StopReason.INTERRUPTED, "synced")
        report.end = lambda: loop.call_soon_threadsafe(sender.stop, stop)
        result = await sender.send(handles_signals=False)
        assert (result.totals.stop, report.synced_lines) == (stop, 1)
