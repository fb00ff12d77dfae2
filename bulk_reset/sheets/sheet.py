"""Reads sheets as chunks of text rows, with the row numbers that Excel shows.

First in the flow. A sheet can be read several times: a run reads it once to check it and once
to send it. Cells are lists of text by column, because whole columns are checked, and lists of
text are fastest for that. Text is not guessed, cut or converted, except whole numbers and
TRUE/FALSE in workbook cells, whose text is certain.

Units: ``row_number`` is 1-based and counts the header and blank lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from bulk_reset.core.custom_fields import field_of
from bulk_reset.core.errors import InputError, SheetError
from bulk_reset.core.field_types import FieldTypes
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.core.option_names import option
from bulk_reset.sheets.chunk import Chunk
from bulk_reset.sheets.columns import Columns, bind, field_named
from bulk_reset.sheets.exact_table import ExactTable
from bulk_reset.sheets.frame_source import FrameSource
from bulk_reset.sheets.guards import Guards
from bulk_reset.sheets.parquet_source import ParquetSource
from bulk_reset.sheets.plan_source import PlanSource
from bulk_reset.sheets.profile import Profile
from bulk_reset.sheets.profile_rows import ProfileRows
from bulk_reset.sheets.pulled_values import (
    READ_ONLY_EDITED,
    IsRewritten,
    Memory,
    Remembered,
    memory_of,
    unchecked_notice,
    without_unedited,
)
from bulk_reset.sheets.text_files.delimited import changed_error
from bulk_reset.sheets.text_files.second_header import report_headers
from bulk_reset.sheets.typed_cells import types_of
from bulk_reset.sheets.user_rules import UserRules
from bulk_reset.sheets.workbook_source import WorkbookSource

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
        profile: the profile by which it is read; None without one.
    """

    def __init__(  # noqa: PLR0913  (what decides how it is read)
        self,
        source: Source,
        label: str,
        path: Path | None,
        mapping: dict[str, str],
        profile: Profile | None = None,
        *,
        rules: UserRules | None = None,
    ) -> None:
        self.source, self.label, self.path, self.profile = source, label, path, profile
        self.plan = source.plan if isinstance(source, PlanSource) else None
        is_exact = isinstance(source, ExactTable | PlanSource)
        self._guards = Guards(() if is_exact else source.header)
        header = source.header if is_exact else self._guards.header
        self._memory = None if self.plan is not None else _memory_of(source, header, label)
        self.memory: Remembered | None = (
            source.memory if isinstance(source, PlanSource) else self._memory
        )
        is_pulled = self.memory is not None
        self._profile_rows: ProfileRows | None = None
        if profile is None:
            columns = bind(header, mapping, label, is_pulled=is_pulled)
        else:
            self._profile_rows = ProfileRows(profile, header, mapping, label, is_pulled=is_pulled)
            columns = self._profile_rows.columns
            if isinstance(source, WorkbookSource | FrameSource | ParquetSource):
                source.formats = self._profile_rows.formats
        self.columns: Columns = replace(columns, is_exact=is_exact, rules=rules)
        notices = (
            *(source.notice, *self.columns.notices, unchecked_notice(self.memory)),
            *(rules.notices(columns.position) if rules is not None else ()),
        )
        self.notices = tuple(f"{label}: {notice}" for notice in notices if notice)
        if profile is not None and profile.path is not None:
            self.notices = (f"{label}: read by the profile {profile.path}", *self.notices)
        self.is_rewritten: IsRewritten | None = None
        has_all = set(READ_ONLY_EDITED) <= set(header)
        self._read_only = tuple(map(header.index, READ_ONLY_EDITED if has_all else ()))
        self.without_fields = 0
        self._is_restricted = False
        self._stamp = self._read_stamp()

    def set_types(self, types: FieldTypes) -> None:
        """Find the custom field of each column, by its name or display name.

        Raises:
            SheetError: there is no such field, it was deleted, or two may be meant.
        """
        self.columns = replace(self.columns, types=types_of(self.columns, types, self.label))

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
        if self._profile_rows is not None:
            self._profile_rows.start()
        if self.columns.rules is not None:
            self.columns.rules.start()
        try:
            for chunk in self.source.read(chunk_rows):
                self._require_unchanged()
                if not self.columns.is_exact:
                    self._guards.remove(chunk)
                report_headers(chunk, self.columns, self.label)
                filled = _without_blank_rows(chunk)
                if self._profile_rows is not None:
                    filled = self._profile_rows.apply(filled)
                if self._memory is not None:
                    filled = without_unedited(
                        filled,
                        self.columns.position,
                        self._memory,
                        self.is_rewritten,
                        self._read_only,
                    )
                if self._is_restricted:
                    filled = self._with_fields(filled)
                yield filled
        except OSError as exc:
            raise unreadable_error(self.label, exc) from exc
        except SheetError:
            # It may have been parsed while it was written.
            self._require_unchanged()
            raise

    def source_chunks(self, chunk_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
        """Read the rows as they are in the file, also blank and ignored ones; see ``chunks``."""
        self._require_unchanged()
        for chunk in self.source.read(chunk_rows):
            self._guards.remove(chunk)
            yield chunk

    def _with_fields(self, chunk: Chunk) -> Chunk:
        """Leave out the rows that set none of the selected fields."""
        places = [place for name, place in self.columns.position.items() if name != ID_FIELD]
        rows = zip(*(chunk.columns[place] for place in places), strict=True)
        kept = [place for place, cells in enumerate(rows) if any(cells)]
        self.without_fields += len(chunk.numbers) - len(kept)
        return chunk.rows_at(kept, self.columns.position)

    def profile_notices(self) -> list[str]:
        """Return sentences about what the profile changed, after the sheet was read."""
        return [] if self._profile_rows is None else list(self._profile_rows.notices())

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


def unreadable_error(label: str, error: OSError) -> SheetError:
    """Return the error about a file that the system does not read."""
    return SheetError(
        f"{label}: cannot be read ({error.strerror or error}). "
        "Check its permissions, and close it in other programs."
    )
