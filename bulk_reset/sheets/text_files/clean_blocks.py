"""Finds the clean part of delimited text, which pandas reads in a third of the time.

In a clean block, each double quote is in its place and each row has as many cells as the header,
so any parser reads the same. numpy finds that out for a whole block at once; ``record_reader``
reads from the first block on that is not clean.

State: the position in the open file.
"""

from __future__ import annotations

import codecs
import io
import os
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

_BLOCK_BYTES: Final = 1 << 20
_LONGEST_ROW: Final = 1 << 22
"""Bytes; a longer row is not searched for its end here."""
_QUOTE, _LINE_FEED, _RETURN = b'"\n\r'
_Places = npt.NDArray[np.intp]


class Utf8Stream(io.RawIOBase):
    """A text file, read as UTF-8 without its BOM.

    State: the bytes that were put back, which are read again.
    """

    def __init__(self, path: Path, encoding: str) -> None:
        self._file = path.open("rb")
        self._kept = io.BytesIO()
        self._text: io.TextIOWrapper | None = None
        if not encoding.startswith("utf-8"):
            self._text = io.TextIOWrapper(self._file, encoding=encoding, newline="")
        elif self._file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            self._file.seek(0)

    def close(self) -> None:
        """Close the underlying file too."""
        self._file.close()
        super().close()

    def readable(self) -> bool:
        """Return True."""
        return True

    def take(self, size: int) -> bytes:
        """Return up to this many bytes; none at the end."""
        block = self._kept.read(size)
        if block:
            return block
        if self._text is None:
            return self._file.read(size)
        block = self._text.read(size).encode("utf-8", "surrogatepass")
        self._kept = io.BytesIO(block[size:])
        return block[:size]

    def put_back(self, block: bytes) -> None:
        """Let this block be read again."""
        self._kept = io.BytesIO(block + self._kept.read())

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the buffer of io
        """Read into a buffer, for ``TextIOWrapper``."""
        block = self.take(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def skip(self, size: int) -> None:
        """Read this many bytes and ignore them."""
        while size and (block := self.take(size)):
            size -= len(block)

    def stamp(self) -> tuple[int, int]:
        """Return the size and time of the file, which change when the file is written."""
        stat = os.fstat(self._file.fileno())
        return stat.st_size, stat.st_mtime_ns


class CleanBlock(NamedTuple):
    """Rows of a clean block.

    Attributes:
        columns: the cells of each column.
        has_breaks: whether a cell contains a line break.
    """

    columns: list[list[str]]
    has_breaks: bool


class CleanReader:
    """The rows at the start of a stream that are clean.

    Args:
        width: number of cells of each row.
    """

    def __init__(self, stream: Utf8Stream, delimiter: str, width: int) -> None:
        self._stream, self._delimiter, self._width = stream, delimiter, width
        self._ends_cell = np.zeros(256, np.bool_)
        self._ends_cell[[_QUOTE, _LINE_FEED, _RETURN, ord(delimiter)]] = True

    def next(self) -> CleanBlock | None:
        """Return the next block; None if the rest of the stream is not clean or empty."""
        content = self._stream.take(_BLOCK_BYTES)
        end, is_clean, has_breaks = self._inspect(content)
        while not end and len(content) <= _LONGEST_ROW:
            more = self._stream.take(max(_BLOCK_BYTES, len(content)))
            content += more
            end, is_clean, has_breaks = self._inspect(content, is_last=not more)
            if not more:
                break
        if not (is_clean and end):
            self._stream.put_back(content)
            return None
        self._stream.put_back(content[end:])
        return CleanBlock(self._parse(content[:end]), has_breaks)

    def _inspect(self, content: bytes, *, is_last: bool = False) -> tuple[int, bool, bool]:
        """Return the end of the last row, whether rows are clean, and contain line breaks."""
        codes = np.frombuffer(content, np.uint8)
        quotes = np.flatnonzero(codes == _QUOTE)
        breaks = np.flatnonzero(codes == _LINE_FEED)
        ends = _outside(breaks, quotes)
        if is_last and not content.endswith(b"\n"):
            ends = np.append(ends, len(content))
        if not ends.size:
            return 0, True, False
        end = min(int(ends[-1]) + 1, len(content))
        quotes = quotes[: np.searchsorted(quotes, end)]
        is_clean = self._are_in_place(codes[:end], quotes) and self._have_width(codes, quotes, ends)
        is_clean = is_clean and not _has_other_breaks(codes[:end])
        has_boms = content.startswith(codecs.BOM_UTF8) or b"\n" + codecs.BOM_UTF8 in content
        return end, is_clean and not has_boms, bool(np.searchsorted(breaks, end) > len(ends))

    def _are_in_place(self, codes: npt.NDArray[np.uint8], quotes: _Places) -> bool:
        """Return whether each quote opens a cell, closes one, or is written twice."""
        if quotes.size % 2:
            return False
        opening, closing = quotes[::2], quotes[1::2]
        # A block begins and ends with a row.
        before = self._ends_cell[codes[opening[opening > 0] - 1]]
        after = self._ends_cell[codes[closing[closing < len(codes) - 1] + 1]]
        return bool(before.all() and after.all())

    def _have_width(self, codes: npt.NDArray[np.uint8], quotes: _Places, ends: _Places) -> bool:
        """Return whether each row is blank or has the width."""
        delimiters = _outside(np.flatnonzero(codes == ord(self._delimiter)), quotes)
        counts = np.diff(np.searchsorted(delimiters, ends), prepend=0)
        is_other = counts != self._width - 1
        if not is_other.any():
            return True
        if is_other.all():
            return False
        starts = np.concatenate(([0], ends[:-1] + 1))[is_other]
        lengths = ends[is_other] - starts
        is_blank = (lengths == 0) | ((lengths == 1) & (codes[starts] == _RETURN))
        return bool(is_blank.all())

    def _parse(self, block: bytes) -> list[list[str]]:
        # Blank lines are kept, because without them the row numbers would not match Excel. With
        # dtype=object, cells are Python strings, whether pyarrow is installed or not.
        frame = pd.read_csv(
            io.BytesIO(block),
            sep=self._delimiter,
            header=None,
            names=range(self._width),
            index_col=False,
            dtype=object,
            keep_default_na=False,
            na_filter=False,
            skip_blank_lines=False,
        )
        return [frame[column].tolist() for column in frame.columns]


def _outside(places: _Places, quotes: _Places) -> _Places:
    """Return the places that are not inside of double quotes."""
    return places[np.searchsorted(quotes, places) % 2 == 0] if quotes.size else places


def _has_other_breaks(codes: npt.NDArray[np.uint8]) -> bool:
    """Return whether a carriage return is without a line feed; it ends a row, or is in a cell."""
    returns = np.flatnonzero(codes == _RETURN)
    if not returns.size:
        return False
    if returns[-1] == len(codes) - 1:
        return True
    return bool((codes[returns + 1] != _LINE_FEED).any())
