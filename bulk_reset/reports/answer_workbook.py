"""``NAME.answer.xlsx``: a copy of the user's workbook, with the result beside each row.

Made from the report and its previous values alone. The user's other worksheets, widths, formats,
checks and formulas are kept; for a CSV, a new workbook is made.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

from openpyxl import Workbook
from openpyxl.cell.cell import Cell, MergedCell
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.custom_fields import text_of
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.row_keys import numbers_of
from bulk_reset.core.safe_text import guard_formula, is_link, shown
from bulk_reset.records.previous_index import PreviousIndex
from bulk_reset.records.previous_values import PreviousValues
from bulk_reset.records.report_reader import beside, read_report
from bulk_reset.reports.own_files import is_answer, mark_answer, refuse_other
from bulk_reset.reports.workbook_copy import load_for_copy, save_copy
from bulk_reset.sheets.columns import ANSWER_COLUMNS, is_own, was_field
from bulk_reset.sheets.pulled_values import MEMORY_SHEET, memory_sheet_header, shown_columns
from bulk_reset.sheets.sheet import Sheet
from bulk_reset.sheets.validation import CheckedChunk, check_chunk
from bulk_reset.sheets.workbook_source import WorkbookSource, is_copyable

COLUMNS: Final = ANSWER_COLUMNS
_WIDTHS: Final = (18, 44, 44, 44, 62)
_LONGEST_CELL: Final = 32_767
_MOST_ROWS, _MOST_COLUMNS = 1 << 20, 1 << 14
_MOST_LINKS: Final = 65_000
"""Excel does not open a worksheet with more than 65,530."""
_LIKE_ESCAPE: Final = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
"""Excel reads ``_x0041_`` as ``A``."""
_GREEN, _GREY, _RED, _YELLOW = "C6EFCE", "E7E9EC", "FFC7CE", "FFEB9C"
_COLOUR_OF: Final = {
    Status.UPDATED: _GREEN,
    Status.UNCHANGED: _GREY,
    Status.SKIPPED: _GREY,
    Status.FAILED: _RED,
    Status.REJECTED: _RED,
    Status.CONFLICT: _YELLOW,
    Status.UNKNOWN: _YELLOW,
    Status.PENDING: _YELLOW,
}

_Row = tuple[int, str]
"""row_number, incident_id"""


class Answer(NamedTuple):
    """The result of a row, as texts; empty where there is nothing to show."""

    status: Status
    old: str = ""
    """The previous value; of several fields, each on its own line after its name."""
    new: str = ""
    error: str = ""
    link: str = ""


def answers_of(report: Path, sheet: Sheet) -> dict[int, Answer]:
    """Return row_number -> its result, for every row that is not blank.

    Raises:
        InputError: there is no report, or it belongs to another sheet.
    """
    outcomes = {(o.row_number, o.incident_id): o for o in read_report(report)}
    rows = [
        row for chunk in sheet.chunks() for row in _ids_by_row(check_chunk(chunk, sheet.columns))
    ]
    moved = _moved(rows, outcomes)
    found = {row[0]: outcomes.get(row) or moved.get(row[1]) for row in rows}
    answers = dict.fromkeys(found, Answer(Status.PENDING))
    known = {number: outcome for number, outcome in found.items() if outcome is not None}
    with PreviousIndex(beside(report, "before.csv")) as before:
        lines = before.of_rows(numbers_of(outcome.digest for outcome in known.values()))
        for (number, outcome), values in zip(known.items(), lines, strict=True):
            answers[number] = _answer(outcome, values)
    if outcomes and not known:
        raise InputError(
            f"{report}: belongs to another sheet, not to {sheet.label}. Use "
            f"{option('of', 'SHEET')} to name its sheet."
        )
    return answers


def _answer(outcome: Outcome, lines: Sequence[PreviousValues]) -> Answer:
    error = f"{outcome.error_code}: {outcome.error_message}".removeprefix(": ").removesuffix(": ")
    if not lines:
        return Answer(outcome.status, error=error)
    last = lines[-1]
    old, new = _values_text(last.before), _values_text(last.wrote)
    return Answer(outcome.status, old, new, error, last.link)


def _ids_by_row(checked: CheckedChunk) -> Iterator[_Row]:
    return zip(checked.numbers, checked.ids, strict=True)


def _moved(rows: Iterable[_Row], outcomes: Mapping[_Row, Outcome]) -> dict[str, Outcome]:
    """Return incident -> its outcome, for incidents that have one row in both sheet and report.

    The sheet may have been sorted since the run.
    """
    here = Counter(incident_id for _, incident_id in rows)
    there = Counter(incident_id for _, incident_id in outcomes)
    return {
        incident_id: outcome
        for (_, incident_id), outcome in outcomes.items()
        if here[incident_id] == there[incident_id] == 1
    }


def _values_text(values: Mapping[str, Any]) -> str:
    texts = {name: text_of(name, value) for name, value in values.items()}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "\n".join(f"{name}: {text}" for name, text in texts.items())


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
    with atomic_file(target, like=sheet.path) as file:
        if sheet.path is not None and is_copyable(sheet.source):
            book, notices = _copied(sheet, sheet.path, answers)
        else:
            book, notices = _made(sheet, answers), []
        mark_answer(book)
        save_copy(book, file, sheet.path or target)
    return notices


# --- A copy of a workbook --------------------------------------------------------------------


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
    links = count(1 + len(vars(page)["_hyperlinks"]))
    for place, (name, width) in enumerate(zip(COLUMNS, _WIDTHS, strict=True), first):
        _fill_header(_cell(page, header_row, place), name)
        column = page.column_dimensions[get_column_letter(place)]
        column.width, column.hidden = width, False
    for row in range(header_row + 1, page.max_row + 1):
        answer = answers.get(row)
        for place, text in enumerate(answer or [""] * len(COLUMNS), first):
            if answer is not None:
                _fill(_cell(page, row, place), place - first, text, answer, links)
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


def _fill(cell: Cell, place: int, text: str, answer: Answer, links: Iterator[int]) -> None:
    content = _shown(text)
    _set_text(cell, content)
    cell.alignment = Alignment(vertical="top", wrap_text=place in {1, 2, 3})
    if content[:1] in {"=", "+", "-", "@"}:
        cell.quotePrefix = True
    if COLUMNS[place] == COLUMNS[0]:
        cell.fill = PatternFill("solid", fgColor=_COLOUR_OF[answer.status])
    elif COLUMNS[place] == COLUMNS[-1] and is_link(text) and next(links) <= _MOST_LINKS:
        cell.hyperlink = text
        cell.font = Font(color="2F5D8A", underline="single")


def _set_text(cell: Cell, text: str) -> None:
    cell.value = text or None
    if text:
        cell.data_type = "s"  # else openpyxl writes a formula for =, and an error for #N/A


def shown_cell(cell: Any, text: str) -> None:  # noqa: ANN401  (openpyxl's types of cells)
    """Set a cell to a text, which no program runs as a formula."""
    _set_text(cell, _shown(text))
    if text[:1] in {"=", "+", "-", "@"}:
        cell.quotePrefix = True


def _shown(text: str) -> str:
    """Return a text as a cell can contain it.

    Control characters and halves of characters are replaced, what looks like an escape is
    escaped, and the text is cut to the length of a cell, which Excel counts in UTF-16.
    """
    units = _LIKE_ESCAPE.sub("_x005F_", shown(text)).encode("utf-16-le")
    if len(units) > 2 * _LONGEST_CELL:
        return units[: 2 * (_LONGEST_CELL - 1)].decode("utf-16-le", "ignore") + "…"
    return units.decode("utf-16-le")


# --- A workbook for a CSV --------------------------------------------------------------------


def _made(sheet: Sheet, answers: Mapping[int, Answer]) -> Workbook:
    if max(answers, default=0) > _MOST_ROWS:
        raise InputError(
            f"{sheet.label}: has more than {_MOST_ROWS:,} rows, the limit of a worksheet. Read the "
            "report instead."
        )
    book = Workbook()
    page = book.active
    assert page is not None  # noqa: S101  (a new workbook has one)
    page.title = "Incidents"
    is_legacy = sheet.memory is not None and not sheet.memory.is_checked
    kept = [
        position
        for position, name in enumerate(sheet.columns.header)
        if not is_own(name) or (is_legacy and was_field(name))
    ]
    header = [*(sheet.columns.header[position] for position in kept), *COLUMNS]
    first = len(header) - len(COLUMNS) + 1
    for place, name in enumerate(header, 1):
        _fill_header(_cell(page, 1, place), _shown(name))
        letter = get_column_letter(place)
        page.column_dimensions[letter].width = _WIDTHS[place - first] if place >= first else 28
        page.column_dimensions[letter].hidden = was_field(name) is not None
    links = count(1)
    row = 1
    for number, cells in _rows(sheet, kept):
        row += 1
        for place, text in enumerate(cells, 1):
            # Guards are removed from sheets of an older version wherever a text may have one.
            _write_text(page, row, place, guard_formula(text) if is_legacy else text)
        answer = answers[number]
        for place, text in enumerate(answer):
            _fill(_cell(page, row, first + place), place, text, answer, links)
    _arrange(page, 1, len(header))
    _add_memory(book, sheet)
    return book


def _write_text(page: Worksheet, row: int, place: int, text: str) -> None:
    cell = _cell(page, row, place)
    _set_text(cell, _shown(text))
    cell.number_format = "@"


def _add_memory(book: Workbook, sheet: Sheet) -> None:
    """Add the worksheet with the pulled values, as a pull writes it."""
    if sheet.memory is None or not sheet.memory.is_checked:
        return
    page = book.create_sheet(MEMORY_SHEET)
    page.sheet_state = "veryHidden"
    page.protection.enable()
    names = sheet.memory.names
    for place, name in enumerate(memory_sheet_header(names), 1):
        _write_text(page, 1, place, name)
    written: set[str] = set()
    for chunk in sheet.chunks():
        recalled = chunk.recalled
        for place, incident_id in enumerate(check_chunk(chunk, sheet.columns).ids):
            if recalled is not None and recalled.checks[place] and incident_id not in written:
                written.add(incident_id)
                was = (recalled.was[name][place] for name in names)
                texts = [incident_id, *was, recalled.checks[place]]
                for column, text in enumerate(texts, 1):
                    _write_text(page, len(written) + 1, column, text)


def _rows(sheet: Sheet, kept: Sequence[int]) -> Iterator[tuple[int, Iterable[str]]]:
    """Yield each row's number and cells; cells that were not edited have their pulled values."""
    for chunk in sheet.chunks():
        columns = shown_columns(chunk, sheet.columns.position)
        visible = [columns[position] for position in kept]
        for number, *texts in zip(chunk.numbers, *visible, strict=True):
            yield int(number), map(str, texts)
