"""The copy of a sheet with each error at its cell."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest
from openpyxl.comments import Comment

from bulk_reset import check
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import InputError
from bulk_reset.engine.options import Options

ID = "69da451e00000000000000"
RED = "00FFC7CE"


def marked(path: Path, worksheet: str) -> dict[str, str]:
    """Return cell -> comment, of the coloured cells."""
    page = openpyxl.load_workbook(path)[worksheet]
    return {
        cell.coordinate: cell.comment.text if cell.comment else ""
        for row in page.iter_rows()
        for cell in row
        if cell.fill.fgColor.rgb == RED
    }


def kinds(path: Path) -> list[tuple[object, ...]]:
    return [tuple(row) for row in openpyxl.load_workbook(path).worksheets[0].values]


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    """A workbook with a title, an empty first column, merged cells, a note and another sheet."""
    book = openpyxl.Workbook()
    page = book.create_sheet("故障 2026")
    page["B2"] = "Incidents of March"
    for place, name in enumerate(("ID", "Title", "Severity", "Region", "Owner"), 2):
        page.cell(3, place, name)
    page["B4"], page["C4"], page["D4"] = f"{ID}01", "Hi", "critical"
    page["B5"], page["C5"], page["D5"] = f"{ID}02", "=1+", "SEV1"
    page["C5"].data_type = "s"
    page["B6"], page["C6"] = "6.9E+23", "Disk full"
    page["D5"].comment = Comment("ask first", "someone")
    page["C8"] = "Disk full"
    page["B8"] = f"{ID}03"
    page.merge_cells("C8:C9")
    page["B9"] = f"{ID}04"
    book["Sheet"]["A1"] = "kept"
    book.save(tmp_path / "log.xlsx")
    return tmp_path / "log.xlsx"


def test_each_error_is_at_its_cell_of_a_copy_and_the_kinds_are_first(workbook: Path) -> None:
    """The user's own worksheets and notes stay; comments have the problem and the fix."""
    target = workbook.with_name("log.check.xlsx")
    notices: list[str] = []
    result = check(workbook, callbacks=Callbacks(on_notice=notices.append), xlsx=target)

    assert marked(target, "故障 2026") == {
        "C4": "2 characters; the minimum is 3. Enter at least 3 characters, or clear the cell.",
        "D4": "not a severity. Use Critical.",
        "D5": "ask first\nnot a severity. Use Info, Warning or Critical, or clear the cell.",
        "B6": "a spreadsheet converted the ID to a number, and digits are lost. Format the "
        "column as Text, then paste the ID again from its source.",
        "C8": "merged with a cell above it. Unmerge the cells, then enter the text in each.",
    }
    assert [row[:4] for row in kinds(target)] == [
        ("error", "number", "columns", "first cell"),
        ("severity", 2, "Severity", "D4"),
        ("too_short", 1, "Title", "C4"),
        ("id_number", 1, "ID", "B6"),
        ("cell_type", 1, "Title", "C9"),
    ]
    assert openpyxl.load_workbook(target)["Sheet"]["A1"].value == "kept"
    assert len(result.row_errors) == 5


def test_a_copy_that_was_fixed_is_checked_as_it_is(workbook: Path) -> None:
    """The list of kinds is no table of incidents, and older marks go when they are fixed."""
    target = workbook.with_name("log.check.xlsx")
    check(workbook, xlsx=target)
    book = openpyxl.load_workbook(target)
    page = book["故障 2026"]
    page["C4"], page["D4"] = "High load", "Critical"
    book.save(target)
    again = workbook.with_name("again.xlsx")
    result = check(target, xlsx=again)

    assert [one.row_number for one in result.row_errors] == [5, 6, 9]
    assert sorted(marked(again, "故障 2026")) == ["B6", "C8", "D5"]


def test_a_text_file_gets_a_new_workbook_with_the_same_row_numbers(tmp_path: Path) -> None:
    """Blank rows stay, no cell is a formula, and a template is marked at its first cell."""
    sheet = tmp_path / "日志.csv"
    sheet.write_text(
        f"Ref,Region,Name,Sev\n\n{ID}01,=cmd|x,,SEV9\n{ID}02,,,Info\n", encoding="utf-8"
    )
    profile = tmp_path / "p.toml"
    profile.write_text(
        '[columns]\nid = "Ref"\nseverity = "Sev"\n[templates]\n'
        'title = "{% if row.Name %}{{ row.Region }}{% else %}{{ 1 // 0 }}{% endif %}"\n'
    )
    target = tmp_path / "日志.check.xlsx"
    check(sheet, Options(profile=profile), xlsx=target)

    assert marked(target, "Incidents") == {
        "C3": "templates.title: integer division or modulo by zero. Fix templates.title in the "
        "profile, or the row.",
        "D3": "not a severity. Use Info, Warning or Critical, or clear the cell.",
    }
    page = openpyxl.load_workbook(target)["Incidents"]
    assert [(cell.value, cell.data_type) for cell in page[3]] == [
        (f"{ID}01", "s"),
        ("=cmd|x", "s"),
        (None, "n"),
        ("SEV9", "s"),
    ]


def test_a_file_of_another_origin_is_not_replaced(workbook: Path) -> None:
    """Only copies of this program are replaced; the sheet itself never is."""
    target = workbook.with_name("log.check.xlsx")
    target.write_bytes(workbook.read_bytes())
    with pytest.raises(InputError, match="was not made by bulk-reset"):
        check(workbook, xlsx=target)
    with pytest.raises(InputError, match="is the sheet itself"):
        check(workbook, xlsx=workbook)
