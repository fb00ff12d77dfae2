"""Selects the worksheet of an .xlsx file and reads its cells with calamine.

Facts that calamine does not report are read from the XML, see ``bulk_reset.sheets.workbook_xml``.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import python_calamine as calamine

from bulk_reset.core.counting import counted
from bulk_reset.core.errors import InputError, SheetError
from bulk_reset.core.option_names import option, option_name
from bulk_reset.sheets.columns import NO_HEADER, Header, find_header, is_header, recognised
from bulk_reset.sheets.file_types import WORKBOOK, kind_of
from bulk_reset.sheets.pulled_values import MEMORY_SHEET
from bulk_reset.sheets.workbook_xml import ErrorCell, Worksheet, refuse_bombs

_CELL_PARTS: Final = ("xl/worksheets/", "xl/sharedStrings")
_LARGE_BYTES: Final = 100_000_000
_MEMORY_PER_BYTE: Final = 1.3
"""Bytes of memory per byte of the unpacked worksheet; measured with seven columns of text."""
_MERGED: Final = ErrorCell("", "merged with a cell above it")
_DAMAGED: Final = (
    calamine.CalamineError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ET.ParseError,
    # A member that needs a newer unzip or a password; an invalid encoding or number.
    NotImplementedError,
    RuntimeError,
    LookupError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class WorkbookSheet:
    """A worksheet with a header.

    Attributes:
        notice: the end of a notice to the user; may be empty.
        memory_rows: of the worksheet with pulled values, to be read once; None if there is none.
    """

    name: str
    header: Header
    notice: str
    _sheet: calamine.CalamineSheet
    _errors: dict[int, list[tuple[int, ErrorCell]]]
    memory_rows: Iterable[list[Any]] | None = None

    def rows(self) -> Iterator[list[Any]]:
        """Yield every row from the first row of the worksheet, including blank rows."""
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
            # Columns left of the first value have no header, so they are no field.
            if column >= 0:
                cells.extend([""] * (column + 1 - len(cells)))
                if not error.is_number or isinstance(cells[column], (int, float)):
                    cells[column] = error
        return cells


def large_workbook_notice(path: Path) -> str:
    """Return a notice for the user if the workbook is large, else an empty text."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = [part for part in archive.infolist() if part.filename.startswith(_CELL_PARTS)]
    except _DAMAGED:
        return ""  # Reading it will report the error.
    unpacked_bytes = sum(part.file_size for part in parts)
    if unpacked_bytes < _LARGE_BYTES:
        return ""
    return (
        f"large workbook ({unpacked_bytes / 1e6:,.0f} MB unpacked). Reading it takes time and "
        f"about {_MEMORY_PER_BYTE * unpacked_bytes / 1e9:.1f} GB of memory. "
        "Save it as CSV to avoid this."
    )


def open_workbook_sheet(
    path: Path, sheet_name: str | None, header_row: int | None
) -> WorkbookSheet:
    """Open the named worksheet, or the only one whose header has fields.

    Raises:
        SheetError: not a workbook, protected by a password, or not exactly one such worksheet.
        InputError: no worksheet has that name.
    """
    kind, fix = kind_of(path)
    try:
        if kind == WORKBOOK:
            with zipfile.ZipFile(path) as archive:
                refuse_bombs(archive, str(path))
                workbook = calamine.CalamineWorkbook.from_path(str(path))
                return _open(path, archive, workbook, sheet_name, header_row)
        workbook = calamine.CalamineWorkbook.from_path(str(path))
    except calamine.PasswordError as exc:
        raise SheetError(f"{path}: protected by a password. Save it without a password.") from exc
    except _DAMAGED as exc:
        if kind and kind != WORKBOOK:
            raise _not_a_workbook(path, kind, fix) from exc
        raise SheetError(
            f"{path}: cannot be read as a workbook ({exc}). "
            "Save it again, or rename it to .csv if it is text."
        ) from exc
    raise _not_a_workbook(path, kind or "of an unknown type", fix or "Save it as .xlsx or .csv.")


def _not_a_workbook(path: Path, kind: str, fix: str) -> SheetError:
    return SheetError(f"{path}: the file is {kind}, not an .xlsx workbook. {fix}")


def _open(
    path: Path,
    archive: zipfile.ZipFile,
    workbook: calamine.CalamineWorkbook,
    sheet_name: str | None,
    header_row: int | None,
) -> WorkbookSheet:
    if sheet_name is not None and sheet_name not in workbook.sheet_names:
        others = ", ".join(repr(name) for name in workbook.sheet_names)
        raise InputError(
            f"{option('sheet_name', sheet_name)}: {path} has no such worksheet. "
            f"Its worksheets are {others}."
        )
    found = {}
    for name in [sheet_name] if sheet_name is not None else _visible_names(workbook):
        markup = Worksheet(archive, name, str(path))
        sheet = workbook.get_sheet_by_name(name)
        header = find_header(sheet.iter_rows(), header_row)
        if header is not NO_HEADER:
            found[name] = (sheet, header, markup)
    name = _only_table(path, {name: header for name, (_, header, _) in found.items()}, header_row)
    sheet, header, markup = found[name]
    left = (sheet.start or (0, 0))[1]
    errors: dict[int, list[tuple[int, ErrorCell]]] = {}
    for row_number, column in _merged_away(sheet):
        errors.setdefault(row_number, []).append((column - left, _MERGED))
    for row_number, column, error in markup.error_cells():
        errors.setdefault(row_number, []).append((column - left, error))
    hidden = markup.scan.hidden_rows
    notice = f"; {counted(hidden, 'hidden row')} included" if hidden else ""
    return WorkbookSheet(name, header, notice, sheet, errors, _memory_rows(path, archive, workbook))


def _memory_rows(
    path: Path, archive: zipfile.ZipFile, workbook: calamine.CalamineWorkbook
) -> Iterator[list[Any]] | None:
    if MEMORY_SHEET not in workbook.sheet_names:
        return None
    Worksheet(archive, MEMORY_SHEET, str(path))  # refuses a worksheet that fills the memory
    return workbook.get_sheet_by_name(MEMORY_SHEET).iter_rows()


def _only_table(path: Path, headers: dict[str, Header], header_row: int | None) -> str:
    """Return the name of the only worksheet whose header has fields."""
    for is_match in (is_header, recognised, bool):
        matching = [name for name, header in headers.items() if is_match(header.names)]
        if len(matching) > 1:
            names = ", ".join(repr(name) for name in matching)
            raise SheetError(
                f"{path}: several worksheets contain a table: {names}. "
                f"Choose one, for example {option('sheet_name', matching[0])}."
            )
        if matching:
            return matching[0]
    if header_row is not None:
        raise SheetError(
            f"{path}: row {header_row:,} is blank or does not exist. "
            f"Set {option_name('header_row')} to the row with the column names."
        )
    raise SheetError(f"{path}: the workbook is empty. Add a header and rows.")


def _merged_away(sheet: calamine.CalamineSheet) -> Iterator[tuple[int, int]]:
    """Yield (row_number, 0-based column) of merged cells below the first row of their range.

    Only the first cell of a merged range contains its text. Without this check, the fields of
    the rows below it would silently not be updated.
    """
    last_row, last_column = sheet.end or (0, 0)
    for (top, left), (bottom, right) in sheet.merged_cell_ranges or ():
        for row in range(top + 1, min(bottom, last_row) + 1):
            for column in range(left, min(right, last_column) + 1):
                yield row + 1, column


def _visible_names(workbook: calamine.CalamineWorkbook) -> list[str]:
    return [
        meta.name
        for meta in workbook.sheets_metadata
        if meta.visible == calamine.SheetVisibleEnum.Visible
        and meta.name != MEMORY_SHEET
        and meta.typ == calamine.SheetTypeEnum.WorkSheet
    ]
