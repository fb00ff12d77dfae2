"""The answer workbook of a sheet that is no workbook: a new one, written row by row.

Its memory does not grow with the sheet, except for the packed workbook.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from xlsxwriter.worksheet import Worksheet

from bulk_reset.core.errors import InputError
from bulk_reset.core.safe_text import guard_formula, is_link
from bulk_reset.reports.answers import (
    ACTIVE,
    COLOUR_OF,
    COLUMNS,
    MOST_LINKS,
    MOST_ROWS,
    WIDTHS,
    WRAPPED,
    Answer,
    cell_text,
)
from bulk_reset.reports.own_files import MARK
from bulk_reset.sheets.columns import is_own, was_field
from bulk_reset.sheets.pulled_values import MEMORY_SHEET, memory_sheet_header, shown_columns
from bulk_reset.sheets.sheet import Sheet
from bulk_reset.sheets.validation import check_chunk
from bulk_reset.sheets.workbooks.streaming_workbook import StreamedBook

_WIDTH: Final = 28
_TOP: Final[dict[str, object]] = {"valign": "top"}
_STYLES: Final[dict[str, dict[str, object]]] = {
    "header": {
        "bold": True,
        "font_color": "#FFFFFF",
        "bg_color": "#2F5D8A",
        "valign": "vcenter",
        "align": "left",
    },
    "text": {"num_format": "@"},
    "result": _TOP,
    "wrapped": {**_TOP, "text_wrap": True},
    "link": {**_TOP, "font_color": "#2F5D8A", "underline": True},
    **{status.value: {**_TOP, "bg_color": f"#{colour}"} for status, colour in COLOUR_OF.items()},
}
_QUOTED: Final = "quoted "
"""Start of the name of a style that marks a text as no formula."""


def packed_answer(sheet: Sheet, answers: Mapping[int, Answer]) -> bytes:
    """Return a workbook with the rows of a sheet, and the result beside each.

    Raises:
        InputError: a worksheet cannot hold so many rows.
        OSError, XlsxWriterException: there is no room for temporary files.
    """
    if max(answers, default=0) > MOST_ROWS:
        raise InputError(
            f"{sheet.label}: has more than {MOST_ROWS:,} rows, the limit of a worksheet. Read the "
            "report instead."
        )
    quoted = {
        f"{_QUOTED}{name}": {**style, "quote_prefix": True} for name, style in _STYLES.items()
    }
    made = StreamedBook("Answer", _STYLES | quoted)
    try:
        made.book.set_custom_property(MARK, "answer")
        _Writer(made, sheet).write(answers)
        if sheet.memory is not None and sheet.memory.is_checked:
            _add_memory(made, sheet, sheet.memory.names)
        return bytes(made.packed())
    finally:
        made.discard()


class _Writer:
    """Writes the worksheet of the rows."""

    def __init__(self, made: StreamedBook, sheet: Sheet) -> None:
        self._made, self._sheet = made, sheet
        self._page: Worksheet = made.book.add_worksheet("Incidents")
        self._links = itertools.count(1)
        self._is_legacy = sheet.memory is not None and not sheet.memory.is_checked
        self._kept = [
            position
            for position, name in enumerate(sheet.columns.header)
            if not is_own(name) or (self._is_legacy and was_field(name))
        ]

    def write(self, answers: Mapping[int, Answer]) -> None:
        """Write the header and all rows."""
        page, first = self._page, len(self._kept)
        names = [self._sheet.columns.header[position] for position in self._kept]
        for place, name in enumerate([*names, *COLUMNS]):
            width = WIDTHS[place - first] if place >= first else _WIDTH
            page.set_column(place, place, width, None, {"hidden": was_field(name) is not None})
            self._write(0, place, cell_text(name), "header")
        page.freeze_panes(1, 0)
        rows = 0
        for rows, (number, cells) in enumerate(self._rows(), 1):
            for place, text in enumerate(cells):
                # Guards are removed from sheets of an older version wherever a text may have one.
                guarded = guard_formula(text) if self._is_legacy else text
                self._write(rows, place, cell_text(guarded), "text")
            self._write_answer(rows, first, answers[number])
        page.autofilter(0, 0, max(rows, 1), first + len(COLUMNS) - 1)

    def _rows(self) -> Iterator[tuple[int, Iterable[str]]]:
        """Yield each row's number and cells; those that were not edited have pulled values."""
        for chunk in self._sheet.chunks():
            columns = shown_columns(chunk, self._sheet.columns.position)
            visible = [columns[position] for position in self._kept]
            for number, *texts in zip(chunk.numbers, *visible, strict=True):
                yield int(number), map(str, texts)

    def _write_answer(self, row: int, first: int, answer: Answer) -> None:
        self._write(row, first, answer.status.value, answer.status.value)
        for place, text in enumerate(answer[1:-1], 1):
            content = cell_text(text)
            style = "wrapped" if place in WRAPPED else "result"
            self._write(row, first + place, content, _style_for(content, style))
        link, column = answer.link, first + len(COLUMNS) - 1
        if is_link(link) and next(self._links) <= MOST_LINKS:
            self._page.write_url(row, column, link, self._made.formats["link"])
        else:
            content = cell_text(link)
            self._write(row, column, content, _style_for(content, "result"))

    def _write(self, row: int, column: int, text: str, style: str) -> None:
        formats = self._made.formats
        if text:
            self._made.write_text(self._page, row, column, text, formats[style])
        else:
            self._page.write_blank(row, column, None, formats[style])


def _style_for(text: str, style: str) -> str:
    return _QUOTED + style if text[:1] in ACTIVE else style


def _add_memory(made: StreamedBook, sheet: Sheet, names: Sequence[str]) -> None:
    """Add the worksheet with the pulled values, as a pull writes it."""
    page = made.book.add_worksheet(MEMORY_SHEET)
    page.very_hidden()
    page.protect()
    style = made.formats["text"]
    for place, name in enumerate(memory_sheet_header(names)):
        made.write_text(page, 0, place, name, style)
    written: set[str] = set()
    for chunk in sheet.chunks():
        recalled = chunk.recalled
        for place, incident_id in enumerate(check_chunk(chunk, sheet.columns).ids):
            if recalled is not None and recalled.checks[place] and incident_id not in written:
                written.add(incident_id)
                was = (recalled.was[name][place] for name in names)
                for column, text in enumerate([incident_id, *was, recalled.checks[place]]):
                    made.write_text(page, len(written), column, cell_text(text), style)
