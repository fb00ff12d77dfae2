"""The rows of a page: packed texts that the page's script searches and draws.

A page must open at once and be searched while the user types, with a million rows too. Rows are
therefore texts, not elements: the script searches the texts, and compares words and creates
elements for the visible rows only. Blocks of rows are compressed with gzip to a tenth of their
size and encoded in base64, which no text can break out of; the script unpacks a block when it
needs it. What the filters need of a row is its kind, a number: its status, the group of its error
and its fields.

A row's text is its searchable cells, then the others. The separators are control characters; no
cell contains one, because ``shown`` keeps only tab and line feed.

State: the temporary file of a ``RowList``; rows go there, so memory grows by 4 bytes a row.
"""

from __future__ import annotations

import base64
import tempfile
import zlib
from array import array
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, Literal, NamedTuple, Self

import numpy as np

from bulk_reset.core.safe_text import shown
from bulk_reset.core.temporary_folder import temporary_folder
from bulk_reset.core.word_diff import ends_kept, words_changed

ROW_END: Final = "\x1e"
PART_END: Final = "\x1d"
CELL_END: Final = "\x1f"
BLOCK_ROWS: Final = 1024
FIRST_ROWS: Final = 200
"""Rows that the page shows at first, and the only ones it shows without scripts."""
_CONTEXT_CHARACTERS: Final = 80
_FEW_ROWS: Final = 64
"""Rows that are compressed together: one by one takes longer."""
_LEVEL: Final = 2
"""Of gzip: level 4 takes twice as long for pages that are a fifteenth smaller."""
_GZIP: Final = 31
"""zlib's word for a gzip header; its time is always 0, so the same rows give the same page."""

Kind = Literal["same", "old", "new", "cut"]
"""What happens to a part of a text; a ``cut`` part stays too, and is hidden at first."""


class FieldChange(NamedTuple):
    """One field of a row, before and after.

    Attributes:
        pulled: the value when the sheet was pulled, if the incident was modified since.
        note: why the old value cannot be restored; empty where it can.
    """

    field: str
    old: str
    new: str
    pulled: str | None = None
    note: str = ""

    @property
    def has_pulled(self) -> bool:
        """Whether there is a pulled value to show."""
        return self.pulled is not None and bool(self.pulled or self.old)

    @property
    def parts(self) -> list[tuple[Kind, str]]:
        """The change from ``old`` to ``new``, part by part."""
        return list(_parts(self.old, self.new))

    @property
    def pulled_parts(self) -> list[tuple[Kind, str]]:
        """The change from ``pulled`` to ``old``, part by part."""
        return list(_parts(self.pulled or "", self.old))


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


class RowKind(NamedTuple):
    """What the filters of a page need of a row; see ``ListRow``."""

    status: int
    group: str
    fields: tuple[str, ...]


def field_change(
    field: str, old: str, new: str, pulled: str | None = None, not_restorable: str = ""
) -> FieldChange:
    """Return a change without characters that act."""
    note = f"Cannot be restored: {shown(not_restorable)}" if not_restorable else ""
    before = None if pulled is None else shown(pulled)
    return FieldChange(shown(field), shown(old), shown(new), before, note)


def _parts(old: str, new: str) -> Iterator[tuple[Kind, str]]:
    """Yield each part of a change with its kind, in reading order; the script does the same."""
    parts = words_changed(old, new)
    for (kind, text), (head, tail) in zip(
        parts, ends_kept(parts, _CONTEXT_CHARACTERS), strict=True
    ):
        end = len(text) - tail
        if head >= end:  # nothing is cut, as in most texts
            yield kind, text
            continue
        cuts: tuple[tuple[Kind, str], ...] = (
            (kind, text[:head]),
            ("cut", text[head:end]),
            (kind, text[end:]),
        )
        yield from ((kind, piece) for kind, piece in cuts if piece)


def packed(row: ListRow) -> str:
    """Return a row as one text; its cells must come from ``shown``."""
    searched, others = [*row[:6]], [row.link, row.note]
    for field in row.fields:
        name, old, new, pulled, note = field
        searched += (name, old, new, pulled or "")
        others += ("1" if pulled is not None and field.has_pulled else "", note)
    return CELL_END.join(searched) + PART_END + CELL_END.join(others)


class RowList:
    """Writes the rows of a page; a context manager.

    Attributes:
        fields: names of the fields that rows change, in the order in which they appear.
        first_rows: the rows that the page shows at first.

    Raises:
        OSError: by every method, if there is no room for the temporary file.
    """

    def __init__(self) -> None:
        self.fields: dict[str, None] = {}
        self.first_rows: list[ListRow] = []
        self._numbers: dict[tuple[int, str, tuple[str, ...]], int] = {}
        self._kind_of = array("I")
        self._waiting: list[str] = []
        self._block, self._deflater = bytearray(), _new_deflater()
        self._block_bytes: list[int] = []

    def __enter__(self) -> Self:
        self._file = tempfile.TemporaryFile(dir=temporary_folder())
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._file.close()

    @property
    def count(self) -> int:
        """Rows added so far."""
        return len(self._kind_of)

    @property
    def kinds(self) -> list[RowKind]:
        """The kinds of the rows, in the order in which they appear."""
        return [RowKind(*kind) for kind in self._numbers]

    def add(self, row: ListRow) -> None:
        """Add the next row."""
        if len(self.first_rows) < FIRST_ROWS:
            self.first_rows.append(row)
        names = tuple([field.field for field in row.fields])
        number = self._numbers.get((row.status, row.group, names))
        if number is None:
            number = self._numbers[row.status, row.group, names] = len(self._numbers)
            self.fields.update(dict.fromkeys(names))
        self._kind_of.append(number)
        self._waiting.append(packed(row))
        if len(self._waiting) == _FEW_ROWS:
            self._compress()
        if self.count % BLOCK_ROWS == 0:
            self._end_block()

    def blocks(self) -> Iterator[str]:
        """Yield all rows, a block at a time, in base64; no row can be added afterwards."""
        if self.count % BLOCK_ROWS:
            self._end_block()
        self._file.seek(0)
        for length in self._block_bytes:
            yield self._file.read(length).decode()

    def kind_of(self) -> str:
        """Return the kind of each row, in base64: numbers of 4 bytes, the lowest first."""
        numbers = np.frombuffer(self._kind_of, np.uint32) if self._kind_of else np.empty(0)
        deflater = _new_deflater()
        content = deflater.compress(numbers.astype("<u4").tobytes()) + deflater.flush()
        return base64.b64encode(content).decode()

    def _compress(self) -> None:
        text = "".join([f"{row}{ROW_END}" for row in self._waiting])
        self._block += self._deflater.compress(text.encode())
        self._waiting.clear()

    def _end_block(self) -> None:
        self._compress()
        self._block += self._deflater.flush()
        content = base64.b64encode(self._block)
        self._file.write(content)
        self._block_bytes.append(len(content))
        self._block, self._deflater = bytearray(), _new_deflater()


def _new_deflater() -> zlib._Compress:
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
