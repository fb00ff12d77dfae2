"""Find the right worksheet of an .xlsx file and read its cells, by calamine.

calamine gives an empty cell where a formula's result is an error or was never computed;
taken for empty, the field would silently be left alone. So those cells are looked up in
the file itself.

Source of the cell markup (``<c r="B7" t="e"><f>A9</f><v>#REF!</v></c>``): ECMA-376 part 1,
18.3.1.4. Writers differ in the prefix and the order of what it is made of.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from xml.etree import ElementTree as ET

import numpy as np
import python_calamine as calamine

from bulk_reset.columns import recognised
from bulk_reset.errors import InputError, SheetError

_ANY: Final = "{*}"
"""Any namespace: strict workbooks have another one than the usual."""
_NO_RESULT: Final = re.compile(
    rb"""\bt\s*=\s*["']e["']"""
    rb"""|(</P f>|<P f\b[^<>]*/>)\s*(<P v[^<>]*/>|<P v[^<>]*></P v>)?\s*</P c>""".replace(
        b"P ", rb"(?:\w+:)?"
    )
)
"""An error, or a formula without a value; a worksheet without either is not parsed here."""
_LONGEST_NO_RESULT: Final = 1 << 10
_CELL_PARTS: Final = ("xl/worksheets/", "xl/sharedStrings")
_LARGE_BYTES: Final = 100_000_000
_HELD_FOR_A_BYTE: Final = 1.3
"""Bytes of memory for a byte of the worksheet's text; measured with seven columns of text."""


@dataclass(frozen=True, slots=True)
class ErrorCell:
    """A cell whose formula has no result to go by."""

    text: str
    """``#REF!``, ``#N/A`` … or the formula that was never computed."""
    problem: str


@dataclass(frozen=True, slots=True)
class WorkbookSheet:
    """A worksheet with a header.

    Attributes:
        header_row: 1-based row of the header.
    """

    name: str
    header_row: int
    header: tuple[str, ...]
    _sheet: calamine.CalamineSheet
    _errors: dict[int, list[tuple[int, ErrorCell]]]

    def rows(self) -> Iterator[list[Any]]:
        """Yield every row from the first of the worksheet on, blank ones too."""
        if not self._errors:
            yield from self._sheet.iter_rows()
            return
        row_number = 0
        for row_number, cells in enumerate(self._sheet.iter_rows(), 1):
            yield self._with_errors(row_number, cells)
        # calamine's last row is the last one that has a value.
        for after in range(row_number + 1, max(self._errors, default=0) + 1):
            yield self._with_errors(after, [])

    def _with_errors(self, row_number: int, cells: list[Any]) -> list[Any]:
        for column, error in self._errors.get(row_number, ()):
            # Left of the first value there is no header, so no field either.
            if column >= 0:
                cells.extend([""] * (column + 1 - len(cells)))
                cells[column] = error
        return cells


def large_workbook_notice(path: Path) -> str:
    """Return what there is to say before a large workbook is read, or nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = [part for part in archive.infolist() if part.filename.startswith(_CELL_PARTS)]
    except (zipfile.BadZipFile, OSError):
        return ""  # Reading it says what is wrong.
    unpacked_bytes = sum(part.file_size for part in parts)
    if unpacked_bytes < _LARGE_BYTES:
        return ""
    return (
        f"a large workbook ({unpacked_bytes / 1e6:,.0f} MB unpacked): reading it takes a while, "
        f"and some {_HELD_FOR_A_BYTE * unpacked_bytes / 1e9:.1f} GB of memory. "
        "As CSV it takes neither."
    )


def open_workbook_sheet(path: Path, sheet_name: str | None) -> WorkbookSheet:
    """Open the named worksheet, or the only one whose header means something here.

    Raises:
        SheetError: not a workbook, protected by a password, or no single fitting worksheet.
        InputError: no worksheet of that name.
    """
    try:
        return _open(path, calamine.CalamineWorkbook.from_path(str(path)), sheet_name)
    except calamine.PasswordError as exc:
        raise SheetError(f"{path}: protected by a password. Save it without one.") from exc
    except (calamine.CalamineError, zipfile.BadZipFile, ET.ParseError, OSError) as exc:
        raise SheetError(
            f"{path}: not a workbook that can be read ({exc}). Save it again."
        ) from exc


def _open(path: Path, workbook: calamine.CalamineWorkbook, sheet_name: str | None) -> WorkbookSheet:
    if sheet_name is not None and sheet_name not in workbook.sheet_names:
        others = ", ".join(repr(name) for name in workbook.sheet_names)
        raise InputError(f"--sheet {sheet_name}: {path} has no such worksheet, but {others}.")
    found = {}
    for name in [sheet_name] if sheet_name is not None else _visible_names(workbook):
        sheet = workbook.get_sheet_by_name(name)
        header_row, header = _find_header(sheet)
        if header:
            found[name] = (sheet, header_row, header)
    fitting = [name for name in found if recognised(found[name][2])] or list(found)
    if not fitting:
        raise SheetError(f"{path}: no cells. It needs a header and rows.")
    if len(fitting) > 1:
        choice = ", ".join(repr(name) for name in fitting)
        raise SheetError(f"{path}: several worksheets have a table: {choice}. Say --sheet NAME.")
    sheet, header_row, header = found[fitting[0]]
    left = (sheet.start or (0, 0))[1]
    errors: dict[int, list[tuple[int, ErrorCell]]] = {}
    for row_number, column, error in _error_cells(path, fitting[0]):
        errors.setdefault(row_number, []).append((column - left, error))
    return WorkbookSheet(fitting[0], header_row, header, sheet, errors)


def _visible_names(workbook: calamine.CalamineWorkbook) -> list[str]:
    return [
        meta.name
        for meta in workbook.sheets_metadata
        if meta.visible == calamine.SheetVisibleEnum.Visible
        and meta.typ == calamine.SheetTypeEnum.WorkSheet
    ]


def _find_header(sheet: calamine.CalamineSheet) -> tuple[int, tuple[str, ...]]:
    for row_number, cells in enumerate(sheet.iter_rows(), 1):
        header = tuple(str(cell).strip() for cell in cells)
        if any(header):
            return row_number, header
    return 0, ()


def _error_cells(path: Path, name: str) -> Iterator[tuple[int, int, ErrorCell]]:
    """Yield (row_number, 0-based column of the worksheet, cell) of every cell without a result."""
    with zipfile.ZipFile(path) as archive:
        part = _part_of(archive, name)
        if part is None:
            raise SheetError(
                f"{path}: worksheet {name!r} is not where it should be. Save it again."
            )
        with archive.open(part) as file:
            is_suspect = _may_have_errors(file)
        if is_suspect:
            with archive.open(part) as file:
                yield from _parsed_errors(file)


def _may_have_errors(file: IO[bytes]) -> bool:
    """Search the worksheet's text, which is some ten times faster than parsing it."""
    rest = b""
    while block := file.read(1 << 20):
        text = rest + block
        if _has_hint(text) and _NO_RESULT.search(text):
            return True
        rest = block[-_LONGEST_NO_RESULT:]
    return False


def _has_hint(text: bytes) -> bool:
    """Tell whether ``"e"`` or the tag of a formula is in a text; takes a fiftieth of the search."""
    codes = np.frombuffer(text, np.uint8)
    before, after = codes[:-2], codes[2:]
    formulas = before[codes[1:-1] == ord("f")]
    quotes = before[(codes[1:-1] == ord("e")) & (before == after)]
    return bool(np.isin(formulas, list(b"<:")).any() or np.isin(quotes, list(b"\"'")).any())


def _parsed_errors(file: IO[bytes]) -> Iterator[tuple[int, int, ErrorCell]]:
    row_number, column = 0, -1
    for event, element in ET.iterparse(file, events=("start", "end")):  # noqa: S314
        tag = element.tag.rpartition("}")[2]
        if tag == "row" and event == "start":
            # A row or a cell that does not say where it stands follows the one before.
            row_number, column = int(element.get("r", row_number + 1)), -1
        elif tag == "c" and event == "end":
            place = element.get("r")
            column = column + 1 if place is None else _column_of(place)
            error = _error_of(element)
            if error is not None:
                yield row_number, column, error
        elif tag == "row":
            element.clear()  # so that a large worksheet is never held whole


def _error_of(cell: ET.Element) -> ErrorCell | None:
    value, formula = (cell.findtext(f"{_ANY}{name}") for name in ("v", "f"))
    if cell.get("t") == "e":
        code = value or "#"
        return ErrorCell(code, f"the formula's result is the error {code}")
    # A text may be the empty one, so a formula with that result is an empty cell.
    if formula is not None and not value and cell.get("t") != "str":
        return ErrorCell(f"={formula}", "the formula was never computed")
    return None


def _part_of(archive: zipfile.ZipFile, name: str) -> str | None:
    """Return the archive's member that holds the worksheet of this name."""
    try:
        workbook = ET.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314
        relations = ET.fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
    except KeyError:
        return None
    sheets = (sheet for sheet in workbook.iterfind(f".//{_ANY}sheet") if sheet.get("name") == name)
    ids = {value for sheet in sheets for key, value in sheet.items() if key.endswith("}id")}
    target = next((r.get("Target", "") for r in relations if r.get("Id") in ids), "")
    member = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    return member if member in archive.namelist() else None


def _column_of(place: str) -> int:
    number = 0
    for letter in place.rstrip("0123456789"):
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
