"""Workbooks for tests: written by XlsxWriter, changed to look like other programs' files, read."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import xlsxwriter

from bulk_reset.sheets.open_sheet import open_sheet

SHEET_PART: Final = "xl/worksheets/sheet1.xml"
Rows = list[tuple[object, ...]]
Odd = dict[tuple[int, int], str]
Fill = Callable[[xlsxwriter.Workbook], object]


def write(path: Path, fill: Fill) -> None:
    """Write a workbook that ``fill`` has filled."""
    with xlsxwriter.Workbook(path) as book:
        fill(book)


def add_rows(
    book: xlsxwriter.Workbook,
    rows: list[list[object]],
    name: str | None = None,
    at: tuple[int, int] = (0, 0),
) -> xlsxwriter.workbook.Worksheet:
    """Add a worksheet with these cells, the first one at the given position."""
    sheet = book.add_worksheet(name)
    for number, row in enumerate(rows, at[0]):
        for column, value in enumerate(row, at[1]):
            sheet.write(number, column, value)
    return sheet


def change_part(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change one member of the archive, as another program would have written it."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    members[name] = change(members[name])
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def read(path: Path, chunk_rows: int = 10_000, sheet_name: str | None = None) -> tuple[Rows, Odd]:
    """Return (row_number, *cells) of every row, and the odd cells."""
    rows: Rows = []
    odd_cells: Odd = {}
    with open_sheet(path, sheet_name=sheet_name) as table:
        for chunk in table.chunks(chunk_rows):
            rows += chunk.rows()
            odd_cells |= chunk.odd_cells
    return rows, odd_cells


def encrypted() -> bytes:
    """Return the shell of a workbook with a password: an OLE file with EncryptedPackage in it."""
    free, end = 0xFFFFFFFF, 0xFFFFFFFE
    magic = bytes.fromhex("D0CF11E0A1B11AE1") + bytes(16)
    header = struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIIII", 0, 1, 1, 0, 4096, end, 0, end, 0, 0)
    table = struct.pack("<128I", 0xFFFFFFFD, end, *[free] * 126)
    folder = entry("Root Entry", 5, child=1) + entry("EncryptedPackage", 2) + entry("", 0) * 2
    return magic + header + struct.pack("<108I", *[free] * 108) + table + folder


def entry(name: str, kind: int, child: int = 0xFFFFFFFF) -> bytes:
    size = 2 * len(name) + 2 if name else 0
    text = name.encode("utf-16-le").ljust(64, b"\0")
    links = struct.pack("<III", 0xFFFFFFFF, 0xFFFFFFFF, child)
    return (
        text
        + struct.pack("<HBB", size, kind, 1)
        + links
        + bytes(36)
        + struct.pack("<IQ", 0xFFFFFFFE, 0)
    )
