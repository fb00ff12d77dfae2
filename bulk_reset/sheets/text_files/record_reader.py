"""Reads the records of delimited text, and reports those with a quote in the wrong place.

A record is what a spreadsheet shows as a row: a line, or several if a cell contains line breaks.
The csv module parses; this module keeps the lines of each record, finds faults in them, and
bounds the memory used.

State: the position in the open file, and the lines of the records read last.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Final, TextIO

from bulk_reset.sheets.text_files.quoting import (
    QuoteFault,
    misplaced_quote,
    swallowed_row,
    unparsable_quote,
)

LONGEST_CELL: Final = 1 << 22
"""Characters; a longer cell is a quote that is not closed, or not a sheet."""
LONGEST_LINE: Final = 1 << 24
_HELD_CHARACTERS: Final = 1 << 27
"""Maximum number of characters of one block; enough for five full fields in each row."""
_BOM: Final = "\ufeff"


class RecordError(ValueError):
    """The rest of the file cannot be read.

    Attributes:
        row_number: the record with the error.
    """

    def __init__(self, row_number: int) -> None:
        self.row_number = row_number
        super().__init__(f"row {row_number}")


class UnclosedQuoteError(RecordError):
    """The file ends inside double quotes."""


class TooLongError(RecordError):
    """A cell, a line or a row is too long to be intended."""


class _HeldError(Exception):
    """A line is too long, or a record has too many of them."""


@dataclass(frozen=True, slots=True)
class Block:
    """Records that are read together.

    Attributes:
        first: the row number of the first record, 1-based.
        records: the cells of each record; none for a blank line.
        faults: index in ``records`` -> its fault. The cells of such a record are not certain.
    """

    first: int
    records: list[list[str]] = field(default_factory=list)
    faults: dict[int, QuoteFault] = field(default_factory=dict)


class RecordReader:
    """The records of an open text file.

    Args:
        file: opened with ``newline=""``.
        id_column: 0-based column of the incident ID, in which rows inside of cells are searched;
            None not to search them.
    """

    def __init__(self, file: TextIO, delimiter: str, id_column: int | None = None) -> None:
        self._file, self._delimiter, self._id_column = file, delimiter, id_column
        self._lines: list[str] = []
        self._removed = 0
        self._reader = csv.reader(self._fed(), delimiter=delimiter, strict=True)

    @property
    def block_bytes(self) -> int:
        """The size of the last block, in UTF-8."""
        size = len("".join(self._lines).encode("utf-8", "surrogatepass"))
        return size + self._removed * len(codecs.BOM_UTF8)

    def blocks(self, rows: int, first: int = 1) -> Iterator[Block]:
        """Yield all records in blocks of up to this many.

        Args:
            first: the row number of the first record.

        Raises:
            UnclosedQuoteError: at the end of the file.
            TooLongError: as soon as the limit is exceeded.
        """
        while (block := self._next(first, rows)).records:
            first += len(block.records)
            yield block

    def _fed(self) -> Iterator[str]:
        held = 0
        for line in iter(partial(self._file.readline, LONGEST_LINE), ""):
            if not self._lines:
                held = 0
            held += len(line)
            if len(line) == LONGEST_LINE or held > _HELD_CHARACTERS:
                raise _HeldError
            self._lines.append(line)
            yield line

    def _next(self, first: int, rows: int) -> Block:
        block = Block(first)
        records, lines = block.records, self._lines
        lines.clear()
        self._removed = 0
        ends: list[int] = []
        is_at_end = False
        with _long_cells():
            while len(records) < rows and not is_at_end:
                try:
                    for record in self._reader:
                        records.append(record)
                        ends.append(len(lines))
                        if len(records) == rows:
                            break
                    else:
                        is_at_end = True
                except csv.Error as exc:
                    raw = lines[ends[-1] if ends else 0 :]
                    self._check(exc, first + len(records))
                    # The parser continues with the next line.
                    block.faults[len(records)] = unparsable_quote("".join(raw), self._delimiter)
                    records.append(next(csv.reader(raw, delimiter=self._delimiter), []))
                    ends.append(len(lines))
                except _HeldError:
                    raise TooLongError(first + len(records)) from None
            self._remove_boms(block, ends)
        self._find_faults(block, ends)
        return block

    def _check(self, error: csv.Error, row_number: int) -> None:
        """Raise if the parser cannot continue after this error."""
        text = str(error)
        if "end of data" in text:
            raise UnclosedQuoteError(row_number) from error
        if "limit" in text:
            raise TooLongError(row_number) from error

    def _remove_boms(self, block: Block, ends: list[int]) -> None:
        """Remove the BOMs of files that were joined; each is at the start of a record."""
        for index, record in enumerate(block.records):
            if record and record[0].startswith(_BOM):
                start = ends[index - 1] if index else 0
                raw = self._lines[start : ends[index]]
                raw[0] = raw[0].lstrip(_BOM)
                self._removed += len(self._lines[start]) - len(raw[0])
                self._lines[start] = raw[0]
                try:
                    # Without the BOM, a quote after it encloses a cell.
                    parsed = csv.reader(raw, delimiter=self._delimiter, strict=True)
                    (block.records[index],) = parsed
                except (csv.Error, ValueError):
                    block.faults[index] = unparsable_quote("".join(raw), self._delimiter)

    def _find_faults(self, block: Block, ends: list[int]) -> None:
        """Find faults in records that were parsed."""
        lines = self._lines
        if not any('"' in line for line in lines):
            return
        for index, record in enumerate(block.records):
            # Quotes that enclose a cell are not part of it.
            if '"' in "".join(record) and index not in block.faults:
                raw = lines[ends[index - 1] if index else 0 : ends[index]]
                if fault := misplaced_quote("".join(raw), self._delimiter):
                    block.faults[index] = fault
        if self._id_column is None or len(lines) == len(ends):
            return
        for index, (start, end) in enumerate(pairwise([0, *ends])):
            if end - start > 1 and index not in block.faults:
                cells = block.records[index]
                if fault := swallowed_row(cells, self._delimiter, self._id_column):
                    block.faults[index] = fault


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let the csv module read cells of up to ``LONGEST_CELL`` characters until the block ends."""
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(limit)
