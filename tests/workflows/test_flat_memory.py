"""What reads a finished run holds none of its rows in memory."""

from __future__ import annotations

import contextlib
import gc
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from programs import seed_id
from report_samples import digest

from bulk_reset import write_page
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.engine.options import Options
from bulk_reset.records import previous_index, report_index, report_reader
from bulk_reset.records.previous_values import PreviousValues, PreviousValuesFile
from bulk_reset.records.report_file import Report
from bulk_reset.records.summary import summarise
from bulk_reset.reports.junit_file import write_junit
from bulk_reset.workflows import verify
from bulk_reset.workflows.undo_reports import undone_by
from bulk_reset.workflows.undo_sheet import make_undo_sheet

FEW, MANY = 200, 1_000
BYTES_A_ROW: Final = 250
"""Keys, places and times are in arrays; the values of a row alone take 2,000 bytes."""


def write(folder: Path, rows: int) -> Path:
    """Write the report of a run that has set two fields in each incident."""
    folder.mkdir()
    report = folder / "x.report.csv"
    fields = ("title", "description")
    with Report(report) as lines, PreviousValuesFile(folder / "x.before.csv") as before:
        for n in range(2, rows + 2):
            values = ({"title": f"{when} {n}", "description": f"{when} {n:0400}"} for when in "ab")
            row = (n, digest(n), seed_id(n), f"https://console.example/{n}", *values)
            before.append([PreviousValues(*row)])
            outcome = Outcome(n, seed_id(n), Status.UPDATED, fields, digest(n), 1, 200)
            lines.write(outcome._replace(request_id=f"req-{n}", finished_at=1e9 + n / 50))
        lines.flush()
    return report


class Reader:
    """Answers as the API does after the run of ``write``."""

    limiter = SimpleNamespace(requests=1)

    async def each(self, ids: Iterable[str]) -> AsyncIterator[tuple[Sequence[str], dict[str, Any]]]:
        """Yield each incident with the values that were written."""
        for incident_id in ids:
            n = int(incident_id[8:], 16)
            yield [incident_id], {incident_id: {"title": f"b {n}", "description": f"b {n:0400}"}}


@contextlib.asynccontextmanager
async def reader(*_: object) -> AsyncIterator[Reader]:
    yield Reader()


def verified(report: Path) -> None:
    connection: Any = None
    found = verify.verify_report(report, connection, Options(), lambda *_: None)
    assert found.mismatches == ()
    assert found.rows in {FEW, MANY}


@pytest.mark.slow
@pytest.mark.parametrize(
    "read",
    [
        *(summarise, write_page, make_undo_sheet, undone_by, verified),
        lambda report: write_junit(report.with_name("x.xml"), report),
    ],
    ids=["summary", "page", "undo", "undone_by", "verify", "junit"],
)
def test_memory_is_flat_in_the_rows_of_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    """Eight hundred rows more take their keys in memory, and not their values."""
    monkeypatch.setattr(verify, "open_incident_reader", reader)
    for module in (report_index, report_reader, previous_index):
        monkeypatch.setattr(module, "_BLOCK_BYTES", 1 << 14)
    peaks = []
    for rows in (FEW, FEW, MANY):  # the first one fills caches
        report = write(tmp_path / f"{len(peaks)}", rows)
        gc.collect()
        tracemalloc.start()
        read(report)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] < (MANY - FEW) * BYTES_A_ROW
