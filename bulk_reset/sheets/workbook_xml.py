"""Reads a workbook's XML for facts that calamine does not report, and refuses harmful files.

calamine returns an empty cell if a formula's result is an error or was never calculated, and a
plain number if Excel shows ``500%``; it does not report hidden rows. It also allocates a full
grid up to the last cell, and unpacks any archive. So an archive is scanned before it is read,
as text and in blocks, and parsed only if the scan found something.

Source of the markup (``<c r="B7" s="3" t="e"><f>A9</f><v>#REF!</v></c>``): ECMA-376 part 1,
18.3.1 (cells) and 18.8 (styles). Programs differ in the prefix and the order of attributes.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final
from xml.etree import ElementTree as ET

import numpy as np

from bulk_reset.core.errors import SheetError

_ANY: Final = "{*}"
"""Any namespace: strict workbooks use another one than usual workbooks."""
_NO_RESULT: Final = re.compile(
    rb"""\bt\s*=\s*["']e["']"""
    rb"""|(</P f>|<P f\b[^<>]*/>)\s*(<P v[^<>]*/>|<P v[^<>]*></P v>)?\s*</P c>""".replace(
        b"P ", rb"(?:\w+:)?"
    )
)
"""An error, or a formula without a value; a worksheet without both is not parsed here."""
_LONGEST_TAG: Final = 1 << 10
_HIDDEN_ROW: Final = re.compile(
    rb"""<(?:\w+:)?row\b[^<>]*\bhidden\s*=\s*["'](?:1|true)["'][^<>]*(?<!/)>"""
)
_PLACE: Final = re.compile(rb"""\br=["']([A-Z]{0,9})([0-9]{1,15})["']""")
_IS_QUOTE: Final = np.isin(np.arange(256), list(b"\"'"))
_NARROW: Final = 26
_LONGEST_NEAR: Final = 10
"""Length of ``="A999999"``: a cell of one letter and six digits is never far away."""
_ROW: Final = re.compile(rb"""row\b[^<>]*\br\s*=\s*["']([0-9]{1,7})["']""")
_PLAIN_FORMATS: Final = ("0", "1", "49")
"""Ids of the formats General, ``0`` and ``@``, which show a whole number as its digits."""

_HARMLESS_BYTES: Final = 1 << 28
_MAX_BYTES: Final = 1 << 32
_MAX_RATIO: Final = 250
"""Compression of a worksheet: usually 10, at most 210 (the same long text in every cell); of a
ZIP bomb: 1,000."""
_MAX_CELLS: Final = 1 << 27
"""Cells of the grid up to the last cell; calamine needs 32 bytes for each, even if empty."""


@dataclass(frozen=True, slots=True)
class ErrorCell:
    """A cell whose text is uncertain for a reason that calamine does not report.

    Attributes:
        text: ``#REF!``, ``#N/A`` …, the formula that was never calculated, or the number.
        is_number: whether this applies only if calamine reads the cell as a number, not a date.
    """

    text: str
    problem: str
    is_number: bool = False


@dataclass(slots=True)
class MarkupScan:
    """The result of scanning a worksheet's XML text."""

    has_suspects: bool = False
    hidden_rows: int = 0
    rows: int = 0
    """The last row; only as exact as needed."""
    columns: int = 0
    """The last column, at least 26; 0 if no cell can be far away."""


def is_bomb(unpacked_bytes: int, packed_bytes: int) -> bool:
    """Return whether a member's size or compression is that of a ZIP bomb."""
    return unpacked_bytes > _MAX_BYTES or (
        unpacked_bytes > _HARMLESS_BYTES and unpacked_bytes > _MAX_RATIO * packed_bytes
    )


def refuse_bombs(archive: zipfile.ZipFile, label: str) -> None:
    """Refuse an archive that would fill the memory.

    The sizes in its directory are reliable: readers stop at the given size.

    Raises:
        SheetError: before anything is unpacked.
    """
    parts = [part for part in archive.infolist() if part.filename.endswith((".xml", ".rels"))]
    total = sum(part.file_size for part in parts)
    if total > _MAX_BYTES or any(is_bomb(part.file_size, part.compress_size) for part in parts):
        packed = sum(part.compress_size for part in parts)
        raise SheetError(
            f"{label}: {packed / 1e6:,.1f} MB expand to {total / 1e6:,.0f} MB, which is too much "
            "for a workbook. Save it as CSV."
        )


class Worksheet:
    """The markup of one worksheet in an open archive."""

    def __init__(self, archive: zipfile.ZipFile, name: str, label: str) -> None:
        self._archive, self._label = archive, label
        part = _part_of(archive, name)
        if part is None:
            raise SheetError(
                f"{label}: worksheet {name!r} is missing in the file. Save the workbook again."
            )
        self._part = part
        self._odd_styles = _odd_styles(archive)
        self.scan = self._scan()
        cells = self.scan.rows * self.scan.columns
        if cells > _MAX_CELLS:
            raise SheetError(
                f"{label}: worksheet {name!r} has cells up to row {self.scan.rows:,} and "
                f"column {self.scan.columns:,}. Delete the empty rows and columns, or save it as "
                "CSV."
            )

    def error_cells(self) -> Iterator[tuple[int, int, ErrorCell]]:
        """Yield (row_number, 0-based column of the worksheet, cell) of every uncertain cell."""
        if self.scan.has_suspects:
            with self._archive.open(self._part) as file:
                yield from _parsed_errors(file, self._odd_styles)

    def _scan(self) -> MarkupScan:
        """Search the worksheet's text, which is about ten times faster than parsing it."""
        scan = MarkupScan()
        styles = b"|".join(str(style).encode() for style in self._odd_styles)
        odd_style = re.compile(rb"""\bs\s*=\s*["'](?:""" + styles + rb""")["']""")
        rest = b""
        with self._archive.open(self._part) as file:
            while block := file.read(1 << 20):
                text = rest + block
                hints = _Hints(text)
                scan.has_suspects = scan.has_suspects or bool(
                    (hints.has_no_result() and _NO_RESULT.search(text))
                    or (styles and odd_style.search(text))
                )
                if b"hidden" in text:
                    ends = (found.end() for found in _HIDDEN_ROW.finditer(text))
                    scan.hidden_rows += sum(end > len(rest) for end in ends)
                row = text.rfind(b"row ")
                if row >= 0 and (found := _ROW.match(text, row)):
                    scan.rows = max(scan.rows, int(found[1]))
                if hints.has_far():
                    _measure(text, scan)
                rest = block[-_LONGEST_TAG:]
        return scan


class _Hints:
    """Fast tests on bytes for what a text may contain; they take a fiftieth of a search."""

    def __init__(self, text: bytes) -> None:
        self._codes = np.frombuffer(text, np.uint8)

    def has_no_result(self) -> bool:
        """Return whether the text may contain ``"e"`` or the tag of a formula."""
        before, at, after = self._codes[:-2], self._codes[1:-1], self._codes[2:]
        formulas = before[at == ord("f")]
        quotes = before[(at == ord("e")) & (before == after)]
        return bool(np.isin(formulas, list(b"<:")).any() or np.isin(quotes, list(b"\"'")).any())

    def has_far(self) -> bool:
        """Return whether the text may contain a far-away cell: ``r="AA1`` or ``r="A1000000``."""
        codes = self._codes[:-_LONGEST_NEAR]
        at = np.flatnonzero(codes == ord("="))
        at = at[self._codes[at - 1] == ord("r")]
        at = at[_IS_QUOTE[self._codes[at + 1]]]
        second = self._codes[at + 3]
        if ((second >= ord("A")) & (second <= ord("Z"))).any():
            return True
        is_near = np.zeros(len(at), bool)
        for offset in range(3, _LONGEST_NEAR):
            is_near |= _IS_QUOTE[self._codes[at + offset]]
        return not is_near.all()


def _measure(text: bytes, scan: MarkupScan) -> None:
    for letters, digits in _PLACE.findall(text):
        scan.columns = max(scan.columns, _NARROW, _column_of(letters.decode()) + 1)
        scan.rows = max(scan.rows, int(digits))


def _parsed_errors(
    file: IO[bytes], odd_styles: frozenset[int]
) -> Iterator[tuple[int, int, ErrorCell]]:
    row_number, column = 0, -1
    for event, element in ET.iterparse(file, events=("start", "end")):  # noqa: S314
        tag = element.tag.rpartition("}")[2]
        if tag == "row" and event == "start":
            # A row or a cell without a position follows the one before.
            row_number, column = int(element.get("r", row_number + 1)), -1
        elif tag == "c" and event == "end":
            place = element.get("r")
            column = column + 1 if place is None else _column_of(place)
            error = _error_of(element, odd_styles)
            if error is not None:
                yield row_number, column, error
        elif tag == "row":
            element.clear()  # keeps the memory small for large worksheets


def _error_of(cell: ET.Element, odd_styles: frozenset[int]) -> ErrorCell | None:
    value, formula = (cell.findtext(f"{_ANY}{name}") for name in ("v", "f"))
    kind = cell.get("t", "n")
    if kind == "e":
        code = value or "#"
        return ErrorCell(code, f"the formula failed with {code}")
    # An empty text is a valid result of a formula.
    if formula is not None and not value and kind != "str":
        return ErrorCell(f"={formula}", "the formula was never calculated")
    is_odd = kind == "n" and value and int(cell.get("s", "0")) in odd_styles
    if is_odd and float(value or 0).is_integer():
        problem = "the cell contains a number with a special format, not text"
        return ErrorCell(value or "", problem, is_number=True)
    return None


def _odd_styles(archive: zipfile.ZipFile) -> frozenset[int]:
    """Return the cell styles that do not show a whole number as its digits."""
    try:
        styles = ET.fromstring(archive.read("xl/styles.xml"))  # noqa: S314
    except KeyError:
        return frozenset()
    formats = [style.get("numFmtId", "0") for style in styles.iterfind(f"{_ANY}cellXfs/{_ANY}xf")]
    plain = {
        own.get("numFmtId")
        for own in styles.iterfind(f"{_ANY}numFmts/{_ANY}numFmt")
        if own.get("formatCode", "").casefold() in {"", "general", "0", "@"}
    }
    return frozenset(
        style
        for style, number_format in enumerate(formats)
        if number_format not in plain.union(_PLAIN_FORMATS)
    )


def _part_of(archive: zipfile.ZipFile, name: str) -> str | None:
    """Return the archive's member with the worksheet of this name; None if it is missing."""
    try:
        workbook = ET.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314
        relations = ET.fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
    except KeyError:
        return None
    sheets = (sheet for sheet in workbook.iterfind(f".//{_ANY}sheet") if sheet.get("name") == name)
    ids = {value for sheet in sheets for key, value in sheet.items() if key.endswith("}id")}
    target = next((r.get("Target", "") for r in relations if r.get("Id") in ids), "")
    member = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    return member if member in archive.namelist() else None


def _column_of(place: str) -> int:
    number = 0
    for letter in place.rstrip("0123456789"):
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
