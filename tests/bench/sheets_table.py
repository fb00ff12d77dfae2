"""What a sheet costs in time and memory, by its size: check, run, resume, and a workbook.

Checking a CSV is set against pandas reading the same file in chunks and doing nothing with it.
All are whole processes, with the start of Python and the imports. A run sends to the fast server
with the quota lifted.

Memory is the peak of resident memory. What a row costs at the margin is the difference to
the next smaller sheet: the part that every process has, whatever the sheet, drops out.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final

from looks import new_table
from processes import Spent, our_run, ours, serving, spend, spend_as_client, where
from rich.table import Table
from sheets import write_csv, write_xlsx

ROWS: Final = 1_000_000
ROUNDS: Final = 5
SLOW_ROWS: Final = 100_000
"""Runs and workbooks of more rows take minutes, and are made only when asked for."""
_SMALLEST: Final = 1_000
_PANDAS: Final = """\
import sys
import pandas as pd
chunks = pd.read_csv(sys.argv[1], dtype=str, chunksize=10_000)
sys.stdout.write(str(sum(len(chunk) for chunk in chunks)))
"""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Figure:
    """What one thing done with a sheet of so many rows took; medians.

    Attributes:
        ratio: its time, divided by that of something else in the same round.
    """

    what: str
    rows: int
    seconds: float
    peak_bytes: float
    ratio: str = ""


def tables(rows: int, rounds: int, say: Say, *, is_full: bool) -> list[Table]:
    """Measure every size up to so many rows, and return the one table.

    Args:
        is_full: run and make workbooks of more than ``SLOW_ROWS`` too.
    """
    figures: list[Figure] = []
    for size in sizes(rows):
        is_slow = size > SLOW_ROWS and not is_full
        with tempfile.TemporaryDirectory() as folder:
            say(f"sheets: {size:,} rows, check and pandas")
            sheet = write_csv(Path(folder, "sheet.csv"), size)
            figures += _checks(sheet, size, rounds)
            if not is_slow:
                say(f"sheets: {size:,} rows, run, resume and a workbook")
                figures += _runs(sheet, size, rounds)
                figures.append(_workbook(Path(folder, "sheet.xlsx"), size))
    return [_table(figures, rounds)]


def sizes(rows: int) -> list[int]:
    """Return the powers of ten from a thousand that are smaller, then ``rows`` itself."""
    found = []
    size = _SMALLEST
    while size < rows:
        found.append(size)
        size *= 10
    return [*found, rows]


def _checks(sheet: Path, rows: int, rounds: int) -> Iterator[Figure]:
    """Check and read in turns.

    Raises:
        RuntimeError: one of them failed, or found another number of rows.
    """
    checks, reads = [], []
    for _ in range(rounds):
        checks.append(spend(ours("check", sheet, "--json")))
        _expect(json.loads(checks[-1].stdout)["to_send"], rows, "check")
        reads.append(spend([sys.executable, "-c", _PANDAS, str(sheet)]))
        _expect(int(reads[-1].stdout), rows, "pandas")
    yield _figure("check, CSV", rows, checks, _ratio(checks, reads, "pandas"))
    yield _figure("pandas.read_csv", rows, reads)


def _runs(sheet: Path, rows: int, rounds: int) -> Iterator[Figure]:
    """Run a sheet to its end, then again, in turns with checks; raises as ``_checks``."""
    with serving() as server:
        command = our_run(sheet, server.url, sheet.with_name("bench.report.csv"), "--no-before")
        spent = spend_as_client(command)
        _expect(server.work().requests, rows, "run")
        yield _figure("run", rows, [spent])
        resumes, checks = [], []
        for _ in range(rounds):
            resumes.append(spend_as_client(command))
            checks.append(spend_as_client(ours("check", sheet, "--json")))
        _expect(server.work().requests, rows, "run and resume")
        yield _figure("resume, all done", rows, resumes, _ratio(resumes, checks, "check"))


def _workbook(path: Path, rows: int) -> Figure:
    spent = spend(ours("check", write_xlsx(path, rows), "--json"))
    _expect(json.loads(spent.stdout)["to_send"], rows, "check, XLSX")
    return _figure("check, XLSX", rows, [spent])


def _expect(found: int, expected: int, what: str) -> None:
    if found != expected:
        raise RuntimeError(f"{what}: {found} rows instead of {expected}")


def _ratio(ours: Sequence[Spent], theirs: Sequence[Spent], whose: str) -> str:
    ratio = median(a.seconds / b.seconds for a, b in zip(ours, theirs, strict=True))
    return f"{ratio:.2f} of {whose}"


def _figure(what: str, rows: int, spent: Sequence[Spent], ratio: str = "") -> Figure:
    seconds = median(one.seconds for one in spent)
    return Figure(what, rows, seconds, median(one.peak_bytes for one in spent), ratio)


def _table(figures: Sequence[Figure], rounds: int) -> Table:
    table = new_table(
        "Sheets",
        *("what", "rows", "s", "MB", "µs a row", "more µs a row", "more bytes a row"),
        "time",
        caption=(
            "Whole processes; MB is the peak of resident memory; "
            "more: than with the next smaller sheet.\nTime: against pandas, or check. "
            f"Medians; rounds: {rounds}, but 1 of run and XLSX. Run: {where()}."
        ),
    )
    for what in dict.fromkeys(figure.what for figure in figures):
        same = [figure for figure in figures if figure.what == what]
        for smaller, figure in pairwise([None, *same]):
            assert figure is not None
            table.add_row(
                what,
                f"{figure.rows:,}",
                f"{figure.seconds:.2f}",
                f"{figure.peak_bytes / 1e6:.0f}",
                f"{1e6 * figure.seconds / figure.rows:,.1f}",
                *_more(smaller, figure),
                figure.ratio,
            )
        table.add_section()
    return table


def _more(smaller: Figure | None, figure: Figure) -> tuple[str, str]:
    """Return what each further row took, in µs and bytes."""
    if smaller is None:
        return "", ""
    more = figure.rows - smaller.rows
    more_us = 1e6 * (figure.seconds - smaller.seconds) / more
    return f"{more_us:,.1f}", f"{(figure.peak_bytes - smaller.peak_bytes) / more:,.0f}"
