"""Delimited text files: encoding, delimiter and header found, rows read by pandas in chunks."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pandas as pd

from bulk_reset.columns import recognised
from bulk_reset.errors import InputError, SheetError
from bulk_reset.model import Chunk

_DELIMITERS: Final = {"comma": ",", "semicolon": ";", "tab": "\t"}
_BLOCK_BYTES: Final = 1 << 20
_START_BYTES: Final = 1 << 10
_SAMPLE_CHARACTERS: Final = 10_000
_LOOKED_AT_BYTES: Final = 1 << 24
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class DelimitedSource:
    """A delimited text file; pandas' C parser reads it in chunks."""

    def __init__(self, path: Path, label: str, delimiter: str | None, encoding: str | None) -> None:
        self._path, self._label = path, label
        self._encoding = _known_codec(encoding, path) if encoding else find_encoding(path, label)
        header_row, header, found = self._find_header(
            [_as_delimiter(delimiter)] if delimiter else list(_DELIMITERS.values())
        )
        self._delimiter = found
        self.header_row, self.header = header_row, header
        delimiter_name = next((n for n, d in _DELIMITERS.items() if d == found), repr(found))
        self.notice = f"read as {_spoken(self._encoding)}, {delimiter_name}-separated"

    def _find_header(self, delimiters: list[str]) -> tuple[int, tuple[str, ...], str]:
        """Return the first line that is not blank, split by the delimiter that fits it best."""
        candidates = []
        for delimiter in delimiters:
            try:
                with self._path.open(encoding=self._encoding, newline="") as lines:
                    for row_number, cells in enumerate(csv.reader(lines, delimiter=delimiter), 1):
                        if any(cell.strip() for cell in cells):
                            header = tuple(cell.strip() for cell in cells)
                            candidates.append((row_number, header, delimiter))
                            break
            except UnicodeError as exc:
                raise self._undecodable() from exc
            except csv.Error as exc:
                raise SheetError(
                    f"{self._label}: this is not a table of text ({exc}). Save it as CSV or .xlsx."
                ) from exc
        if not candidates:
            raise SheetError(f"{self._label}: only blank lines. It needs a header line and rows.")
        return max(candidates, key=lambda found: (recognised(found[1]), len(found[1])))

    def read(self, chunk_rows: int) -> Iterator[Chunk]:
        """Yield chunks; see ``load.Source``."""
        width = len(self.header)
        try:
            # Blank lines are kept while reading: dropped there, every row number after one
            # would point at the wrong line in Excel. One column more than the header has
            # catches what stands right of it. As objects, cells are Python's own strings,
            # whether pyarrow is installed or not.
            with pd.read_csv(
                self._path,
                sep=self._delimiter,
                encoding=self._encoding,
                header=None,
                names=range(width + 1),
                index_col=False,
                dtype=object,
                keep_default_na=False,
                na_filter=False,
                skip_blank_lines=False,
                chunksize=chunk_rows,
            ) as chunks:
                for frame in chunks:
                    first = int(frame.index[0]) + 1
                    columns = [frame[column].tolist() for column in frame.columns]
                    yield self._below_header(first, columns)
        except UnicodeError as exc:
            raise self._undecodable() from exc
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as exc:
            raise self._unparsable(str(exc)) from exc

    def _below_header(self, first: int, columns: list[list[str]]) -> Chunk:
        above = max(0, self.header_row + 1 - first)
        if above:
            columns = [cells[above:] for cells in columns]
        *columns, spilled = columns
        numbers = range(first + above, first + above + len(spilled))
        if any(spilled):
            for number, cell in zip(numbers, spilled, strict=True):
                if cell.strip():
                    width = len(self.header)
                    raise SheetError(
                        f"{self._label}: row {number} has {width + 1} cells, the header has "
                        f"{width}. Put the cell with the delimiter in it in double quotes."
                    )
        return Chunk(numbers, columns)

    def _unparsable(self, text: str) -> SheetError:
        counts = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", text)
        if counts:
            return SheetError(
                f"{self._label}: row {counts[2]} has {counts[3]} cells, the header has "
                f"{len(self.header)}. Put the cell with the delimiter in it in double quotes."
            )
        opened = re.search(r"EOF inside string starting at row (\d+)", text)
        if opened:
            return SheetError(
                f"{self._label}: a double quote in row {int(opened[1]) + 1} is never closed. "
                "Close it, or write it twice if it is part of the text."
            )
        return SheetError(f"{self._label}: not a table of text ({text.strip()}). Save it as CSV.")

    def _undecodable(self) -> SheetError:
        return SheetError(
            f"{self._label}: not {_spoken(self._encoding)}. "
            "Say what it is, for example --encoding shift_jis, or save it as UTF-8."
        )


def _as_delimiter(text: str) -> str:
    delimiter = _DELIMITERS.get(text.casefold(), "\t" if text == "\\t" else text)
    if len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii():
        raise InputError(
            f"--delimiter {text}: not a delimiter. "
            "Say comma, semicolon, tab or one ASCII character."
        )
    return delimiter


def _known_codec(name: str, path: Path) -> str:
    try:
        "".encode(name)  # fails for codecs that are not of text, such as base64
        codec = codecs.lookup(name).name
    except (LookupError, ValueError) as exc:
        raise InputError(
            f"--encoding {name}: no such encoding. Say for example utf-8, gb18030 or shift_jis."
        ) from exc
    # A BOM that is read as text would hide the quote that follows it.
    of_bom = _codec_of_bom(path)
    return of_bom if of_bom and codec.startswith(of_bom.removesuffix("-sig")) else codec


def _spoken(codec: str) -> str:
    return "UTF-8 with BOM" if codec == "utf-8-sig" else codec.upper()


def find_encoding(path: Path, label: str) -> str:
    """Return the codec in which the file decodes: by BOM, else UTF-8, else GB18030.

    Its first 16 MiB are looked at; if what follows does not fit, reading it says so.

    Raises:
        SheetError: none of them does; says where it stops being UTF-8.
    """
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
    if start.startswith(b"PK\x03\x04"):
        raise SheetError(f"{label}: this is a workbook. Give it the ending .xlsx.")
    codec = _codec_of_bom(path)
    if codec is not None:
        return codec
    if b"\0" in start:
        raise SheetError(
            f"{label}: not a table of text, it has zero bytes. "
            "If it is UTF-16, say --encoding utf-16-le or utf-16-be, else save it as CSV or .xlsx."
        )
    stops_at = _first_undecodable(path, "utf-8")
    if stops_at is None:
        return "utf-8"
    if _first_undecodable(path, "gb18030") is None and _looks_chinese(path):
        return "gb18030"
    raise SheetError(
        f"{label}: not UTF-8 (byte {stops_at} does not fit), and it does not look like Chinese in "
        "GB18030. Say what it is, for example --encoding cp1252, shift_jis or gb18030, "
        "or save it as UTF-8."
    )


def _looks_chinese(path: Path) -> bool:
    """Tell Chinese from other text that happens to decode as GB18030.

    Nearly every byte sequence does, and ``für`` would become two rare characters. Real text
    is made of the common ones, which the older GB2312 has.
    """
    common = rare = 0
    with path.open(encoding="gb18030", newline="") as file:
        while (block := file.read(_BLOCK_BYTES)) and common + rare < _SAMPLE_CHARACTERS:
            foreign = [character for character in block if not character.isascii()]
            kept = sum(len(c.encode("gb2312", "ignore")) > 0 for c in foreign)
            common, rare = common + kept, rare + len(foreign) - kept
    return common > rare


def _codec_of_bom(path: Path) -> str | None:
    with path.open("rb") as file:
        start = file.read(3)
    return next((codec for bom, codec in _BOMS if start.startswith(bom)), None)


def _first_undecodable(path: Path, codec: str) -> int | None:
    decoder = codecs.getincrementaldecoder(codec)()
    offset = 0
    with path.open("rb") as file:
        while offset < _LOOKED_AT_BYTES and (block := file.read(_BLOCK_BYTES)):
            try:
                decoder.decode(block, final=not file.peek(1))
            except UnicodeDecodeError as exc:
                return offset + exc.start
            offset += len(block)
    return None
