"""``NAME.answer.xlsx``: a copy of the user's workbook, with the result beside each row.

Made from the report and its previous values alone. The user's other worksheets, widths, formats,
checks and formulas are kept; for a CSV, a new workbook is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any, Final

from openpyxl import Workbook
from openpyxl.cell.cell import Cell, MergedCell
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.errors import InputError
from bulk_reset.core.outcome import Status
from bulk_reset.core.safe_text import is_link, shown
from bulk_reset.reports.answers import (
    ACTIVE,
    COLOUR_OF,
    COLUMNS,
    MOST_LINKS,
    WIDTHS,
    WRAPPED,
    Answer,
    cut,
)
from bulk_reset.reports.made_answer import packed_answer
from bulk_reset.reports.own_files import is_answer, mark_answer, refuse_other
from bulk_reset.reports.workbook_copy import load_for_copy, save_copy
from bulk_reset.sheets.sheet import Sheet
from bulk_reset.sheets.workbook_source import WorkbookSource, is_copyable
from bulk_reset.sheets.workbooks.streaming_workbook import writing_errors

_MOST_COLUMNS: Final = 1 << 14
_LIKE_ESCAPE: Final = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
"""Excel reads ``_x0041_`` as ``A``."""


def write_answer(sheet: Sheet, target: Path, answers: Mapping[int, Answer]) -> list[str]:
    """Write a copy of a sheet as a workbook, with the result beside each row.

    Args:
        target: an older answer is replaced.

    Returns: what was not copied, in words.

    Raises:
        InputError: it cannot be written; an older file is unchanged.
    """
    if sheet.path is not None and target.exists() and target.samefile(sheet.path):
        raise InputError(f"{target}: is the sheet itself. Choose another name.")
    refuse_other(target, is_answer, "answer")
    with writing_errors(target), atomic_file(target, like=sheet.path) as file:
        if sheet.path is None or not is_copyable(sheet.source):
            file.write(packed_answer(sheet, answers))
            return []
        book, notices = _copied(sheet, sheet.path, answers)
        mark_answer(book)
        save_copy(book, file, sheet.path)
    return notices


def _copied(sheet: Sheet, path: Path, answers: Mapping[int, Answer]) -> tuple[Workbook, list[str]]:
    assert isinstance(sheet.source, WorkbookSource)  # noqa: S101  (checked by the caller)
    book, notices = load_for_copy(path)
    page: Worksheet = book[sheet.source.worksheet]
    book.active = book.index(page)
    header_row = sheet.source.header_row
    first = _first_column(page, header_row)
    if first + len(COLUMNS) - 1 > _MOST_COLUMNS:
        raise InputError(
            f"{path}: has no {len(COLUMNS)} free columns right of its cells. Delete columns, or "
            "save it as CSV and run that."
        )
    filler = _Filler(len(vars(page)["_hyperlinks"]))
    for place, (name, width) in enumerate(zip(COLUMNS, WIDTHS, strict=True), first):
        _fill_header(_cell(page, header_row, place), name)
        column = page.column_dimensions[get_column_letter(place)]
        column.width, column.hidden = width, False
    for row in range(header_row + 1, page.max_row + 1):
        answer = answers.get(row)
        for place, text in enumerate(answer or [""] * len(COLUMNS), first):
            if answer is not None:
                filler.fill(_cell(page, row, place), place - first, text, answer)
            elif page.cell(row, place).value is not None:
                page.cell(row, place).value = None
    _arrange(page, header_row, first + len(COLUMNS) - 1)
    return book, notices


def _first_column(page: Worksheet, header_row: int) -> int:
    """Return the first column of the results: that of earlier results, or right of all cells."""
    header = [cell.value for cell in page[header_row]]
    if COLUMNS[0] in header:
        return header.index(COLUMNS[0]) + 1
    filled = (cell.column for row in page.iter_rows() for cell in row if cell.value is not None)
    merged = (area.max_col for area in page.merged_cells.ranges)
    return 1 + max((*filled, *merged), default=0)


def _arrange(page: Worksheet, header_row: int, last_column: int) -> None:
    """Freeze the header and add a filter, unless the user has done so."""
    page.freeze_panes = page.freeze_panes or f"A{header_row + 1}"
    if not page.tables:
        last = get_column_letter(last_column)
        page.auto_filter.ref = f"A{header_row}:{last}{max(page.max_row, header_row + 1)}"


def _cell(page: Worksheet, row: int, column: int) -> Cell:
    """Return a cell that is not merged."""
    cell = page.cell(row, column)
    assert not isinstance(cell, MergedCell)  # noqa: S101  (right of all merged cells)
    return cell


def _fill_header(cell: Cell, name: str) -> None:
    _set_text(cell, name)
    cell.font = Font(bold=True, color="FFFFFF")
    cell.fill = PatternFill("solid", fgColor="2F5D8A")
    cell.alignment = Alignment(vertical="center", horizontal="left")


class _Filler:
    """Fills the cells of results.

    Each style is made once: openpyxl compares a new one with all that there are.
    """

    def __init__(self, links: int) -> None:
        self._links = links
        self._styles: dict[tuple[object, ...], Any] = {}

    def fill(self, cell: Cell, place: int, text: str, answer: Answer) -> None:
        """Set a cell to a text of an answer, at its place."""
        content = _shown(text)
        _set_text(cell, content)
        link = text if place == len(COLUMNS) - 1 and self._links < MOST_LINKS else ""
        link = link if is_link(link) else ""
        status = answer.status if place == 0 else None
        styled: Any = cell  # a style that can be shared is missing in openpyxl's types
        before = tuple(styled._style or ())  # noqa: SLF001  (there is no other way)
        key = (place, status, content[:1] in ACTIVE, bool(link), before)
        if key in self._styles:
            styled._style = copy(self._styles[key])  # noqa: SLF001  (as above)
        else:
            _set_style(cell, place, status, is_linked=bool(link))
            self._styles[key] = copy(styled._style)  # noqa: SLF001  (as above)
        if link:
            self._links += 1
            cell.hyperlink = link


def _set_style(cell: Cell, place: int, status: Status | None, *, is_linked: bool) -> None:
    cell.alignment = Alignment(vertical="top", wrap_text=place in WRAPPED)
    if str(cell.value or "")[:1] in ACTIVE:
        cell.quotePrefix = True
    if status is not None:
        cell.fill = PatternFill("solid", fgColor=COLOUR_OF[status])
    if is_linked:
        cell.font = Font(color="2F5D8A", underline="single")


def _set_text(cell: Cell, text: str) -> None:
    cell.value = text or None
    if text:
        cell.data_type = "s"  # else openpyxl writes a formula for =, and an error for #N/A


def shown_cell(cell: Any, text: str) -> None:  # noqa: ANN401  (openpyxl's types of cells)
    """Set a cell to a text, which no program runs as a formula."""
    _set_text(cell, _shown(text))
    if text[:1] in ACTIVE:
        cell.quotePrefix = True


def _shown(text: str) -> str:
    """Return a text as a cell can contain it; what looks like an escape is escaped."""
    return cut(_LIKE_ESCAPE.sub("_x005F_", shown(text)))
