"""A worksheet of a workbook as a sheet."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeGuard

from bulk_reset.sheets.cell_texts import Formats, cells_by_column, text_columns
from bulk_reset.sheets.chunk import Chunk
from bulk_reset.sheets.workbooks.workbook import open_workbook_sheet

_COPYABLE: Final = (".xlsx", ".xlsm")


class WorkbookSource:
    """One worksheet of a workbook."""

    def __init__(self, path: Path, sheet_name: str | None, header_row: int | None = None) -> None:
        self._found = open_workbook_sheet(path, sheet_name, header_row)
        self.worksheet = self._found.name
        self.extension = path.suffix.lower()
        self.header_row, self.header = self._found.header.row_number, self._found.header.names
        self.notice = f"read worksheet {self._found.name!r}{self._found.header.notice}"
        self.notice += self._found.notice
        self.first_column = self._found.first_column
        self.formats: Formats = {}

    def memory_rows(self) -> Iterable[Sequence[object]] | None:
        """Return the rows of the worksheet with pulled values; None if there is none."""
        return self._found.memory_rows

    def read(self, chunk_rows: int) -> Iterator[Chunk]:
        """Yield chunks; see ``sheet.Source``."""
        width, first = len(self.header), self.header_row + 1
        rows = itertools.islice(self._found.rows(), self.header_row, None)
        while True:
            columns = cells_by_column(rows, chunk_rows, width)
            count = len(columns[0])
            if not count:
                return
            yield text_columns(range(first, first + count), columns, self.formats)
            first += count


def is_copyable(source: object) -> TypeGuard[WorkbookSource]:
    """Return whether a source is a workbook whose formats can be kept in a copy."""
    return isinstance(source, WorkbookSource) and source.extension in _COPYABLE
