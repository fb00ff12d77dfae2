"""Parses the tables of an OpenDocument spreadsheet's ``content.xml``, row by row.

A row or a cell that is repeated is written once with a number; so rows have a number of
repetitions, and what they expand to is limited.

State: the open table, row, cell and paragraph; the rows since the last block of the file.

Source: OpenDocument 1.3 part 3, chapter 9 (tables) and 5.1, 6.1 (paragraphs).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from bulk_reset.sheets.workbooks.ods_cells import (
    EMPTY,
    OFFICE,
    STYLE,
    TABLE,
    TEXT,
    CellText,
    OdsCell,
    cell_of,
)
from bulk_reset.sheets.workbooks.xml_parts import DamagedError, parse_by_block

MAX_COLUMNS: Final = 1 << 14
_MAX_ROWS: Final = 1 << 20
_MAX_REPEATED: Final = 1 << 24
_MAX_SPACES: Final = 1 << 24
"""Of one pass; spaces are written as a number, too."""
_TABLE, _ROW = f"{TABLE}table", f"{TABLE}table-row"
_CELLS: Final = frozenset({f"{TABLE}table-cell", f"{TABLE}covered-table-cell"})
_ROW_GROUPS: Final = frozenset(
    f"{TABLE}{name}" for name in ("table-row-group", "table-rows", "table-header-rows")
)
_SPREADSHEET: Final = f"{OFFICE}spreadsheet"
_PARAGRAPHS: Final = frozenset({f"{TEXT}p", f"{TEXT}h"})
_NOT_SHOWN: Final = frozenset({f"{TEXT}note", f"{TEXT}ruby-text"})
_CHARACTERS: Final = {f"{TEXT}s": " ", f"{TEXT}tab": "\t", f"{TEXT}line-break": "\n"}
_COLUMNS_REPEATED: Final = f"{TABLE}number-columns-repeated"
_COLUMNS_SPANNED: Final = f"{TABLE}number-columns-spanned"
_ROWS_SPANNED: Final = f"{TABLE}number-rows-spanned"
_PLACES: Final = frozenset({_COLUMNS_REPEATED, _COLUMNS_SPANNED, _ROWS_SPANNED})
_HIDDEN: Final = frozenset({"collapse", "filter"})


@dataclass(slots=True)
class OdsRow:
    """A row that is not blank.

    Attributes:
        table: the 0-based position of its table.
        number: 1-based.
        repeated: the number of equal rows from this one on.
        cells: up to the last one that is not empty.
        spans: (0-based column, columns, rows) of its merged cells.
    """

    table: int
    number: int
    repeated: int
    is_hidden: bool
    cells: list[OdsCell] = field(default_factory=list)
    spans: list[tuple[int, int, int]] = field(default_factory=list)


@dataclass(slots=True)
class OdsTables:
    """The tables that were found: name of each, and whether it is hidden."""

    found: list[tuple[str, bool]] = field(default_factory=list)


def rows_of(
    archive: zipfile.ZipFile,
    content: zipfile.ZipInfo,
    tables: OdsTables,
    only: int | None = None,
) -> Iterator[OdsRow]:
    """Yield the rows of all tables, or of one of them, which are not blank.

    Args:
        tables: gets the tables.
        only: the 0-based position of a table.

    Raises:
        DamagedError: it is no spreadsheet, or expands to more than one can have.
    """
    parser = _Parser(tables, only)
    with archive.open(content) as file:
        for _ in parse_by_block(file, parser.start, parser.end, parser.characters):
            yield from parser.rows
            parser.rows.clear()
            if only is not None and len(tables.found) > only + 1:
                return


class _Parser:
    """Collects rows while the file is parsed; called for every tag, so it is short."""

    def __init__(self, tables: OdsTables, only: int | None) -> None:
        self.rows: list[OdsRow] = []
        self._tables, self._only = tables, only
        self._skipped = 0
        """Open elements from one on whose content does not matter."""
        self._style = ""
        self._hidden_styles: set[str] = set()
        self._is_spreadsheet = self._is_table = self._is_paragraph = False
        self._row: OdsRow | None = None
        self._cell: dict[str, str] | None = None
        self._text = CellText()
        self._next_row, self._blanks, self._spaces = 1, 0, 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._skipped:
            self._skipped += 1
        elif self._is_paragraph:
            self._start_in_paragraph(name, attributes)
        elif self._cell is not None:
            self._is_paragraph = name in _PARAGRAPHS
            self._skipped += not self._is_paragraph
        elif self._row is not None:
            self._cell = attributes if name in _CELLS else None
            self._skipped += self._cell is None
        elif self._is_table:
            self._start_in_table(name, attributes)
        else:
            self._start_outside(name, attributes)

    def characters(self, text: str) -> None:
        if self._is_paragraph and not self._skipped:
            self._text.add(text)

    def end(self, name: str) -> None:
        if self._skipped:
            self._skipped -= 1
        elif self._is_paragraph:
            if name in _PARAGRAPHS:
                self._is_paragraph = False
                self._text.end_paragraph()
        elif self._cell is not None and self._row is not None:
            self._end_cell(self._cell, self._row)
        elif self._row is not None:
            self._end_row(self._row)
        elif name == _TABLE:
            self._is_table = False

    def _start_outside(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == f"{STYLE}style":
            self._style = attributes.get(f"{STYLE}name", "")
        elif name == f"{STYLE}table-properties":
            if attributes.get(f"{TABLE}display") == "false":
                self._hidden_styles.add(self._style)
        elif name == _SPREADSHEET:
            self._is_spreadsheet = True
        elif self._is_spreadsheet:
            self._is_table = name == _TABLE
            if self._is_table:
                style = attributes.get(f"{TABLE}style-name", "")
                is_hidden = style in self._hidden_styles
                self._tables.found.append((attributes.get(f"{TABLE}name", ""), is_hidden))
                self._next_row = 1
                position = len(self._tables.found) - 1
                self._is_table = self._only is None or position == self._only
            self._skipped += not self._is_table

    def _start_in_table(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == _ROW:
            is_hidden = attributes.get(f"{TABLE}visibility") in _HIDDEN
            repeated = _number(attributes, f"{TABLE}number-rows-repeated")
            position = len(self._tables.found) - 1
            self._row = OdsRow(position, self._next_row, repeated, is_hidden)
            self._blanks = 0
        elif name not in _ROW_GROUPS:
            self._skipped += 1

    def _start_in_paragraph(self, name: str, attributes: Mapping[str, str]) -> None:
        if name in _CHARACTERS:
            number = _number(attributes, f"{TEXT}c")
            self._spaces += number
            if self._spaces > _MAX_SPACES:
                raise DamagedError("it has too many spaces")
            self._text.add_exactly(_CHARACTERS[name] * number)
        elif name in _NOT_SHOWN or not name.startswith(TEXT):
            self._skipped += 1

    def _end_cell(self, attributes: Mapping[str, str], row: OdsRow) -> None:
        cell = cell_of(attributes, self._text.take())
        self._cell = None
        repeated = 1
        if not _PLACES.isdisjoint(attributes):
            repeated = _number(attributes, _COLUMNS_REPEATED)
            columns = _number(attributes, _COLUMNS_SPANNED)
            rows = _number(attributes, _ROWS_SPANNED)
            if columns > 1 or rows > 1:
                row.spans.append((len(row.cells) + self._blanks, columns, rows))
        if cell.value == "" and cell.error is None:
            self._blanks += repeated
            return
        if len(row.cells) + self._blanks + repeated > MAX_COLUMNS:
            raise DamagedError(f"row {row.number:,} has more than {MAX_COLUMNS:,} cells")
        if self._blanks or repeated > 1:
            row.cells += [EMPTY] * self._blanks + [cell] * repeated
            self._blanks = 0
        else:
            row.cells.append(cell)

    def _end_row(self, row: OdsRow) -> None:
        self._row = None
        self._next_row += row.repeated
        if not row.cells and not row.spans:
            return
        if self._next_row > _MAX_ROWS + 1:
            raise DamagedError(f"it has more than {_MAX_ROWS:,} rows")
        self.rows.append(row)


def _number(attributes: Mapping[str, str], name: str) -> int:
    """Return a number of repetitions or merged cells; 1 if there is none."""
    text = attributes.get(name)
    if text is None:
        return 1
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0  # noqa: PLR2004
    if not 0 < number <= _MAX_REPEATED:
        raise DamagedError(f"a cell or row is repeated {text[:20]!r} times")
    return number
