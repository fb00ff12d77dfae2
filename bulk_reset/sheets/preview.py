"""A preview of a file: its header and first rows, before its columns are matched to fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from python_calamine import CalamineError, CalamineWorkbook, SheetVisibleEnum

from bulk_reset.core.errors import SheetError
from bulk_reset.sheets.columns import field_named, is_own
from bulk_reset.sheets.file_types import PARQUET_EXTENSIONS, TEXT_EXTENSIONS, WORKBOOK_TYPES
from bulk_reset.sheets.open_sheet import require_file
from bulk_reset.sheets.parquet_source import ParquetSource
from bulk_reset.sheets.text_files.delimited import DelimitedSource
from bulk_reset.sheets.workbook_source import WorkbookSource

_ROWS: Final = 50
_SAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class PreviewedColumn:
    """A column: its name, the field that the name means (empty for none), and first texts."""

    name: str
    field: str
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """What was read of a file.

    Attributes:
        header_row: 1-based.
        notice: how it was read, in words.
        worksheets: the names of a workbook's worksheets; empty for a text file.
        is_pulled: whether it was written by a pull.
    """

    header_row: int
    notice: str
    columns: tuple[PreviewedColumn, ...]
    worksheets: tuple[str, ...]
    is_pulled: bool


def preview(
    path: Path,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    sheet_name: str | None = None,
    header_row: int | None = None,
) -> Preview:
    """Read the header and the first rows of a file; see ``open_sheet`` for the arguments.

    Raises:
        SheetError: it cannot be read as a table. InputError: an option does not fit it.
    """
    try:
        source: DelimitedSource | WorkbookSource | ParquetSource
        extension = require_file(path)
        if extension in PARQUET_EXTENSIONS:
            source = ParquetSource(path)
        elif extension in TEXT_EXTENSIONS:
            source = DelimitedSource(path, path.name, delimiter, encoding, header_row)
        else:
            source = WorkbookSource(path, sheet_name, header_row)
        first = next(iter(source.read(_ROWS)), None)
    except OSError as exc:
        raise SheetError(f"{path.name}: cannot be read ({exc.strerror or exc}).") from exc
    columns = []
    for place, name in enumerate(source.header):
        cells = first.columns[place] if first is not None else []
        texts = dict.fromkeys(cell for cell in cells if cell.strip())
        columns.append(PreviewedColumn(name, field_named(name) or "", tuple(texts)[:_SAMPLES]))
    memory_rows = getattr(source, "memory_rows", lambda: None)()
    is_pulled = memory_rows is not None or any(is_own(name) for name in source.header)
    worksheets = _worksheets(path) if extension in WORKBOOK_TYPES else ()
    shown = tuple(one for one in columns if not is_own(one.name))
    return Preview(source.header_row, source.notice, shown, worksheets, is_pulled)


def _worksheets(path: Path) -> tuple[str, ...]:
    try:
        workbook = CalamineWorkbook.from_path(path)
    except CalamineError:
        return ()
    with workbook:
        sheets = workbook.sheets_metadata
        return tuple(one.name for one in sheets if one.visible is SheetVisibleEnum.Visible)
