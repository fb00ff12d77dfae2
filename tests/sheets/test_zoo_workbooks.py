"""Workbooks as other programs write them: other names of parts, other markup, no results.

One line per kind of workbook. The expected values are those that the server would receive.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from sheet_zoo import (
    ROWS,
    TABLE,
    A,
    B,
    Cells,
    Make,
    by_hand,
    by_openpyxl,
    by_xlsxwriter,
    inline,
    inspect_sheet,
    put,
    zipped,
)

from bulk_reset.core.errors import InputError
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.validation import check_chunk

Members = dict[str, bytes]
Change = Callable[[Members], Members]
SMILE: Final = "\N{GRINNING FACE}"


def changed(make: Make, *changes: Change) -> Make:
    """Make a workbook, then change its archive."""

    def make_changed(path: Path) -> None:
        make(path)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        for change in changes:
            members = change(members)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return make_changed


def named(rename: Callable[[str], str]) -> Change:
    """Rename the members of the archive."""
    return lambda members: {rename(name): content for name, content in members.items()}


def moved(old: str, new: str) -> Change:
    """Rename a member."""
    return named(lambda name: new if name == old else name)


def replaced(part: str, old: str, new: str) -> Change:
    """Replace a text in a member, which must contain it."""

    def change(members: Members) -> Members:
        assert old.encode() in members[part]
        return members | {part: members[part].replace(old.encode(), new.encode())}

    return change


def encoded(part: str, encoding: str) -> Change:
    """Write a member in another encoding."""

    def change(members: Members) -> Members:
        text = members[part].decode().partition("?>")[2] or members[part].decode()
        head = f'<?xml version="1.0" encoding="{encoding}"?>'
        return members | {part: (head + text).encode(encoding)}

    return change


RELATIONS: Final = "xl/_rels/workbook.xml.rels"
SHEET: Final = "xl/worksheets/sheet1.xml"
BOOK: Final = "xl/workbook.xml"


def backslashes(name: str) -> str:
    return name.replace("/", "\\")


def one(**values: str) -> dict[int, tuple[str, dict[str, str]]]:
    return {2: (A, values)}


# --- Names of parts --------------------------------------------------------------------------

USUAL: Final = by_xlsxwriter(lambda _, ws: put(ws, TABLE))


def target(old: str, new: str) -> Change:
    return replaced(RELATIONS, f'Target="{old}"', f'Target="{new}"')


NAMES: Final[dict[str, tuple[Change, ...]]] = {
    "backslashes": (named(backslashes),),
    "upper case": (named(str.upper),),
    "leading slashes": (named(lambda name: f"/{name}"),),
    "dot and slash": (named(lambda name: f"./{name}"),),
    "target in another case": (target("worksheets/sheet1.xml", "WorkSheets/Sheet1.XML"),),
    "target with a dot": (target("worksheets/sheet1.xml", "./worksheets/sheet1.xml"),),
    "target with two dots": (target("worksheets/sheet1.xml", "../xl/worksheets/sheet1.xml"),),
    "target with a backslash": (target("worksheets/sheet1.xml", "worksheets\\sheet1.xml"),),
    "target with an escape": (
        target("worksheets/sheet1.xml", "worksheets/sheet%201.xml"),
        moved(SHEET, "xl/worksheets/sheet 1.xml"),
    ),
    "absolute targets": (
        target("worksheets/sheet1.xml", "/xl/worksheets/sheet1.xml"),
        target("sharedStrings.xml", "/xl/sharedStrings.xml"),
        target("styles.xml", "/xl/styles.xml"),
    ),
    "worksheet in another folder": (
        target("worksheets/sheet1.xml", "data/table.xml"),
        moved(SHEET, "xl/data/table.xml"),
    ),
    "worksheet called as a chart": (
        target("worksheets/sheet1.xml", "chartsheets/sheet1.xml"),
        moved(SHEET, "xl/chartsheets/sheet1.xml"),
    ),
    "texts elsewhere": (
        target("sharedStrings.xml", "/texts.xml"),
        moved("xl/sharedStrings.xml", "texts.xml"),
    ),
    "workbook elsewhere": (
        named(lambda name: name.replace("xl/", "book/").replace("workbook", "b")),
        replaced("_rels/.rels", "xl/workbook.xml", "book/b.xml"),
    ),
    "another workbook beside it": (
        moved(BOOK, "xl/book2.xml"),
        moved(RELATIONS, "xl/_rels/book2.xml.rels"),
        replaced("_rels/.rels", "xl/workbook.xml", "xl/book2.xml"),
        lambda members: members | {BOOK: b"<workbook/>"},
    ),
}


@pytest.mark.parametrize("changes", NAMES.values(), ids=NAMES)
def test_parts_are_found_by_their_relationships(
    changes: tuple[Change, ...], tmp_path: Path
) -> None:
    """What the parts are called does not change what is read."""
    path = tmp_path / "sheet.xlsx"
    changed(USUAL, *changes)(path)
    found = inspect_sheet(path)

    assert (found.rows, found.row_errors) == (ROWS, [])


def formatted(book: Any, ws: Any) -> None:  # noqa: ANN401
    put(ws, [["id", "title"], [A, "Disk full"], [B]])
    ws.write(2, 1, 500, book.add_format({"num_format": "0%"}))
    ws.write(3, 0, f"{1:024}")
    ws.write(3, 1, 45_000, book.add_format({"num_format": "yyyy-mm-dd"}))


STYLES: Final[dict[str, tuple[Change, ...]]] = {
    "usual": (),
    "another name": (target("styles.xml", "look.xml"), moved("xl/styles.xml", "xl/look.xml")),
    "another folder": (
        target("styles.xml", "/themes/styles.xml"),
        moved("xl/styles.xml", "themes/styles.xml"),
    ),
    "another case": (moved("xl/styles.xml", "xl/Styles.XML"),),
    "utf-16": (encoded("xl/styles.xml", "utf-16"),),
    "no relationship": (target("styles.xml", "none.xml"), replaced(RELATIONS, "/styles", "/x")),
    "style after a space": (replaced(SHEET, 's="', 's = "'),),
    "style in single quotes": (replaced(SHEET, 's="1"', "s='1'"),),
    "a plain format under another meaning": (
        replaced("xl/styles.xml", 'numFmtId="164"', 'numFmtId="1"'),
    ),
}


@pytest.mark.parametrize("changes", STYLES.values(), ids=STYLES)
def test_format_of_a_number_is_found_in_any_part(
    changes: tuple[Change, ...], tmp_path: Path
) -> None:
    """A percentage and a date never go out as 500 and 45000."""
    path = tmp_path / "sheet.xlsx"
    changed(by_xlsxwriter(formatted), *changes)(path)
    found = inspect_sheet(path)

    assert found.rows == one(title="Disk full")
    assert found.row_errors == [(3, "cell_type"), (4, "cell_type")]


# --- Formulas without results ----------------------------------------------------------------

COLUMNS: Final = ["id", "title", "impact", "field:team", "field:n:json", "comment"]


def test_cells_without_a_style_have_the_first_one(tmp_path: Path) -> None:
    """Where that shows percent, a spreadsheet shows 500 % for the number 5."""
    path = tmp_path / "x.xlsx"
    plain = '<cellXfs count="1"><xf numFmtId="0"'
    percent = '<cellXfs count="1"><xf applyNumberFormat="1" numFmtId="9"'
    cells = {(0, 0): "id", (0, 1): "field:x", (1, 0): A, (1, 1): 5}

    def write(_: object, ws: Any) -> None:  # noqa: ANN401
        for (row, column), value in cells.items():
            ws.write(row, column, value)

    changed(by_xlsxwriter(write), replaced("xl/styles.xml", plain, percent))(path)
    with open_sheet(path) as sheet:
        (chunk,) = sheet.chunks()
        errors = check_chunk(chunk, sheet.columns).row_errors
    assert [(one.row_number, one.column, one.kind) for one in errors] == [
        (2, "field:x", "cell_type")
    ]


def uncalculated(_: object, ws: Any) -> None:  # noqa: ANN401
    put(ws, [COLUMNS, [A, "Disk full"], *([f"{row:024}", "Disk full"] for row in range(1, 5))])
    for column in range(2, len(COLUMNS)):
        ws.write_formula(column, column, '="Disk "&"full"')


def arrays(_: object, ws: Any) -> None:  # noqa: ANN401
    put(ws, [COLUMNS, *([f"{row:024}", "Disk full"] for row in range(4))])
    ws.write_array_formula("D2:D4", '{="team "&A2:A4}')
    ws.write(4, 3, 0)


def one_formula(name: str, formula: str, value: str, kind: str = "") -> str:
    rows = inline([["id", "title", name], [A, "Disk full"]], has_places=True)
    cell = f"<c r='C2'{kind}><f>{formula}</f>{value}</c>"
    return "</c></row>".join([*rows.rsplit("</P c></P row>", 1)[:1], cell]).replace(
        "</c></row>" + cell, f"</P c>{cell}</P row>"
    )


def in_book(cells: str, calculation: str) -> Make:
    """Make a workbook by hand, with its calculation settings."""
    return changed(by_hand(cells), replaced(BOOK, "</sheets>", f"</sheets>{calculation}"))


EVERY: Final = [(row, "cell_type") for row in range(3, 7)]
FORMULAS: Final[dict[str, tuple[Make, dict[int, Any], list[tuple[int, str]]]]] = {
    "xlsxwriter": (by_xlsxwriter(uncalculated), one(title="Disk full"), EVERY),
    "openpyxl": (
        by_openpyxl([COLUMNS, [A, "Disk full"], [B, "=A1", None, "=A1", None, "=A1"]]),
        *(one(title="Disk full"), [(3, "cell_type")] * 3),
    ),
    "array of xlsxwriter": (
        by_xlsxwriter(arrays),
        {5: (f"{3:024}", {"title": "Disk full", "field:team": "0"})},
        [(row, "cell_type") for row in (2, 3, 4)],
    ),
    "no settings": (
        by_hand(one_formula("field:team", "A1", "<v>0</v>")),
        *({}, [(2, "cell_type")]),
    ),
    "0.0 and no settings": (
        by_hand(one_formula("comment", "A1", "<v>0.0</v>")),
        *({}, [(2, "cell_type")]),
    ),
    "to be calculated": (
        in_book(one_formula("comment", "A1", "<v>0</v>"), "<calcPr fullCalcOnLoad='true'/>"),
        *({}, [(2, "cell_type")]),
    ),
    "no value": (
        in_book(one_formula("comment", "A1", ""), "<calcPr calcId='191029'/>"),
        *({}, [(2, "cell_type")]),
    ),
    "empty value": (
        in_book(one_formula("comment", "A1", "<v/>"), "<calcPr calcId='191029'/>"),
        *({}, [(2, "cell_type")]),
    ),
    "text without a value": (
        in_book(one_formula("comment", "A1", "", " t='str'"), "<calcPr calcId='191029'/>"),
        *({}, [(2, "cell_type")]),
    ),
    "calculated 0": (
        in_book(one_formula("comment", "A1", "<v>0</v>"), "<calcPr calcId='191029'/>"),
        *(one(title="Disk full", comment="0"), []),
    ),
    "calculated empty text": (
        in_book(one_formula("comment", "A1", "<v></v>", " t='str'"), "<calcPr calcId='191029'/>"),
        *(one(title="Disk full"), []),
    ),
    "result set by the writer": (
        by_xlsxwriter(
            lambda _, ws: (
                put(ws, [["id", "title", "comment"], [A, "Disk full"]]),
                ws.write_formula(1, 2, "=A1&A2", None, "Queue full"),
            )
        ),
        *(one(title="Disk full", comment="Queue full"), []),
    ),
}


@pytest.mark.parametrize(("make", "rows", "row_errors"), FORMULAS.values(), ids=FORMULAS)
def test_formula_that_was_never_calculated_is_an_error_in_every_column(
    make: Make, rows: dict[int, Any], row_errors: list[tuple[int, str]], tmp_path: Path
) -> None:
    """Neither nothing nor a writer's 0 is sent for a formula, in custom fields and comments too."""
    path = tmp_path / "sheet.xlsx"
    make(path)
    found: dict[int, Any] = {}
    with open_sheet(path) as sheet:
        for chunk in sheet.chunks():
            checked = check_chunk(chunk, sheet.columns)
            valid = [n for n, row in enumerate(checked.numbers) if row not in checked.invalid_rows]
            found |= {checked.numbers[n]: (checked.ids[n], checked.values(n)) for n in valid}
        errors = [(one.row_number, one.kind) for one in checked.row_errors]

    assert (found, errors) == (rows, row_errors)


def test_column_name_that_was_never_calculated_is_an_error(tmp_path: Path) -> None:
    """A column without its name would be ignored."""
    path = tmp_path / "sheet.xlsx"
    by_openpyxl([["id", "title", '="imp"&"act"'], [A, "Disk full", "Users wait"]])(path)
    with pytest.raises(InputError) as caught:
        inspect_sheet(path)

    assert str(caught.value) == (
        f"{path}: row 1 is the header, and in column 3 the formula was never calculated "
        '(="imp"&"act"). Open the workbook in a spreadsheet program and save it, or enter the '
        "name itself."
    )


# --- Merged cells ----------------------------------------------------------------------------


def merged(ranges: str, rows: Cells) -> Make:
    """Make a workbook with a text in every cell, and merge some."""
    return changed(
        by_xlsxwriter(lambda _, ws: put(ws, rows)),
        replaced(
            SHEET,
            "<pageMargins",
            f"<mergeCells><mergeCell ref='{ranges}'/></mergeCells><pageMargins",
        ),
    )


HEADER: Final = ["id", "title", "impact", "comment"]
FULL: Final[Cells] = [HEADER, [A, "Disk full", "Users wait", "See below"], [B, "Disk full"]]
MERGED: Final[dict[str, tuple[str, list[tuple[int, str, str]]]]] = {
    "over two columns": ("B2:C2", [(2, "impact", "merged with a cell to its left")]),
    "over three columns": (
        "B2:D2",
        [(2, name, "merged with a cell to its left") for name in ("impact", "comment")],
    ),
    "over two rows": ("B2:B3", [(3, "title", "merged with a cell above it")]),
    "over rows and columns": (
        "B2:C3",
        [
            (2, "impact", "merged with a cell to its left"),
            *((3, name, "merged with a cell above it") for name in ("title", "impact")),
        ],
    ),
    "over other columns": ("E2:G2", []),
    "over a row below": ("A9:D9", []),
}


@pytest.mark.parametrize(("ranges", "expected"), MERGED.values(), ids=MERGED)
def test_text_under_merged_cells_is_an_error(
    ranges: str, expected: list[tuple[int, str, str]], tmp_path: Path
) -> None:
    """What is not visible is not sent, whichever way the cells are merged."""
    path = tmp_path / "sheet.xlsx"
    merged(ranges, FULL)(path)
    with open_sheet(path) as sheet:
        odd_cells = {key: why for chunk in sheet.chunks() for key, why in chunk.odd_cells.items()}

    found = [(row, HEADER[column], why) for (row, column), why in sorted(odd_cells.items())]
    assert found == expected


@pytest.mark.parametrize("ranges", ["B1:C1", "A1:D1"])
def test_column_name_under_merged_cells_is_an_error(ranges: str, tmp_path: Path) -> None:
    """A column whose name is not shown is not sent under that name."""
    path = tmp_path / "sheet.xlsx"
    merged(ranges, FULL)(path)
    with pytest.raises(InputError, match="is merged with a cell to its left, so it is not shown"):
        inspect_sheet(path)


# --- Texts -----------------------------------------------------------------------------------


def shared(texts: str) -> Make:
    """Make a workbook with the text in its shared texts."""
    cells = "<row r='1'><c r='A1' t='s'><v>0</v></c><c r='B1' t='s'><v>1</v></c></row>"
    cells += "<row r='2'><c r='A2' t='s'><v>2</v></c><c r='B2' t='s'><v>3</v></c></row>"
    names = "".join(f"<si><t>{text}</t></si>" for text in ("id", "title", A))
    return by_hand(cells, shared=f"{names}<si>{texts}</si>")


def in_cell(text: str) -> Make:
    return by_hand(inline([["id", "title"], [A, text]], has_places=True))


def in_formula(text: str) -> Make:
    cells = inline([["id", "title"], [A]], has_places=True).removesuffix("</P row>")
    return by_hand(f"{cells}<c r='B2' t='str'><f>A9</f><v>{text}</v></c></P row>")


TEXTS: Final = {
    "disk _xD83D__xDE00_ full": f"disk {SMILE} full",
    "disk _xd83d__xde00_ full": f"disk {SMILE} full",
    "_xD83D__xDE00__xD83D__xDE00_!": f"{SMILE}{SMILE}!",
    "a_x000D_b_x000A_": "a\rb\n",
    "a_x005F_x000D_b": "a_x000D_b",
    "a_x005F_xD83D__x005F_xDE00_b": "a_xD83D__xDE00_b",
    "a_x005F_b": "a_b",
    "_x78C1__x76D8_ full": "磁盘 full",
    "xD83D_xDE00 is no escape": "xD83D_xDE00 is no escape",
    "_xD83_ is no escape": "_xD83_ is no escape",
    "<![CDATA[a < b]]> & so on".replace(" & ", " &amp; "): "a < b & so on",
    "one<!-- two -->three": "onethree",
    "one<?two?>three": "onethree",
    "a&#13;b &#x1F600;": f"a\rb {SMILE}",
    "_xF000_ private": "\uf000 private",
}


@pytest.mark.parametrize("make", [lambda t: shared(f"<t>{t}</t>"), in_cell, in_formula])
@pytest.mark.parametrize(("markup", "expected"), TEXTS.items())
def test_text_is_decoded_wherever_it_is(
    markup: str, expected: str, make: Callable[[str], Make], tmp_path: Path
) -> None:
    """Escaped characters, comments and sections do not change or cut a text."""
    path = tmp_path / "sheet.xlsx"
    make(markup)(path)
    with open_sheet(path) as sheet:
        cells = [row for chunk in sheet.chunks() for row in chunk.rows()]

    assert cells == [(2, A, expected)]


@pytest.mark.parametrize("make", [lambda t: shared(f"<t>{t}</t>"), in_cell, in_formula])
@pytest.mark.parametrize(
    "markup",
    ["disk _xD83D_ full", "_xDE00_ full", "_xDE00__xD83D_", "_xD83D__xD83D__xDE00_", "_xFFFE_ xx"],
)
def test_half_of_a_character_is_an_error(
    markup: str, make: Callable[[str], Make], tmp_path: Path
) -> None:
    """A text that was cut inside a character is neither sent as its escape nor without it."""
    path = tmp_path / "sheet.xlsx"
    make(markup)(path)
    found = inspect_sheet(path)

    assert (found.rows, found.row_errors) == ({}, [(2, "cell_type")])


def test_reading_aid_of_a_japanese_text_is_not_part_of_it(tmp_path: Path) -> None:
    """The pronunciation of a text is neither read nor kept when the text is rewritten."""
    path = tmp_path / "sheet.xlsx"
    aid = "<rPh sb='0' eb='2'><t>かんじ</t></rPh>"
    shared(f"<r><t>漢字</t></r><r><t xml:space='preserve'> _xD83D__xDE00_</t></r>{aid}")(path)

    assert inspect_sheet(path).rows == one(title=f"漢字 {SMILE}")


ENCODED: Final = {
    "worksheet in utf-16": ("xl/worksheets/s.xml", "utf-16"),
    "worksheet in latin-1": ("xl/worksheets/s.xml", "iso-8859-1"),
    "workbook in utf-16": (BOOK, "utf-16"),
    "relationships in utf-16": (RELATIONS, "utf-16"),
}


@pytest.mark.parametrize(("part", "encoding"), ENCODED.values(), ids=ENCODED)
def test_part_in_another_encoding_is_read(part: str, encoding: str, tmp_path: Path) -> None:
    """XML may have any encoding; it must not look like an empty sheet."""
    path = tmp_path / "sheet.xlsx"
    changed(in_cell("Störung"), encoded(part, encoding))(path)

    assert inspect_sheet(path).rows == one(title="Störung")


def test_strict_workbook_with_unusual_markup_is_read(tmp_path: Path) -> None:
    """A rewritten workbook keeps its dates, whatever they count from."""
    path = tmp_path / "sheet.xlsx"
    changed(
        by_xlsxwriter(formatted),
        replaced(BOOK, "<workbookPr ", '<!-- x --><workbookPr date1904="1" '),
    )(path)
    with open_sheet(path) as sheet:
        cells = [row for chunk in sheet.chunks() for row in chunk.rows()]

    assert cells[-1] == (4, f"{1:024}", "2027-03-16")


# --- Refused ---------------------------------------------------------------------------------

ENTITIES: Final = "<!DOCTYPE worksheet [<!ENTITY a 'Disk full'>]>"
REFUSED: Final[dict[str, tuple[Make, str]]] = {
    "document type": (
        changed(
            in_cell("&a;"), replaced("xl/worksheets/s.xml", "<worksheet", f"{ENTITIES}<worksheet")
        ),
        "cannot be read as a workbook (a part has a document type (<!DOCTYPE)).",
    ),
    "worksheet is missing": (
        changed(USUAL, target("worksheets/sheet1.xml", "worksheets/sheet7.xml")),
        "worksheet 'Sheet1' is missing in the file. Save the workbook again.",
    ),
    "worksheet is outside": (
        changed(
            USUAL,
            replaced(
                RELATIONS, '"worksheets/sheet1.xml"', '"http://x.example/a" TargetMode="External"'
            ),
        ),
        "worksheet 'Sheet1' is missing in the file.",
    ),
    "part twice": (
        changed(USUAL, lambda members: members | {"xl/WorkSheets/sheet1.xml": b"<worksheet/>"}),
        "cannot be read as a workbook (it contains the part 'xl/worksheets/sheet1.xml' twice).",
    ),
    "worksheet twice": (
        changed(USUAL, replaced(BOOK, "</sheets>", '<sheet name="Sheet1" r:id="rId1"/></sheets>')),
        "cannot be read as a workbook (it contains two worksheets 'Sheet1').",
    ),
    "binary": (zipped({"xl/workbook.bin": ""}), "a binary Excel workbook (.xlsb)"),
    "presentation": (zipped({"ppt/presentation.xml": ""}), "a PowerPoint presentation"),
    "cells in an impossible column": (
        by_hand("<row r='1'><c r='$A$1'><v>1</v></c></row>"),
        "cannot be read as a workbook (a cell is in column '$A$').",
    ),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_damaged_workbook_is_an_error_with_a_fix(make: Make, words: str, tmp_path: Path) -> None:
    """What differs between programs is not read by the luck of one."""
    path = tmp_path / "sheet.xlsx"
    make(path)
    with pytest.raises(InputError) as caught:
        inspect_sheet(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
