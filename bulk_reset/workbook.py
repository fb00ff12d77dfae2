"""Find the right worksheet of an .xlsx file and read its cells, by calamine.

calamine gives an empty cell where a formula's result is an error; taken for empty, the
field would silently be left alone. So those cells are looked up in the file itself.

Source of the cell markup (``<c r="B7" t="e"><v>#REF!</v></c>``): ECMA-376 part 1, 18.3.1.4.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import python_calamine as calamine

from bulk_reset.columns import recognised
from bulk_reset.errors import InputError, SheetError

_MAIN: Final = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_ERROR_CELL: Final = re.compile(
    rb'<c r="([A-Z]+)(\d+)"[^>]*\bt="e"[^>]*>(?:(?!</c>).)*?<v>([^<]*)</v>', re.DOTALL
)


@dataclass(frozen=True, slots=True)
class ErrorCell:
    """A cell whose formula's result is an error."""

    code: str
    """``#REF!``, ``#N/A`` …"""


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
        for row_number, cells in enumerate(self._sheet.iter_rows(), 1):
            row: list[Any] = cells
            for column, error in self._errors.get(row_number, ()):
                row[column] = error
            yield row


def open_workbook_sheet(path: Path, sheet_name: str | None) -> WorkbookSheet:
    """Open the named worksheet, or the only one whose header means something here.

    Raises:
        SheetError: not a workbook, protected by a password, or no single fitting worksheet.
        InputError: no worksheet of that name.
    """
    try:
        workbook = calamine.CalamineWorkbook.from_path(str(path))
    except calamine.PasswordError as exc:
        raise SheetError(f"{path}: protected by a password. Save it without one.") from exc
    except (calamine.CalamineError, OSError) as exc:
        raise SheetError(
            f"{path}: not a workbook that can be read ({exc}). Save it again."
        ) from exc
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
    for row_number, column, code in _error_cells(path, fitting[0]):
        errors.setdefault(row_number, []).append((column - left, ErrorCell(code)))
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


def _error_cells(path: Path, name: str) -> Iterator[tuple[int, int, str]]:
    """Yield (row_number, 0-based column of the worksheet, code) of every error cell."""
    with zipfile.ZipFile(path) as archive:
        part = _part_of(archive, name)
        if part is None:
            return
        for cell in _matches(archive, part):
            letters, row, code = (group.decode() for group in cell.groups())
            yield int(row), _column_of(letters), code


def _matches(archive: zipfile.ZipFile, part: str) -> Iterator[re.Match[bytes]]:
    """Search a worksheet's XML block by block, so that a large one is never held whole."""
    rest = b""
    with archive.open(part) as file:
        while block := file.read(1 << 20):
            rest += block
            # Cut after the last whole cell: no cell is split, none is seen twice.
            end = rest.rfind(b"</c>") + len(b"</c>")
            if end < len(b"</c>"):
                continue
            if b't="e"' in rest[:end]:
                yield from _ERROR_CELL.finditer(rest[:end])
            rest = rest[end:]


def _part_of(archive: zipfile.ZipFile, name: str) -> str | None:
    """Return the archive's member that holds the worksheet of this name."""
    try:
        workbook = ET.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314
        relations = ET.fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
    except (KeyError, ET.ParseError):
        return None
    relation = next(
        (s.get(_RELATION) for s in workbook.iter(f"{_MAIN}sheet") if s.get("name") == name), None
    )
    target = next((r.get("Target", "") for r in relations if r.get("Id") == relation), "")
    member = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    return member if member in archive.namelist() else None


def _column_of(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
