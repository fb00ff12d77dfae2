"""Time and memory of a sheet, by its size: check, run, resume, and a workbook.

The check of a CSV file is compared with pandas, which reads the same file in chunks and does no
more; that of a workbook with calamine, which reads its cells. All are whole processes, with the
start of Python and the imports. A run sends to the fast server without a quota.

Memory is the peak of resident memory. The cost of a further row is the difference to the next
smaller sheet, without the part that every process has.
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

from processes import Measured, measure, measure_as_client, our_command, our_run, serving, where
from rich.table import Table
from sheets import write_csv, write_xlsx
from table_style import new_table

ROWS: Final = 1_000_000
ROUNDS: Final = 5
SLOW_ROWS: Final = 100_000
"""Runs and workbooks of more rows take minutes and require --full."""
_SMALLEST: Final = 1_000
_PANDAS: Final = """\
import sys
import pandas as pd
chunks = pd.read_csv(sys.argv[1], dtype=str, chunksize=10_000)
sys.stdout.write(str(sum(len(chunk) for chunk in chunks)))
"""
_CALAMINE: Final = """\
import sys
import python_calamine
rows = python_calamine.CalamineWorkbook.from_path(sys.argv[1]).get_sheet_by_index(0).iter_rows()
sys.stdout.write(str(sum(1 for _ in rows) - 1))
"""
_PROFILE: Final = """\
[templates]
title = "[{{ row.incident_severity }}] {{ row.title }}"
description = "{{ row.impact }}: {{ row.description }}"
[values.incident_severity]
Info = "Warning"
"""
_PROFILE_LIMIT: Final = 2.0
"""A check with a profile takes at most so many times as long as pandas."""
_LIMIT: Final = 1.5
"""A resume at most so many times as long as a check, and a workbook as calamine, of ``ROWS``."""
Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Figure:
    """The measurements of one command on a sheet of this many rows; medians.

    Attributes:
        ratio: its time, divided by that of another command in the same round.
    """

    what: str
    rows: int
    seconds: float
    peak_bytes: float
    ratio: str = ""


def tables(rows: int, rounds: int, log: Log, *, is_full: bool) -> list[Table]:
    """Measure every size up to this many rows and return one table.

    Args:
        is_full: include runs and workbooks of more than ``SLOW_ROWS``.
    """
    figures: list[Figure] = []
    for size in sizes(rows):
        is_slow = size > SLOW_ROWS and not is_full
        with tempfile.TemporaryDirectory() as folder:
            log(f"sheets: {size:,} rows, check and pandas")
            sheet = write_csv(Path(folder, "sheet.csv"), size)
            figures += _checks(sheet, size, rounds)
            if not is_slow:
                log(f"sheets: {size:,} rows, run, resume and a workbook")
                figures += _runs(sheet, size, rounds)
                figures += _workbooks(Path(folder, "sheet.xlsx"), size, rounds)
    return [_table(figures, rounds)]


def sizes(rows: int) -> list[int]:
    """Return the powers of ten from 1,000 that are smaller, then ``rows``."""
    found = []
    size = _SMALLEST
    while size < rows:
        found.append(size)
        size *= 10
    return [*found, rows]


def _checks(sheet: Path, rows: int, rounds: int) -> Iterator[Figure]:
    """Check and read by turns.

    Raises:
        RuntimeError: one of them failed or found another number of rows.
    """
    checks, reads, profiled = [], [], []
    profile = sheet.with_name("bench.toml")
    profile.write_text(_PROFILE, encoding="utf-8")
    for _ in range(rounds):
        checks.append(measure(our_command("check", sheet, "--json")))
        _expect(json.loads(checks[-1].stdout)["to_send"], rows, "check")
        reads.append(measure([sys.executable, "-c", _PANDAS, str(sheet)]))
        _expect(int(reads[-1].stdout), rows, "pandas")
        by_profile = our_command("check", sheet, "--json", "--profile", profile)
        profiled.append(measure(by_profile))
        _expect(json.loads(profiled[-1].stdout)["to_send"], rows, "check by a profile")
    yield _figure("check, CSV", rows, checks, _ratio(checks, reads, "pandas"))
    limit = f", limit {_PROFILE_LIMIT:.1f}"
    yield _figure("check by a profile", rows, profiled, _ratio(profiled, reads, "pandas") + limit)
    yield _figure("pandas.read_csv", rows, reads)


def _runs(sheet: Path, rows: int, rounds: int) -> Iterator[Figure]:
    """Run a sheet, then repeat it by turns with checks; raises as ``_checks``."""
    with serving() as server:
        command = our_run(sheet, server.url, sheet.with_name("bench.report.csv"), "--no-before")
        measured = measure_as_client(command)
        _expect(server.work().requests, rows, "run")
        yield _figure("run", rows, [measured])
        resumes, checks = [], []
        for _ in range(rounds):
            resumes.append(measure_as_client(command))
            checks.append(measure_as_client(our_command("check", sheet, "--json")))
        _expect(server.work().requests, rows, "run and resume")
        yield _figure(
            "resume, all done", rows, resumes, _limited(_ratio(resumes, checks, "check"), rows)
        )


def _workbooks(path: Path, rows: int, rounds: int) -> Iterator[Figure]:
    """Check a workbook and read its cells by turns; raises as ``_checks``."""
    write_xlsx(path, rows)
    checks, reads = [], []
    for _ in range(rounds):
        checks.append(measure(our_command("check", path, "--json")))
        _expect(json.loads(checks[-1].stdout)["to_send"], rows, "check, XLSX")
        reads.append(measure([sys.executable, "-c", _CALAMINE, str(path)]))
        _expect(int(reads[-1].stdout), rows, "calamine")
    yield _figure("check, XLSX", rows, checks, _limited(_ratio(checks, reads, "calamine"), rows))
    yield _figure("calamine", rows, reads)


def _expect(found: int, expected: int, what: str) -> None:
    if found != expected:
        raise RuntimeError(f"{what}: {found} rows instead of {expected}")


def _ratio(one: Sequence[Measured], other: Sequence[Measured], name: str) -> str:
    ratio = median(a.seconds / b.seconds for a, b in zip(one, other, strict=True))
    return f"{ratio:.2f} of {name}"


def _limited(ratio: str, rows: int) -> str:
    return f"{ratio}, limit {_LIMIT}" if rows == ROWS else ratio


def _figure(what: str, rows: int, measured: Sequence[Measured], ratio: str = "") -> Figure:
    seconds = median(one.seconds for one in measured)
    return Figure(what, rows, seconds, median(one.peak_bytes for one in measured), ratio)


def _table(figures: Sequence[Figure], rounds: int) -> Table:
    table = new_table(
        "Sheets",
        *("what", "rows", "s", "MB", "µs per row", "µs per further row", "bytes per further row"),
        "time",
        caption=(
            "Whole processes; MB is the peak of resident memory; further rows: compared with the "
            "next smaller sheet.\nTime: compared with pandas, check or calamine. "
            f"Medians; rounds: {rounds}, but 1 for run. Run: {where()}."
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
    """Return the cost of each further row, in µs and bytes."""
    if smaller is None:
        return "", ""
    more = figure.rows - smaller.rows
    more_us = 1e6 * (figure.seconds - smaller.seconds) / more
    return f"{more_us:,.1f}", f"{(figure.peak_bytes - smaller.peak_bytes) / more:,.0f}"
