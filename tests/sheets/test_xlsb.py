"""Binary workbooks: the same strictness as for .xlsx, from their records."""

from __future__ import annotations

import datetime as dt
import struct
from pathlib import Path

import pytest
import xlsxwriter
from sheet_zoo import A, B, inspect_sheet
from workbooks import read
from xlsb_files import (
    FORMATS,
    Sheet,
    boolean,
    error,
    formula_error,
    formula_number,
    formula_text,
    real,
    record,
    rich_text,
    rk,
    text,
    write_xlsb,
)

from bulk_reset.core.errors import InputError
from bulk_reset.sheets.open_sheet import open_sheet

HEADER = ("id", "title")
PERCENT, DATE, ZEROS, TEXT = (FORMATS.index(one) for one in ("0%", "yyyy-mm-dd", "000", "@"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "故障.xlsb"


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught, open_sheet(path, **options) as sheet:
        list(sheet.chunks())
    return str(caught.value).removeprefix(f"{path}: ")


def test_same_table_is_read_as_in_xlsx(path: Path, tmp_path: Path) -> None:
    """Texts, numbers, dates, formats, errors, blank rows, merged cells and a hidden row."""
    other = tmp_path / "故障.xlsx"
    with xlsxwriter.Workbook(other) as book:
        sheet = book.add_worksheet("Table")
        styles = [book.add_format({"num_format": code}) for code in FORMATS]
        sheet.write_row(0, 0, HEADER)
        sheet.write_row(1, 0, [A, "磁盘已满 😀\nline two"])
        values = [(2024, 0), (5, PERCENT), (7, ZEROS), (2.5, 0), (1e11, 0), (12, TEXT)]
        for row, (value, style) in enumerate(values, 3):
            sheet.write_string(row, 0, B)
            sheet.write_number(row, 1, value, styles[style])
        sheet.write_datetime(9, 1, dt.datetime(2024, 5, 6), styles[DATE])  # noqa: DTZ001
        sheet.write_boolean(10, 1, True)
        sheet.write_formula(11, 1, "=1/0", None, "#DIV/0!")
        sheet.write_formula(12, 1, "=1+1", None, 2)
        sheet.write_formula(13, 1, '="a"&"b"', None, "ab")
        sheet.merge_range(14, 0, 14, 1, "m")
        sheet.write_string(15, 1, "hidden")
        sheet.set_row(15, None, None, {"hidden": True})
    rows: list[list[object]] = [
        list(HEADER),
        [A, "磁盘已满 😀\nline two"],
        [],
        [B, rk(2024)],
        [B, real(5, PERCENT)],
        [B, rk(7, ZEROS)],
        [B, real(2.5)],
        [B, real(1e11)],
        [B, rk(12, TEXT)],
        [None, real(45418, DATE)],
        [None, boolean(value=True)],
        [None, formula_error(0x07)],
        [None, formula_number(2.0)],
        [None, formula_text("ab")],
        ["m", text("")],
        [None, "hidden"],
    ]
    write_xlsb(path, Sheet(rows, hidden=frozenset({15}), merged=[(14, 14, 0, 1)]))

    assert read(path) == read(other)
    found, expected = inspect_sheet(path), inspect_sheet(other)
    assert (found.rows, found.row_errors) == (expected.rows, expected.row_errors)
    assert found.notices == expected.notices.replace(".xlsx", ".xlsb")


@pytest.mark.parametrize(
    ("cell", "is_calculated", "shown", "problem"),
    [
        (formula_number(0.0), False, "=…", "the formula was never calculated"),
        (formula_number(0.0), True, "0", ""),
        (error(0x2A), True, "#N/A", "the formula failed with #N/A"),
        (rich_text("rich"), True, "rich", "a text that is stored in an unusual way"),
    ],
)
def test_cell_has_a_text_only_if_it_is_certain(
    path: Path, cell: object, is_calculated: bool, shown: str, problem: str
) -> None:
    """What calamine leaves out is an error, never an empty cell."""
    rows = [HEADER, (A, cell)]
    write_xlsb(path, Sheet(rows), is_calculated=is_calculated)

    assert read(path) == ([(2, A, shown)], {(2, 1): problem} if problem else {})


def test_worksheet_is_chosen_as_in_xlsx(path: Path) -> None:
    """Hidden worksheets only by name; two tables are an error."""
    sheets = [
        Sheet([("Read me",)], "Notes"),
        Sheet([HEADER, (A, "Disk full")], "七月"),
        Sheet([HEADER, (B, "Queue full")], "Old", state=2),
    ]
    write_xlsb(path, *sheets)
    assert read(path)[0] == [(2, A, "Disk full")]
    assert read(path, sheet_name="Old")[0] == [(2, B, "Queue full")]
    write_xlsb(path, sheets[1], Sheet([HEADER, (B, "x")], "八月"))
    assert refusal(path).startswith("several worksheets contain a table: '七月', '八月'.")


DAMAGED = "cannot be read as a workbook ({}). Save it again, or rename it to .csv if it is text."


@pytest.mark.parametrize(
    ("further", "problem"),
    [
        (record(13, struct.pack("<I", 0)), "it has cells without a column"),
        (b"\x01\xff\xff\xff\x7f", "a record is too large"),
        (b"\x01\x7f", "a record is cut off"),
        (record(0, struct.pack("<IIHBBBI", 1 << 21, 0, 0, 0, 0, 0, 0)), "it has a row 2,097,152"),
        (
            record(6, struct.pack("<III", 20_000, 0, 0)),
            "row 2 has more than 16,384 cells",
        ),
    ],
)
def test_damaged_records_are_a_clear_error(path: Path, further: bytes, problem: str) -> None:
    """Nothing is read of a file whose records do not fit together."""
    write_xlsb(path, Sheet([HEADER, (A, "Disk full")], further=further))

    assert refusal(path) == DAMAGED.format(problem)


def test_grid_that_fills_the_memory_is_refused(path: Path) -> None:
    """One cell far away makes a reader allocate everything before it."""
    row = record(0, struct.pack("<IIHBBBI", 1_000_000, 0, 0, 0, 0, 0, 0))
    far = row + record(6, struct.pack("<II", 16_000, 0) + struct.pack("<I", 1) + b"x\0")
    write_xlsb(path, Sheet([HEADER, (A, "Disk full")], further=far))

    assert refusal(path) == (
        "worksheet 'Table' has cells up to row 1,000,001 and column 16,001. Delete the empty rows "
        "and columns, or save it as CSV."
    )
