"""The sheet that a pull writes, to be edited and run.

Beside the fields it has columns to read (number, progress, channel, start, link), and for every
field what it held when it was pulled: hidden in a workbook, at the far right in a CSV. A run
takes cells that still say the same for cells that nobody edited.

Every text is guarded, as in all files with columns of ours, and read back as it was. Where it is
not quite, both cells of a field read alike: halves of characters, U+FFFE and U+FFFF become
U+FFFD; ``_x005F_x000A_``, and controls between ``<r>`` and ``</r>``, are spoilt in a workbook.

Source of what a workbook holds: Microsoft, "Excel specifications and limits".
"""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Protocol, Self

from xlsxwriter.format import Format

from bulk_reset.core.atomic_file import AtomicFile
from bulk_reset.core.custom_fields import COMMENT_FIELD, header_of, live_value, text_of
from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import FIELDS, ID_FIELD, SETTABLE_FIELDS
from bulk_reset.core.safe_text import guard_formula, is_link
from bulk_reset.sheets.columns import WAS_PREFIX
from bulk_reset.sheets.streaming_workbook import StreamedBook, writing_errors
from bulk_reset.sheets.template import (
    HEADER_HEIGHT,
    HEADER_OF,
    INCIDENTS_SHEET,
    STYLES,
    set_up_page,
    validation_of,
    width_of,
)

_LINK: Final = "Link"
_MOST_ROWS: Final = (1 << 20) - 1
_LONGEST_CELL: Final = 32_767
_MOST_LINKS: Final = 65_530
"""What Excel holds: rows below the header, UTF-16 units of a cell, links of a worksheet."""
_NO_TEXT: Final = re.compile("[\ud800-\udfff\ufffe\uffff]")
"""Halves of characters, and what no XML may hold: JSON can carry them."""
_ROW_HEIGHT: Final = 30
"""Points, for two lines: not every program works it out, and long texts would fill the window."""
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
    "input_title": "For reading only",
    "input_message": "What is typed here is not sent.",
}
_READ_ONLY_WIDTHS: Final = {"Number": 10, "Progress": 12, "Channel": 20, "Started": 20, _LINK: 34}


class _Writer(Protocol):
    def write(self, cells: Mapping[str, str], edited: Mapping[str, str], link: str) -> None:
        """Write a row.

        Args:
            cells: column -> guarded text.
            edited: columns that a rule has changed.
            link: the address behind the cell of that name, not guarded.
        """
        ...

    def finish(self) -> None:
        """See everything into the file."""
        ...

    def end(self) -> None:
        """Leave nothing behind, whether it was finished or not."""
        ...


class PulledSheet:
    """A sheet that is being written; it stands under its name when the block has ended well.

    Args:
        path: ``.csv`` or ``.xlsx``.
        custom: columns beside ``FIELDS``: ``field:NAME``, ``field:NAME:json`` or ``comment``.
        zone: of the times, named ``zone_name``.
        overwrite: replace a file that is there.

    Attributes:
        rows: written so far.

    Raises:
        InputError: a file is there already, or it cannot be written.
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
        self._was = [name for name in self._settable if name != COMMENT_FIELD]
        self._started = f"Started ({zone_name})"
        kinds: dict[str, type[_Csv | _Xlsx]] = {".csv": _Csv, ".xlsx": _Xlsx}
        kind = kinds.get(path.suffix.lower())
        if kind is None:
            raise InputError(f"{path}: a sheet is .xlsx or .csv. Give it such a name.")
        self._kind = kind
        self._refuse_existing()

    def _refuse_existing(self) -> None:
        # A link that leads nowhere is somebody's too.
        if os.path.lexists(self._path) and not self._is_overwriting:
            raise InputError(
                f"{self._path}: is there already, and may be edited. Choose another name, or say "
                "--force to replace it."
            )

    def _header(self) -> dict[str, str]:
        """Return column -> its name in the sheet, in the sheet's order."""
        return {
            **{
                name: HEADER_OF.get(name) or header_of(name) for name in (ID_FIELD, *self._settable)
            },
            **{name: name for name in ("Number", "Progress", "Channel", self._started, _LINK)},
            **{WAS_PREFIX + name: WAS_PREFIX + header_of(name) for name in self._was},
        }

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        return writing_errors(self._path)

    def __enter__(self) -> Self:
        with self._errors():
            self._fresh = AtomicFile(self._path, like=self._path)
            try:
                self._writer = self._kind(self._fresh.file, self._header(), self._settable)
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
                    self._fresh.sync()  # which may take long, so the last look comes after it
                    self._refuse_existing()
                    self._fresh.keep()
        finally:
            self._writer.end()
            self._fresh.discard()

    def write(self, incident: Mapping[str, Any], wanted: Mapping[str, str] | None = None) -> None:
        """Add an incident.

        Args:
            wanted: column -> text that a rule has edited already.

        Raises:
            InputError: more than the file can hold.
        """
        wanted = wanted or {}
        now = {name: text_of(name, live_value(incident, name)) for name in self._was}
        link = _text(incident, "detail_url")
        cells = {
            ID_FIELD: str(incident[ID_FIELD]),
            **{name: wanted.get(name, now.get(name, "")) for name in self._settable},
            "Number": _text(incident, "num"),
            "Progress": _text(incident, "progress"),
            "Channel": _text(incident, "channel_name"),
            self._started: self._moment(incident.get("start_time")),
            _LINK: link,
            **{WAS_PREFIX + name: text for name, text in now.items()},
        }
        texts = {name: guard_formula(_whole(text)) for name, text in cells.items()}
        if isinstance(self._writer, _Xlsx):
            self._refuse_too_much(cells, texts)
        with self._errors():
            self._writer.write(texts, wanted, link)
        self.rows += 1

    def _refuse_too_much(self, cells: Mapping[str, str], texts: Mapping[str, str]) -> None:
        """Refuse what XlsxWriter would leave out or cut."""
        too_long = next((name for name, text in texts.items() if _is_too_long(text)), None)
        if self.rows >= _MOST_ROWS:
            what = f"more than {_MOST_ROWS:,} incidents"
            fix = "Write a .csv, or pull a shorter time."
        elif too_long is not None:
            length = len(cells[too_long])
            what = f"{too_long} of {cells[ID_FIELD]} has {length:,} characters"
            fix = "Write a .csv."
        else:
            return
        raise InputError(f"{self._path}: {what}, which no workbook holds. {fix}")

    def _moment(self, at: object) -> str:
        if not isinstance(at, (int, float)) or at <= 0:
            return ""
        try:
            return dt.datetime.fromtimestamp(at, self._zone).strftime("%Y-%m-%d %H:%M:%S")
        except (OverflowError, OSError, ValueError):  # no year of ours
            return str(at)


def _text(incident: Mapping[str, Any], name: str) -> str:
    value = incident.get(name)
    return "" if value is None else str(value)


def _whole(text: str) -> str:
    """Return the text without what no file can hold."""
    return text if text.isascii() else _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text)


def _is_too_long(text: str) -> bool:
    # A character is at most two units of UTF-16, and most texts are far shorter.
    units = len(text) * 2
    return units > _LONGEST_CELL and len(text.encode("utf-16-le")) > 2 * _LONGEST_CELL


class _Csv:
    def __init__(self, file: BinaryIO, header: Mapping[str, str], settable: Sequence[str]) -> None:
        del settable  # a CSV has no looks
        self._text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        self._writer = csv.writer(self._text)
        self._writer.writerow(map(guard_formula, header.values()))

    def write(self, cells: Mapping[str, str], edited: Mapping[str, str], link: str) -> None:
        """Write a row; see ``_Writer``."""
        del edited, link
        self._writer.writerow(cells.values())

    def finish(self) -> None:
        """See everything into the file."""
        self._text.flush()

    def end(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._text.close()


class _Xlsx:
    def __init__(self, file: BinaryIO, header: Mapping[str, str], settable: Sequence[str]) -> None:
        self._file = file
        self._made = StreamedBook("Incidents", _STYLES)
        self._formats = self._made.formats
        self._settable, self._columns = frozenset(settable), len(header)
        self._rows = self._links = 0
        try:
            self._sheet = self._made.book.add_worksheet(INCIDENTS_SHEET)
            self._begin(header)
        except BaseException:
            self.end()
            raise

    def _begin(self, header: Mapping[str, str]) -> None:
        sheet = self._sheet
        sheet.set_default_row(_ROW_HEIGHT)
        sheet.set_row(0, HEADER_HEIGHT)
        sheet.freeze_panes(1, 2)
        # Ids and numbers are text on purpose.
        sheet.ignore_errors({"number_stored_as_text": "A1:XFD1048576"})
        set_up_page(sheet)
        for place, (name, text) in enumerate(header.items()):
            self._set_column(place, name)
            self._write_text(0, place, guard_formula(text), self._style_of_header(name))

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
                sheet.data_validation(1, place, _MOST_ROWS, place, validation_of(name))
            return
        sheet.data_validation(1, place, _MOST_ROWS, place, _READ_ONLY)
        if name.startswith(WAS_PREFIX):
            sheet.set_column(place, place, 20, formats["grey"], {"hidden": True})
        else:
            # Beside the name there is the filter's button.
            width = max(_READ_ONLY_WIDTHS[name.partition(" ")[0]], len(name) + 6)
            sheet.set_column(place, place, width, formats["grey"])

    def write(self, cells: Mapping[str, str], edited: Mapping[str, str], link: str) -> None:
        """Write a row; see ``_Writer``."""
        self._rows += 1
        for place, (name, text) in enumerate(cells.items()):
            if name == _LINK and is_link(link) and self._links < _MOST_LINKS:
                self._links += 1
                self._sheet.write_url(self._rows, place, link, self._formats["link"], text)
            elif text:
                self._write_text(self._rows, place, text, self._style_of(name, edited))

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
        # All columns, hidden ones too: sorting must keep what a row was made from beside it.
        self._sheet.autofilter(0, 0, max(1, self._rows), self._columns - 1)
        self._file.write(self._made.packed())

    def end(self) -> None:
        """Leave no temporary file."""
        self._made.discard()
