"""Reads binary Excel workbooks (.xlsb): calamine reads the cells, their records have the rest.

calamine returns an empty cell if a formula failed, and does not report special formats, merged
cells and hidden rows. So the records of each worksheet are scanned before. A text of a formula is
not in them in a readable form, so an error shows the formula as ``=…``.

Source: [MS-XLSB] 2.1.4 (records), 2.4.668 (rows), 2.5.9 (cells), 2.5.97.2 (errors).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import python_calamine as calamine

from bulk_reset.core.errors import SheetError
from bulk_reset.sheets.workbooks.package import Package, SheetPart
from bulk_reset.sheets.workbooks.workbook_xml import (
    NEVER_CALCULATED,
    PLAIN_CODES,
    PLAIN_FORMATS,
    SPECIAL_FORMAT,
    ErrorCell,
    WorksheetFacts,
)
from bulk_reset.sheets.workbooks.xml_parts import DamagedError

_BLOCK_BYTES: Final = 1 << 20
_MAX_RECORD_BYTES: Final = 1 << 24
_MAX_ROWS, _MAX_COLUMNS = 1 << 20, 1 << 14
_MAX_CELLS: Final = 1 << 24
_MIN_BYTES_PER_CELL: Final = 2
_ROW, _ERROR, _FORMULA_NUMBER, _FORMULA_ERROR = 0, 3, 9, 11
_RK, _REAL, _RICH_TEXT = 2, 5, 62
_CELLS: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 62})
_SHORT_CELLS: Final = frozenset(range(12, 19))
"""Cells without a column; no known program writes them."""
_MERGED, _SHEET, _CALCULATION = 176, 156, 157
_FORMAT, _STYLE, _STYLES_START, _STYLES_END = 44, 47, 617, 618
_HIDDEN_ROW: Final = 0x10
_STATES: Final = ("visible", "hidden", "veryHidden")
_CODES: Final = {
    0x00: "#NULL!",
    0x07: "#DIV/0!",
    0x0F: "#VALUE!",
    0x17: "#REF!",
    0x1D: "#NAME?",
    0x24: "#NUM!",
    0x2A: "#N/A",
    0x2B: "#GETTING_DATA",
}
_USUAL: Final = ("xl/workbook.bin", "xl/_rels/workbook.bin.rels")


def records_of(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the content of each record of a part.

    Raises:
        DamagedError: a record is cut off, or too large.
    """
    data, at = b"", 0
    while block := file.read(_BLOCK_BYTES):
        data, at = data[at:] + block, 0
        while (head := _head(data, at)) is not None:
            number, start, end = head
            if end > len(data):
                break
            yield number, data[start:end]
            at = end
    if at != len(data):
        raise DamagedError("a record is cut off")


def _head(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Return the number of a record, where its content begins and ends; None if it is cut."""
    number_of = _variable(data, at, 2)
    size_of = None if number_of is None else _variable(data, number_of[1], 4)
    if number_of is None or size_of is None:
        return None
    if size_of[0] > _MAX_RECORD_BYTES:
        raise DamagedError("a record is too large")
    return number_of[0], size_of[1], size_of[1] + size_of[0]


def _variable(data: bytes, at: int, longest: int) -> tuple[int, int] | None:
    """Return a number of seven bits a byte, and the place behind it; None if it is cut."""
    value = 0
    for place in range(longest):
        if at + place >= len(data):
            return None
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return value, at + place + 1
    return value, at + longest


def _text(data: bytes, at: int) -> tuple[str, int]:
    """Return a text with its length before it, and the place behind it."""
    (length,) = struct.unpack_from("<I", data, at)
    end = at + 4 + 2 * length
    if length == 0xFFFFFFFF:  # noqa: PLR2004  (the format's word for no text)
        return "", at + 4
    if end > len(data):
        raise DamagedError("a text is cut off")
    return data[at + 4 : end].decode("utf-16-le"), end


class XlsbPackage(Package):
    """The parts of a binary workbook; see ``Package``."""

    def _read_workbook(self) -> Iterator[SheetPart]:
        member = self._index_part(self._workbook)
        if member is None:
            raise DamagedError(f"it has no part {self._workbook!r}")
        found: list[SheetPart] = []
        with self.archive.open(member) as file:
            for number, data in records_of(file):
                if number == _SHEET:
                    found.append(self._binary_sheet(data))
                elif number == _CALCULATION:
                    # Programs that do not calculate ask the next one to do so.
                    self.is_calculated = not data[24] & 1
        return iter(found)

    def _binary_sheet(self, data: bytes) -> SheetPart:
        (state,) = struct.unpack_from("<I", data)
        relation, end = _text(data, 8)
        name, _ = _text(data, end)
        known = _STATES[state] if state < len(_STATES) else "hidden"
        return self._sheet({"name": name, "r:id": relation, "state": known})

    def require_usual(self) -> None:
        """Refuse names of parts that calamine does not find."""
        names = set(self.archive.namelist())
        parts = [self.part_of(one).filename for one in self.sheets if one.kind == "worksheet"]
        if not names.issuperset(_USUAL) or any(
            not one.startswith("xl/worksheets/") for one in parts
        ):
            raise DamagedError("its parts have unusual names")


@dataclass(slots=True)
class XlsbSheet:
    """A worksheet, with what its records say beside calamine's cells."""

    merged_cell_ranges: list[tuple[tuple[int, int], tuple[int, int]]] = field(default_factory=list)
    facts: WorksheetFacts = field(default_factory=WorksheetFacts)
    cells: calamine.CalamineSheet | None = None

    @property
    def start(self) -> tuple[int, int] | None:
        """The 0-based row and column of the first cell."""
        return None if self.cells is None else self.cells.start

    def iter_rows(self) -> Iterator[list[Any]]:
        """Yield all rows up to the last one with a value."""
        return iter(()) if self.cells is None else self.cells.iter_rows()


class ReadableXlsb:
    """Worksheets of a binary workbook; see ``readable_workbook.Readable``."""

    has_broken = False

    def __init__(self, path: Path, package: XlsbPackage, sheets: Sequence[SheetPart]) -> None:
        package.require_usual()
        self.sheets, self._package = sheets, package
        self._odd_styles = frozenset[int]()
        if package.styles is not None:
            with package.archive.open(package.styles) as file:
                self._odd_styles = _odd_styles(file)
        self._found = [self._scan(one) for one in sheets]
        for part, sheet in zip(sheets, self._found, strict=True):
            self._require_memory(part, sheet.facts)
        workbook = calamine.CalamineWorkbook.from_path(str(path))
        for part, sheet in zip(sheets, self._found, strict=True):
            sheet.cells = workbook.get_sheet_by_name(part.name)

    def facts(self, position: int) -> WorksheetFacts:
        """Return the facts of a worksheet that calamine does not report."""
        return self._found[position].facts

    def open_sheet(self, position: int) -> XlsbSheet:
        """Return a worksheet."""
        return self._found[position]

    def _require_memory(self, part: SheetPart, facts: WorksheetFacts) -> None:
        enough = self._package.part_of(part).file_size // _MIN_BYTES_PER_CELL
        if facts.rows * facts.columns > max(_MAX_CELLS, enough):
            raise SheetError(
                f"{self._package.label}: worksheet {part.name!r} has cells up to row "
                f"{facts.rows:,} and column {facts.columns:,}. Delete the empty rows and columns, "
                "or save it as CSV."
            )

    def _scan(self, part: SheetPart) -> XlsbSheet:
        scan = _Scan(self._odd_styles, is_calculated=self._package.is_calculated)
        with self._package.archive.open(self._package.part_of(part)) as file:
            for number, data in records_of(file):
                scan.add(number, data)
        return scan.sheet


class _Scan:
    """Collects the facts of a worksheet, record by record.

    State: the open row, and whether it is hidden and has no cell yet.
    """

    def __init__(self, odd_styles: frozenset[int], *, is_calculated: bool) -> None:
        self.sheet = XlsbSheet()
        self._odd_styles, self._is_calculated = odd_styles, is_calculated
        self._row = 0
        self._is_hidden = False

    def add(self, number: int, data: bytes) -> None:
        if number == _ROW:
            (row,) = struct.unpack_from("<I", data)
            if row >= _MAX_ROWS:
                raise DamagedError(f"it has a row {row:,}")
            self._row, self._is_hidden = row + 1, bool(data[11] & _HIDDEN_ROW)
        elif number in _CELLS:
            self._add_cell(number, data)
        elif number in _SHORT_CELLS:
            raise DamagedError("it has cells without a column")
        elif number == _MERGED:
            top, bottom, left, right = struct.unpack_from("<4I", data)
            self.sheet.merged_cell_ranges.append(((top, left), (bottom, right)))

    def _add_cell(self, number: int, data: bytes) -> None:
        column, style = struct.unpack_from("<II", data)
        if column >= _MAX_COLUMNS:
            raise DamagedError(f"row {self._row:,} has more than {_MAX_COLUMNS:,} cells")
        facts = self.sheet.facts
        facts.rows, facts.columns = max(facts.rows, self._row), max(facts.columns, column + 1)
        facts.hidden_rows += self._is_hidden
        self._is_hidden = False
        error = self._error_of(number, data, style & 0xFFFFFF)
        if error is not None:
            facts.errors.setdefault(self._row, []).append((column, error))

    def _error_of(self, number: int, data: bytes, style: int) -> ErrorCell | None:
        if number in {_ERROR, _FORMULA_ERROR}:
            code = _CODES.get(data[8], "#")
            return ErrorCell(code, f"the formula failed with {code}")
        if number == _RICH_TEXT:
            text, _ = _text(data, 9)
            return ErrorCell(text, "a text that is stored in an unusual way")
        if number not in {_RK, _REAL, _FORMULA_NUMBER}:
            return None
        value = _rk(data) if number == _RK else struct.unpack_from("<d", data, 8)[0]
        if number == _FORMULA_NUMBER and not self._is_calculated and value == 0:
            return ErrorCell("=…", NEVER_CALCULATED)
        if style in self._odd_styles and float(value).is_integer():
            return ErrorCell("", SPECIAL_FORMAT, is_number=True)
        return None


def _rk(data: bytes) -> float:
    """Return a number that is stored in 30 bits."""
    (raw,) = struct.unpack_from("<i", data, 8)
    if raw & 2:
        value = float(raw >> 2)
    else:
        (value,) = struct.unpack("<d", bytes(4) + struct.pack("<i", raw & ~3))
    return value / 100 if raw & 1 else value


def _odd_styles(file: IO[bytes]) -> frozenset[int]:
    """Return the cell styles that do not show a whole number as its digits."""
    plain = set(map(int, PLAIN_FORMATS))
    formats: list[int] = []
    is_cells = False
    for number, data in records_of(file):
        if number == _FORMAT:
            (key,) = struct.unpack_from("<H", data)
            code, _ = _text(data, 2)
            (plain.add if code.strip().casefold() in PLAIN_CODES else plain.discard)(key)
        elif number in {_STYLES_START, _STYLES_END}:
            is_cells = number == _STYLES_START
        elif number == _STYLE and is_cells:
            formats.append(struct.unpack_from("<HH", data)[1])
    return frozenset(style for style, one in enumerate(formats) if one not in plain)
