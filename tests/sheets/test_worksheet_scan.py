"""The scan of a worksheet's bytes: what it finds, wherever the blocks end."""

from __future__ import annotations

import io
import random
import string

import pytest

from bulk_reset.sheets.workbooks.workbook_xml import read_facts
from bulk_reset.sheets.workbooks.worksheet_scan import WorksheetScan, scan_worksheet

BLOCK = 1 << 20
CELL = b'<row r="1"><c r="A1"><v>1</v></c></row>'


def scanned(xml: bytes, odd_styles: frozenset[int] = frozenset()) -> WorksheetScan:
    return scan_worksheet(io.BytesIO(xml), odd_styles, is_calculated=True)


def padded(piece: bytes, end: int) -> bytes:
    """Return XML in which the first block ends inside of the piece."""
    start = b'<?xml version="1.0"?><x>' + CELL
    return start + b" " * (BLOCK - len(start) - end) + piece + b"</row></sheetData></worksheet>"


SUSPECTS = {
    "error": b'<c r="B1" t="e"><v>#N/A</v></c>',
    "formula without a value": b'<c r="B1"><f>A1</f></c>',
    "formula with an empty value": b'<c r="B1"><f>A1</f><v></v></c>',
    "shared formula without a value": b'<c r="B1"><f t="shared" si="0"/></c>',
    "prefixed formula": b'<x:c r="B1"><x:f>A1</x:f><x:v>1</x:v></x:c>',
    "odd style": b'<c r="B1" s="17"><v>1</v></c>',
    "odd style after a space": b'<c r="B1" s = "17"><v>1</v></c>',
    "hidden row": b'<row r="2" hidden="1"><c r="B2"><v>1</v></c>',
    "prefixed hidden row": b'<x:row hidden="1" r="2">',
}


@pytest.mark.slow
@pytest.mark.parametrize("piece", SUSPECTS.values(), ids=SUSPECTS)
def test_suspect_is_found_at_every_border_of_a_block(piece: bytes) -> None:
    """A piece of markup that is cut by the end of a block is seen as a whole."""
    found = [
        scanned(padded(piece, end), frozenset({17})).has_suspects for end in range(len(piece) + 1)
    ]

    assert found == [True] * len(found)


HARMLESS = {
    "text": b'<c r="B1" t="s"><v>7</v></c>',
    "formula with a result": b'<c r="B1"><f>A1</f><v>7</v></c>',
    "shared formula with a result": b'<c r="B1"><f t="shared" si="0"/><v>7</v></c>',
    "plain style": b'<c r="B1" s="1"><v>7</v></c>',
    "hidden column": b'<col min="2" max="2" hidden="1"/>',
}


@pytest.mark.parametrize("piece", HARMLESS.values(), ids=HARMLESS)
def test_harmless_markup_is_no_suspect_at_any_border(piece: bytes) -> None:
    """A usual worksheet is not parsed."""
    for end in range(len(piece) + 1):
        scan = scanned(padded(piece, end), frozenset({17}))
        columns = 2 if b"B1" in piece else 1

        assert scan == WorksheetScan(rows=1, columns=columns)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (b'<c r="XFD1048576"/>', (True, 1_048_576, 16_384)),
        (b"<c r='AB12345'/>", (True, 12_345, 28)),
        (b'<c s="1" r="Z9"/>', (False, 0, 0)),
        (b"<c/>", (False, 0, 0)),
        (b'<c r="b9"/>', (False, 0, 0)),
        (b'<c r = "B9"/>', (False, 0, 0)),
        (b'<c r="B"/>', (False, 0, 0)),
        (b'<c r="B0"/>', (False, 0, 0)),
        (b'<c r="B12345678"/>', (False, 0, 0)),
        (b'<c r="ABCD1"/>', (False, 0, 0)),
        (b'<c r="9"/>', (False, 0, 0)),
        (b'<c r="B1:C2"/>', (False, 0, 0)),
        (b'<c r="@9"/>', (False, 0, 0)),
        (b'<c r="[9"/>', (False, 0, 0)),
        (b'<c r="B/9"/>', (False, 0, 0)),
        (b'<c r="B\xb19"/>', (False, 0, 0)),
        (b'<c r="\xc2\xb99"/>', (False, 0, 0)),
        (b'<c q="B9"/>', (False, 0, 0)),
        (b'<c r=" B9"/>', (False, 0, 0)),
    ],
)
def test_size_is_known_or_known_to_be_unknown(cell: bytes, expected: tuple[bool, int, int]) -> None:
    """A cell whose place is written in another way is measured by a parser."""
    scan = scanned(b"<sheetData>" + cell + b"</row></sheetData></worksheet>" + b" " * 64)

    assert (scan.is_measured, scan.rows, scan.columns) == expected


@pytest.mark.parametrize("seed", range(20))
def test_size_is_that_of_the_parser_for_places_of_every_length(seed: int) -> None:
    """The last row and the last column are found among letters and digits of any number."""
    dice = random.Random(seed)  # noqa: S311  (test data)
    cells = []
    for _ in range(dice.randint(1, 40)):
        letters = "".join(dice.choices(string.ascii_uppercase, k=dice.randint(1, 3)))
        quote = dice.choice("\"'")
        cells.append(f"<c r={quote}{letters}{dice.randrange(1, 10 ** dice.randint(1, 7))}{quote}/>")
    xml = f"<sheetData>{''.join(cells)}</sheetData>".encode() + b"<x></x>" * 8
    parsed = read_facts(io.BytesIO(b"<a>" + xml + b"</a>"), frozenset(), is_calculated=True)

    scan = scanned(xml)

    assert (scan.is_measured, scan.rows, scan.columns) == (True, parsed.rows, parsed.columns)


@pytest.mark.parametrize(
    ("style", "is_odd"), [(1, False), (17, True), (7, False), (18, False), (170, False)]
)
def test_a_style_is_read_as_a_whole_number(style: int, *, is_odd: bool) -> None:
    """A style is not taken for another one that begins or ends with its digits."""
    cell = f'<c r="B1" s="{style}"><v>1</v></c>'.encode()

    assert scanned(padded(cell, 0), frozenset({17})).has_suspects is is_odd
