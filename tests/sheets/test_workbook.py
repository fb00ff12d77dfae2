"""Workbooks as people save them: position of the table, types of cells, damaged files.

XlsxWriter, which shares no code with the reader, writes the expected values.
"""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import xlsxwriter
from make_samples import postmortems
from programs import ROOT
from workbooks import SHEET_PART, add_rows, change_part, encrypted, read, write

from bulk_reset.core.errors import InputError, SheetError
from bulk_reset.sheets.open_sheet import open_sheet


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "incidents.xlsx"


def refusal(path: Path, **options: str) -> str:
    with pytest.raises(InputError) as caught, open_sheet(path, **options) as table:
        list(table.chunks())
    return str(caught.value).removeprefix(f"{path}: ")


# --- Position of the table -------------------------------------------------------------------


@pytest.mark.parametrize("chunk_rows", [1, 2, 1000])
@pytest.mark.parametrize("at", [(0, 0), (3, 0), (0, 2), (5, 3)])
def test_table_anywhere_on_the_worksheet_is_read_with_its_row_numbers(
    path: Path, at: tuple[int, int], chunk_rows: int
) -> None:
    """The header may be below blank rows and right of blank columns; gaps are counted."""
    rows = [["id", "title"], ["a", "x"], [], ["b", ""], [], [], ["", "y"]]
    write(path, lambda book: add_rows(book, rows, at=at))
    first = at[0] + 2

    assert read(path, chunk_rows) == (
        [(first, "a", "x"), (first + 2, "b", ""), (first + 5, "", "y")],
        {},
    )


def test_formatted_empty_cells_are_not_rows(path: Path) -> None:
    """Borders below the table are not rows."""

    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = add_rows(book, [["id", "title"], ["a", "x"]])
        for number in range(2, 500):
            sheet.write_blank(number, 0, None, book.add_format({"bottom": 1}))

    write(path, fill)

    assert read(path) == ([(2, "a", "x")], {})


def test_sample_is_read_unchanged() -> None:
    """Long texts with line breaks, quotes and emoji are read code point for code point."""
    sample = ROOT / "samples" / "postmortems.xlsx"
    expected = [(n, *row) for n, row in enumerate(postmortems(), 1) if any(row)][1:]

    assert read(sample) == (expected, {})


def three_sheets(book: xlsxwriter.Workbook) -> None:
    add_rows(book, [["id", "title"], ["a", "x"]], "July")
    add_rows(book, [["id", "title"], ["b", "y"]], "August")
    add_rows(book, [["Read me"]], "Notes")


def hidden_sheets(book: xlsxwriter.Workbook) -> None:
    add_rows(book, [["How to use this"], ["…"]], "Notes")
    add_rows(book, [["id", "title"], ["a", "x"]], "Data")
    add_rows(book, [["id", "title"], ["b", "y"]], "Old").hide()
    add_rows(book, [["id", "title"], ["c", "z"]], "Older").very_hidden()
    book.add_worksheet("Empty")
    book.add_chartsheet("Chart").set_chart(add_chart(book))


def add_chart(book: xlsxwriter.Workbook) -> object:
    chart = book.add_chart({"type": "bar"})
    chart.add_series({"values": "=Data!$A$1:$A$2"})
    return chart


def test_only_matching_worksheet_is_read_and_named(path: Path) -> None:
    """Notes, empty and hidden worksheets and charts are ignored."""
    write(path, hidden_sheets)
    with open_sheet(path) as table:
        notices = table.notices

    assert (read(path)[0], notices) == ([(2, "a", "x")], (f"{path}: read worksheet 'Data'",))


def test_several_matching_worksheets_are_an_error(path: Path) -> None:
    """Which of two tables is meant is not guessed."""
    write(path, three_sheets)

    assert refusal(path) == (
        "several worksheets contain a table: 'July', 'August'. "
        "Choose one, for example sheet_name='July'."
    )
    assert read(path, sheet_name="August")[0] == [(2, "b", "y")]


def test_hidden_worksheet_can_be_selected(path: Path) -> None:
    """The option selects any worksheet, hidden or not."""
    write(path, hidden_sheets)

    assert read(path, sheet_name="Old")[0] == [(2, "b", "y")]


def test_unknown_worksheet_is_an_error_that_lists_the_others(path: Path) -> None:
    """A typing error is reported with the existing names."""
    write(path, three_sheets)

    assert refusal(path, sheet_name="Juli") == (
        f"sheet_name='Juli': {path} has no such worksheet. "
        "Its worksheets are 'July', 'August', 'Notes'."
    )


# --- Types of cells -------------------------------------------------------------------------


@pytest.mark.parametrize("is_constant_memory", [False, True])
def test_text_is_read_unchanged(path: Path, is_constant_memory: bool) -> None:
    """Line breaks of every kind, spaces, markup and control characters are kept."""
    text = " 1\n2\r\n3\r\t <b>&amp; \"q\" 'q' _x0041_ \x07 磁盘 😀 e\u0301 \n" + "long " * 1200
    with xlsxwriter.Workbook(path, {"constant_memory": is_constant_memory}) as book:
        add_rows(book, [["id", "title"], ["a", text]])

    assert read(path) == ([(2, "a", text)], {})


def test_rich_text_is_read_as_one_text(path: Path) -> None:
    """A bold word does not cut the text."""

    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = add_rows(book, [["id", "title"], ["a"]])
        sheet.write_rich_string(1, 1, "disk ", book.add_format({"bold": True}), "full", " again")

    write(path, fill)

    assert read(path) == ([(2, "a", "disk full again")], {})


@pytest.mark.parametrize(
    ("value", "number_format", "text", "problem"),
    [
        (12, "", "12", None),
        (-3.0, "", "-3", None),
        (99_999_999_999, "", "99999999999", None),
        (True, "", "TRUE", None),
        (False, "", "FALSE", None),
        (2.5, "", "2.5", "the cell contains a number, not text"),
        (0.5, "0%", "0.5", "the cell contains a number, not text"),
        (100_000_000_000, "", "100000000000", "the cell contains a number, not text"),
        (
            dt.date(2024, 5, 6),
            "yyyy-mm-dd",
            "2024-05-06",
            "the cell contains a date or time, not text",
        ),
        (dt.time(7, 8), "hh:mm", "07:08:00", "the cell contains a date or time, not text"),
        (1.5, "[h]:mm", "1 day, 12:00:00", "the cell contains a date or time, not text"),
    ],
)
def test_typed_cell_becomes_text_only_if_certain(
    path: Path, value: object, number_format: str, text: str, problem: str | None
) -> None:
    """Whole numbers and booleans become the text that Excel shows; other types are reported."""

    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = add_rows(book, [["id", "title"], ["a"]])
        sheet.write(1, 1, value, book.add_format({"num_format": number_format}))

    write(path, fill)

    assert read(path) == ([(2, "a", text)], {(2, 1): problem} if problem else {})


@pytest.mark.parametrize("number", [123456789012345678901234, 10**23, 6.9e23, 123456789012])
def test_id_stored_as_a_number_never_looks_like_an_id(path: Path, number: float) -> None:
    """Digits that Excel has lost are not invented."""
    write(path, lambda book: add_rows(book, [["id", "title"], [number, "x"]]))
    ((_, text, _),), odd_cells = read(path)

    assert (len(str(text)) < 24, odd_cells) == (
        True,
        {(2, 0): "the cell contains a number, not text"},
    )


# --- Unreadable files ------------------------------------------------------------------------


def test_workbook_with_a_password_is_an_error(path: Path) -> None:
    """The error names the password as the cause."""
    path.write_bytes(encrypted())

    assert refusal(path) == "protected by a password. Save it without a password."


@pytest.mark.parametrize("content", [b"no workbook" * 99, b"PK\x03\x04" + b"cut" * 99])
def test_file_that_is_not_a_workbook_is_an_error(path: Path, content: bytes) -> None:
    """An invalid file is reported without a traceback."""
    path.write_bytes(content)

    assert refusal(path).partition(" (")[0] == "cannot be read as a workbook"


@pytest.mark.parametrize(
    ("part", "change"),
    [
        (SHEET_PART, lambda xml: xml[: len(xml) // 2]),
        (SHEET_PART, lambda _: b"no XML"),
        (SHEET_PART, lambda xml: xml.replace(b'<c r="B2" t="s">', b'<c r="B2" t="e">')),
        ("xl/sharedStrings.xml", lambda _: b"<sst"),
        ("xl/workbook.xml", lambda xml: xml[:100]),
    ],
)
def test_damaged_workbook_is_an_error(
    path: Path, part: str, change: Callable[[bytes], bytes]
) -> None:
    """A damaged workbook is not read in part."""
    write(path, lambda book: add_rows(book, [["id", "title"], ["a", "x"]]))
    change_part(path, part, change)

    assert refusal(path).partition(" (")[0] == "cannot be read as a workbook"


@pytest.mark.parametrize("rows", [[], [[" ", ""]]])
def test_workbook_without_cells_is_an_error(path: Path, rows: list[list[object]]) -> None:
    """An empty workbook has no header."""
    write(path, lambda book: add_rows(book, rows))

    assert refusal(path) == "the workbook is empty. Add a header and rows."


def test_workbook_with_only_a_header_has_no_rows(path: Path) -> None:
    """A header without rows is an empty sheet."""
    write(path, lambda book: add_rows(book, [["id", "title"]]))

    assert read(path) == ([], {})


@pytest.mark.parametrize("option", ["delimiter", "encoding"])
def test_text_options_for_a_workbook_are_an_error(path: Path, option: str) -> None:
    """Delimiter and encoding do not apply to a workbook."""
    write(path, lambda book: add_rows(book, [["id", "title"]]))

    assert refusal(path, **{option: "tab"}) == (
        f"delimiter, encoding: {path} is a workbook. Remove these options."
    )


def test_workbook_named_csv_is_an_error(path: Path) -> None:
    """A wrong extension is reported, and the file is not parsed as text."""
    write(path, lambda book: add_rows(book, [["id", "title"]]))
    named = path.rename(path.with_suffix(".csv"))

    assert refusal(named).removeprefix(f"{named}: ") == (
        "the file is an Excel workbook, not text. Rename it to .xlsx."
    )


@pytest.mark.slow
def test_large_workbook_gives_a_notice_before_it_is_read(tmp_path: Path) -> None:
    """The notice explains the delay and how to avoid it."""
    path = tmp_path / "large.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * 150_000_000)
        archive.writestr("xl/sharedStrings.xml", b" " * 50_000_000)
        archive.writestr("xl/media/image1.png", b" " * 90_000_000)
    notices: list[str] = []
    with pytest.raises(SheetError), open_sheet(path, notify=notices.append):
        pass
    expected = (
        f"{path}: large workbook (200 MB unpacked). Reading it takes time and about 0.3 GB "
        "of memory. Save it as CSV to avoid this."
    )
    assert notices == [expected]
