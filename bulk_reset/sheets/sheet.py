"""Reads sheets as chunks of text rows, with the row numbers that Excel shows.

First in the flow. A sheet can be read several times: a run reads it once to check it and once
to send it. Cells are lists of text by column, because whole columns are checked, and lists of
text are fastest for that. Text is not guessed, cut or converted, except whole numbers and
TRUE/FALSE in workbook cells, whose text is certain.

Units: ``row_number`` is 1-based and counts the header and blank lines.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

import pandas as pd

from bulk_reset.core.custom_fields import field_of
from bulk_reset.core.errors import InputError, SheetError
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.core.option_names import option, option_name
from bulk_reset.core.saved_plan import SavedPlan, is_saved_plan
from bulk_reset.core.temporary_folder import temporary_folder
from bulk_reset.sheets.chunk import Chunk
from bulk_reset.sheets.columns import Columns, bind, field_named
from bulk_reset.sheets.exact_table import ExactTable
from bulk_reset.sheets.file_types import TEXT_EXTENSIONS, kind_of
from bulk_reset.sheets.frame_source import FrameSource
from bulk_reset.sheets.guards import Guards
from bulk_reset.sheets.plan_source import PlanSource
from bulk_reset.sheets.pulled_values import (
    READ_ONLY_EDITED,
    IsRewritten,
    Memory,
    memory_of,
    unchecked_notice,
    without_unedited,
)
from bulk_reset.sheets.text_files.delimited import DelimitedSource, changed_error
from bulk_reset.sheets.text_files.second_header import report_headers
from bulk_reset.sheets.workbook_source import WorkbookSource
from bulk_reset.sheets.workbooks.workbook import large_workbook_notice

CHUNK_ROWS: Final = 10_000
STDIN: Final = "-"


class Source(Protocol):
    """A reader of the cells of one type of sheet."""

    header_row: int
    header: tuple[str, ...]
    notice: str

    def read(self, chunk_rows: int) -> Iterator[Chunk]:
        """Yield the rows below the header in file order, including blank rows."""
        ...


class Sheet:
    """A table of incidents in a file, on standard input, or in a data frame.

    Attributes:
        label: the name used in messages.
        path: the file; None for standard input and data frames.
        columns: the columns of the fields.
        memory: the pulled values; None for a sheet that was not pulled.
        plan: the saved plan that the rows are from; None for other sheets.
        is_rewritten: set it to send cells that were set back to their pulled value after a run.
        without_fields: rows that were left out while reading, because they set none of the fields
            that were selected by ``restrict``.
        notices: sentences for the user about how the sheet was read.
    """

    def __init__(
        self, source: Source, label: str, path: Path | None, mapping: dict[str, str]
    ) -> None:
        self.source, self.label, self.path = source, label, path
        self.plan = source.plan if isinstance(source, PlanSource) else None
        is_exact = isinstance(source, ExactTable | PlanSource)
        self._guards = Guards(() if is_exact else source.header)
        header = source.header if is_exact else self._guards.header
        self.memory = _memory_of(source, header, label)
        columns = bind(header, mapping, label, is_pulled=self.memory is not None)
        self.columns: Columns = replace(columns, is_exact=is_exact)
        notices = (source.notice, *self.columns.notices, unchecked_notice(self.memory))
        self.notices = tuple(f"{label}: {notice}" for notice in notices if notice)
        self.is_rewritten: IsRewritten | None = None
        has_all = set(READ_ONLY_EDITED) <= set(header)
        self._read_only = tuple(map(header.index, READ_ONLY_EDITED if has_all else ()))
        self.without_fields = 0
        self._is_restricted = False
        self._stamp = self._read_stamp()

    def restrict(self, fields: Iterable[str]) -> None:
        """Use only the columns of these fields.

        Raises:
            InputError: the sheet has no column for one of them.
        """
        position, wanted = self.columns.position, {ID_FIELD}
        for name in fields:
            field = field_named(name) or name
            found = {one for one in position if field_of(one) == field_of(field)} - {ID_FIELD}
            if not found:
                known = ", ".join(field_of(one) for one in position if one != ID_FIELD)
                raise InputError(
                    f"{option('only_fields', name)}: no column for it in {self.label}. Use one of "
                    f"{known}."
                )
            wanted |= found
        kept = {name: place for name, place in position.items() if name in wanted}
        self.columns = replace(self.columns, position=kept)
        self._is_restricted = self.plan is not None or self.memory is None

    def chunks(self, chunk_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
        """Read the rows below the header.

        Yields: chunks of 0 to ``chunk_rows`` rows, in the sheet's order.
        Raises: SheetChangedError: the file has changed since it was opened; no row of its new
            content was yielded. SheetError: it cannot be decoded or parsed.
        """
        self._require_unchanged()
        self.without_fields = 0
        try:
            for chunk in self.source.read(chunk_rows):
                self._require_unchanged()
                if not self.columns.is_exact:
                    self._guards.remove(chunk)
                report_headers(chunk, self.columns, self.label)
                filled = _without_blank_rows(chunk)
                if self.memory is not None and self.plan is None:
                    filled = without_unedited(
                        filled,
                        self.columns.position,
                        self.memory,
                        self.is_rewritten,
                        self._read_only,
                    )
                if self._is_restricted:
                    filled = self._with_fields(filled)
                yield filled
        except OSError as exc:
            raise _unreadable(self.label, exc) from exc
        except SheetError:
            # It may have been parsed while it was written.
            self._require_unchanged()
            raise

    def _with_fields(self, chunk: Chunk) -> Chunk:
        """Leave out the rows that set none of the selected fields."""
        places = [place for name, place in self.columns.position.items() if name != ID_FIELD]
        rows = zip(*(chunk.columns[place] for place in places), strict=True)
        kept = [place for place, cells in enumerate(rows) if any(cells)]
        self.without_fields += len(chunk.numbers) - len(kept)
        return chunk.rows_at(kept, self.columns.position)

    def others(self) -> str:
        """Return the rows of a saved plan that are not updated, after it was read; or nothing."""
        return self.source.left_out() if isinstance(self.source, PlanSource) else ""

    def _require_unchanged(self) -> None:
        if self._read_stamp() != self._stamp:
            raise changed_error(self.label)

    def _read_stamp(self) -> tuple[int, ...] | None:
        if self.path is None or isinstance(self.source, ExactTable):
            return None
        try:
            stat = self.path.stat()
        except OSError:  # a deleted file is a change too
            return ()
        # st_ctime_ns detects a replaced file, and a modification time that was set back.
        return (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _memory_of(source: Source, header: tuple[str, ...], label: str) -> Memory | None:
    if isinstance(source, PlanSource):
        return source.memory
    hidden_rows = source.memory_rows() if isinstance(source, WorkbookSource) else None
    return memory_of(header, hidden_rows, label)


def _without_blank_rows(chunk: Chunk) -> Chunk:
    """Remove the rows in which every cell is blank; stops early if no row can be blank."""
    blank: Sequence[int] = range(len(chunk.numbers))
    if chunk.row_faults:
        blank = [place for place in blank if chunk.numbers[place] not in chunk.row_faults]
    for cells in chunk.columns:
        if len(blank) == len(cells) and "" not in cells and not any(map(str.isspace, cells)):
            return chunk
        blank = [place for place in blank if not cells[place].strip()]
        if not blank:
            return chunk
    kept = sorted(set(range(len(chunk.numbers))).difference(blank))
    return replace(
        chunk,
        numbers=[chunk.numbers[place] for place in kept],
        columns=[[cells[place] for place in kept] for cells in chunk.columns],
        blank_rows=len(blank),
    )


@contextmanager
def open_sheet(  # noqa: PLR0913  (the reading options)
    sheet: str | os.PathLike[str] | pd.DataFrame | ExactTable,
    *,
    mapping: dict[str, str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    sheet_name: str | None = None,
    header_row: int | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Iterator[Sheet]:
    """Open a sheet of any type, find its header and match its columns to fields.

    Args:
        sheet: a path (.csv, .tsv, .txt, .xlsx), ``-`` for CSV on standard input, a frame, or
            a table in memory.
        mapping: field -> column name, for columns that are not matched by name.
        delimiter: ``comma``, ``semicolon``, ``tab``, ``pipe`` or one character; auto-detected
            if None.
        encoding: a Python codec name; auto-detected if None.
        sheet_name: the worksheet of a workbook; auto-detected if None.
        header_row: the 1-based row of the header; auto-detected if None.
        notify: called with a sentence before an operation that takes long.

    Raises:
        SheetError: the sheet cannot be used; nothing was sent.
        InputError: an option does not fit the sheet.
    """
    mapping = mapping or {}
    if isinstance(sheet, pd.DataFrame):
        if header_row is not None:
            raise InputError(
                f"{option_name('header_row')}: a data frame has column names already. "
                "Remove this option."
            )
        yield Sheet(FrameSource(sheet), "data frame", None, mapping)
        return
    if isinstance(sheet, ExactTable):
        yield Sheet(sheet, sheet.label, Path(sheet.label), {})
        return
    if os.fspath(sheet) == STDIN:
        label = "standard input"
        _refuse_sheet_name(sheet_name, label)
        with _copied_input() as copy:
            text = DelimitedSource(copy, label, delimiter, encoding, header_row)
            table = Sheet(text, label, None, mapping)
            text.id_column = table.columns.position[ID_FIELD]
            yield table
        return
    path = Path(sheet)
    try:
        if is_saved_plan(path):
            options = (mapping, delimiter, encoding, sheet_name, header_row)
            table = _plan_as_sheet(path, *options)
        else:
            source = open_source(path, delimiter, encoding, sheet_name, header_row, notify)
            table = Sheet(source, str(path), path, mapping)
            if isinstance(source, DelimitedSource):
                source.id_column = table.columns.position[ID_FIELD]
    except OSError as exc:
        raise _unreadable(str(path), exc) from exc
    yield table


def open_source(  # noqa: PLR0913, PLR0917  (the reading options)
    path: Path,
    delimiter: str | None,
    encoding: str | None,
    sheet_name: str | None,
    header_row: int | None,
    notify: Callable[[str], None] = lambda _: None,
) -> DelimitedSource | WorkbookSource:
    """Open a file as a table of cells and find its header; columns are not matched yet.

    Raises:
        SheetError: it cannot be used. InputError: an option does not fit it.
        OSError: it cannot be read.
    """
    if _require_file(path) in TEXT_EXTENSIONS:
        _refuse_sheet_name(sheet_name, str(path))
        return DelimitedSource(path, str(path), delimiter, encoding, header_row)
    if delimiter is not None or encoding is not None:
        raise InputError(
            f"{option_name('delimiter')}, {option_name('encoding')}: {path} is a workbook. "
            "Remove these options."
        )
    if notice := large_workbook_notice(path):
        notify(f"{path}: {notice}")
    return WorkbookSource(path, sheet_name, header_row)


def _plan_as_sheet(path: Path, mapping: dict[str, str], *reading: object) -> Sheet:
    """Open a saved plan, whose columns were matched when it was made.

    Raises:
        SheetError: it was altered or is incomplete.
        InputError: an option says how a sheet is read.
    """
    names = ("delimiter", "encoding", "sheet_name", "header_row")
    given = [name for name, value in zip(names, reading, strict=True) if value is not None]
    if mapping or given:
        name = option_name("mapping" if mapping else given[0])
        raise InputError(f"{name}: {path} is a saved plan, not a sheet. Remove this option.")
    return Sheet(PlanSource(SavedPlan.open(path)), str(path), path, {})


def _refuse_sheet_name(sheet_name: str | None, label: str) -> None:
    if sheet_name is not None:
        raise InputError(
            f"{option('sheet_name', sheet_name)}: {label} is not a workbook. Remove this option."
        )


@contextmanager
def _copied_input() -> Iterator[Path]:
    """Copy standard input to a file, because it is read twice and a pipe can be read once."""
    if sys.stdin is None:
        raise SheetError("standard input: closed. Use a file name instead of -.")
    path = temporary_folder() / f"bulk-reset-{secrets.token_hex(8)}.csv"
    try:  # starts before the file exists, so that Ctrl-C never leaves it behind
        try:
            path.touch(mode=0o600, exist_ok=False)
            with path.open("wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        except OSError as exc:
            raise SheetError(
                f"standard input: cannot be copied to {path.parent} ({exc.strerror}). "
                "Free disk space there, or use a file name instead of -."
            ) from exc
        yield path
    finally:
        path.unlink(missing_ok=True)


_WORKBOOK_EXTENSIONS: Final = (".xlsx", ".xlsm")


def _unreadable(label: str, error: OSError) -> SheetError:
    return SheetError(
        f"{label}: cannot be read ({error.strerror or error}). "
        "Check its permissions, and close it in other programs."
    )


def _require_file(path: Path) -> str:
    """Return the extension of a file that exists and can be read."""
    if not path.exists():
        raise SheetError(
            f"{path}: file not found. Check the name; the current folder is {Path.cwd()}."
        )
    if path.is_dir():
        raise SheetError(f"{path}: is a folder. Use the name of a file.")
    if not os.access(path, os.R_OK):
        raise SheetError(f"{path}: permission denied. Change the file's permissions.")
    if not path.is_file():
        raise SheetError(f"{path}: not a regular file. To read a pipe, use - as the file name.")
    if path.stat().st_size == 0:
        raise SheetError(f"{path}: the file is empty. Add a header line and rows.")
    extension = path.suffix.lower()
    if extension not in TEXT_EXTENSIONS + _WORKBOOK_EXTENSIONS:
        kind, _ = kind_of(path)
        named = f"{extension} files are" if extension else "a file name without an extension is"
        is_news = kind and extension not in kind
        raise SheetError(
            f"{path}: {named} not supported{f' (the file is {kind})' if is_news else ''}. "
            "Save it as .xlsx or .csv (.tsv and .txt are also supported)."
        )
    return extension
