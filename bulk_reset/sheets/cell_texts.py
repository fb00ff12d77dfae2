"""Cells of a workbook or a data frame as texts; only texts that are certain are used.

Whole numbers and TRUE/FALSE have one text each. Dates, fractions and failed formulas do not, so
such cells are recorded as odd, unless the user gave the format of their text.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

import numpy as np

from bulk_reset.sheets.cell_formats import CellFormat
from bulk_reset.sheets.cell_rules import CONTROL
from bulk_reset.sheets.chunk import INCOMPLETE_CHARACTER, Chunk
from bulk_reset.sheets.workbooks.workbook_xml import ErrorCell

Formats = Mapping[int, CellFormat]
"""0-based column -> the format of its dates and numbers."""
_NO_FORMATS: Final[Formats] = {}
_FIRST_PRINTABLE: Final = 0x20
_ROWS_AT_ONCE: Final = 256
_ALLOWED_CONTROLS: Final = tuple(b"\t\n\r")


def text_chunk(
    numbers: Sequence[int],
    rows: Sequence[Sequence[object]],
    width: int,
    formats: Formats = _NO_FORMATS,
) -> Chunk:
    """Convert rows of typed cells to text; short rows are padded, long ones cut to the width."""
    return text_columns(numbers, cells_by_column(iter(rows), len(rows), width), formats)


def cells_by_column(rows: Iterator[Sequence[object]], most: int, width: int) -> list[list[object]]:
    """Return the cells of the next rows, at most so many, in as many columns as the width.

    Few rows are held at once: with its default thresholds, Python searches for garbage after
    every 700 new lists that were not freed, which takes a quarter of the time.
    """
    columns: list[list[object]] = [[] for _ in range(width)]
    for start in range(0, most, _ROWS_AT_ONCE):
        piece = list(itertools.islice(rows, min(_ROWS_AT_ONCE, most - start)))
        if set(map(len, piece)) - {width}:
            piece = [(*row[:width], *[""] * (width - len(row))) for row in piece]
        for column, cells in zip(columns, zip(*piece, strict=True), strict=bool(piece)):
            column.extend(cells)
    return columns


def text_columns(
    numbers: Sequence[int], columns: Sequence[Sequence[object]], formats: Formats = _NO_FORMATS
) -> Chunk:
    """Convert typed cells to text, and record the cells whose text is uncertain.

    Args:
        formats: of the columns whose dates and numbers have a text.
    """
    odd_cells: dict[tuple[int, int], str] = {}
    formatted: set[tuple[int, int]] = set()
    texts: list[list[str]] = []
    has_controls = False
    for column, cells in enumerate(columns):
        if (content := _encoded(cells)) is not None:
            texts.append(cast("list[str]", list(cells)))
            has_controls = has_controls or has_control(content)
            continue
        pairs = [_text_of(value) for value in cells]
        if column in formats:
            text_of, known = formats[column].text_of, list(zip(cells, pairs, strict=True))
            # An empty cell of a data frame may be of the type of a date.
            made = [text_of(value) if pair[0] else None for value, pair in known]
            given = zip(made, pairs, strict=True)
            pairs = [pair if text is None else (text, "") for text, pair in given]
            named = zip(numbers, made, strict=True)
            formatted |= {(number, column) for number, text in named if text is not None}
        texts.append([text for text, _ in pairs])
        has_controls = True
        for number, (_, oddity) in zip(numbers, pairs, strict=True):
            if oddity:
                odd_cells[number, column] = oddity
    return Chunk(
        numbers,
        texts,
        odd_cells,
        formatted=frozenset(formatted),
        may_have_controls=has_controls,
    )


def _encoded(cells: Sequence[object]) -> bytes | None:
    """Return cells in UTF-8; None if one is no text, or has half of a character."""
    try:
        return "".join(cast("Sequence[str]", cells)).encode()
    except (TypeError, UnicodeEncodeError):
        return None


def has_control(content: bytes) -> bool:
    """Return whether a text in UTF-8 contains a control character that no cell may have."""
    codes = np.frombuffer(content, np.uint8)
    if codes.size and codes.min() < _FIRST_PRINTABLE:
        low = codes[codes < _FIRST_PRINTABLE]
        if not np.isin(low, _ALLOWED_CONTROLS).all():
            return True
    # U+0080 to U+009F are C2 80 to C2 9F; other characters begin with C2 too.
    has_further = b"\xc2" in content and CONTROL.search(content.decode()) is not None
    return b"\x7f" in content or has_further


# Excel shows whole numbers of up to 11 digits completely, longer ones as 1.2E+11.
_CERTAIN_BELOW: Final = 10**11


def _text_of_number(value: float) -> tuple[str, str]:
    if math.isnan(value):  # pandas' empty cell
        return "", ""
    if abs(value) < _CERTAIN_BELOW and value == int(value):
        return str(int(value)), ""
    return f"{value:.15g}".upper(), "the cell contains a number, not text"


def _text_of(value: object) -> tuple[str, str]:
    """Return a cell's text, and why it is uncertain (empty if it is certain)."""
    if isinstance(value, str):
        # A data frame can contain half of a surrogate pair, a request cannot.
        whole = value.encode(errors="replace").decode()
        return (value, "") if whole == value else (whole, INCOMPLETE_CHARACTER)
    if value is None:
        return "", ""
    if isinstance(value, bool):
        return str(value).upper(), ""
    if isinstance(value, (int, float)):
        return _text_of_number(value)
    if isinstance(value, ErrorCell):
        return value.text, value.problem
    is_time = isinstance(value, (dt.date, dt.time, dt.timedelta))
    kind = "a date or time" if is_time else f"a value of type {type(value).__name__}"
    return str(value), f"the cell contains {kind}, not text"
