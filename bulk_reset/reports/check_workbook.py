"""``NAME.check.xlsx``: a copy of the user's workbook, with each error at its cell.

The first worksheet lists the kinds of errors and their numbers. Fixed in the copy, the sheet can be
run as it is: that worksheet is no table of incidents. For a CSV, a new workbook is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from openpyxl import Workbook
from openpyxl.cell.cell import Cell, MergedCell
from openpyxl.comments import Comment
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.errors import InputError
from bulk_reset.core.row_error import RowError, kinds_of
from bulk_reset.core.safe_text import shown
from bulk_reset.reports.answer_workbook import shown_cell
from bulk_reset.reports.own_files import is_answer, mark_answer, refuse_other
from bulk_reset.reports.workbook_copy import load_for_copy, save_copy
from bulk_reset.sheets.columns import is_own
from bulk_reset.sheets.sheet import Sheet
from bulk_reset.sheets.workbook_source import is_copyable
from bulk_reset.sheets.workbooks.workbook import CHECK_SHEET

_AUTHOR: Final = "bulk-reset"
_HEADER: Final = ("error", "number", "columns", "first cell", "problem", "to do")
_WIDTHS: Final = (22, 10, 24, 14, 52, 62)
_RED: Final = PatternFill("solid", fgColor="FFC7CE")
_MOST_COMMENTS: Final = 20_000
"""Excel becomes slow with more; further cells are coloured only."""
_MOST_ROWS: Final = 1 << 20
_WIDTH, _HEIGHT = 360, 110


def write_check(sheet: Sheet, target: Path, row_errors: Sequence[RowError]) -> list[str]:
    """Write a copy of a sheet as a workbook, with its errors; an older copy is replaced.

    Returns: what was not copied, in words.

    Raises:
        InputError: it cannot be written, or a file of that name is of another origin.
    """
    if sheet.path is not None and target.exists() and target.samefile(sheet.path):
        raise InputError(f"{target}: is the sheet itself. Choose another name.")
    refuse_other(target, is_answer, "copy with the errors")
    with atomic_file(target, like=sheet.path) as file:
        notices: list[str] = []
        if sheet.path is not None and is_copyable(sheet.source):
            book, notices = load_for_copy(sheet.path)
            page: Worksheet = book[sheet.source.worksheet]
            first_column = sheet.source.first_column + 1
            _remove_older(book, page)
        else:
            book, page = _made(sheet)
            first_column = 1
        marked = _mark(page, _places(sheet, first_column), row_errors)
        if marked < len(row_errors):
            notices.append(
                f"{marked:,} of {len(row_errors):,} errors have a comment; all cells are coloured"
            )
        _add_kinds(book, page, _places(sheet, first_column), row_errors)
        mark_answer(book)
        save_copy(book, file, sheet.path or target)
    return notices


def _places(sheet: Sheet, first_column: int) -> dict[str, int]:
    """Return the name of a column, as errors have it -> its 1-based column in the worksheet."""
    columns = sheet.columns
    places = {name: first_column + at for at, name in reversed(list(enumerate(columns.header)))}
    for field, position in columns.position.items():
        made_from = columns.made_from.get(field)
        # The text of a template is marked at the first cell that it is made of.
        places[columns.name(field)] = first_column + (made_from[0] if made_from else position)
    return places


def _made(sheet: Sheet) -> tuple[Workbook, Worksheet]:
    """Make a workbook of another file; its rows have the numbers that they have in the file."""
    book = Workbook()
    page = book.active
    assert page is not None  # noqa: S101  (a new workbook has one)
    page.title = "Incidents"
    made = sheet.columns.made_from
    width = len(sheet.columns.header) - len(made)
    names = sheet.columns.header[:width]
    top = sheet.source.header_row
    for place, name in enumerate(names, 1):
        cell = page.cell(top, place)
        shown_cell(cell, name)
        cell.font = Font(bold=True)
        letter = get_column_letter(place)
        page.column_dimensions[letter].width = 28
        page.column_dimensions[letter].hidden = is_own(name)
    for chunk in sheet.source_chunks():
        for number, *texts in zip(chunk.numbers, *chunk.columns[:width], strict=True):
            if int(number) > _MOST_ROWS:
                raise InputError(
                    f"{sheet.label}: has more than {_MOST_ROWS:,} rows, the limit of a worksheet. "
                    "Use --json for the list of errors."
                )
            for place, text in enumerate(texts, 1):
                if text:
                    cell = page.cell(int(number), place)
                    shown_cell(cell, str(text))
                    cell.number_format = "@"
    page.freeze_panes = f"A{top + 1}"
    return book, page


def _remove_older(book: Workbook, page: Worksheet) -> None:
    """Remove what an earlier check added to the workbook."""
    if CHECK_SHEET in book.sheetnames:
        del book[CHECK_SHEET]
    for row in page.iter_rows():
        for cell in row:
            if cell.comment is not None and cell.comment.author == _AUTHOR:
                cell.comment = None
                cell.fill = PatternFill()


def _mark(page: Worksheet, places: Mapping[str, int], row_errors: Sequence[RowError]) -> int:
    """Colour the cells of the errors and add comments; return how many errors have one."""
    marked = comments = 0
    for (number, column), group in groupby(row_errors, lambda one: (one.row_number, one.column)):
        errors = list(group)
        cell = _cell_at(page, number, places.get(column, 1))
        cell.fill = _RED
        if comments >= _MOST_COMMENTS:
            continue
        lines = [f"{one.problem}. {one.fix}." for one in errors]
        if cell.comment is not None:
            lines.insert(0, cell.comment.text)
        comment = Comment(shown("\n".join(lines)), _AUTHOR, height=_HEIGHT, width=_WIDTH)
        cell.comment = comment
        comments += 1
        marked += len(errors)
    return marked


def _cell_at(page: Worksheet, row: int, column: int) -> Cell:
    """Return a cell; of merged cells the first one, which alone can have a comment."""
    cell = page.cell(row, column)
    if isinstance(cell, MergedCell):
        area = next(one for one in page.merged_cells.ranges if cell.coordinate in one)
        cell = page.cell(area.min_row, area.min_col)
    assert isinstance(cell, Cell)  # noqa: S101  (the first of merged cells is one)
    return cell


def _add_kinds(
    book: Workbook, page: Worksheet, places: Mapping[str, int], row_errors: Sequence[RowError]
) -> None:
    """Add the worksheet with the kinds of errors, the most frequent one first."""
    kinds = book.create_sheet(CHECK_SHEET, 0)
    book.active = kinds
    for sheet in book.worksheets:
        sheet.sheet_view.tabSelected = sheet is kinds
    for row, texts in enumerate(_kind_rows(places, row_errors), 1):
        for place, text in enumerate(texts, 1):
            cell = kinds.cell(row, place)
            assert isinstance(cell, Cell)  # noqa: S101  (no cell is merged)
            if isinstance(text, int):
                cell.value = text
            else:
                shown_cell(cell, text)
            cell.alignment = Alignment(vertical="top", wrap_text=True)
            if row == 1:
                cell.font = Font(bold=True)
            elif _HEADER[place - 1] == "first cell":
                title = page.title.replace("'", "''")
                cell.hyperlink = f"#'{title}'!{text}"
                cell.font = Font(color="2F5D8A", underline="single")
    for place, width in enumerate(_WIDTHS, 1):
        kinds.column_dimensions[get_column_letter(place)].width = width
    kinds.freeze_panes = "A2"


def _kind_rows(
    places: Mapping[str, int], row_errors: Sequence[RowError]
) -> Iterator[tuple[str | int, ...]]:
    yield _HEADER
    for kind, errors in kinds_of(row_errors).items():
        first = errors[0]
        place = f"{get_column_letter(places.get(first.column, 1))}{first.row_number}"
        columns = ", ".join(dict.fromkeys(one.column for one in errors))
        yield kind, len(errors), columns, place, first.problem, first.fix
