"""Selects the worksheet of a workbook and reads its cells.

Those of .xlsx files are read with calamine. Facts that it does not report are read from the XML,
see ``worksheet_scan`` and ``workbook_xml``. A workbook with unusual names or markup is copied
before, see ``plain_copy``. Those of .ods files are read by ``ods``.
"""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import python_calamine as calamine

from bulk_reset.core.counting import counted
from bulk_reset.core.errors import InputError, SheetError
from bulk_reset.core.option_names import option, option_name
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.chunk import INCOMPLETE_CHARACTER
from bulk_reset.sheets.columns import NO_HEADER, Header, find_header, is_header, recognised
from bulk_reset.sheets.file_types import ODS, PROTECTED_OR_OLD, WORKBOOK_TYPES, XLSB, kind_of
from bulk_reset.sheets.pulled_values import MEMORY_SHEET
from bulk_reset.sheets.workbooks.merged_cells import MergedCells
from bulk_reset.sheets.workbooks.ods import OdsPackage, ReadableOds
from bulk_reset.sheets.workbooks.package import Package, SheetPart, part_key
from bulk_reset.sheets.workbooks.readable_workbook import DAMAGED, Readable
from bulk_reset.sheets.workbooks.workbook_xml import (
    NEVER_CALCULATED,
    ErrorCell,
    Places,
    WorksheetFacts,
)
from bulk_reset.sheets.workbooks.xlsb import ReadableXlsb, XlsbPackage
from bulk_reset.sheets.workbooks.xml_parts import BROKEN

CHECK_SHEET: Final = "bulk-reset errors"
"""The worksheet that a check adds to a copy of a workbook; it is no table of incidents."""
_CELL_PARTS: Final = ("xl/worksheets/", "xl/sharedstrings")
_LARGE_BYTES: Final = 100_000_000
_MEMORY_PER_BYTE: Final = 1.3
"""Bytes of memory per byte of the unpacked worksheet; measured with seven columns of text."""


class _Worksheet(Protocol):
    """The cells of a worksheet, as calamine returns them."""

    @property
    def start(self) -> tuple[int, int] | None: ...

    @property
    def merged_cell_ranges(self) -> list[tuple[tuple[int, int], tuple[int, int]]] | None: ...

    def iter_rows(self) -> Iterator[list[Any]]: ...


class _Readable(Protocol):
    """The worksheets of an open workbook, see ``readable_workbook``."""

    has_broken: bool

    @property
    def sheets(self) -> Sequence[SheetPart]: ...

    def open_sheet(self, position: int) -> _Worksheet: ...

    def facts(self, position: int) -> WorksheetFacts: ...


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
    _sheet: _Worksheet
    _errors: Places
    _merged: MergedCells
    _has_broken: bool
    memory_rows: Iterable[list[Any]] | None = None

    @property
    def first_column(self) -> int:
        """The 0-based column of the worksheet in which the rows begin."""
        return (self._sheet.start or (0, 0))[1]

    def rows(self) -> Iterator[list[Any]]:
        """Return every row from the first row of the worksheet, including blank rows."""
        if self._errors or self._merged or self._has_broken:
            return self._marked_rows()
        return self._sheet.iter_rows()

    def _marked_rows(self) -> Iterator[list[Any]]:
        # Columns left of the first value have no header, so they are no field.
        left = self.first_column
        merged = self._merged.by_row()
        row_number = 0
        rows: Iterator[list[Any]] = self._sheet.iter_rows()
        for row_number, cells in enumerate(rows, 1):
            if self._has_broken:
                cells[:] = map(_with_problem, cells)
            for column, problem in next(merged):
                if left <= column < left + len(self.header.names):
                    cells[column - left] = ErrorCell(str(cells[column - left]), problem)
            yield self._with_errors(row_number, cells, left)
        # calamine's last row is the last one that has a value.
        for after in range(row_number + 1, max(self._errors, default=0) + 1):
            yield self._with_errors(after, [], left)

    def _with_errors(self, row_number: int, cells: list[Any], left: int) -> list[Any]:
        for column, error in self._errors.get(row_number, ()):
            if column >= left:
                place = column - left
                cells.extend([""] * (place + 1 - len(cells)))
                if not error.is_number:
                    cells[place] = error
                elif isinstance(cells[place], (int, float)):
                    cells[place] = ErrorCell(f"{cells[place]:.15g}", error.problem)
        return cells


def _with_problem(value: object) -> object:
    if isinstance(value, str) and BROKEN in value:
        whole = value.replace(BROKEN, "\N{REPLACEMENT CHARACTER}")
        return ErrorCell(whole, INCOMPLETE_CHARACTER)
    return value


def large_workbook_notice(path: Path) -> str:
    """Return a notice for the user if the workbook is large, else an empty text."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except DAMAGED:
        return ""  # Reading it will report the error.
    parts = [one for one in members if part_key(one.filename).startswith(_CELL_PARTS)]
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
    expected = WORKBOOK_TYPES[path.suffix.lower()]
    if kind not in {expected, PROTECTED_OR_OLD, ""}:
        raise _not_a_workbook(path, kind, fix)
    try:
        if kind == expected:
            return _opened(path, kind, sheet_name, header_row)
        calamine.CalamineWorkbook.from_path(str(path))
    except calamine.PasswordError as exc:
        raise SheetError(f"{path}: protected by a password. Save it without a password.") from exc
    except DAMAGED as exc:
        if kind == PROTECTED_OR_OLD:
            raise _not_a_workbook(path, kind, fix) from exc
        raise SheetError(
            f"{path}: cannot be read as a workbook ({exc}). "
            "Save it again, or rename it to .csv if it is text."
        ) from exc
    raise _not_a_workbook(path, kind or "of an unknown type", fix or "Save it as .xlsx or .csv.")


def _not_a_workbook(path: Path, kind: str, fix: str) -> SheetError:
    extension = path.suffix.lower().replace(".xlsm", ".xlsx")
    article = "a" if extension == ".ods" else "an"
    return SheetError(f"{path}: the file is {kind}, not {article} {extension} workbook. {fix}")


def _opened(path: Path, kind: str, sheet_name: str | None, header_row: int | None) -> WorkbookSheet:
    if kind == ODS:
        ods = OdsPackage(path)
        readable = ReadableOds(ods, _chosen(ods.sheets, path, sheet_name))
        return _open(path, readable, header_row)
    with zipfile.ZipFile(path) as archive:
        if kind == XLSB:
            binary = XlsbPackage(archive, str(path))
            parts = _chosen(binary.sheets, path, sheet_name)
            return _open(path, ReadableXlsb(path, binary, parts), header_row)
        package = Package(archive, str(path))
        sheets = _chosen(package.sheets, path, sheet_name)
        return _open(path, Readable(path, package, sheets), header_row)


def _chosen(parts: Sequence[SheetPart], path: Path, sheet_name: str | None) -> list[SheetPart]:
    """Return the worksheet of this name, else all visible ones; the pulled values come last."""
    worksheets = [one for one in parts if one.kind == "worksheet"]
    memory = [one for one in worksheets if one.name == MEMORY_SHEET]
    sheets = [one for one in worksheets if one.name not in {MEMORY_SHEET, CHECK_SHEET}]
    if sheet_name is None:
        return [*(one for one in sheets if one.state == "visible"), *memory]
    named = [one for one in sheets if one.name == sheet_name]
    if not named:
        others = ", ".join(repr(one.name) for one in parts)
        raise InputError(
            f"{option('sheet_name', sheet_name)}: {path} has no such worksheet. "
            f"Its worksheets are {others}."
        )
    return [*named, *memory]


def _open(path: Path, readable: _Readable, header_row: int | None) -> WorkbookSheet:
    found, memory_rows = {}, None
    for position, part in enumerate(readable.sheets):
        sheet = readable.open_sheet(position)
        if part.name == MEMORY_SHEET:
            memory_rows = sheet.iter_rows()
            continue
        header = find_header(sheet.iter_rows(), header_row)
        if header is not NO_HEADER:
            found[part.name] = (position, sheet, header)
    headers = {name: header for name, (_, _, header) in found.items()}
    name = _only_table(path, headers, header_row)
    position, sheet, header = found[name]
    facts = readable.facts(position)
    merged = MergedCells(sheet.merged_cell_ranges or ())
    _require_names(path, header, facts.errors)
    _refuse_covered_names(path, header, merged, (sheet.start or (0, 0))[1])
    notice = f"; {counted(facts.hidden_rows, 'hidden row')} included" if facts.hidden_rows else ""
    broken = readable.has_broken
    return WorkbookSheet(name, header, notice, sheet, facts.errors, merged, broken, memory_rows)


def _require_names(path: Path, header: Header, errors: Places) -> None:
    """Refuse a header with the name of a column that only a spreadsheet program can calculate."""
    for column, error in errors.get(header.row_number, ()):
        if error.problem == NEVER_CALCULATED:
            raise SheetError(
                f"{path}: row {header.row_number:,} is the header, and in column {column + 1:,} "
                f"{NEVER_CALCULATED} ({one_line(error.text[:60])}). Open the workbook in a "
                "spreadsheet program and save it, or enter the name itself."
            )


def _refuse_covered_names(path: Path, header: Header, merged: MergedCells, left: int) -> None:
    """Refuse a header with a name under a merged cell, which names its column unseen."""
    if not merged:
        return
    covered = next(itertools.islice(merged.by_row(), header.row_number - 1, None))
    names = dict(enumerate(header.names, left))
    for column, problem in covered:
        if name := names.get(column):
            raise SheetError(
                f"{path}: row {header.row_number:,} is the header, and its name {one_line(name)!r} "
                f"in column {column + 1:,} is {problem}, so it is not shown. Unmerge the cells."
            )


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
