"""Reads delimited text files: detects encoding, delimiter and header; pandas reads the rows."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TextIO

import pandas as pd

from bulk_reset.core.counting import counted
from bulk_reset.core.errors import InputError, SheetChangedError, SheetError
from bulk_reset.core.option_names import option, option_name
from bulk_reset.sheets.chunk import Chunk
from bulk_reset.sheets.columns import Header, find_header, is_header, recognised
from bulk_reset.sheets.encoding import display_name, find_encoding, known_codec
from bulk_reset.sheets.file_types import kind_of

_DELIMITERS: Final = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
_HINT: Final = re.compile(r"\"?sep=([\t !#-/:-@\[-`{-~])\"?[\r\n]*")
"""A first line that Excel reads as the delimiter and not as a row."""
_LONGEST_HINT: Final = 16
_PARSED_ROWS: Final = 2_000
_HELD_BYTES: Final = 1 << 28
"""Maximum number of bytes for one block of rows; enough for five full fields in each row."""
_LONGEST_LINE: Final = 1 << 24


class _TooLongError(ValueError):
    """A line or a row is too long to be intended."""


class _ParserInput(io.RawIOBase):
    """The file that the parser reads: converted to UTF-8, with a limit on the memory used.

    State: bytes read since the last end of a line, and since the last block of rows.
    """

    def __init__(self, path: Path, encoding: str, skipped: str) -> None:
        self._file = path.open("rb")
        self._line_bytes = self._held_bytes = 0
        if encoding.startswith("utf-8"):
            # No need to decode and encode it again.
            has_bom = self._file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8
            self._file.seek(len(skipped) + has_bom * len(codecs.BOM_UTF8))
            self._read: Callable[[int], bytes] = self._file.read
        else:
            text = io.TextIOWrapper(self._file, encoding=encoding, newline="")
            text.read(len(skipped))
            self._read = lambda size: text.read(size).encode("utf-8", "surrogatepass")

    def close(self) -> None:
        """Close the underlying file too."""
        self._file.close()
        super().close()

    def read(self, size: int = -1) -> bytes:
        """Return the next block; the parser calls this until it has enough rows."""
        block = self._read(size)
        has_end = b"\n" in block or b"\r" in block
        self._line_bytes = 0 if has_end else self._line_bytes + len(block)
        self._held_bytes += len(block)
        if self._line_bytes > _LONGEST_LINE or self._held_bytes > _HELD_BYTES:
            raise _TooLongError
        return block

    def start_block(self) -> None:
        """Count from 0 again, because the parser has released its rows."""
        self._held_bytes = 0

    def stamp(self) -> tuple[int, int]:
        """Return the size and time of the file, which change when the file is written."""
        stat = os.fstat(self._file.fileno())
        return stat.st_size, stat.st_mtime_ns


def _lines(file: TextIO) -> Iterator[str]:
    """Yield the lines, including their line endings."""
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise _TooLongError(f"a line of more than {_LONGEST_LINE:,} characters")
        yield line


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


def _until_error(rows: Iterable[list[str]]) -> Iterator[list[str]]:
    """Yield rows up to the first one that cannot be parsed; the header may be above it."""
    is_first = True
    try:
        for row in rows:
            yield row
            is_first = False
    except (csv.Error, _TooLongError):
        if is_first:
            raise


class DelimitedSource:
    """A delimited text file; pandas' C parser reads it in chunks."""

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
        names = {character: name for name, character in _DELIMITERS.items()}
        delimiter_name = names.get(self._delimiter, repr(self._delimiter))
        self.notice = f"read as {display_name(self._encoding)}, {delimiter_name}-separated"
        self.notice += header.notice

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
        problem, is_blank = None, False
        for delimiter in delimiters:
            try:
                with self._open() as file:
                    rows = csv.reader(_lines(file), delimiter=delimiter)
                    header = find_header(_until_error(rows), header_row)
            except UnicodeError as exc:
                raise self._undecodable() from exc
            except (csv.Error, _TooLongError) as exc:
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
            raise SheetError(
                f"{self._label}: cannot be read as a table ({problem}). Save it as CSV or .xlsx."
            ) from problem
        if header_row is not None:
            raise SheetError(
                f"{self._label}: row {header_row:,} is blank or does not exist. "
                f"Set {option_name('header_row')} to the row with the column names."
            )
        raise SheetError(f"{self._label}: only blank lines. Add a header line and rows.")

    def read(self, chunk_rows: int) -> Iterator[Chunk]:
        """Yield chunks; see ``sheet.Source``."""
        row_number = 0
        try:
            with _ParserInput(self._path, self._encoding, self._hint) as file:
                before = file.stamp()
                for first, columns in self._parsed(file, min(chunk_rows, _PARSED_ROWS)):
                    if file.stamp() != before:
                        raise changed_error(self._label)
                    row_number = first + len(columns[0]) - 1
                    file.start_block()
                    yield self._below_header(first, columns)
        except UnicodeError as exc:
            raise self._undecodable() from exc
        except _TooLongError as exc:
            raise self._too_long(row_number) from exc
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as exc:
            raise self._unparsable(str(exc)) from exc

    def _parsed(self, file: _ParserInput, rows: int) -> Iterator[tuple[int, list[list[str]]]]:
        """Yield (first row number, columns) of every row, including those above the header."""
        # Blank lines are kept, because without them the row numbers would not match Excel.
        # One extra column catches cells to the right of the header. With dtype=object, cells
        # are Python strings, whether pyarrow is installed or not.
        with pd.read_csv(
            file,
            sep=self._delimiter,
            header=None,
            names=range(len(self.header) + 1),
            index_col=False,
            dtype=object,
            keep_default_na=False,
            na_filter=False,
            skip_blank_lines=False,
            chunksize=rows,
        ) as frames:
            for frame in frames:
                columns = [frame[column].tolist() for column in frame.columns]
                yield int(frame.index[0]) + 1, columns

    def _too_long(self, after: int) -> SheetError:
        """Find the row that is too long, with a reader that keeps only one cell in memory."""
        row_number = 0
        try:
            with self._open() as file:
                for _ in csv.reader(_lines(file), delimiter=self._delimiter):
                    row_number += 1
        except (csv.Error, _TooLongError):
            after = row_number
        return SheetError(
            f"{self._label}: row {after + 1:,} has a cell of more than "
            f"{csv.field_size_limit():,} characters. "
            "If a double quote is not closed, close it; otherwise clear the cell."
        )

    def _below_header(self, first: int, columns: list[list[str]]) -> Chunk:
        above = max(0, self.header_row + 1 - first)
        if above:
            columns = [cells[above:] for cells in columns]
        *columns, spilled = columns
        numbers = range(first + above, first + above + len(spilled))
        if any(spilled):
            for number, cell in zip(numbers, spilled, strict=True):
                if cell.strip():
                    raise self._too_many_cells(number, len(self.header) + 1)
        return Chunk(numbers, columns)

    def _too_many_cells(self, row_number: int, cells: int) -> SheetError:
        return SheetError(
            f"{self._label}: row {row_number:,} has {counted(cells, 'cell')}, but the header has "
            f"{len(self.header):,}. Put cells that contain the delimiter in double quotes."
        )

    def _unparsable(self, text: str) -> SheetError:
        counts = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", text)
        if counts:
            return self._too_many_cells(int(counts[2]), int(counts[3]))
        opened = re.search(r"EOF inside string starting at row (\d+)", text)
        if opened:
            return SheetError(
                f"{self._label}: a double quote in row {int(opened[1]) + 1:,} is not closed. "
                "Close it, or write it twice if it is part of the text."
            )
        return SheetError(
            f"{self._label}: cannot be read as a table ({text.strip()}). Save it as CSV."
        )

    def _undecodable(self) -> SheetError:
        return SheetError(
            f"{self._label}: not {display_name(self._encoding)}. Set the encoding, for example "
            f"{option('encoding', 'shift_jis')}, or save the file as UTF-8."
        )


def _as_delimiter(text: str) -> str:
    delimiter = _DELIMITERS.get(text.casefold(), "\t" if text == "\\t" else text)
    if len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii():
        raise InputError(
            f"{option('delimiter', text)}: invalid delimiter. "
            "Use comma, semicolon, tab, pipe or one ASCII character."
        )
    return delimiter
