"""Opens a workbook with calamine, which reads cells some five times faster than openpyxl.

calamine expects the usual names and markup, and allocates a full grid up to the last cell. So the
worksheets are scanned before; a workbook with anything unusual is copied, see ``plain_copy``.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import python_calamine as calamine

from bulk_reset.core.errors import SheetError
from bulk_reset.sheets.workbooks.package import Package, SheetPart
from bulk_reset.sheets.workbooks.unusual_markup import has_unusual_text
from bulk_reset.sheets.workbooks.workbook_xml import WorksheetFacts, read_facts, read_odd_styles
from bulk_reset.sheets.workbooks.worksheet_scan import WorksheetScan, scan_worksheet

_FEW_CELLS: Final = 1 << 24
_MAX_CELLS: Final = 1 << 27
"""Cells of the grid up to the last cell; calamine needs 32 bytes for each, even if empty."""
_MIN_BYTES_PER_CELL: Final = 2
"""Of a large grid: a cell with a value has some 20, so nine of ten cells may be empty."""
DAMAGED: Final = (
    calamine.CalamineError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    # A member that needs a newer unzip or a password; an invalid encoding or number.
    NotImplementedError,
    RuntimeError,
    LookupError,
    ValueError,
)


class Readable:
    """Worksheets of an open workbook.

    Args:
        sheets: the worksheets that may be opened.

    Attributes:
        has_broken: whether texts may contain ``xml_parts.BROKEN``.
    """

    def __init__(self, path: Path, package: Package, sheets: Sequence[SheetPart]) -> None:
        self.sheets, self._package = sheets, package
        self._archive, self._parts = package.archive, [package.part_of(one) for one in sheets]
        self._odd_styles: frozenset[int] = frozenset()
        if package.styles is not None:
            with package.archive.open(package.styles) as file:
                self._odd_styles = read_odd_styles(file)
        self._scans = [self._scan(part) for part in self._parts]
        self._facts: dict[int, WorksheetFacts] = {}
        self.has_broken = False
        others = filter(None, (*package.index_parts, package.texts))
        if (
            package.is_usual()
            and not any(scan.is_unusual for scan in self._scans)
            and not any(map(self._is_unusual, others))
        ):
            self._workbook = calamine.CalamineWorkbook.from_path(str(path))
            self._positions = [package.sheets.index(one) for one in sheets]
        else:
            self._use_copy()

    def _use_copy(self) -> None:
        from bulk_reset.sheets.workbooks.plain_copy import plain_copy  # noqa: PLC0415  (urllib)

        packed, self.has_broken = plain_copy(self._package, self.sheets)
        self._workbook = calamine.CalamineWorkbook.from_filelike(io.BytesIO(packed.getbuffer()))
        self._positions = list(range(len(self.sheets)))
        self._archive = zipfile.ZipFile(packed)
        names = (f"xl/worksheets/sheet{n}.xml" for n in range(1, len(self.sheets) + 1))
        self._parts = [self._archive.getinfo(name) for name in names]
        self._scans = [self._scan(part) for part in self._parts]

    def _scan(self, part: zipfile.ZipInfo) -> WorksheetScan:
        with self._archive.open(part) as file:
            return scan_worksheet(file, self._odd_styles, is_calculated=self._package.is_calculated)

    def _is_unusual(self, part: zipfile.ZipInfo) -> bool:
        with self._package.archive.open(part) as file:
            return has_unusual_text(file)

    def facts(self, position: int) -> WorksheetFacts:
        """Return the facts of a worksheet that calamine does not report."""
        scan = self._scans[position]
        if scan.is_measured and scan.is_complete:
            return scan.facts
        if position not in self._facts:
            with self._archive.open(self._parts[position]) as file:
                self._facts[position] = read_facts(
                    file, self._odd_styles, is_calculated=self._package.is_calculated
                )
        return self._facts[position]

    def open_sheet(self, position: int) -> calamine.CalamineSheet:
        """Read a worksheet's cells.

        Raises:
            SheetError: its grid would fill the memory.
        """
        scan = self._scans[position]
        size = scan.facts if scan.is_measured else self.facts(position)
        enough = self._parts[position].file_size // _MIN_BYTES_PER_CELL
        if size.rows * size.columns > min(_MAX_CELLS, max(_FEW_CELLS, enough)):
            raise SheetError(
                f"{self._package.label}: worksheet {self.sheets[position].name!r} has cells up to "
                f"row {size.rows:,} and column {size.columns:,}. Delete the empty rows and "
                "columns, or save it as CSV."
            )
        return self._workbook.get_sheet_by_index(self._positions[position])
