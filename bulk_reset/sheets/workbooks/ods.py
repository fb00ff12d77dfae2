"""Reads OpenDocument spreadsheets (.ods) row by row.

calamine reads such files too, but returns a failed formula as an empty cell, TRUE as 1, a duration
as a text, and nothing about formats, merged cells and hidden rows. So ``content.xml`` is parsed
here: once for the facts of all worksheets, and again for the rows of one.

State: the archive is opened for each pass, and closed with it. Only the first rows are kept.

Source: OpenDocument 1.3 part 2, 3.4 (encrypted packages).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bulk_reset.core.errors import SheetError
from bulk_reset.sheets.workbooks.ods_tables import MAX_COLUMNS, OdsRow, OdsTables, rows_of
from bulk_reset.sheets.workbooks.package import SheetPart, is_bomb, part_key
from bulk_reset.sheets.workbooks.workbook_xml import WorksheetFacts
from bulk_reset.sheets.workbooks.xml_parts import DamagedError

CONTENT: Final = "content.xml"
_MANIFEST: Final = "meta-inf/manifest.xml"
_MAX_MANIFEST_BYTES: Final = 1 << 22
_HEAD_ROWS: Final = 32
"""Kept of each worksheet: more than are searched for the header."""
_FEW_CELLS: Final = 1 << 24
_MIN_BYTES_PER_CELL: Final = 2
_MAX_REPEATED_FACTS: Final = 1 << 20
"""Merged ranges and uncertain cells of repeated rows, which take no space in the file."""


@dataclass(slots=True)
class OdsSheet:
    """A worksheet, with the interface of calamine's.

    Attributes:
        start: 0-based row and column of the first cell; None if all are empty.
        merged_cell_ranges: ((top, left), (bottom, right)) of each, 0-based.
        facts: hidden rows, size, uncertain cells.
    """

    path: Path
    position: int
    start: tuple[int, int] | None = None
    merged_cell_ranges: list[tuple[tuple[int, int], tuple[int, int]]] = field(default_factory=list)
    facts: WorksheetFacts = field(default_factory=WorksheetFacts)
    _head: list[OdsRow] = field(default_factory=list)
    _has_more: bool = False
    _cells: int = 0
    _repeated_facts: int = 0

    def iter_rows(self) -> Iterator[list[Any]]:
        """Yield all rows up to the last one with a value, from the first used column on."""
        left = (self.start or (0, 0))[1]
        width, number = self.facts.columns - left, 1
        for row in self._rows():
            for _ in range(number, row.number):
                yield [""] * width
            values = [one.value for one in row.cells[left:]]
            values += [""] * (width - len(values))
            for _ in range(row.repeated):
                yield values.copy()
            number = row.number + row.repeated

    def _rows(self) -> Iterator[OdsRow]:
        yield from self._head
        if self._has_more:
            last = self._head[-1].number
            with zipfile.ZipFile(self.path) as archive:
                content = _member(archive, CONTENT)
                for row in rows_of(archive, content, OdsTables(), self.position):
                    if row.number > last:
                        yield row

    def add(self, row: OdsRow) -> None:
        """Count a row, and note what its values do not tell."""
        facts, repeated = self.facts, range(row.number, row.number + row.repeated)
        facts.rows = repeated[-1]
        facts.columns = max(facts.columns, len(row.cells))
        self._cells += len(row.cells) * row.repeated
        facts.hidden_rows += row.repeated if row.is_hidden and row.cells else 0
        errors = [(at, one.error) for at, one in enumerate(row.cells) if one.error is not None]
        self._repeated_facts += (len(errors) + len(row.spans)) * (row.repeated - 1)
        if self._repeated_facts > _MAX_REPEATED_FACTS:
            raise DamagedError("it repeats too many rows")
        if errors:
            facts.errors.update((number, errors) for number in repeated)
        for column, columns, rows in row.spans:
            right = min(column + columns, MAX_COLUMNS) - 1
            self.merged_cell_ranges += [
                ((number - 1, column), (number + rows - 2, right)) for number in repeated
            ]
        first = next((at for at, one in enumerate(row.cells) if one.value != "" or one.error), None)
        if first is not None:
            top, left = self.start or (row.number - 1, first)
            self.start = (top, min(left, first))
        self._has_more = len(self._head) == _HEAD_ROWS
        if not self._has_more:
            self._head.append(row)

    def require_memory(self, label: str, name: str, content_bytes: int) -> None:
        """Raise SheetError if repetitions expand it to more than its size allows."""
        if self._cells > max(_FEW_CELLS, content_bytes // _MIN_BYTES_PER_CELL):
            raise SheetError(
                f"{label}: worksheet {name!r} has {self._cells:,} cells, most of them repeated. "
                "Delete the repeated rows and columns, or save it as CSV."
            )


class OdsPackage:
    """The worksheets of a spreadsheet, read once for their facts.

    Attributes:
        parts: in the order of the file.

    Raises:
        SheetError: it is encrypted, or would fill the memory.
        DamagedError: there is no spreadsheet in it.
    """

    def __init__(self, path: Path) -> None:
        tables, found = OdsTables(), dict[int, OdsSheet]()
        with zipfile.ZipFile(path) as archive:
            _refuse_encrypted(archive, path)
            content = _member(archive, CONTENT)
            for row in rows_of(archive, content, tables):
                sheet = found.setdefault(row.table, OdsSheet(path, row.table))
                sheet.add(row)
        names = [name for name, _ in tables.found]
        if len(set(names)) < len(names):
            raise DamagedError("it contains two worksheets of the same name")
        if not names:
            raise DamagedError("it contains no worksheet")
        self.sheets: tuple[SheetPart, ...] = tuple(
            SheetPart(name, "", "worksheet", "hidden" if is_hidden else "visible")
            for name, is_hidden in tables.found
        )
        self._found = [found.get(at, OdsSheet(path, at)) for at in range(len(names))]
        for name, sheet in zip(names, self._found, strict=True):
            sheet.require_memory(str(path), name, content.file_size)

    def sheet_of(self, part: SheetPart) -> OdsSheet:
        """Return a worksheet."""
        return self._found[self.sheets.index(part)]


class ReadableOds:
    """Worksheets of a spreadsheet; see ``readable_workbook.Readable``."""

    has_broken = False

    def __init__(self, package: OdsPackage, sheets: Sequence[SheetPart]) -> None:
        self.sheets, self._package = sheets, package

    def facts(self, position: int) -> WorksheetFacts:
        """Return the facts of a worksheet that are not in its values."""
        return self.open_sheet(position).facts

    def open_sheet(self, position: int) -> OdsSheet:
        """Return a worksheet."""
        return self._package.sheet_of(self.sheets[position])


def _member(archive: zipfile.ZipFile, key: str) -> zipfile.ZipInfo:
    found = [one for one in archive.infolist() if part_key(one.filename) == key]
    if len(found) != 1:
        raise DamagedError(f"it contains {'no part' if not found else 'two parts'} {key!r}")
    if is_bomb(found[0].file_size, found[0].compress_size):
        raise SheetError(
            f"{archive.filename}: {found[0].compress_size / 1e6:,.1f} MB expand to "
            f"{found[0].file_size / 1e6:,.0f} MB, which is too much for a workbook. Save it as CSV."
        )
    return found[0]


def _refuse_encrypted(archive: zipfile.ZipFile, path: Path) -> None:
    keys = {part_key(one.filename): one for one in archive.infolist()}
    manifest = b""
    if _MANIFEST in keys:
        with archive.open(keys[_MANIFEST]) as file:
            manifest = file.read(_MAX_MANIFEST_BYTES)
    if b"encryption-data" in manifest or "encrypted-package" in keys:
        raise SheetError(f"{path}: protected by a password. Save it without a password.")
