"""Reads delimited text files: detects encoding, delimiter and header, and checks each row's cells.

A row whose cells may have moved to other columns is reported and never sent: one with more or
fewer cells than the header, with text in a column without a name, or with a quote in the wrong
place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TextIO

from bulk_reset.core.counting import counted
from bulk_reset.core.errors import InputError, SheetChangedError, SheetError
from bulk_reset.core.option_names import option, option_name
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.chunk import Chunk, RowFault
from bulk_reset.sheets.columns import WAS_PREFIX, Header, find_header, is_header, recognised
from bulk_reset.sheets.encoding import display_name, find_encoding, known_codec
from bulk_reset.sheets.file_types import is_last_line_ended, kind_of
from bulk_reset.sheets.quoting import QuoteFault
from bulk_reset.sheets.record_reader import (
    LONGEST_CELL,
    Block,
    RecordError,
    RecordReader,
    UnclosedQuoteError,
)

_DELIMITERS: Final = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
_HINT: Final = re.compile(r"\"?sep=([\t !#-/:-@\[-`{-~])\"?[\r\n]*")
"""A first line that Excel reads as the delimiter and not as a row."""
_LONGEST_HINT: Final = 16
_PARSED_ROWS: Final = 2_000
_SHOWN_CHARACTERS: Final = 60
_HEADER_BLOCK: Final = 1
"""Rows that are read at once to find the header; an error may follow it."""


def changed_error(label: str) -> SheetChangedError:
    """Return the error for a file that was changed after it was checked."""
    return SheetChangedError(
        f"{label}: the file was modified during the run. "
        "Run the command again; finished rows will not be sent again."
    )


def _require_text(path: Path, label: str) -> None:
    """Raise SheetError if the file is of a type other than text."""
    kind, fix = kind_of(path)
    if kind:
        raise SheetError(f"{label}: the file is {kind}, not text. {fix}")


class DelimitedSource:
    """A delimited text file.

    Attributes:
        id_column: 0-based column of the incident ID, set when the columns are known.
    """

    def __init__(
        self,
        path: Path,
        label: str,
        delimiter: str | None,
        encoding: str | None,
        header_row: int | None = None,
    ) -> None:
        _require_text(path, label)
        self._path, self._label = path, label
        self._encoding = known_codec(encoding, path) if encoding else find_encoding(path, label)
        self._hint = ""
        hint = self._find_hint()
        known = delimiter or hint
        header, self._delimiter = self._find_header(
            [_as_delimiter(known)] if known else list(_DELIMITERS.values()), header_row
        )
        self.header_row, self.header = header.row_number, header.names
        named = [position for position, name in enumerate(self.header) if name]
        self._named_width = named[-1] + 1
        # Text never moves to the columns left of the first named one.
        self._nameless = sorted(set(range(named[0], len(self.header))).difference(named))
        self._has_extra_delimiter: bool | None = None
        """Whether all rows of the first block end with a delimiter; None before it is read."""
        self.id_column: int | None = None
        names = {character: name for name, character in _DELIMITERS.items()}
        delimiter_name = names.get(self._delimiter, repr(self._delimiter))
        self.notice = f"read as {display_name(self._encoding)}, {delimiter_name}-separated"
        self.notice += header.notice
        if not is_last_line_ended(path):
            self.notice += "; the last line has no line break, so check that the file is complete"

    def _open(self) -> TextIO:
        """Open the text after the delimiter hint, which Excel does not count as a row."""
        file = self._path.open(encoding=self._encoding, newline="")
        file.read(len(self._hint))
        return file

    def _find_hint(self) -> str | None:
        """Return the delimiter from a first line such as ``sep=;``, if there is one."""
        try:
            with self._path.open(encoding=self._encoding, newline="") as file:
                found = _HINT.fullmatch(file.readline(_LONGEST_HINT))
        except UnicodeError as exc:
            raise self._undecodable() from exc
        if found:
            self._hint = found[0]
        return found[1] if found else None

    def _find_header(self, delimiters: list[str], header_row: int | None) -> tuple[Header, str]:
        """Return the header and the delimiter that fits it best."""
        candidates = []
        problem: RecordError | None = None
        is_blank = False
        for delimiter in delimiters:
            try:
                header = self._header_with(delimiter, header_row)
            except UnicodeError as exc:
                raise self._undecodable() from exc
            except RecordError as exc:
                problem = exc
                continue
            # A file of delimiters only is blank, although other delimiters find text in it.
            is_blank = is_blank or not header.names
            candidates.append((header, delimiter))
        if candidates and not is_blank:
            return max(
                candidates,
                key=lambda c: (is_header(c[0].names), recognised(c[0].names), len(c[0].names)),
            )
        if problem is not None:
            raise self._unreadable(problem) from problem
        if header_row is not None:
            raise SheetError(
                f"{self._label}: row {header_row:,} is blank or does not exist. "
                f"Set {option_name('header_row')} to the row with the column names."
            )
        raise SheetError(f"{self._label}: only blank lines. Add a header line and rows.")

    def _header_with(self, delimiter: str, header_row: int | None) -> Header:
        with self._open() as file:
            reader = RecordReader(file, delimiter)
            return find_header(_until_error(reader.blocks(_HEADER_BLOCK)), header_row)

    def read(self, chunk_rows: int) -> Iterator[Chunk]:
        """Yield chunks; see ``sheet.Source``."""
        try:
            with self._open() as file:
                before = _stamp(file)
                reader = RecordReader(file, self._delimiter, self._searched_column)
                for block in reader.blocks(min(chunk_rows, _PARSED_ROWS)):
                    if _stamp(file) != before:
                        raise changed_error(self._label)
                    yield self._chunk(block)
        except UnicodeError as exc:
            raise self._undecodable() from exc
        except RecordError as exc:
            raise self._unreadable(exc) from exc

    @property
    def _searched_column(self) -> int | None:
        """The column of the ID; None for a file of ours, whose quotes are in the right places."""
        is_ours = any(name.startswith(WAS_PREFIX) for name in self.header)
        return None if is_ours else self.id_column

    def _chunk(self, block: Block) -> Chunk:
        """Return the rows of a block that are below the header."""
        above = max(0, self.header_row + 1 - block.first)
        first, records = block.first + above, block.records[above:]
        numbers = range(first, first + len(records))
        if block.first <= self.header_row < block.first + len(block.records):
            self._refuse_header_fault(block)
        faults = {
            block.first + index: self._quote_fault(fault, block.records[index])
            for index, fault in block.faults.items()
            if index >= above
        }
        width = len(self.header)
        if self._has_extra_delimiter is None and any(map(any, records)):
            self._has_extra_delimiter = _have_extra_delimiter(records, width)
        if set(map(len, records)) - {width}:
            for index, record in enumerate(records):
                if len(record) != width:
                    fault = self._count_fault(record)
                    if fault is not None:
                        faults.setdefault(numbers[index], fault)
                    records[index] = [*record[:width], *[""] * (width - len(record))]
        columns = [list(cells) for cells in zip(*records, strict=True)] or [
            [] for _ in range(width)
        ]
        for column in self._nameless:
            self._find_nameless_text(column, numbers, columns[column], faults)
        return Chunk(numbers, columns, row_faults=faults)

    def _refuse_header_fault(self, block: Block) -> None:
        fault = block.faults.get(self.header_row - block.first)
        if fault is not None:
            raise SheetError(
                f"{self._label}: row {self.header_row:,}, the header: {fault.problem}. {fault.fix}."
            )

    def _quote_fault(self, fault: QuoteFault, record: Sequence[str]) -> RowFault:
        value = record[fault.column] if fault.column < len(record) else ""
        return RowFault("quotes", self._column(fault.column), value, fault.problem, fault.fix)

    def _column(self, position: int) -> str:
        """Return a column's name, or its number if it has none."""
        name = self.header[position] if position < len(self.header) else ""
        return name or f"column {position + 1:,}"

    def _count_fault(self, record: Sequence[str]) -> RowFault | None:
        """Return the fault of a row with more or fewer cells than the header.

        A cell may have moved to another column, even if no text is left over.
        """
        width = len(self.header)
        over = record[width:]
        if not any(map(str.strip, record)):
            return None
        if len(record) < width:
            if len(record) >= self._named_width:
                return None
            cells = counted(len(record), "cell")
            return RowFault(
                "cell_count",
                self._column(len(record)),
                "",
                f"the row has {cells}, the header has {width:,}",
                "Add the missing cells, or put a cell that contains line breaks in double quotes",
            )
        is_blank = not any(map(str.strip, over))
        left_over = one_line(self._delimiter.join(over))[:_SHOWN_CHARACTERS] if not is_blank else ""
        if self._has_extra_delimiter and len(over) == 1 and is_blank:
            return None
        return RowFault(
            "cell_count",
            self._column(width),
            left_over,
            f"the row has {counted(len(record), 'cell')}, the header has {width:,}"
            + ("" if is_blank else f"; left over: {left_over!r}"),
            "Put a cell that contains the delimiter in double quotes, or remove the cells that "
            "are left over",
        )

    def _find_nameless_text(
        self, column: int, numbers: range, cells: list[str], faults: dict[int, RowFault]
    ) -> None:
        if not any(cells):
            return
        for number, cell in zip(numbers, cells, strict=True):
            if cell.strip() and number not in faults:
                faults[number] = RowFault(
                    "no_column_name",
                    self._column(column),
                    cell,
                    f"the header has no name for column {column + 1:,}, which contains text",
                    "Put a cell that contains the delimiter in double quotes, name the column, or "
                    "clear the cell",
                )

    def _unreadable(self, error: RecordError) -> SheetError:
        if isinstance(error, UnclosedQuoteError):
            return SheetError(
                f"{self._label}: a double quote in row {error.row_number:,} is not closed. "
                "Close it, or write it twice if it is part of the text."
            )
        return SheetError(
            f"{self._label}: row {error.row_number:,} has a cell of more than "
            f"{LONGEST_CELL:,} characters. "
            "If a double quote is not closed, close it; otherwise clear the cell."
        )

    def _undecodable(self) -> SheetError:
        return SheetError(
            f"{self._label}: not {display_name(self._encoding)}. Set the encoding, for example "
            f"{option('encoding', 'shift_jis')}, or save the file as UTF-8."
        )


def _until_error(blocks: Iterable[Block]) -> Iterator[list[str]]:
    """Yield rows up to the first one that cannot be parsed; the header may be above it."""
    is_first = True
    try:
        for block in blocks:
            yield from block.records
            is_first = False
    except RecordError:
        if is_first:
            raise


def _have_extra_delimiter(records: Iterable[Sequence[str]], width: int) -> bool:
    """Return whether every row has one more cell than the header, and it is empty."""
    return all(
        len(record) == width + 1 and not record[-1].strip()
        for record in records
        if any(map(str.strip, record))
    )


def _stamp(file: TextIO) -> tuple[int, int]:
    """Return the size and time of a file, which change when the file is written."""
    stat = os.fstat(file.fileno())
    return stat.st_size, stat.st_mtime_ns


def _as_delimiter(text: str) -> str:
    delimiter = _DELIMITERS.get(text.casefold(), "\t" if text == "\\t" else text)
    if len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii():
        raise InputError(
            f"{option('delimiter', text)}: invalid delimiter. "
            "Use comma, semicolon, tab, pipe or one ASCII character."
        )
    return delimiter
