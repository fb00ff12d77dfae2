"""Every command by the rows of its sheet: whether time is linear and memory is flat.

The report of a finished run, and its previous values, are written by the package's own writers,
because sending a million rows takes minutes and is measured by the part ``engine``. The server
has the values that the run wrote.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from processes import QUOTA_LIFTED, Measured, measure, our_command, serving
from reports import write_report
from rich.table import Table
from sheets import write_csv
from table_style import new_table

ROWS: Final = 1_000_000
SMALLEST: Final = 1_000
MOST_IN_WORKBOOK: Final = 100_000
"""A workbook of more rows takes minutes."""
_NOT_CONFIRMED: Final = 3
_FLAT_MB: Final = 250.0
_TIMES_CHECK: Final = 1.5
_FINISHED: Final = "the same again"


class Bound(NamedTuple):
    """The most that a command may take with so many rows."""

    rows: int
    seconds: float
    megabytes: float


class Command(NamedTuple):
    """A command to measure; bounds for some numbers of rows."""

    name: str
    words: list[str]
    exit_code: int = 0
    most_rows: int = ROWS
    bounds: tuple[Bound, ...] = ()


_PAGE: Final = (Bound(100_000, 8.0, 150.0), Bound(ROWS, 90.0, _FLAT_MB))


def _commands(folder: Path, url: str) -> Iterator[Command]:
    sheet, report = folder / "nightly.csv", folder / "nightly.report.csv"
    api = ["--base-url", url, *QUOTA_LIFTED]
    yield Command("check", ["check", str(sheet)])
    resume = ["run", str(sheet), "--report", str(report), *api]
    yield Command("run, all rows done", resume)
    # The audit has the hashes of rows and report now, as it has them after a run that sends rows.
    yield Command(_FINISHED, resume)
    yield Command("plan", ["plan", str(sheet), *api])
    yield Command("report", ["report", str(report)])
    yield Command("report --html", ["report", str(report), "--html"], bounds=_PAGE)
    of = ["--xlsx", "--of", str(sheet)]
    yield Command("report --xlsx", ["report", str(report), *of], most_rows=MOST_IN_WORKBOOK)
    yield Command("verify", ["verify", str(report), *api])
    yield Command("undo, up to the question", ["undo", str(report), *api], _NOT_CONFIRMED)


def tables(rows: int, log: Callable[[str], None]) -> list[Table]:
    """Measure each command with 1,000 rows, ten times as many, and so on; return one table."""
    sizes = [size for n in range(9) if (size := SMALLEST * 10**n) <= rows] or [rows]
    found: dict[str, dict[int, Measured]] = {}
    bounds: dict[tuple[str, int], Bound] = {}
    with serving("written") as server, tempfile.TemporaryDirectory() as temporary:
        for size in sizes:
            log(f"scaling: writing {size:,} rows")
            folder = Path(temporary, str(size))
            folder.mkdir()
            write_csv(folder / "nightly.csv", size)
            write_report(folder, size, scope=server.url, is_done=True)
            for command in _commands(folder, server.url):
                if size > command.most_rows:
                    continue
                log(f"scaling: {command.name}, {size:,} rows")
                measured = measure(
                    our_command(*command.words, "--quiet"), exit_code=command.exit_code
                )
                found.setdefault(command.name, {})[size] = measured
                bounds |= {(command.name, bound.rows): bound for bound in command.bounds}
    return [_table(found, bounds)]


def _table(found: dict[str, dict[int, Measured]], bounds: dict[tuple[str, int], Bound]) -> Table:
    table = new_table(
        "Time and memory by rows",
        *("command", "rows", "s", "CPU s", "bound", "µs a row", "of 1/10", "MB", "bound"),
        caption="of 1/10: CPU time a row, divided by that of a tenth of the rows; 1.00 is linear.",
    )
    for name, by_size in found.items():
        for size, measured in by_size.items():
            fewer = by_size.get(size // 10)
            ratio = measured.cpu_s / (10 * fewer.cpu_s) if fewer else 0.0
            bound = bounds.get((name, size), Bound(size, 0.0, _FLAT_MB))
            seconds = bound.seconds
            if name == _FINISHED and size == ROWS:
                seconds = _TIMES_CHECK * found["check"][size].seconds
            table.add_row(
                name,
                f"{size:,}",
                f"{measured.seconds:.1f}",
                f"{measured.cpu_s:.1f}",
                f"{seconds:.1f}" if seconds else "",
                f"{1e6 * measured.cpu_s / size:,.0f}",
                f"{ratio:.2f}" if ratio else "",
                f"{measured.peak_bytes / 1e6:,.0f}",
                f"{bound.megabytes:.0f}" if name != "report --xlsx" else "",
            )
        table.add_section()
    return table
