"""Binary workbooks for tests, written record by record as [MS-XLSB] describes them."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_BINARY: Final = "application/vnd.ms-excel"
FORMATS: Final = ("General", "0%", "yyyy-mm-dd", "000", "@")
"""Formats of the cell styles, by their index."""


def record(number: int, data: bytes = b"") -> bytes:
    """Return a record with its number and size."""
    head = bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80, number >> 7])
    size, sizes = len(data), []
    while True:
        sizes.append(size & 0x7F | (0x80 if size > 0x7F else 0))
        size >>= 7
        if not size:
            return head + bytes(sizes) + data


def wide(text: str) -> bytes:
    """Return a text with its length."""
    data = text.encode("utf-16-le")
    return struct.pack("<I", len(data) // 2) + data


@dataclass(frozen=True)
class Cell:
    """A cell: its record and its value in it.

    Attributes:
        style: the index of its format in ``FORMATS``.
    """

    number: int
    data: bytes
    style: int = 0


def text(value: str) -> Cell:
    return Cell(6, wide(value))


def real(value: float, style: int = 0) -> Cell:
    return Cell(5, struct.pack("<d", value), style)


def rk(value: int, style: int = 0) -> Cell:
    return Cell(2, struct.pack("<i", value << 2 | 2), style)


def boolean(*, value: bool) -> Cell:
    return Cell(4, bytes([value]))


def error(code: int) -> Cell:
    return Cell(3, bytes([code]))


def formula_error(code: int) -> Cell:
    return Cell(11, bytes([code]) + _NO_FORMULA)


def formula_number(value: float) -> Cell:
    return Cell(9, struct.pack("<d", value) + _NO_FORMULA)


def formula_text(value: str) -> Cell:
    return Cell(8, wide(value) + _NO_FORMULA)


def rich_text(value: str) -> Cell:
    return Cell(62, b"\0" + wide(value))


_NO_FORMULA: Final = struct.pack("<HII", 0, 3, 0)[:6] + b"\x1e\x01\0" + struct.pack("<I", 0)


@dataclass
class Sheet:
    """A worksheet.

    Attributes:
        rows: the cells of each row; a text is a cell with it, None is no cell.
        hidden: 0-based rows.
        merged: (top, bottom, left, right) of each, 0-based.
        state: 0 visible, 1 hidden, 2 very hidden.
    """

    rows: Sequence[Sequence[Cell | str | None]]
    name: str = "Table"
    hidden: frozenset[int] = frozenset()
    merged: Sequence[tuple[int, int, int, int]] = ()
    state: int = 0
    further: bytes = field(default=b"", repr=False)

    def part(self) -> bytes:
        """Return the records of the worksheet."""
        width = max((len(row) for row in self.rows), default=1)
        size = struct.pack("<4I", 0, max(0, len(self.rows) - 1), 0, width - 1)
        out = record(129) + record(148, size) + record(145)
        for number, row in enumerate(self.rows):
            flags = 0x10 if number in self.hidden else 0
            out += record(0, struct.pack("<IIHBBBI", number, 0, 300, 0, flags, 0, 0))
            for column, cell in enumerate(row):
                if cell is not None:
                    own = text(cell) if isinstance(cell, str) else cell
                    out += record(own.number, struct.pack("<II", column, own.style) + own.data)
        out += self.further + record(146)
        if self.merged:
            out += record(177, struct.pack("<I", len(self.merged)))
            out += b"".join(record(176, struct.pack("<4I", *one)) for one in self.merged)
            out += record(178)
        return out + record(130)


def _styles() -> bytes:
    out = record(278) + record(615, struct.pack("<I", len(FORMATS)))
    for place, code in enumerate(FORMATS):
        out += record(44, struct.pack("<H", 164 + place) + wide(code))
    out += record(616) + record(617, struct.pack("<I", len(FORMATS)))
    for place in range(len(FORMATS)):
        out += record(47, struct.pack("<HHHHHHHH", 0, 164 + place, 0, 0, 0, 0, 0, 0))
    return out + record(618) + record(279)


def write_xlsb(path: Path, *sheets: Sheet, is_calculated: bool = True) -> Path:
    """Write a binary workbook with these worksheets."""
    book = record(131) + record(143)
    relations = f"<Relationship Id='s' Type='{_OFFICE}/styles' Target='styles.bin'/>"
    for place, sheet in enumerate(sheets, 1):
        head = struct.pack("<II", sheet.state, place)
        book += record(156, head + wide(f"rId{place}") + wide(sheet.name))
        relations += (
            f"<Relationship Id='rId{place}' Type='{_OFFICE}/worksheet' "
            f"Target='worksheets/sheet{place}.bin'/>"
        )
    flags = struct.pack("<IIIdIH", 0, 1, 100, 0.001, 1, 0 if is_calculated else 1)
    book += record(144) + record(157, flags) + record(132)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", _content_types(len(sheets)))
        archive.writestr(
            "_rels/.rels",
            _relations(
                f"<Relationship Id='b' Type='{_OFFICE}/officeDocument' Target='xl/workbook.bin'/>"
            ),
        )
        archive.writestr("xl/workbook.bin", book)
        archive.writestr("xl/_rels/workbook.bin.rels", _relations(relations))
        archive.writestr("xl/styles.bin", _styles())
        for place, sheet in enumerate(sheets, 1):
            archive.writestr(f"xl/worksheets/sheet{place}.bin", sheet.part())
    return path


def _relations(lines: str) -> str:
    return f"<Relationships xmlns='{_PACKAGE}/relationships'>{lines}</Relationships>"


def _content_types(sheets: int) -> str:
    parts = [("workbook.bin", "sheet.binary.macroEnabled.main"), ("styles.bin", "styles")]
    parts += [(f"worksheets/sheet{n}.bin", "worksheet") for n in range(1, sheets + 1)]
    lines = "".join(
        f"<Override PartName='/xl/{name}' ContentType='{_BINARY}.{kind}'/>" for name, kind in parts
    )
    xml = "application/vnd.openxmlformats-package.relationships+xml"
    return (
        f"<Types xmlns='{_PACKAGE}/content-types'><Default Extension='rels' ContentType='{xml}'/>"
        f"<Default Extension='bin' ContentType='{_BINARY}.sheet.binary.macroEnabled.main'/>{lines}"
        "</Types>"
    )
