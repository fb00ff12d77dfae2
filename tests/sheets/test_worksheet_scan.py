"""The scan of a worksheet's bytes: what it finds, wherever the blocks end."""

from __future__ import annotations

import io

import pytest

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
    ],
)
def test_size_is_known_or_known_to_be_unknown(cell: bytes, expected: tuple[bool, int, int]) -> None:
    """A cell whose place is written in another way is measured by a parser."""
    scan = scanned(b"<sheetData>" + cell + b"</row></sheetData></worksheet>" + b" " * 64)

    assert (scan.is_measured, scan.rows, scan.columns) == expected
