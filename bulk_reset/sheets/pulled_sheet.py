"""Writes the sheet of a pull, which the user edits and runs.

Besides the fields it has read-only columns (number, progress, channel, start, link), and the pulled
value of every field: in a hidden worksheet of a workbook, at the far right in a CSV (see
``pulled_values``). A run does not send cells that still have the pulled value.

In a CSV, every text is guarded against formulas (see ``guards``); the cells of a workbook are of
the type text, which no program runs. The few texts that change are the same in both places: halves
of characters, U+FFFE and U+FFFF become U+FFFD; a workbook changes ``_x005F_x000A_``, and control
characters between ``<r>`` and ``</r>``.

Source of what a workbook holds: Microsoft, "Excel specifications and limits".
"""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import io
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Protocol, Self

from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.atomic_file import AtomicFile
from bulk_reset.core.custom_fields import COMMENT_FIELD, header_of, is_custom, live_value, text_of
from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import FIELDS, ID_FIELD, SETTABLE_FIELDS
from bulk_reset.core.option_names import option
from bulk_reset.core.safe_text import guard_formula, is_link, without_invalid
from bulk_reset.sheets.columns import GUARDED_COLUMN
from bulk_reset.sheets.guards import guarded_row
from bulk_reset.sheets.pulled_values import (
    MEMORY_SHEET,
    READ_ONLY,
    READ_ONLY_EDITED,
    STARTED,
    MemoryRow,
    memory_header,
    memory_sheet_header,
)
from bulk_reset.sheets.template import (
    HEADER_HEIGHT,
    HEADER_OF,
    INCIDENTS_SHEET,
    STYLES,
    set_up_page,
    validation_of,
    width_of,
)
from bulk_reset.sheets.workbooks.streaming_workbook import StreamedBook, writing_errors

_LINK: Final = READ_ONLY[-1]
_MAX_ROWS: Final = (1 << 20) - 1
_LONGEST_CELL: Final = 32_767
_MAX_LINKS: Final = 65_530
"""Excel's limits: rows below the header, UTF-16 units in a cell, links in a worksheet."""
_ROW_HEIGHT: Final = 30
"""Points, for two lines. Fixed, because long texts would fill the window."""
_LINE: Final = {"bottom": 1, "bottom_color": "#DDE3E9"}
_TEXT: Final = {**STYLES["text"], **_LINE}
_GREY: Final = {**_TEXT, "text_wrap": False, "font_color": "#6B7280", "bg_color": "#F1F3F5"}
_STYLES: Final[dict[str, dict[str, object]]] = {
    **STYLES,
    "id": {**STYLES["id"], **_LINE},
    "text": _TEXT,
    "edited": {**_TEXT, "bg_color": "#FFF3BF"},
    "grey": _GREY,
    "grey header": {**STYLES["header"], "bg_color": "#8A94A0"},
    "link": {**_GREY, "font_color": "#2F5D8A", "underline": 1},
}
_READ_ONLY: Final = {
    "validate": "any",
    "input_title": "Read-only",
    "input_message": "Changes in this column are not sent.",
}
_READ_ONLY_WIDTHS: Final = {"Number": 10, "Progress": 12, "Channel": 20, "Started": 20, _LINK: 34}


class _Writer(Protocol):
    def write(self, cells: Mapping[str, str], edited: Mapping[str, str], memory: MemoryRow) -> None:
        """Write a row.

        Args:
            cells: column -> text.
            edited: columns that a rule has changed.
            memory: the incident's pulled values.
        """
        ...

    def finish(self) -> None:
        """Write everything to the file."""
        ...

    def close(self) -> None:
        """Close and delete temporary files, whether it was finished or not."""
        ...


class PulledSheet:
    """A sheet that is being written; it gets its final name when the block ends without an error.

    Args:
        path: ``.csv`` or ``.xlsx``.
        custom: columns beside ``FIELDS``: ``field:NAME``, ``field:NAME:json`` or ``comment``.
        zone: time zone of the times, named ``zone_name``.
        overwrite: replace an existing file.

    Attributes:
        rows: number of rows written so far.

    Raises:
        InputError: the file exists already, or it cannot be written.
    """

    _fresh: AtomicFile
    _writer: _Writer

    def __init__(
        self,
        path: Path,
        *,
        custom: Sequence[str] = (),
        zone: dt.tzinfo,
        zone_name: str,
        overwrite: bool = False,
    ) -> None:
        self.rows = 0
        self._path, self._zone, self._is_overwriting = path, zone, overwrite
        self._settable = [*SETTABLE_FIELDS, *custom]
        self._was = [name for name in self._settable if name not in (ACTION_FIELD, COMMENT_FIELD)]
        self._started = f"{STARTED}{zone_name})"
        kinds: dict[str, type[_Csv | _Xlsx]] = {".csv": _Csv, ".xlsx": _Xlsx}
        kind = kinds.get(path.suffix.lower())
        if kind is None:
            raise InputError(
                f"{path}: unknown type of sheet. Use a name that ends in .xlsx or .csv."
            )
        self._kind = kind
        self._refuse_existing()

    def _refuse_existing(self) -> None:
        # lexists: a broken link is not replaced either.
        if os.path.lexists(self._path) and not self._is_overwriting:
            raise InputError(
                f"{self._path}: already exists and may contain edits. Use another name, or "
                f"{option('force')} to replace it."
            )

    def _header(self) -> dict[str, str]:
        """Return column -> its name in the sheet, in the sheet's order."""
        return {
            **{
                name: HEADER_OF.get(name) or header_of(name) for name in (ID_FIELD, *self._settable)
            },
            **{name: name for name in (*READ_ONLY[:-1], self._started, _LINK)},
        }

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        return writing_errors(self._path)

    def __enter__(self) -> Self:
        with self._errors():
            self._fresh = AtomicFile(self._path, like=self._path)
            try:
                self._writer = self._kind(
                    self._fresh.file, self._header(), self._settable, self._was
                )
            except BaseException:
                self._fresh.discard()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                with self._errors():
                    self._writer.finish()
                    self._fresh.sync()  # may take long, so check again afterwards
                    self._refuse_existing()
                    self._fresh.keep()
        finally:
            self._writer.close()
            self._fresh.discard()

    def write(self, incident: Mapping[str, Any], wanted: Mapping[str, str] | None = None) -> None:
        """Add an incident.

        Args:
            wanted: column -> text that a rule has set.

        Raises:
            InputError: a workbook cannot hold the row.
        """
        wanted = wanted or {}
        values = {name: live_value(incident, name) for name in self._was}
        current = {name: text_of(name, value) for name, value in values.items()}
        cells = {
            ID_FIELD: str(incident[ID_FIELD]),
            **{name: wanted.get(name, current.get(name, "")) for name in self._settable},
            "Number": _text(incident, "num"),
            "Progress": _text(incident, "progress"),
            "Channel": _text(incident, "channel_name"),
            self._started: self._local_time(incident.get("start_time")),
            _LINK: _text(incident, "detail_url"),
        }
        texts = {name: without_invalid(text) for name, text in cells.items()}
        read_only = [cells[name] for name in READ_ONLY_EDITED]
        memory = MemoryRow.of(cells[ID_FIELD].lower(), current, _json_names(values), read_only)
        if isinstance(self._writer, _Xlsx):
            self._require_space(texts, memory.was)
        with self._errors():
            self._writer.write(texts, wanted, memory)
        self.rows += 1

    def _require_space(self, *rows: Mapping[str, str]) -> None:
        """Refuse what XlsxWriter would leave out or cut."""
        if self.rows >= _MAX_ROWS:
            raise InputError(
                f"{self._path}: more than {_MAX_ROWS:,} incidents, the limit of a workbook. "
                "Use a .csv file, or pull a shorter time range."
            )
        for name, text in itertools.chain.from_iterable(texts.items() for texts in rows):
            if _is_too_long(text):
                raise InputError(
                    f"{self._path}: {name} of {rows[0][ID_FIELD]} has {len(text):,} characters, "
                    "too many for a cell of a workbook. Use a .csv file."
                )

    def _local_time(self, at: object) -> str:
        if not isinstance(at, (int, float)) or at <= 0:
            return ""
        try:
            return dt.datetime.fromtimestamp(at, self._zone).strftime("%Y-%m-%d %H:%M:%S")
        except (OverflowError, OSError, ValueError):  # outside the years 1 to 9999
            return str(at)


def _text(incident: Mapping[str, Any], name: str) -> str:
    value = incident.get(name)
    return "" if value is None else str(value)


def _json_names(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text columns of custom fields whose value is not a text."""
    for name, value in values.items():
        if is_custom(name) and not name.endswith(":json") and not isinstance(value, str | None):
            yield name


def _is_too_long(text: str) -> bool:
    # A character has at most two UTF-16 units, and most texts are far shorter.
    units = len(text) * 2
    return units > _LONGEST_CELL and len(text.encode("utf-16-le")) > 2 * _LONGEST_CELL


class _Csv:
    def __init__(
        self,
        file: BinaryIO,
        header: Mapping[str, str],
        settable: Sequence[str],
        was: Sequence[str],
    ) -> None:
        del settable  # a CSV has no formats
        self._text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        self._writer = csv.writer(self._text)
        self._header = [*header.values()]
        own = [*memory_header(was), GUARDED_COLUMN]
        self._writer.writerow(map(guard_formula, [*self._header, *own]))

    def write(self, cells: Mapping[str, str], edited: Mapping[str, str], memory: MemoryRow) -> None:
        """Write a row; see ``_Writer``."""
        del edited
        *guarded, record = guarded_row(self._header, [*cells.values()])
        was = map(guard_formula, memory.was.values())
        self._writer.writerow([*guarded, *was, memory.check, record])

    def finish(self) -> None:
        """See everything into the file."""
        self._text.flush()

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._text.close()


class _Xlsx:
    def __init__(
        self,
        file: BinaryIO,
        header: Mapping[str, str],
        settable: Sequence[str],
        was: Sequence[str],
    ) -> None:
        self._file = file
        self._made = StreamedBook("Incidents", _STYLES)
        self._formats = self._made.formats
        self._settable, self._columns = frozenset(settable), len(header)
        self._rows = self._links = 0
        try:
            self._sheet = self._made.book.add_worksheet(INCIDENTS_SHEET)
            self._write_header(header)
            self._memory = self._memory_sheet(was)
        except BaseException:
            self.close()
            raise

    def _write_header(self, header: Mapping[str, str]) -> None:
        sheet = self._sheet
        sheet.set_default_row(_ROW_HEIGHT)
        sheet.set_row(0, HEADER_HEIGHT)
        sheet.freeze_panes(1, 2)
        # Ids and numbers are text intentionally; Excel would mark every cell.
        sheet.ignore_errors({"number_stored_as_text": "A1:XFD1048576"})
        set_up_page(sheet)
        for place, (name, text) in enumerate(header.items()):
            self._set_column(place, name)
            self._write_text(0, place, text, self._style_of_header(name))

    def _memory_sheet(self, was: Sequence[str]) -> Worksheet:
        """Add the worksheet with the pulled values, where no search and no sorting reaches."""
        sheet = self._made.book.add_worksheet(MEMORY_SHEET)
        sheet.very_hidden()
        sheet.protect()
        header = memory_sheet_header(was)
        # Text, so that a program that writes it again does not read ids as numbers.
        sheet.set_column(0, len(header) - 1, 20, self._formats["text"])
        self._write_row(sheet, 0, header)
        return sheet

    def _write_row(self, sheet: Worksheet, row: int, texts: Sequence[str]) -> None:
        for place, text in enumerate(texts):
            if text:
                self._made.write_text(sheet, row, place, text, self._formats["text"])

    def _style_of_header(self, name: str) -> Format:
        if name == ID_FIELD:
            return self._formats["required"]
        return self._formats["header" if name in self._settable else "grey header"]

    def _set_column(self, place: int, name: str) -> None:
        formats, sheet = self._formats, self._sheet
        if name == ID_FIELD or name in self._settable:
            style = formats["id" if name == ID_FIELD else "text"]
            sheet.set_column(place, place, width_of(name), style)
            if name in FIELDS:
                sheet.data_validation(1, place, _MAX_ROWS, place, validation_of(name))
            return
        sheet.data_validation(1, place, _MAX_ROWS, place, _READ_ONLY)
        # The filter's button needs space beside the name.
        width = max(_READ_ONLY_WIDTHS[name.partition(" ")[0]], len(name) + 6)
        sheet.set_column(place, place, width, formats["grey"])

    def write(self, cells: Mapping[str, str], edited: Mapping[str, str], memory: MemoryRow) -> None:
        """Write a row; see ``_Writer``."""
        self._rows += 1
        for place, (name, text) in enumerate(cells.items()):
            if name == _LINK and is_link(text) and self._links < _MAX_LINKS:
                self._links += 1
                self._sheet.write_url(self._rows, place, text, self._formats["link"])
            elif text:
                self._write_text(self._rows, place, text, self._style_of(name, edited))
        self._write_row(self._memory, self._rows, memory.cells())

    def _style_of(self, name: str, edited: Mapping[str, str]) -> Format:
        if name == ID_FIELD:
            return self._formats["id"]
        if name not in self._settable:
            return self._formats["grey"]
        return self._formats["edited" if name in edited else "text"]

    def _write_text(self, row: int, place: int, text: str, style: Format) -> None:
        self._made.write_text(self._sheet, row, place, text, style)

    def finish(self) -> None:
        """See everything into the file."""
        self._sheet.autofilter(0, 0, max(1, self._rows), self._columns - 1)
        self._file.write(self._made.packed())

    def close(self) -> None:
        """Delete temporary files."""
        self._made.discard()
