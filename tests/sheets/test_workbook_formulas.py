"""Formulas in workbooks: results, errors, and formulas that were never calculated.

The expected values are those that XlsxWriter and openpyxl write; neither shares code with the
reader.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
import xlsxwriter
from workbooks import SHEET_PART, add_rows, change_part, read, write

ID = "66d1f0a2c3b4a5968778695a"
CODES = ("#REF!", "#N/A", "#DIV/0!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!")
NEVER_CALCULATED = "the formula was never calculated"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "incidents.xlsx"


def test_formula_is_read_as_its_result(path: Path) -> None:
    """The text that Excel shows is read, not the formula; an empty result is an empty cell."""

    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = add_rows(book, [["id", "title", "impact"]])
        for row, results in enumerate([(ID, "a & <b>", 2), ("b", "c", "")], 1):
            for column, result in enumerate(results):
                sheet.write_formula(row, column, "=A9", None, result)

    write(path, fill)
    # Excel writes an empty text like this, XlsxWriter writes no result.
    change_part(path, SHEET_PART, lambda xml: xml.replace(b'<c r="C3">', b'<c r="C3" t="str">'))

    assert read(path) == ([(2, ID, "a & <b>", "2"), (3, "b", "c", "")], {})


def write_error_by_xlsxwriter(path: Path, code: str) -> None:
    write(path, lambda book: fill_error(book, code))


def fill_error(book: xlsxwriter.Workbook, code: str) -> None:
    sheet = add_rows(book, [["id", "title"], ["a"]])
    sheet.write_formula(1, 1, "=A9", None, code)


def write_error_by_openpyxl(path: Path, code: str) -> None:
    book = openpyxl.Workbook()
    for row in (["id", "title"], ["a", code]):
        book.active.append(row)
    assert book.active["B2"].data_type == "e"
    book.save(path)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("write_error", [write_error_by_xlsxwriter, write_error_by_openpyxl])
def test_formula_error_is_never_an_empty_cell(
    path: Path, code: str, write_error: Callable[[Path, str], None]
) -> None:
    """A failed formula does not silently leave the field unchanged, in any program's file."""
    write_error(path, code)

    assert read(path) == ([(2, "a", code)], {(2, 1): f"the formula failed with {code}"})


@pytest.mark.parametrize(
    "change",
    [
        lambda xml: xml.replace(b'<c r="B2" t="e">', b"<c t = 'e'\n r='B2'>"),
        lambda xml: xml.replace(b' r="A2"', b"").replace(b' r="B2"', b"").replace(b' r="2"', b""),
        lambda xml: (
            xml.replace(b"</", b"</x:")
            .replace(b"<", b"<x:")
            .replace(b"<x:/x:", b"</x:")
            .replace(b"<x:?", b"<?")
            .replace(b"xmlns=", b"xmlns:x=")
        ),
    ],
    ids=["attributes in another order", "cells without places", "prefixed names"],
)
def test_error_is_found_in_the_markup_of_other_programs(
    path: Path, change: Callable[[bytes], bytes]
) -> None:
    """Programs write the same workbook with different markup."""
    write_error_by_xlsxwriter(path, "#REF!")
    change_part(path, SHEET_PART, change)

    assert read(path) == (
        [(2, "a", "#REF!")],
        {(2, 1): "the formula failed with #REF!"},
    )


@pytest.mark.slow
def test_errors_beside_and_below_the_table_keep_their_cells(path: Path) -> None:
    """An error left of the table, in a far row or after a megabyte keeps its position."""

    def fill(book: xlsxwriter.Workbook) -> None:
        rows: list[list[object]] = [[f"{n:024}", n, "x"] for n in range(30_000)]
        sheet = add_rows(book, [["id", "n", "title"], *rows], at=(1, 1))
        for row, column in ((2, 0), (2, 3), (30_001, 2), (30_010, 3)):
            sheet.write_formula(row, column, "=A9", None, "#N/A")

    write(path, fill)
    rows, odd_cells = read(path)
    problem = "the formula failed with #N/A"

    assert [rows[0], rows[-2], rows[-1]] == [
        (3, "#N/A", "0" * 24, "0", "#N/A"),
        (30_002, "", f"{29_999:024}", "#N/A", "x"),
        (30_011, "", "", "", "#N/A"),
    ]
    assert odd_cells == dict.fromkeys([(3, 0), (3, 3), (30_002, 2), (30_011, 3)], problem)


def test_error_is_found_in_a_strict_workbook(path: Path) -> None:
    """Excel's "Strict Open XML" uses other namespaces."""
    write_error_by_xlsxwriter(path, "#REF!")
    usual, strict = b"http://schemas.openxmlformats.org/", b"http://purl.oclc.org/ooxml/"
    for part in (SHEET_PART, "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "_rels/.rels"):
        change_part(
            path,
            part,
            lambda xml: xml.replace(
                usual + b"spreadsheetml/2006/", strict + b"spreadsheetml/"
            ).replace(usual + b"officeDocument/2006/", strict + b"officeDocument/"),
        )

    assert read(path)[0] == [(2, "a", "#REF!")]


def test_error_after_blank_columns_keeps_its_cell(path: Path) -> None:
    """The table need not begin in column A."""

    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = add_rows(book, [["id", "title", "impact"], ["a", None, "x"]], at=(2, 2))
        sheet.write_formula(3, 3, "=A9", None, "#N/A")

    write(path, fill)

    assert read(path) == (
        [(4, "a", "#N/A", "x")],
        {(4, 1): "the formula failed with #N/A"},
    )


@pytest.mark.parametrize("before", [0, 1, 2, 3, 4, 5])
def test_error_is_found_at_every_border_of_a_block(path: Path, before: int) -> None:
    """A large worksheet is searched in blocks of a mebibyte, and nothing is missed."""
    write_error_by_xlsxwriter(path, "#REF!")

    def pad(xml: bytes) -> bytes:
        missing = (1 << 20) - before - xml.index(b't="e"') - len("<!---->")
        return xml.replace(b"<sheetData>", b"<!--" + b"x" * missing + b"--><sheetData>")

    change_part(path, SHEET_PART, pad)

    assert read(path)[0] == [(2, "a", "#REF!")]


def test_formula_that_was_never_calculated_is_never_an_empty_cell(path: Path) -> None:
    """A workbook that Excel never opened has formulas without results."""
    book = openpyxl.Workbook()
    for row in (["id", "title"], ["a", "=1&2"], ["=A2", "=1<2"], [], ["", "=B2"]):
        book.active.append(row)
    book.active["A2"].value, book.active["D9"].value = "a", "=A2"
    book.save(path)

    assert read(path) == (
        [(2, "a", "=1&2"), (3, "=A2", "=1<2"), (5, "", "=B2")],
        dict.fromkeys([(2, 1), (3, 0), (3, 1), (5, 1)], NEVER_CALCULATED),
    )


def test_formula_left_of_the_table_is_ignored(path: Path) -> None:
    """A column without a header is not part of the table."""
    book = openpyxl.Workbook()
    for row in ([None, "id", "title"], ["=1", "a", "x"]):
        book.active.append(row)
    book.save(path)

    assert read(path) == ([(2, "a", "x")], {})
