"""The rows of a page: packed texts that the page's script searches and draws.

A page of 100,000 rows must open at once and be searched while the user types. Rows are therefore
texts, not elements: the script searches the texts and creates elements for the visible rows only.
Blocks of rows are compressed with gzip to a tenth of their size and encoded in base64, which no
text can break out of.

A row's text is its searchable cells, then the others. The separators are control characters; no
cell contains one, because ``shown`` keeps only tab and line feed.

State: the temporary file of a ``RowList``; rows go there, so memory does not grow with them.

Units: lengths are UTF-16 code units, as JavaScript counts.
"""

from __future__ import annotations

import base64
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

from bulk_reset.core.safe_text import shown
from bulk_reset.core.temporary_folder import temporary_folder
from bulk_reset.core.word_diff import Op, ends_kept, words_changed

ROW_END: Final = "\x1e"
PART_END: Final = "\x1d"
CELL_END: Final = "\x1f"
BLOCK_ROWS: Final = 4096
FIRST_ROWS: Final = 200
"""Rows that the page shows at first, and the only ones it shows without scripts."""
_CONTEXT_CHARACTERS: Final = 80
_SIGN_OF: Final[dict[Op, str]] = {"same": "=", "old": "-", "new": "+"}
_CUT_SIGN: Final = "~"
_KIND_OF: Final[dict[str, Kind]] = {"=": "same", "-": "old", "+": "new", _CUT_SIGN: "cut"}
_SEARCHED_CELLS: Final = 4
_OTHER_CELLS: Final = 3
"""Of each field: cells that are searched, and cells that are not."""
_GZIP: Final = 31
"""zlib's word for a gzip header; its time is always 0, so the same rows give the same page."""

Kind = Literal["same", "old", "new", "cut"]
"""What happens to a part of a text; a ``cut`` part stays too, and is hidden at first."""


class FieldChange(NamedTuple):
    """One field of a row, before and after.

    Attributes:
        pulled: the value when the sheet was pulled, if the incident was modified since.
        ops: the parts of ``old`` and ``new`` in reading order, each a sign and a length: kept
            (``=9``, or ``~400`` where it is long), removed (``-3``), added (``+4``).
        pulled_ops: the same of ``pulled`` and ``old``; empty where there is no conflict.
        note: why the old value cannot be restored; empty where it can.
    """

    field: str
    old: str
    new: str
    pulled: str = ""
    ops: str = ""
    pulled_ops: str = ""
    note: str = ""

    @property
    def parts(self) -> list[tuple[Kind, str]]:
        """The change from ``old`` to ``new``, part by part."""
        return list(parts_of(self.old, self.new, self.ops))

    @property
    def pulled_parts(self) -> list[tuple[Kind, str]]:
        """The change from ``pulled`` to ``old``, part by part."""
        return list(parts_of(self.pulled, self.old, self.pulled_ops))


class ListRow(NamedTuple):
    """A row as a page lists it.

    Attributes:
        names: fields whose previous value is not known, separated by spaces.
        status: index in the page's list of statuses, below 10.
        group: index of the row's error in the page's table of errors; empty without one.
        note: how the row was sent, in words.
    """

    row_number: str
    incident_id: str
    error_code: str = ""
    error_message: str = ""
    request_id: str = ""
    names: str = ""
    fields: tuple[FieldChange, ...] = ()
    status: int = 0
    group: str = ""
    link: str = ""
    note: str = ""


def field_change(
    field: str, old: str, new: str, pulled: str | None = None, not_restorable: str = ""
) -> FieldChange:
    """Return a change with its differences, and without characters that act."""
    old, new, before = shown(old), shown(new), shown(pulled or "")
    note = f"Cannot be restored: {shown(not_restorable)}" if not_restorable else ""
    pulled_ops = _ops(before, old) if pulled is not None else ""
    return FieldChange(shown(field), old, new, before, _ops(old, new), pulled_ops, note)


@lru_cache(maxsize=1024)
def _ops(old: str, new: str) -> str:
    parts = words_changed(old, new)
    ops = ""
    for (op, text), (head, tail) in zip(parts, ends_kept(parts, _CONTEXT_CHARACTERS), strict=True):
        sign, end = _SIGN_OF[op], len(text) - tail
        if head >= end:  # nothing is cut, as in most texts
            ops += f"{sign}{_units(text)}"
            continue
        cuts = ((sign, text[:head]), (_CUT_SIGN, text[head:end]), (sign, text[end:]))
        ops += "".join(f"{kind}{_units(piece)}" for kind, piece in cuts if piece)
    return ops


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def parts_of(old: str, new: str, ops: str) -> Iterator[tuple[Kind, str]]:
    """Yield each part of a change with its kind, in reading order."""
    old_units, new_units = (text.encode("utf-16-le") for text in (old, new))
    old_at = new_at = 0
    for op in _each_op(ops):
        kind, length = _KIND_OF[op[0]], 2 * int(op[1:])
        units, at = (new_units, new_at) if kind == "new" else (old_units, old_at)
        old_at += length * (kind != "new")
        new_at += length * (kind != "old")
        yield kind, units[at : at + length].decode("utf-16-le")


def _each_op(ops: str) -> Iterator[str]:
    start = 0
    for place, char in enumerate(ops):
        if place and not char.isdigit():
            yield ops[start:place]
            start = place
    if ops:
        yield ops[start:]


def packed(row: ListRow) -> str:
    """Return a row as one text; its cells must come from ``shown``."""
    searched = [*row[:6], *(text for field in row.fields for text in field[:_SEARCHED_CELLS])]
    others = [f"{row.status}{row.group}", row.link, row.note]
    others += [text for field in row.fields for text in field[_SEARCHED_CELLS:]]
    return CELL_END.join(searched) + PART_END + CELL_END.join(others)


def unpacked(text: str) -> ListRow:
    """Return a row from its text, as the script of the page does."""
    searched, _, others = text.partition(PART_END)
    *cells, values = _split(searched, 6)
    mark, link, note, marks = _split(others, 3)
    fields = tuple(
        FieldChange(
            *values[_SEARCHED_CELLS * n : _SEARCHED_CELLS * (n + 1)],
            *marks[_OTHER_CELLS * n : _OTHER_CELLS * (n + 1)],
        )
        for n in range(len(values) // _SEARCHED_CELLS)
    )
    return ListRow._make([*cells, fields, int(mark[0]), mark[1:], link, note])


def _split(text: str, first: int) -> list[Any]:
    """Return the first cells, then a list of the rest."""
    cells = text.split(CELL_END)
    return [*cells[:first], cells[first:]]


class RowList:
    """Writes the rows of a page; a context manager.

    Attributes:
        count: rows added so far.
        fields: names of the fields that rows change, in the order in which they appear.

    Raises:
        OSError: by every method, if there is no room for the temporary file.
    """

    def __init__(self) -> None:
        self.count = 0
        self.fields: dict[str, None] = {}
        self._first: list[str] = []
        self._block_bytes: list[int] = []
        self._deflater = zlib.compressobj(6, zlib.DEFLATED, _GZIP)

    def __enter__(self) -> Self:
        self._file = tempfile.TemporaryFile(dir=temporary_folder())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._file.close()

    def add(self, row: ListRow) -> None:
        """Add the next row."""
        text = packed(row)
        if self.count < FIRST_ROWS:
            self._first.append(text)
        self.fields.update(dict.fromkeys(field.field for field in row.fields))
        place_in_block = self.count % BLOCK_ROWS
        if place_in_block == 0:
            self._end_block()
            self._block_bytes.append(0)
            self._deflater = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
        self._write(self._deflater.compress((ROW_END * (place_in_block > 0) + text).encode()))
        self.count += 1

    def first_rows(self) -> list[ListRow]:
        """Return the rows that the page shows at first."""
        return [unpacked(text) for text in self._first]

    def blocks(self) -> Iterator[str]:
        """Yield all rows, a block at a time, in base64; no row can be added afterwards."""
        self._end_block()
        self._file.seek(0)
        for length in self._block_bytes:
            yield base64.b64encode(self._file.read(length)).decode()

    def _end_block(self) -> None:
        if self._block_bytes:
            self._write(self._deflater.flush())

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._block_bytes[-1] += len(content)
