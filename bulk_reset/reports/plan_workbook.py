"""``NAME.plan.xlsx``: the plan as an Excel workbook."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from bulk_reset.core.plan import FieldPlan, PlanTotals, RowPlan, counts, facts
from bulk_reset.core.safe_text import is_link, shown
from bulk_reset.core.word_diff import Op, words_changed
from bulk_reset.reports.own_files import is_plan_workbook
from bulk_reset.reports.plan_file import PlanFile
from bulk_reset.sheets.workbooks.streaming_workbook import StreamedBook

_NOTE: Final[dict[str, object]] = {"valign": "top", "font_color": "#59636E"}
_TEXT: Final[dict[str, object]] = {"valign": "top", "text_wrap": True}
_STYLES: Final[dict[str, dict[str, object]]] = {
    "header": {"bold": True, "font_color": "#FFFFFF", "bg_color": "#2F5D8A", "valign": "vcenter"},
    "text": _TEXT,
    "number": {"valign": "top", "align": "left", "num_format": "#,##0"},
    "row": {"valign": "top", "align": "left"},
    "section": {"valign": "top", "bold": True},
    "id": {"valign": "top", "font_name": "Courier New"},
    "link": {
        "valign": "top",
        "font_name": "Courier New",
        "font_color": "#0B5CAD",
        "underline": True,
    },
    "old": {"font_color": "#A3211A", "font_strikeout": True},
    "new": {"font_color": "#116329", "underline": True, "bold": True},
    "lost": {**_TEXT, "font_color": "#8A4B00"},
    "update": {"valign": "top", "bg_color": "#DCF7E3", "font_color": "#116329"},
    "conflict": {"valign": "top", "bg_color": "#FFE8C2", "font_color": "#8A4B00", "bold": True},
    "missing": {"valign": "top", "bg_color": "#FDE5E3", "font_color": "#A3211A", "bold": True},
    "rejected": {"valign": "top", "bg_color": "#EDE3FB", "font_color": "#5B2DA8", "bold": True},
    "unchanged": _NOTE,
    "note": _NOTE,
}
_COLUMNS: Final = {
    "Row": 8,
    "Incident": 29,
    "Result": 12,
    "Field": 18,
    "Current value": 50,
    "New value": 50,
    "Pulled value": 40,
    "Cannot be restored": 34,
    "Reason": 50,
    "Note": 40,
}
"""Each column of the worksheet of rows, and its width in characters."""
_TEXT_WIDTHS: Final = tuple(
    _COLUMNS[name] for name in ("Current value", "New value", "Pulled value", "Cannot be restored")
)
_LINE_HEIGHT: Final = 15
_HIGHEST: Final = 405
"""In points; Excel accepts up to 409. Text that does not fit is in the cell but not visible."""
_TOTALS_WIDTHS: Final = (26, 30, 56)
_MOST_ROWS: Final = 1_048_576
_MOST_LINKS: Final = 65_530
_LONGEST_CELL: Final = 32_767
"""Excel's limits: rows of a worksheet, links of a worksheet, UTF-16 code units of a cell."""
_ESCAPE: Final = re.compile("_x[0-9a-fA-F]{4}_")
"""A character as the file format escapes it: XlsxWriter damages it between formatted words."""


class PlanWorkbook(PlanFile):
    """The plan as an Excel workbook: a line for each field to update, and the totals.

    See ``PlanFile``. Rows beyond what a worksheet holds are on another one.
    """

    _made: StreamedBook
    _formats: dict[str, Format]
    _sheet: Worksheet
    _line: int
    _links: int
    _sheets: int

    def add(self, row: RowPlan) -> None:
        """Write a line for each field, or one line without fields; see ``PlanFile.add``."""
        with self._writing():
            for field in row.fields or (None,):
                if self._line == _MOST_ROWS:
                    self._close_sheet()
                    self._open_sheet()
                self._add_line(row, field)

    def finish(self, totals: PlanTotals) -> None:
        """Write the workbook; see ``PlanFile.finish``."""
        with self._writing():
            self._close_sheet()
            self._add_totals(totals)
            self._fresh.file.write(self._made.packed())
            self._fresh.keep()

    _is_own = staticmethod(is_plan_workbook)

    def _begin(self) -> None:
        self._made = StreamedBook("Plan", _STYLES)
        self._formats = self._made.formats
        self._sheets = 0
        self._open_sheet()

    def _end(self) -> None:
        self._made.discard()

    def _open_sheet(self) -> None:
        self._sheets += 1
        self._sheet = self._made.book.add_worksheet(
            f"Plan {self._sheets}" if self._sheets > 1 else "Plan"
        )
        for column, (name, width) in enumerate(_COLUMNS.items()):
            self._sheet.set_column(column, column, width)
            self._sheet.write_string(0, column, name, self._formats["header"])
        self._sheet.freeze_panes(1, 2)
        self._sheet.set_landscape()
        self._sheet.fit_to_pages(1, 0)
        self._sheet.repeat_rows(0)
        self._line = 1
        self._links = 0

    def _close_sheet(self) -> None:
        self._sheet.autofilter(0, 0, self._line - 1, len(_COLUMNS) - 1)

    def _add_line(self, row: RowPlan, field: FieldPlan | None) -> None:
        line, sheet, formats = self._line, self._sheet, self._formats
        self._line += 1
        if field is not None and (height := _height(field)) > _LINE_HEIGHT:
            sheet.set_row(line, height)
        sheet.write_number(line, 0, row.row_number, formats["row"])
        if is_link(row.link) and self._links < _MOST_LINKS:
            self._links += 1
            sheet.write_url(line, 1, row.link, formats["link"], shown(row.incident_id))
        else:
            self._write(line, 1, row.incident_id, "id")
        sheet.write_string(line, 2, row.verdict, formats[row.verdict])
        if row.reason:
            self._write(line, 8, row.reason, "text")
        if field is None:
            return
        parts = _changed(field.old, field.new)
        self._write(line, 3, field.field, "text")
        self._write_marked(line, 4, [part for part in parts if part[0] != "new"])
        self._write_marked(line, 5, [part for part in parts if part[0] != "old"])
        if field.was is not None:
            self._write(line, 6, field.was, "text")
        if field.lost:
            self._write(line, 7, field.lost, "lost")
        if field.remark:
            self._write(line, 9, field.remark, "note")

    def _write_marked(self, line: int, column: int, parts: list[tuple[Op, str]]) -> None:
        """Write a text with its changed words formatted, unless all of them changed."""
        text = shown("".join(text for _, text in parts))
        if len(parts) == 1 or _is_too_long(text) or _ESCAPE.search(text) or "<r>" in text:
            self._write(line, column, text, "text")
            return
        pieces: list[Format | str] = []
        for op, piece in parts:
            if op != "same":
                pieces.append(self._formats[op])
            pieces.append(shown(piece))
        if pieces:
            self._sheet.write_rich_string(line, column, *pieces, self._formats["text"])

    def _write(self, line: int, column: int, text: str, style: str) -> None:
        text = shown(text)
        if _is_too_long(text):
            text = f"{len(text):,} characters: too long for a cell. See the page (--html)."
        self._made.write_text(self._sheet, line, column, text, self._formats[style])

    def _add_totals(self, totals: PlanTotals) -> None:
        sheet = self._made.book.add_worksheet("Totals")
        for column, width in enumerate(_TOTALS_WIDTHS):
            sheet.set_column(column, column, width)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        lines: list[tuple[str, str | int, str]] = [(n, f, "") for n, f in facts(totals).items()]
        lines += [("", "", ""), ("Rows", "", ""), *counts(totals)]
        lines += [("", "", ""), ("Fields", "", "")]
        lines += [(name, rows, "rows to update") for name, rows in totals.fields.items()]
        for line, (name, value, note) in enumerate(lines):
            style = "section" if name in {"Rows", "Fields"} and not value else "row"
            sheet.write_string(line, 0, shown(name), self._formats[style])
            if isinstance(value, int):
                sheet.write_number(line, 1, value, self._formats["number"])
            elif value:
                sheet.write_string(line, 1, shown(value), self._formats["row"])
            if note:
                sheet.write_string(line, 2, note, self._formats["note"])


@lru_cache(maxsize=64)
def _changed(old: str, new: str) -> tuple[tuple[Op, str], ...]:
    return tuple(words_changed(old, new))


def _height(field: FieldPlan) -> int:
    """Return the height of a line: not every program derives it from the texts."""
    texts = (field.old, field.new, field.was or "", field.lost)
    lines = max(map(_lines, texts, _TEXT_WIDTHS))
    return min(lines * _LINE_HEIGHT, _HIGHEST)


def _lines(text: str, width: int) -> int:
    # Double-width characters are three bytes long, the others mostly one.
    return sum(
        1 + (len(line) + len(line.encode(errors="replace"))) // 2 // width
        for line in text.split("\n")
    )


def _is_too_long(text: str) -> bool:
    return len(text.encode("utf-16-le")) > 2 * _LONGEST_CELL
