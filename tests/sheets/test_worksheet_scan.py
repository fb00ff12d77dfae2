"""The scan of a worksheet's bytes: what it finds, wherever the blocks end."""

from __future__ import annotations

import io
import random
import string
from typing import Final

import pytest

from bulk_reset.sheets.workbooks.workbook_xml import WorksheetFacts, read_facts
from bulk_reset.sheets.workbooks.worksheet_scan import WorksheetScan, scan_worksheet

BLOCK = 1 << 20
CELL = b'<row r="1"><c r="A1"><v>1</v></c></row>'


def scanned(
    xml: bytes, odd_styles: frozenset[int] = frozenset(), *, is_calculated: bool = True
) -> WorksheetScan:
    return scan_worksheet(io.BytesIO(xml), odd_styles, is_calculated=is_calculated)


def padded(piece: bytes, end: int) -> bytes:
    """Return XML in which the first block ends inside of the piece."""
    start = b'<?xml version="1.0"?><x><sheetData>' + CELL + b'<row r="2">'
    padding = b" " * (BLOCK - len(start) - end)
    return start + padding + piece + b"</row><row/></sheetData></x>"


def parsed(
    xml: bytes, odd_styles: frozenset[int] = frozenset(), *, is_calculated: bool = True
) -> WorksheetFacts:
    return read_facts(io.BytesIO(xml), odd_styles, is_calculated=is_calculated)


CELLS = {
    "text": b'<c r="B2" t="s"><v>7</v></c>',
    "error": b'<c r="B2" t="e"><v>#N/A</v></c>',
    "error of a formula": b"<c r='B2' s='17' t='e'><f>A1&amp;A2</f><v>#REF!</v></c>",
    "error without a code": b'<c r="B2" t="e"/>',
    "formula with a result": b'<c r="B2"><f>A1</f><v>7</v></c>',
    "formula without a value": b'<c r="B2"><f>A1&lt;&#65;2</f></c>',
    "formula with an empty value": b'<c r="B2"><f>A1</f><v></v></c>',
    "formula with a blank value": b'<c r="B2"><f>A1</f><v>\n</v></c>',
    "formula with a space and a value": b'<c r="B2"><f>A1</f><v> 5</v></c>',
    "formula with zero": b'<c r="B2"><f>A1</f><v>0</v></c>',
    "formula with an empty text": b'<c r="B2" t="str"><f>A1</f><v></v></c>',
    "formula with a space": b'<c r="B2"><f>A1</f> <v>7</v></c>',
    "shared formula with a result": b'<c r="B2"><f t="shared" si="0"/><v>7</v></c>',
    "shared formula without a value": b'<c r="B2"><f t="shared" si="0"/></c>',
    "array formula": b'<c r="B2"><f t="array" ref="B2:C2">A1</f><v>0</v></c><c r="C2"><v>0</v></c>',
    "array formula of a cell": b'<c r="B2"><f t="array" ref="B2">A1</f><v>0</v></c>',
    "odd style": b'<c r="B2" s="17"><v>1</v></c>',
    "odd style of a fraction": b'<c r="B2" s="17"><v>1.5</v></c>',
    "odd style of a text": b'<c r="B2" s="17" t="s"><v>1</v></c>',
    "odd style of an empty cell": b'<c r="B2" s="17"/><c r="C2"/>',
    "odd style of a row": b'</row><row r="3" s="17" customFormat="1"><c r="B3"><v>1</v></c>',
    "odd style beside a text": b'<c r="B2" s="17"><v>1</v></c>'
    b'<c r="C2" t="inlineStr"><is><t>above 2 s = slow, s="17"</t></is></c>',
    "plain style": b'<c r="B2" s="1"><v>7</v></c>',
    "two odd cells and a plain one": b'<c r="B2" s="17"><v>1</v></c><c r="C2"><v>1</v></c>'
    b'<c r="D2" s="17"><v>2</v></c>\n',
    "hidden row": b'</row><row r="3" hidden="1"><c r="B3"><v>1</v></c>',
    "hidden row of another writer": b"</row><row hidden='true' r='3'>\n <c r='B3'><v>1</v></c>\n",
    "hidden row without cells": b'</row><row r="3" hidden="1"></row><row r="4"><c r="B4"/>',
    "empty hidden row": b'</row><row r="3" hidden="1" /><row r="4"><c r="B4"/>',
    "row that is not hidden": b'</row><row r="3" hidden="0"><c r="B3"><v>1</v></c>',
    "hidden rows": b'</row><row hidden="1"><c r="A3"/></row><row hidden="1"><c r="A4"/><c r="B4"/>',
}
"""The scan and the parser agree on these; the parser is not needed for the whole worksheet."""
OTHERS = {
    "odd style after a space": b'<c r="B2" s = "17"><v>1</v></c>',
    "error after a space": b'<c r="B2" t="e"><v>#N/A</v></c >',
    "prefixed formula": b'<x:c r="B2"><x:f>A1</x:f><x:v>1</x:v></x:c>',
    "prefixed hidden row": b'</row><x:row hidden="1" r="3"><c r="B3"/></x:row><row>',
    "prefixed cell of a hidden row": b'</row><row hidden="1" r="3"><x:c r="B3"/>',
    "hidden row with a space": b'</row><row r="3" hidden = "1"><c r="B3"/>',
    "hidden row of long attributes": b'</row><row r="3" %b hidden="1"><c r="B3"/>' % (b" " * 600),
}
"""The scan does not read these, and reports it."""
ODD: Final = frozenset({17})


@pytest.mark.parametrize("is_calculated", [True, False])
@pytest.mark.parametrize("piece", CELLS.values(), ids=CELLS)
def test_facts_of_the_scan_are_those_of_the_parser(piece: bytes, *, is_calculated: bool) -> None:
    """Only the cells that need it are parsed, with the result of parsing them all."""
    xml = b'<x><sheetData><row r="2">' + piece + b"</row></sheetData></x>"
    scan = scanned(xml, ODD, is_calculated=is_calculated)
    has_arrays = b"B2:C2" in piece and not is_calculated

    assert scan.is_measured
    assert scan.is_complete is not has_arrays
    assert has_arrays or scan.facts == parsed(xml, ODD, is_calculated=is_calculated)


@pytest.mark.parametrize("piece", OTHERS.values(), ids=OTHERS)
def test_other_markup_is_left_to_the_parser(piece: bytes) -> None:
    """What is written in a way that the scan does not read is found by parsing the worksheet."""
    scan = scanned(b'<x><sheetData><row r="2">' + piece + b"</row></sheetData></x>", ODD)

    assert not (scan.is_complete and scan.is_measured)


@pytest.mark.slow
@pytest.mark.parametrize("piece", CELLS.values(), ids=CELLS)
def test_facts_are_the_same_at_every_border_of_a_block(piece: bytes) -> None:
    """A piece of markup that is cut by the end of a block is seen as a whole, and once."""
    expected = parsed(padded(piece, 0), ODD)

    found = [scanned(padded(piece, end), ODD) for end in range(len(piece) + 1)]

    assert [scan.is_complete and scan.facts == expected for scan in found] == [True] * len(found)


@pytest.mark.parametrize(
    "filling",
    [
        *("<c r='B2' t='str'><v>{text}</v></c>", "<c r='B2'/><z>{text}</z>"),
        *("<mergeCell ref='A1:B2'/>{text}", "<x:c r='B2'><x:v>{text}</x:v></x:c>"),
    ],
)
def test_a_part_without_rows_is_cut_anywhere(filling: str) -> None:
    """A very long row, or what follows the rows, is read in pieces; a long text is unusual."""
    many = "".join(filling.format(text="a" * 100) for _ in range(80_000))
    long = filling.format(text="a" * 9_000_000)
    error = b'<c r="C2" t="e"><v>#REF!</v></c>'
    ends = (b"<x><sheetData><row r='2'>", error + b"</row></sheetData></x>")

    scans = [scanned(ends[0] + middle.encode() + ends[1]) for middle in (many, long)]

    assert [scan.is_unusual for scan in scans] == [False, True]
    if scans[0].is_complete and scans[0].is_measured:
        assert scans[0].facts == parsed(ends[0] + many.encode() + ends[1])


def random_row(dice: random.Random, row: int) -> bytes:
    pieces = [CELLS[name].replace(b"</row>", b"") for name in CELLS if "row" not in name]
    chosen = [one for one in dice.choices(pieces, k=dice.randint(0, 5)) if b"B2:C2" not in one]
    cells = b"".join(chosen).replace(b"2'", b"%d'" % row).replace(b'2"', b'%d"' % row)
    hidden = dice.choice((b"", b"", b' hidden="1"', b' hidden="0"'))
    return b'<row r="%d"%b>%b</row>' % (row, hidden, cells)


@pytest.mark.parametrize("seed", range(10))
def test_facts_of_many_rows_are_those_of_the_parser(seed: int) -> None:
    """Cells of all kinds, over several blocks."""
    dice = random.Random(seed)  # noqa: S311  (test data)
    rows = b"".join(random_row(dice, row) for row in range(1, 20_000))
    xml = b"<x><sheetData>" + rows + b"</sheetData></x>"

    for is_calculated in (True, False):
        scan = scanned(xml, ODD, is_calculated=is_calculated)
        assert (scan.is_complete, scan.is_measured) == (True, True)
        assert scan.facts == parsed(xml, ODD, is_calculated=is_calculated)


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

    assert (scan.is_measured, scan.facts.rows, scan.facts.columns) == expected


@pytest.mark.parametrize("seed", range(20))
def test_size_is_that_of_the_parser_for_places_of_every_length(seed: int) -> None:
    """The last row and the last column are found among letters and digits of any number."""
    dice = random.Random(seed)  # noqa: S311  (test data)
    cells = []
    for _ in range(dice.randint(1, 40)):
        letters = "".join(dice.choices(string.ascii_uppercase, k=dice.randint(1, 3)))
        quote = dice.choice("\"'")
        cells.append(f"<c r={quote}{letters}{dice.randrange(1, 10 ** dice.randint(1, 7))}{quote}/>")
    xml = f"<sheetData>{''.join(cells)}</sheetData>".encode()

    scan = scanned(xml)

    assert scan.is_measured
    assert scan.facts == parsed(xml)


@pytest.mark.parametrize(
    ("style", "is_odd"), [(1, False), (17, True), (7, False), (18, False), (170, False)]
)
def test_a_style_is_read_as_a_whole_number(style: int, *, is_odd: bool) -> None:
    """A style is not taken for another one that begins or ends with its digits."""
    cell = f'<c r="B1" s="{style}"><v>1</v></c>'.encode()

    scan = scanned(padded(cell, 0), ODD)

    assert (scan.is_complete, 1 in scan.facts.errors) == (True, is_odd)
