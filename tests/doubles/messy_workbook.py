"""A workbook as people keep one: title rows, own words for severities, duplicates, empty rows.

``FIXED`` are the values that its incidents have when every invalid cell was fixed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from programs import seed_id
from workbooks import add_rows, write

NAME: Final = "七月 故障清单 (final).xlsx"
WORKSHEET: Final = "故障 汇总"
HEADER_ROW: Final = 4
ROWS: Final = 40
SEVERITIES: Final = ("P1", "严重", "Warning", "P1", "Info")
SHORT: Final = (HEADER_ROW + 3, HEADER_ROW + 8)
"""Rows whose title is too short."""
HOSTILE: Final = '<script>alert(1)</script> \u2028\u202eDisk\'s "full" &amp; 100% {{ 7*7 }}'
_MEANT: Final = {"P1": "Critical", "严重": "Critical"}


def title_of(number: int) -> str:
    """Return the title of the n-th incident."""
    return HOSTILE if number == 1 else f"磁盘已满 host-{number:05} (reviewed)"


def severity_of(number: int) -> str:
    """Return the severity of the n-th incident in the user's own word."""
    return SEVERITIES[number % len(SEVERITIES)]


def write_messy(folder: Path, rows: int = ROWS) -> Path:
    """Write it: a row for each of the first seeded incidents, then three duplicates."""
    lines: list[list[object]] = [
        ["七月故障复盘"],
        ["Exported for the review of July"],
        [],
        ["故障ID", "标题", "严重程度", "备注"],
    ]
    for number in range(1, rows + 1):
        row = HEADER_ROW + number
        title = "ab" if row in SHORT else title_of(number)
        lines.append([seed_id(number), title, severity_of(number), "ok" * (number % 2)])
    lines += [[], *lines[-3:]]
    path = folder / NAME
    write(path, lambda book: add_rows(book, lines, WORKSHEET))
    return path


def fixed(rows: int = ROWS) -> dict[str, tuple[str, str]]:
    """Return id -> title and severity, when the invalid cells were fixed."""
    return {
        seed_id(n): (title_of(n), _MEANT.get(severity_of(n), severity_of(n)))
        for n in range(1, rows + 1)
    }
