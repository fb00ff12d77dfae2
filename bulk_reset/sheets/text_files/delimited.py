"""Reads delimited text files: detects encoding, delimiter and header, and checks each row's cells.

A row whose cells may have moved to other columns is reported and never sent: one with more or
fewer cells than the header, with text in a column without a name, or with a quote in the wrong
place.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TextIO

from bulk_reset.core.counting import counted
from bulk_reset.core.errors import InputError, SheetChangedError, SheetError
from bulk_reset.core.look_alikes import is_invisible
from bulk_reset.core.option_names import option, option_name
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.chunk import AsRead, Chunk, RowFault
from bulk_reset.sheets.columns import WAS_PREFIX, Header, find_header, is_header, recognised
from bulk_reset.sheets.file_types import is_last_line_ended, kind_of
from bulk_reset.sheets.text_files.clean_blocks import CleanReader, Utf8Stream
from bulk_reset.sheets.text_files.encoding import display_name, find_encoding, known_codec
from bulk_reset.sheets.text_files.quoting import QuoteFault, id_search, swallowed_row
from bulk_reset.sheets.text_files.record_reader import (
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
        header, self._delimiter, self._bytes_above = self._find_header(
            [_as_delimiter(known)] if known else list(_DELIMITERS.values()), header_row
        )
        self.header_row, self.header = header.row_number, header.names
        named = [position for position, name in enumerate(self.header) if _is_name(name, position)]
        named = named or list(range(len(self.header)))
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

    def _find_header(
        self, delimiters: list[str], header_row: int | None
    ) -> tuple[Header, str, int]:
        """Return the header, the delimiter that fits it best, and the bytes up to its end."""
        candidates = []
        problem: RecordError | None = None
        is_blank = False
        for delimiter in delimiters:
            try:
                header, size, fault = self._header_with(delimiter, header_row)
            except UnicodeError as exc:
                raise self._undecodable() from exc
            except RecordError as exc:
                problem = exc
                continue
            # A file of delimiters only is blank, although other delimiters find text in it.
            is_blank = is_blank or not header.names
            candidates.append((header, delimiter, size, fault))
        if candidates and not is_blank:
            header, delimiter, size, fault = max(
                candidates,
                key=lambda c: (is_header(c[0].names), recognised(c[0].names), len(c[0].names)),
            )
            if fault is not None and len(header.names) > 1:
                raise SheetError(
                    f"{self._label}: row {header.row_number:,}, the header: {fault.problem}. "
                    f"{fault.fix}."
                )
            return header, delimiter, size
        if problem is not None:
            raise self._unreadable(problem) from problem
        if header_row is not None:
            raise SheetError(
                f"{self._label}: row {header_row:,} is blank or does not exist. "
                f"Set {option_name('header_row')} to the row with the column names."
            )
        raise SheetError(f"{self._label}: only blank lines. Add a header line and rows.")

    def _header_with(
        self, delimiter: str, header_row: int | None
    ) -> tuple[Header, int, QuoteFault | None]:
        """Return the header, the bytes up to its end in UTF-8, and a misplaced double quote."""
        sizes: list[int] = []
        faults: dict[int, QuoteFault] = {}
        with self._open() as file:
            reader = RecordReader(file, delimiter)
            rows = _until_error(reader, sizes, faults)
            header = find_header(rows, header_row)
        return header, sum(sizes[: header.row_number]), faults.get(header.row_number)

    def read(self, chunk_rows: int) -> Iterator[Chunk]:
        """Yield chunks; see ``sheet.Source``."""
        try:
            with Utf8Stream(self._path, self._encoding) as stream:
                before = stream.stamp()
                stream.skip(len(self._hint) + self._bytes_above)
                for chunk in self._chunks(stream, chunk_rows):
                    if stream.stamp() != before:
                        raise changed_error(self._label)
                    yield chunk
        except UnicodeError as exc:
            raise self._undecodable() from exc
        except RecordError as exc:
            raise self._unreadable(exc) from exc

    def _chunks(self, stream: Utf8Stream, chunk_rows: int) -> Iterator[Chunk]:
        first = self.header_row + 1
        clean = CleanReader(stream, self._delimiter, len(self.header))
        while (found := clean.next()) is not None:
            self._has_extra_delimiter = False
            rows = len(found.columns[0])
            for start in range(0, rows, chunk_rows):
                columns = [cells[start : start + chunk_rows] for cells in found.columns]
                faults = self._taken_in(first + start, columns) if found.has_breaks else {}
                chunk = self._with_nameless(first + start, columns, faults)
                as_read = AsRead(tuple(columns), b"" if start else found.content)
                yield replace(chunk, may_have_controls=found.may_have_controls, as_read=as_read)
            first += rows
        text = io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8", newline="")
        reader = RecordReader(text, self._delimiter, self._searched_column)
        for block in reader.blocks(min(chunk_rows, _PARSED_ROWS), first):
            yield self._chunk(block)

    def _taken_in(self, first: int, columns: list[list[str]]) -> dict[int, RowFault]:
        """Return the faults of rows that take in other rows."""
        faults: dict[int, RowFault] = {}
        id_column = self._searched_column
        if id_column is None:
            return faults
        for column, cells in enumerate(columns):
            may_have_row = id_search(self._delimiter, column, id_column)
            for place, cell in enumerate(cells):
                if "\n" in cell and may_have_row(cell):
                    row = [texts[place] for texts in columns]
                    if fault := swallowed_row(row, self._delimiter, id_column):
                        faults[first + place] = self._quote_fault(fault, row)
        return faults

    @property
    def _searched_column(self) -> int | None:
        """The column of the ID; None for a file of ours, whose quotes are in the right places."""
        is_ours = any(name.startswith(WAS_PREFIX) for name in self.header)
        return None if is_ours else self.id_column

    def _chunk(self, block: Block) -> Chunk:
        """Return the rows of a block, with their faults."""
        records, width = block.records, len(self.header)
        faults = {
            block.first + index: self._quote_fault(fault, records[index])
            for index, fault in block.faults.items()
        }
        if self._has_extra_delimiter is None and any(map(any, records)):
            self._has_extra_delimiter = _have_extra_delimiter(records, width)
        for index, record in enumerate(records):
            if len(record) != width:
                fault = self._count_fault(record)
                if fault is not None:
                    faults.setdefault(block.first + index, fault)
                records[index] = [*record[:width], *[""] * (width - len(record))]
        columns = [list(cells) for cells in zip(*records, strict=True)]
        return self._with_nameless(block.first, columns, faults)

    def _with_nameless(
        self, first: int, columns: list[list[str]], faults: dict[int, RowFault]
    ) -> Chunk:
        """Return a chunk, with faults for text in columns without a name."""
        numbers = range(first, first + len(columns[0]))
        for column in self._nameless:
            self._find_nameless_text(column, numbers, columns[column], faults)
        return Chunk(numbers, columns, row_faults=faults)

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


def _until_error(
    reader: RecordReader, sizes: list[int], faults: dict[int, QuoteFault]
) -> Iterator[list[str]]:
    """Yield rows up to the first one that cannot be parsed; the header may be above it.

    Args:
        sizes: gets the bytes of each row.
        faults: gets the faults of rows, by row number.
    """
    try:
        for block in reader.blocks(1):
            sizes.append(reader.block_bytes)
            faults.update((block.first, fault) for fault in block.faults.values())
            yield block.records[0]
    except RecordError:
        if not sizes:
            raise


def _is_name(name: str, position: int) -> bool:
    """Return whether a column has a name; pandas numbers those without one."""
    return bool(name) and not is_invisible(name) and name != f"Unnamed: {position}"


def _have_extra_delimiter(records: Iterable[Sequence[str]], width: int) -> bool:
    """Return whether every row has one more cell than the header, and it is empty."""
    return all(
        len(record) == width + 1 and not record[-1].strip()
        for record in records
        if any(map(str.strip, record))
    )


def _as_delimiter(text: str) -> str:
    delimiter = _DELIMITERS.get(text.casefold(), "\t" if text == "\\t" else text)
    if len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii():
        raise InputError(
            f"{option('delimiter', text)}: invalid delimiter. "
            "Use comma, semicolon, tab, pipe or one ASCII character."
        )
    return delimiter
