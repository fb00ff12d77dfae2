"""The sheet that a pull writes, to be edited and run.

Beside the fields it has columns to read (number, progress, channel, start, link), and for every
field what it held when it was pulled: hidden in a workbook, at the far right in a CSV. A run
takes cells that still say the same for cells that nobody edited.

Every text is guarded, as in all files with columns of ours, and read back as it was. Where it is
not quite (a workbook turns a lone CR into a line break), both cells of a field read alike.
"""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import xlsxwriter

from bulk_reset.columns import WAS_PREFIX
from bulk_reset.customs import COMMENT_FIELD, live_value, text_of
from bulk_reset.errors import InputError
from bulk_reset.inert import guarded
from bulk_reset.model import ID_FIELD, SETTABLE_FIELDS
from bulk_reset.template import HEADER_OF, STYLES, validation_of, width_of

_LINK: Final = "Link"
_MOST_ROWS: Final = (1 << 20) - 1
_LONGEST_CELL: Final = 32_767
_MOST_LINKS: Final = 65_000
"""Excel opens no worksheet with more than 65,530."""
_GREY: Final = {"font_color": "#6B7280", "bg_color": "#F1F3F5", "num_format": "@", "valign": "top"}
_EDITED: Final = {"bg_color": "#FFF3BF"}
_READ_ONLY_WIDTHS: Final = {"Number": 10, "Progress": 12, "Channel": 20, "Started": 20, _LINK: 34}


class _Writer(Protocol):
    def write(self, cells: Mapping[str, str], edited: Mapping[str, str]) -> None:
        """Write a row: column -> text; ``edited`` are those that a rule has changed."""
        ...

    def close(self) -> None:
        """See everything into the file."""
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
        self._path, self._zone = path, zone
        self._fresh = path.with_name(f"{path.name}.tmp")
        self._settable = [*SETTABLE_FIELDS, *custom]
        self._was = [name for name in self._settable if name != COMMENT_FIELD]
        self._started = f"Started ({zone_name})"
        kinds: dict[str, type[_Csv | _Xlsx]] = {".csv": _Csv, ".xlsx": _Xlsx}
        kind = kinds.get(path.suffix.lower())
        if kind is None:
            raise InputError(f"{path}: a sheet is .xlsx or .csv. Give it such a name.")
        if path.exists() and not overwrite:
            raise InputError(
                f"{path}: is there already, and may be edited. Choose another name, or say "
                "--force to replace it."
            )
        with self._errors():
            self._fresh.unlink(missing_ok=True)
            self._writer: _Writer = kind(self._fresh, self._header(), self._settable)

    def _header(self) -> dict[str, str]:
        """Return column -> its name in the sheet, in the sheet's order."""
        return {
            **{name: HEADER_OF.get(name, name) for name in (ID_FIELD, *self._settable)},
            **{name: name for name in ("Number", "Progress", "Channel", self._started, _LINK)},
            **{WAS_PREFIX + name: WAS_PREFIX + name for name in self._was},
        }

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise InputError(
                f"{self._path}: cannot be written ({exc.strerror or exc}). Choose another place."
            ) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            with self._errors():
                self._writer.close()
                if kind is None:
                    self._fresh.replace(self._path)
        finally:
            self._fresh.unlink(missing_ok=True)

    def write(self, incident: Mapping[str, Any], wanted: Mapping[str, str] | None = None) -> None:
        """Add an incident.

        Args:
            wanted: column -> text that a rule has edited already.

        Raises:
            InputError: more than the file can hold.
        """
        wanted = wanted or {}
        now = {name: text_of(name, live_value(incident, name)) for name in self._was}
        cells = {
            ID_FIELD: str(incident[ID_FIELD]),
            **{name: wanted.get(name, now.get(name, "")) for name in self._settable},
            "Number": _text(incident, "num"),
            "Progress": _text(incident, "progress"),
            "Channel": _text(incident, "channel_name"),
            self._started: self._moment(incident.get("start_time")),
            _LINK: _text(incident, "detail_url"),
            **{WAS_PREFIX + name: text for name, text in now.items()},
        }
        longest = max(cells, key=lambda name: len(cells[name]))
        is_csv = isinstance(self._writer, _Csv)
        if not is_csv and (self.rows >= _MOST_ROWS or len(cells[longest]) >= _LONGEST_CELL):
            what = (
                f"more than {_MOST_ROWS:,} incidents"
                if self.rows >= _MOST_ROWS
                else f"{longest} of {cells[ID_FIELD]} has {len(cells[longest]):,} characters"
            )
            raise InputError(f"{self._path}: {what}, which no workbook holds. Write a .csv.")
        with self._errors():
            self._writer.write({name: guarded(text) for name, text in cells.items()}, wanted)
        self.rows += 1

    def _moment(self, at: object) -> str:
        if not isinstance(at, (int, float)) or at <= 0:
            return ""
        return dt.datetime.fromtimestamp(at, self._zone).strftime("%Y-%m-%d %H:%M:%S")


def _text(incident: Mapping[str, Any], name: str) -> str:
    value = incident.get(name)
    return "" if value is None else str(value)


class _Csv:
    def __init__(self, path: Path, header: Mapping[str, str], settable: Sequence[str]) -> None:
        del settable  # a CSV has no looks
        self._file = path.open("x", encoding="utf-8-sig", newline="", errors="replace")
        self._writer = csv.writer(self._file)
        self._writer.writerow(header.values())

    def write(self, cells: Mapping[str, str], edited: Mapping[str, str]) -> None:
        """Write a row; see ``_Writer``."""
        del edited
        self._writer.writerow(cells.values())

    def close(self) -> None:
        """See everything onto the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


class _Xlsx:
    def __init__(self, path: Path, header: Mapping[str, str], settable: Sequence[str]) -> None:
        path.touch(exist_ok=False)  # said now, not after all is read
        self._book = xlsxwriter.Workbook(
            str(path),
            {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False},
        )
        self._book.set_properties({"title": "Incidents", "comments": "Made by bulk-reset"})
        self._formats = {
            name: self._book.add_format(style)
            for name, style in {
                **STYLES,
                "grey": _GREY,
                "grey header": {**STYLES["header"], "bg_color": "#8A94A0"},
                "link": {**_GREY, "font_color": "#2F5D8A", "underline": 1},
                "edited": {**STYLES["text"], **_EDITED},
            }.items()
        }
        self._sheet = self._book.add_worksheet("Incidents")
        self._settable, self._rows, self._columns = frozenset(settable), 0, len(header)
        # Rows go to the disk as they come, so what concerns columns is said first.
        for place, name in enumerate(header):
            self._set_column(place, name)
        self._sheet.freeze_panes(1, 2)
        self._sheet.set_row(0, 24)
        for place, (name, text) in enumerate(header.items()):
            style = "required" if name == ID_FIELD else "header"
            is_ours = name == ID_FIELD or name in self._settable
            self._sheet.write_string(
                0, place, text, self._formats[style if is_ours else "grey header"]
            )

    def _set_column(self, place: int, name: str) -> None:
        formats, sheet = self._formats, self._sheet
        if name.startswith(WAS_PREFIX):
            sheet.set_column(place, place, 20, formats["grey"], {"hidden": True})
        elif name == ID_FIELD or name in self._settable:
            style = formats["id" if name == ID_FIELD else "text"]
            sheet.set_column(place, place, width_of(name), style)
            if name in SETTABLE_FIELDS:
                sheet.data_validation(1, place, _MOST_ROWS, place, validation_of(name))
        else:
            sheet.set_column(
                place, place, _READ_ONLY_WIDTHS[name.partition(" ")[0]], formats["grey"]
            )

    def write(self, cells: Mapping[str, str], edited: Mapping[str, str]) -> None:
        """Write a row; see ``_Writer``."""
        self._rows += 1
        for place, (name, text) in enumerate(cells.items()):
            if name == ID_FIELD:
                style = self._formats["id"]
            elif name in self._settable:
                style = self._formats["edited" if name in edited else "text"]
            else:
                style = self._formats["grey"]
            is_link = name == _LINK and self._rows <= _MOST_LINKS
            if is_link and text.startswith(("https://", "http://")) and len(text) <= 2_000:  # noqa: PLR2004
                self._sheet.write_url(self._rows, place, text, self._formats["link"], text)
            elif text:
                self._sheet.write_string(self._rows, place, text, style)

    def close(self) -> None:
        """See everything into the file."""
        self._sheet.autofilter(0, 0, max(1, self._rows), self._columns - 1)
        try:
            self._book.close()
        except xlsxwriter.exceptions.FileCreateError as exc:
            raise OSError(str(exc)) from exc
