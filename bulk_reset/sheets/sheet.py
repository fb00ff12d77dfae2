"""Sheet -> chunks of text rows, lazily, with the row numbers that Excel shows.

First in the flow. A sheet can be read as often as needed: a run reads it once to check it
and once to send it. Cells are lists of text by column: all that follows looks at whole
columns, and nothing is faster to look through. Nothing is guessed, cut or converted, but for
whole numbers and TRUE/FALSE in workbook cells, whose text is certain.

Units: ``row_number`` is 1-based, and the header and blank lines count.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol, TypeGuard

import pandas as pd

from bulk_reset.core.custom_fields import is_same
from bulk_reset.core.errors import InputError, SheetError
from bulk_reset.core.safe_text import unguard_formula
from bulk_reset.sheets.chunk import Chunk
from bulk_reset.sheets.columns import OWN_PREFIX, Columns, bind
from bulk_reset.sheets.delimited import DelimitedSource, changed_error
from bulk_reset.sheets.file_types import kind_of
from bulk_reset.sheets.workbook import large_workbook_notice, open_workbook_sheet
from bulk_reset.sheets.workbook_xml import ErrorCell

CHUNK_ROWS: Final = 10_000
STDIN: Final = "-"


class Source(Protocol):
    """Where a sheet's cells come from."""

    header_row: int
    header: tuple[str, ...]
    notice: str

    def read(self, chunk_rows: int) -> Iterator[Chunk]:
        """Yield the rows in file order, header left out, blank rows still among them."""
        ...


class Sheet:
    """A table of incidents in a file, on standard input, or in a data frame.

    Attributes:
        label: the name used in messages.
        path: the file, None for standard input and data frames.
        columns: where the fields stand.
        notices: what the user should know about how the sheet was read.
    """

    def __init__(
        self, source: Source, label: str, path: Path | None, mapping: dict[str, str]
    ) -> None:
        self.source, self.label, self.path = source, label, path
        # A file of failed rows, whose cells were made inert for spreadsheets.
        self._is_guarded = any(name.startswith(OWN_PREFIX) for name in source.header)
        header = tuple(map(unguard_formula, source.header)) if self._is_guarded else source.header
        self.columns: Columns = bind(header, mapping, label)
        self.notices = tuple(
            f"{label}: {notice}" for notice in (source.notice, *self.columns.notices) if notice
        )
        self._stamp = self._read_stamp()

    def chunks(self, chunk_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
        """Read the rows below the header.

        Yields: chunks of 0 to ``chunk_rows`` rows, in the sheet's order.
        Raises: SheetError: the file cannot be decoded or parsed, or has changed since it
            was opened.
        """
        if self._read_stamp() != self._stamp:
            raise changed_error(self.label)
        try:
            for chunk in self.source.read(chunk_rows):
                if self._is_guarded:
                    chunk.columns[:] = [
                        list(map(unguard_formula, cells)) for cells in chunk.columns
                    ]
                filled = _without_blank_rows(chunk)
                yield _without_untouched(filled, self.columns) if self.columns.was else filled
        except OSError as exc:
            raise _unreadable(self.label, exc) from exc

    def _read_stamp(self) -> tuple[int, ...] | None:
        if self.path is None:
            return None
        try:
            stat = self.path.stat()
        except OSError:  # gone, which is a change too
            return ()
        # The last tells of another file in its place, and of a time that was set back.
        return (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _without_blank_rows(chunk: Chunk) -> Chunk:
    """Leave out the rows in which every cell is empty or spaces; looks on only where it must."""
    blank: Sequence[int] = range(len(chunk.numbers))
    for cells in chunk.columns:
        if len(blank) == len(cells) and "" not in cells and not any(map(str.isspace, cells)):
            return chunk
        blank = [place for place in blank if not cells[place].strip()]
        if not blank:
            return chunk
    kept = sorted(set(range(len(chunk.numbers))).difference(blank))
    return Chunk(
        [chunk.numbers[place] for place in kept],
        [[cells[place] for place in kept] for cells in chunk.columns],
        chunk.odd_cells,
        len(blank),
    )


def _without_untouched(chunk: Chunk, columns: Columns) -> Chunk:
    """Empty the cells that still hold what the sheet was made from: nobody wants them set."""
    texts, was = list(chunk.columns), {}
    odd_cells, emptied = dict(chunk.odd_cells), 0
    for field, was_position in columns.was.items():
        position = columns.position[field]
        was[field] = chunk.columns[was_position]
        now = chunk.columns[position]
        texts[position] = [
            "" if is_same(text, old) else text for text, old in zip(now, was[field], strict=True)
        ]
        for number, text, old in zip(chunk.numbers, now, was[field], strict=True):
            if is_same(text, old):
                odd_cells.pop((number, position), None)
            elif not text:
                emptied += 1
    return Chunk(chunk.numbers, texts, odd_cells, chunk.blank_rows, was, emptied)


@contextmanager
def open_sheet(  # noqa: PLR0913  (what can be said of how a sheet is read)
    sheet: str | os.PathLike[str] | pd.DataFrame,
    *,
    mapping: dict[str, str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    sheet_name: str | None = None,
    header_row: int | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Iterator[Sheet]:
    """Open a sheet of any kind, find its header and bind its columns.

    Args:
        sheet: a path (.csv, .tsv, .txt, .xlsx), ``-`` for CSV on standard input, or a frame.
        mapping: field -> column name, where the names do not tell.
        delimiter: ``comma``, ``semicolon``, ``tab`` or one character; found when None.
        encoding: a Python codec name; found when None.
        sheet_name: the worksheet of a workbook; found when None.
        header_row: the 1-based row of the header; found when None.
        say: told beforehand when opening it will take long.

    Raises:
        SheetError: the sheet cannot be used as it is; nothing was sent.
        InputError: an option does not fit the sheet.
    """
    mapping = mapping or {}
    if isinstance(sheet, pd.DataFrame):
        if header_row is not None:
            raise InputError("--header-row: a data frame has its names. Leave it out.")
        yield Sheet(FrameSource(sheet), "data frame", None, mapping)
        return
    if os.fspath(sheet) == STDIN:
        if sheet_name is not None:
            raise InputError(f"--sheet {sheet_name}: standard input is no workbook. Leave it out.")
        with _kept_input() as copy:
            label = "standard input"
            source = DelimitedSource(copy, label, delimiter, encoding, header_row)
            yield Sheet(source, label, None, mapping)
        return
    path = Path(sheet)
    try:
        ending = _require_file(path)
        if ending in _TEXT_ENDINGS:
            if sheet_name is not None:
                raise InputError(f"--sheet {sheet_name}: {path} is not a workbook. Leave it out.")
            text = DelimitedSource(path, str(path), delimiter, encoding, header_row)
            table = Sheet(text, str(path), path, mapping)
        else:
            if delimiter is not None or encoding is not None:
                raise InputError(f"--delimiter, --encoding: {path} is a workbook. Leave them out.")
            if notice := large_workbook_notice(path):
                notify(f"{path}: {notice}")
            table = Sheet(WorkbookSource(path, sheet_name, header_row), str(path), path, mapping)
    except OSError as exc:
        raise _unreadable(str(path), exc) from exc
    yield table


@contextmanager
def _kept_input() -> Iterator[Path]:
    """Keep standard input in a file: it is read twice, and a pipe gives its bytes only once."""
    if sys.stdin is None:
        raise SheetError("standard input: it is closed. Name a file instead of -.")
    path = Path(tempfile.gettempdir(), f"bulk-reset-{secrets.token_hex(8)}.csv")
    try:  # before there is a file, so that no Ctrl-C leaves one behind
        try:
            path.touch(mode=0o600, exist_ok=False)
            with path.open("wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        except OSError as exc:
            raise SheetError(
                f"standard input: cannot be read, or not kept in {path.parent} ({exc.strerror}). "
                "Make room there, or name a file instead of -."
            ) from exc
        yield path
    finally:
        path.unlink(missing_ok=True)


_TEXT_ENDINGS: Final = (".csv", ".tsv", ".txt")
_WORKBOOK_ENDINGS: Final = (".xlsx", ".xlsm")


def _unreadable(label: str, error: OSError) -> SheetError:
    return SheetError(
        f"{label}: cannot be read ({error.strerror or error}). "
        "Look at its permissions, and whether another program has it open."
    )


def _require_file(path: Path) -> str:
    """Return the ending of a file that is there and may be read."""
    if not path.exists():
        raise SheetError(f"{path}: no such file. Check the name; this is the folder {Path.cwd()}.")
    if path.is_dir():
        raise SheetError(f"{path}: this is a folder. Name the file in it.")
    if not os.access(path, os.R_OK):
        raise SheetError(f"{path}: not allowed to read it. Change its permissions.")
    if not path.is_file():
        raise SheetError(f"{path}: not a regular file. To read a pipe, say - instead of a name.")
    if path.stat().st_size == 0:
        raise SheetError(f"{path}: the file is empty. It needs a header line and rows.")
    ending = path.suffix.lower()
    if ending not in _TEXT_ENDINGS + _WORKBOOK_ENDINGS:
        kind, _ = kind_of(path)
        raise SheetError(
            f"{path}: cannot read {ending or 'a file without an ending'}"
            f"{f' (this is {kind})' if kind and ending not in kind else ''}. "
            "Save it as .xlsx or .csv (also read: .tsv, .txt)."
        )
    return ending


class WorkbookSource:
    """One worksheet of an .xlsx file; calamine reads it."""

    def __init__(self, path: Path, sheet_name: str | None, header_row: int | None = None) -> None:
        self._found = open_workbook_sheet(path, sheet_name, header_row)
        self.worksheet = self._found.name
        self.header_row, self.header = self._found.header.row_number, self._found.header.names
        self.notice = f"read worksheet {self._found.name!r}{self._found.header.notice}"
        self.notice += self._found.notice

    def read(self, chunk_rows: int) -> Iterator[Chunk]:
        """Yield chunks; see ``Source``."""
        width = len(self.header)
        rows = enumerate(self._found.rows(), 1)
        for chunk in _chunked(itertools.islice(rows, self.header_row, None), chunk_rows):
            yield text_chunk([number for number, _ in chunk], [row for _, row in chunk], width)


class FrameSource:
    """A pandas DataFrame; its first row is row 2, as if written to a sheet."""

    header_row = 1
    notice = ""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self.header = tuple(str(name) for name in frame.columns)

    def read(self, chunk_rows: int) -> Iterator[Chunk]:
        """Yield chunks; see ``Source``."""
        for start in range(0, len(self._frame), chunk_rows):
            part = self._frame.iloc[start : start + chunk_rows]
            columns = [part.iloc[:, position].tolist() for position in range(part.shape[1])]
            numbers = list(range(start + 2, start + 2 + len(part)))
            yield _text_columns(numbers, columns)


def _chunked(
    rows: Iterable[tuple[int, Sequence[object]]], size: int
) -> Iterator[list[tuple[int, Sequence[object]]]]:
    iterator = iter(rows)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def text_chunk(numbers: list[int], rows: Sequence[Sequence[object]], width: int) -> Chunk:
    """Turn rows of typed cells into text; short rows are filled up, long ones cut to the width."""
    if any(len(row) != width for row in rows):
        rows = [(*row[:width], *[""] * (width - len(row))) for row in rows]
    columns = [list(cells) for cells in zip(*rows, strict=True)] or [[] for _ in range(width)]
    return _text_columns(numbers, columns)


def _text_columns(numbers: list[int], columns: Sequence[Sequence[object]]) -> Chunk:
    """Turn typed cells into text where the text is certain, and say where it is not."""
    odd_cells: dict[tuple[int, int], str] = {}
    texts = []
    for column, cells in enumerate(columns):
        if _is_all_text(cells):
            texts.append(list(cells))
            continue
        pairs = [_text_of(value) for value in cells]
        texts.append([text for text, _ in pairs])
        for number, (_, oddity) in zip(numbers, pairs, strict=True):
            if oddity:
                odd_cells[number, column] = oddity
    return Chunk(numbers, texts, odd_cells)


def _is_all_text(cells: Sequence[object]) -> TypeGuard[Sequence[str]]:
    if set(map(type, cells)) != {str}:
        return False
    try:
        "".join(cells).encode()  # type: ignore[arg-type]  # all are text, it was just seen
    except UnicodeEncodeError:
        return False
    return True


# Excel shows whole numbers of up to 11 digits as they are; longer ones as 1.2E+11.
_CERTAIN_BELOW: Final = 10**11


def _text_of_number(value: float) -> tuple[str, str]:
    if math.isnan(value):  # pandas' empty cell
        return "", ""
    if abs(value) < _CERTAIN_BELOW and value == int(value):
        return str(int(value)), ""
    return f"{value:.15g}".upper(), "the cell holds a number"


def _text_of(value: object) -> tuple[str, str]:
    """Return a cell's text, and what makes it uncertain (empty where it is certain)."""
    if isinstance(value, str):
        # Half of a surrogate pair can stand in a data frame, but not in a request.
        whole = value.encode(errors="replace").decode()
        return (value, "") if whole == value else (whole, "the text has half a character in it")
    if value is None or value is pd.NaT or value is pd.NA:
        return "", ""
    if isinstance(value, bool):
        return str(value).upper(), ""
    if isinstance(value, (int, float)):
        return _text_of_number(value)
    if isinstance(value, ErrorCell):
        return value.text, value.problem
    is_time = isinstance(value, (dt.date, dt.time, dt.timedelta))
    kind = "date or time" if is_time else type(value).__name__
    return str(value), f"the cell holds a {kind}"
