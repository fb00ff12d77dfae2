"""Scans a worksheet's XML as bytes, some twenty times faster than a parser.

The scan finds the size of the worksheet, its hidden rows, and the cells of which calamine may not
report everything: formulas without a certain result, errors, special number formats. These cells
alone are parsed. If the markup is not as usual, the whole worksheet is. It works on whole blocks
with numpy, so its time is linear in the size, whatever the content.

Source of the markup (``<c r="B7" s="3" t="e"><f>A9</f><v>#REF!</v></c>``): ECMA-376 part 1,
18.3.1. Programs differ in the prefix and the order of attributes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from bulk_reset.sheets.workbooks.unusual_markup import has_bytes, is_unusual
from bulk_reset.sheets.workbooks.workbook_xml import CellParser, WorksheetFacts
from bulk_reset.sheets.workbooks.xml_parts import DamagedError, parse

_BLOCK_BYTES: Final = 1 << 20
"""Of larger blocks, the CPU's cache would hold less."""
_KEPT_BYTES: Final = 1 << 23
"""More than any array of a block."""
_LONG_ROW_BYTES: Final = 1 << 22
"""A longer part of a row, or what follows the rows, is cut at any tag."""
_ZEROS: Final = bytes(64)
"""They let places behind the end of a piece be read."""
_ROW_TAG_BYTES: Final = 1 << 9
_MAX_LETTERS, _MAX_DIGITS = 3, 7
"""Of a place: XFD1048576 is the last one. Others are read by the parser."""
_NOWHERE: Final = np.array([], np.intp)
Codes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.intp]
Words = npt.NDArray[np.integer[Any]]
_EACH: Final = 0x0101_0101_0101_0101
"""The number one in each of the eight characters of a word."""


def _table(characters: bytes) -> npt.NDArray[np.bool_]:
    return np.isin(np.arange(256), list(characters))


_IS_SPACE: Final = _table(b" \t\r\n")
_ENDS_NAME: Final = _table(b" \t\r\n/>")
_IS_QUOTE: Final = _table(b"\"'")
_HIDDEN_ROW: Final = re.compile(
    rb"""hidden=["'](?P<value>0|1|false|true)["'][^<>]{0,512}"""
    rb"(?:(?<=/)>|>\s{0,64}</row>|>\s{0,64}(?P<cell><c[ />]|\Z))"
)
"""The end of a row's tag, up to its first cell; a piece may end before that one."""


@dataclass(slots=True)
class WorksheetScan:
    """The result.

    Attributes:
        is_unusual: whether calamine may read it wrongly, see ``unusual_markup``.
        is_measured: whether the size in ``facts`` is right.
        is_complete: whether all else in ``facts`` is right; if not, the worksheet must be parsed.
        facts: what calamine does not report.
    """

    is_unusual: bool = False
    is_measured: bool = True
    is_complete: bool = True
    facts: WorksheetFacts = field(default_factory=WorksheetFacts)


def scan_worksheet(
    file: IO[bytes], odd_styles: frozenset[int], *, is_calculated: bool
) -> WorksheetScan:
    """Scan a worksheet.

    Args:
        odd_styles: the cell styles that do not show a whole number as its digits.
        is_calculated: whether a formula's result is certain, if there is one.
    """
    scan = WorksheetScan()
    is_odd = np.zeros(max(odd_styles, default=0) + 2, bool)
    is_odd[list(odd_styles)] = True
    parser = CellParser(odd_styles, is_calculated=is_calculated)
    # glibc keeps the memory of arrays that are smaller than one that was freed. Otherwise each of
    # those below is mapped and unmapped by the kernel, which takes a fifth of the time.
    np.empty(_KEPT_BYTES, np.uint8)
    for position, text in enumerate(_pieces(file, scan)):
        scan.is_unusual = scan.is_unusual or is_unusual(text, is_start=not position)
        codes = np.frombuffer(text + _ZEROS, np.uint8)
        # Where a name may begin, without its prefix: ``<c `` or ``<x:c>``.
        is_before_name = (codes[:-2] == ord("<")) | (codes[:-2] == ord(":"))
        cells = _elements(codes, is_before_name, "c")
        _measure(codes, cells, scan)
        if scan.is_complete and has_bytes(codes, b"idd"):
            _count_hidden_rows(text, scan)
        if scan.is_complete:
            styles, scan.is_complete = _odd_styles(text, codes, cells, is_odd)
            suspects = _cells_with(cells, np.concatenate((_errors(codes), styles)))
            uncertain = _cells_with(cells, _elements(codes, is_before_name, "f"))
            if is_calculated and len(uncertain):
                uncertain = np.setdiff1d(uncertain, _cells_with(cells, _results(codes)))
            _parse_cells(text, cells, np.union1d(suspects, uncertain), parser, scan)
    # An array formula fills further cells, which have no formula themselves.
    scan.is_complete &= is_calculated or not parser.has_arrays
    scan.facts.errors = parser.facts.errors
    return scan


def _pieces(file: IO[bytes], scan: WorksheetScan) -> Iterator[bytes]:
    """Yield a file in pieces that begin with a tag, if possible that of a row or a cell."""
    rest = b""
    for block in _blocks(file):
        text = rest + block
        cut = next((at for tag in (b"<row", b"<c ") if (at := text.rfind(tag)) > 0), 0)
        if not cut and len(text) > _LONG_ROW_BYTES:
            cut = text.rfind(b"<")
            # A tag or a text as long as this may be anything.
            scan.is_unusual = scan.is_unusual or cut <= 0
            cut = cut if cut > 0 else len(text)
        rest = text[cut:]
        if cut:
            yield text[:cut]
    if rest:
        yield rest


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file's blocks; the next one is unpacked in a thread while one is searched."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(file.read, _BLOCK_BYTES)
        while block := following.result():
            following = thread.submit(file.read, _BLOCK_BYTES)
            yield block


def _cells_with(cells: Places, at: Places) -> Places:
    """Return the numbers of the cells in which places are, if they are not before the first."""
    found = np.searchsorted(cells, at, "right") - 1
    return found[found >= 0]


def _parse_cells(
    text: bytes, cells: Places, numbers: Places, parser: CellParser, scan: WorksheetScan
) -> None:
    """Parse some cells of a piece; if one cannot be parsed alone, the scan is not complete."""
    if not len(numbers):
        return
    borders = [*(cells - 1).tolist(), len(text)]
    found = [_cell(text[borders[n] : borders[n + 1]]) for n in numbers.tolist()]
    try:
        content = b"".join(filter(None, found))
        parse(io.BytesIO(b"<row>%b</row>" % content), parser.start, parser.end, parser.text)
    except DamagedError:
        scan.is_complete = False
    scan.is_complete &= None not in found


def _cell(text: bytes) -> bytes | None:
    """Return a cell from a text that begins with it, up to the next one; None if it is unusual."""
    end = text.rfind(b"</c>")
    if end >= 0:
        return text[: end + 4] if text.startswith(b"<c ") else None
    tag = text[: text.find(b">") + 1]
    return tag if tag.startswith(b"<c ") and tag.endswith(b"/>") else None


def _results(codes: Codes) -> Places:
    """Return where the results of formulas begin: ``</f><v>5`` or ``<f t="shared" si="0"/><v>5``.

    Of prefixed names none is found; then, the worksheet is parsed.
    """
    at = np.flatnonzero(codes[4:-2] == ord("v")) + 4
    for offset, code in ((-2, ">"), (-1, "<"), (1, ">")):
        at = at[codes[at + offset] == ord(code)]
    is_closed = (codes[at - 4] == ord("/")) & (codes[at - 3] == ord("f"))
    is_closed |= codes[at - 3] == ord("/")
    is_blank = (codes[at + 2] == ord("<")) | _IS_SPACE[codes[at + 2]]
    results: Places = at[is_closed & ~is_blank] + 2
    return results


def _elements(codes: Codes, is_before_name: npt.NDArray[np.bool_], letter: str) -> Places:
    """Return where the name of an element of one letter is."""
    at = np.flatnonzero(is_before_name & (codes[1:-1] == ord(letter))) + 1
    return at[_ENDS_NAME[codes[at + 1]]]


def _measure(codes: Codes, cells: Places, scan: WorksheetScan) -> None:
    """Find the last row and column, if every cell begins with its place: ``<c r="B7"``."""
    words = _words(codes)
    starts, places, more = (words[cells + at].astype(np.uint64) for at in (1, 5, 13))
    columns, length = _numbers(places, "A", "Z")
    is_placed = (columns > 0) & (length <= 8 * _MAX_LETTERS)
    texts = (places << length) | (more >> (64 - length))
    rows, length = _numbers(texts, "0", "9")
    is_placed &= (rows > 0) & (length <= 8 * _MAX_DIGITS) & _IS_QUOTE[(texts << length) >> 56]
    is_placed &= (starts >> 40 == int.from_bytes(b" r=")) & _IS_QUOTE[(starts >> 32) & 0xFF]
    if not is_placed.all():
        scan.is_measured = False
        return
    scan.facts.rows = max(scan.facts.rows, int(rows.max(initial=0)))
    scan.facts.columns = max(scan.facts.columns, int(columns.max(initial=0)))


def _words(codes: Codes) -> Words:
    """Return the eight characters from each place on; the first one is the highest byte."""
    return np.ndarray(len(codes) - 7, np.dtype(">u8"), codes, strides=(1,))


def _numbers(texts: Words, first: str, last: str) -> tuple[Words, Words]:
    """Read the numbers at the start of texts; letters count from one.

    All eight characters of a text are read at once, each in its byte. A character, without the
    highest bit of its byte, sets this bit by adding 128 minus another one unless it is lower.

    Args:
        first, last: the lowest digit and the highest: 0 and 9, or A and Z.

    Returns: the numbers, of up to 7 digits or 3 letters; and the bits of the digits.
    """
    low = texts & (0x7F * _EACH)
    is_outside = ~(low + (0x80 - ord(first)) * _EACH) | (low + (0x7F - ord(last)) * _EACH) | texts
    is_outside &= 0x80 * _EACH
    for bits in (8, 16, 32):
        is_outside |= is_outside >> bits  # All that follows the first one outside.
    length = 64 - 8 * (((is_outside >> 7) * _EACH) >> 56)
    base, mask = (26, 0x1F) if first == "A" else (10, 0x0F)
    values = (texts >> (64 - length)) & (mask * _EACH)
    for bits in (8, 16, 32):
        # Neighbours become one number of twice the digits: 0-1-2-3 -> 01-23 -> 0123.
        mask = (2**64 - 1) // (2**bits + 1)
        values = ((values >> bits) & mask) * base + (values & mask)
        base *= base
    return values, length


def _errors(codes: Codes) -> Places:
    """Return where a cell may have the type of errors: ``t="e"``."""
    is_e = codes[1:] == ord("e")
    if not any((is_e & (codes[:-1] == quote)).any() for quote in b"\"'"):
        return _NOWHERE
    at = np.flatnonzero(is_e[:-1]) + 1
    errors: Places = at[_IS_QUOTE[codes[at - 1]] & (codes[at - 1] == codes[at + 1])]
    return errors


def _odd_styles(
    text: bytes, codes: Codes, cells: Places, is_odd: npt.NDArray[np.bool_]
) -> tuple[Places, bool]:
    """Return where odd styles of cells may be, and whether all are found."""
    if is_odd[0] or not is_odd.any():
        # Cells without a style have the first one.
        return _NOWHERE, not is_odd[0]
    # Few characters are as small as a space.
    at = np.flatnonzero((codes[:-2] <= ord(" ")) & (codes[1:-1] == ord("s"))) + 1
    at = at[_IS_SPACE[codes[at - 1]]]
    is_plain = (codes[at + 1] == ord("=")) & _IS_QUOTE[codes[at + 2]]
    spaced = at[_IS_SPACE[codes[at + 1]] | ((codes[at + 1] == ord("=")) & ~is_plain)]
    # In most texts, such a letter is a word of its own.
    of_cells = cells[_cells_with(cells, spaced)].tolist()
    inside = spaced[len(spaced) - len(of_cells) :].tolist()
    are_all = all(text.rfind(b">", *ends) >= 0 for ends in zip(of_cells, inside, strict=True))
    at = at[is_plain] + 3
    styles, _ = _numbers(_words(codes)[at].astype(np.uint64), "0", "9")
    return at[is_odd[np.minimum(styles, len(is_odd) - 1)]], are_all


def _count_hidden_rows(text: bytes, scan: WorksheetScan) -> None:
    """Count the hidden rows that have cells; columns and worksheets have this attribute, too."""
    at = text.find(b"hidden")
    while at >= 0:
        tag = text[max(0, at - _ROW_TAG_BYTES) : at].rpartition(b"<")[2]
        name = tag.split(maxsplit=1)[:1]
        # A tag that begins further away may be any.
        if not name or name[0].rpartition(b":")[2] == b"row" or len(tag) >= _ROW_TAG_BYTES:
            found = _HIDDEN_ROW.match(text, at) if name == [b"row"] and b">" not in tag else None
            if found is None or not tag[-1:].isspace():
                scan.is_complete = False
                return
            scan.facts.hidden_rows += (
                found["value"] in {b"1", b"true"} and found["cell"] is not None
            )
        at = text.find(b"hidden", at + 1)
