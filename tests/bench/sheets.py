"""Sheets of any size for measurements: 7 columns, 300 bytes per row, with Chinese text."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import xlsxwriter

HEADER: Final = (
    *("incident_id", "title", "description", "impact"),
    *("root_cause", "resolution", "incident_severity"),
)
_SEVERITIES: Final = ("Critical", "Warning", "Info")


def rows(count: int) -> Iterator[tuple[str, ...]]:
    """Return valid rows, each of another incident."""
    return map(row, range(1, count + 1))


def row(n: int) -> tuple[str, ...]:
    """Return a row; n is the end of its incident's id."""
    return (
        f"69da451e{n:016x}",
        f"Checkout latency above 2 s in region {n % 40}, alarm {n}",
        f"p99 rose to {n % 900} ms, 支付服务延迟升高, and the queue grew to {n % 7000} entries",
        f"{n % 97} % of the orders were late, 影响华东区用户",
        "The connection pool was exhausted after a deploy doubled the workers",
        "Rolled back, 扩容连接池, then raised the limit and added an alarm",
        _SEVERITIES[n % 3],
    )


def write_csv(path: Path, count: int) -> Path:
    """Write this many rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(rows(count))
    return path


def write_xlsx(path: Path, count: int) -> Path:
    """Write this many rows as a workbook, one row at a time."""
    with xlsxwriter.Workbook(str(path), {"constant_memory": True}) as workbook:
        sheet = workbook.add_worksheet("Incidents")
        sheet.write_row(0, 0, HEADER)
        for number, cells in enumerate(rows(count), 1):
            sheet.write_row(number, 0, cells)
    return path
