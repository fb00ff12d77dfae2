"""The copy of the user's workbook: everything is kept, and each row has its result."""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import python_calamine as calamine
import xlsxwriter
from programs import seed_id

from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import InputError
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.records.previous_values import PreviousValues, PreviousValuesFile
from bulk_reset.records.report_file import Report
from bulk_reset.reports.answer_workbook import write_answer
from bulk_reset.reports.answers import COLUMNS, Answer
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.workflows.answer import answer

LINK = "https://sandbox.invalid/incident/{}"
STATUSES = [status for status in Status if status is not Status.PENDING]


def outcome(row: int, incident_id: str, status: Status, error: str = "") -> Outcome:
    digest = f"a{row:023x}"
    return Outcome(row, incident_id, status, ("title",), digest, 1, 200, "", error)


def reported(folder: Path, first_row: int) -> Path:
    """Write a report and previous values of one row of each status; the next row has none."""
    path = folder / "own.report.csv"
    with Report(path) as report, PreviousValuesFile(folder / "own.before.csv") as before:
        for n, status in enumerate(STATUSES, 1):
            row = first_row + n - 1
            error = "=cmd|' /C calc'!A0" if status is Status.FAILED else ""
            made = outcome(row, seed_id(n), status, error)
            report.write(made)
            old, new = {"title": f"Old {n}"}, {"title": "=New" if n == 1 else f"New {n}"}
            before.append([PreviousValues(row, made.digest, seed_id(n), LINK.format(n), old, new)])
        report.flush()
    return path


def workbook(path: Path) -> Path:
    """Write a workbook like a user's, by another library than the one that copies it."""
    with xlsxwriter.Workbook(path) as book:
        titles, owners = book.add_worksheet("Titles"), book.add_worksheet("Owners")
        bold = book.add_format({"bold": True, "bg_color": "#DDEBF7"})
        titles.merge_range(0, 0, 0, 3, "Retitle of October", bold)
        for place, name in enumerate(["Incident ID", "Title", "Length"]):
            titles.write(1, place, name, bold)
        titles.set_column(0, 0, 28)
        titles.set_column(5, 5, None, None, {"hidden": True})
        titles.set_row(3, 33)
        for n in range(1, len(STATUSES) + 2):
            titles.write_string(n + 1, 0, seed_id(n))
            titles.write_string(n + 1, 1, f"New {n}")
            titles.write_formula(n + 1, 2, f"=LEN(B{n + 2})", None, 5)
        titles.data_validation(2, 1, 20, 1, {"validate": "length", "criteria": ">", "value": 2})
        titles.conditional_format(
            2, 2, 20, 2, {"type": "cell", "criteria": ">", "value": 4, "format": bold}
        )
        owners.write(0, 0, "Team", bold)
        owners.set_column(0, 0, 50)
        owners.write_comment(0, 0, "keep me")
        book.define_name("Teams", "=Owners!$A$1:$A$9")
    return path


def answered(folder: Path, sheet: Path, **options: Any) -> Any:  # noqa: ANN401  (a workbook)
    target = answer(folder / "own.report.csv", sheet, **options)
    assert target == folder / "own.answer.xlsx"
    return openpyxl.load_workbook(target)


def test_every_row_has_its_result_beside_it(tmp_path: Path) -> None:
    """Status, previous value, new value, error and link; a colour for each kind of status."""
    sheet = workbook(tmp_path / "own.xlsx")
    reported(tmp_path, 3)
    page = answered(tmp_path, sheet)["Titles"]
    # Right of what is there, the merged title among it.
    assert [cell.value for cell in page[2]] == ["Incident ID", "Title", "Length", None, *COLUMNS]
    found = [[cell.value for cell in row[4:]] for row in page.iter_rows(min_row=3)]
    assert [row[0] for row in found] == [*(status.value for status in STATUSES), "pending"]
    assert found[0] == ["updated", "Old 1", "=New", None, LINK.format(1)]
    assert found[-1] == ["pending", None, None, None, None]
    failed = STATUSES.index(Status.FAILED)
    assert found[failed][3] == "'=cmd|' /C calc'!A0"
    assert {page.cell(3, 5 + n).data_type for n in range(5)} <= {"s", "n"}
    assert page["G3"].quotePrefix
    assert page["I3"].hyperlink.target == LINK.format(1)
    colours = {row[4].value: row[4].fill.start_color.rgb[2:] for row in page.iter_rows(min_row=3)}
    assert colours["updated"] == "C6EFCE"
    assert colours["failed"] == colours["rejected"] == "FFC7CE"
    assert colours["conflict"] == colours["unknown"] == colours["pending"] == "FFEB9C"
    assert (page.freeze_panes, page.auto_filter.ref) == ("A3", f"A2:I{page.max_row}")


def test_the_rest_of_the_workbook_is_unchanged(tmp_path: Path) -> None:
    """Other worksheets, widths, formats, formulas, checks, names and comments."""
    sheet = workbook(tmp_path / "own.xlsx")
    content = sheet.read_bytes()
    reported(tmp_path, 3)
    before, after = openpyxl.load_workbook(sheet), answered(tmp_path, sheet)
    assert sheet.read_bytes() == content
    assert before.sheetnames == after.sheetnames
    assert after.defined_names["Teams"].attr_text == "Owners!$A$1:$A$9"
    assert after["Owners"]["A1"].comment.text == before["Owners"]["A1"].comment.text
    for name in before.sheetnames:
        for row in before[name].iter_rows():
            for cell in row:
                other = after[name][cell.coordinate]
                assert (other.value, other.fill.start_color.rgb, other.font.b) == (
                    cell.value,
                    cell.fill.start_color.rgb,
                    cell.font.b,
                )
    page = after["Titles"]
    assert page["C3"].value == "=LEN(B3)"
    assert page.column_dimensions["A"].width == before["Titles"].column_dimensions["A"].width
    assert page.row_dimensions[4].height == 33
    assert [str(area) for area in page.merged_cells.ranges] == ["A1:D1"]
    assert len(page.data_validations.dataValidation) == 1
    assert len(page.conditional_formatting) == 1
    # A second reader takes it for a workbook, too.
    rows = calamine.CalamineWorkbook.from_path(str(tmp_path / "own.answer.xlsx"))
    assert rows.get_sheet_by_name("Titles").to_python()[2][4] == "updated"


def test_earlier_results_are_replaced(tmp_path: Path) -> None:
    """Running the copy repeatedly leaves one set of results, and the user's own columns."""
    sheet = workbook(tmp_path / "own.xlsx")
    report = reported(tmp_path, 3)
    answered(tmp_path, sheet)
    once = (tmp_path / "own.answer.xlsx").rename(tmp_path / "mine.xlsx")
    with Report(report) as again:
        again.write(outcome(3, seed_id(1), Status.CONFLICT, "changed"))
        again.flush()
    page = answered(tmp_path, once)["Titles"]
    assert [cell.value for cell in page[2]] == ["Incident ID", "Title", "Length", None, *COLUMNS]
    assert [page["E3"].value, page["H3"].value] == ["conflict", "changed"]


def test_an_excel_table_keeps_its_own_filter(tmp_path: Path) -> None:
    """Excel reports a file with two filters over the same cells as damaged."""
    with xlsxwriter.Workbook(tmp_path / "own.xlsx") as book:
        page = book.add_worksheet()
        rows = [[seed_id(n), f"New {n}"] for n in range(1, len(STATUSES) + 2)]
        columns = [{"header": "id"}, {"header": "title"}]
        page.add_table(0, 0, len(rows), 1, {"data": rows, "columns": columns})
    reported(tmp_path, 2)
    page = answered(tmp_path, tmp_path / "own.xlsx").active
    assert list(page.tables) == ["Table1"]
    assert page.tables["Table1"].ref == f"A1:B{len(STATUSES) + 2}"
    assert page.auto_filter.ref is None
    assert page["C2"].value == "updated"


def test_of_a_csv_a_workbook_is_made(tmp_path: Path) -> None:
    """Ids and numbers stay text, a text like a formula is none; here of an older version's pull."""
    sheet = tmp_path / "own.csv"
    lines = [f"{seed_id(n)},'=1+{n},007,'=1+{n}" for n in range(1, len(STATUSES) + 2)]
    header = "incident_id,title,Owner,bulk-reset was title"
    sheet.write_text("\n".join([header, *lines]) + "\n")
    reported(tmp_path, 2)
    page = answered(tmp_path, sheet).active
    assert [cell.value for cell in page[1]] == [*header.split(","), *COLUMNS]
    cells = [seed_id(1), "'=1+1", "007", "'=1+1", "updated"]  # guarded, as in the sheet
    assert [cell.value for cell in page[2]][:5] == cells
    assert [cell.data_type for cell in page[2]][:4] == ["s"] * 4
    assert page.column_dimensions["D"].hidden
    assert (page.freeze_panes, page.auto_filter.ref) == ("A2", f"A1:I{len(STATUSES) + 2}")


def test_the_sheet_is_found_by_the_reports_name(tmp_path: Path) -> None:
    """The sheet beside the report is used; for a sheet elsewhere the error names --of."""
    report = reported(tmp_path, 3)
    with pytest.raises(InputError, match="Use sheet='SHEET'"):
        answer(report)
    workbook(tmp_path / "own.xlsx")
    assert answer(report) == tmp_path / "own.answer.xlsx"


def test_a_report_of_another_sheet_is_an_error(tmp_path: Path) -> None:
    """Wrong results would look like right ones."""
    (tmp_path / "other.csv").write_text(f"id,title\n{seed_id(99)},Other\n")
    reported(tmp_path, 3)
    with pytest.raises(InputError, match="belongs to another sheet, not to"):
        answered(tmp_path, tmp_path / "other.csv")
    assert not (tmp_path / "own.answer.xlsx").exists()


def test_a_sheet_that_was_sorted_since_has_its_results(tmp_path: Path) -> None:
    """A row that moved is the same row; an incident on two rows is ambiguous."""
    reported(tmp_path, 2)
    numbers = [3, 1, 2, 2]
    rows = [f"{seed_id(n)},New {n}\n" for n in numbers]
    (tmp_path / "own.csv").write_text("id,title\n" + "".join(rows))
    page = answered(tmp_path, tmp_path / "own.csv")["Incidents"]
    found = [page.cell(row, 3).value for row in range(2, 6)]
    assert found == [STATUSES[2], STATUSES[0], "pending", "pending"]


def test_the_sheet_itself_is_never_overwritten(tmp_path: Path) -> None:
    """Under any name, also through a link."""
    sheet = workbook(tmp_path / "own.xlsx")
    link = tmp_path / "link.xlsx"
    link.symlink_to(sheet)
    with open_sheet(sheet) as table, pytest.raises(InputError, match="is the sheet itself"):
        write_answer(table, link, {3: Answer(Status.UPDATED)})


def test_a_text_that_no_cell_can_hold_is_made_visible_or_cut(tmp_path: Path) -> None:
    """The report still has the complete text."""
    sheet = workbook(tmp_path / "own.xlsx")
    sheet.chmod(0o600)
    target = tmp_path / "own.answer.xlsx"
    with open_sheet(sheet) as table:
        answer = Answer(Status.FAILED, "a\x1b[31m", "x" * 40_000, "", "javascript:alert(1)")
        write_answer(table, target, {3: answer})
    page = openpyxl.load_workbook(target)["Titles"]
    assert page["F3"].value == "a\N{REPLACEMENT CHARACTER}[31m"
    assert (len(page["G3"].value), page["G3"].value[-1]) == (32_767, "…")
    assert page["I3"].hyperlink is None
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """It contains what to do, and no incomplete file is left."""
    sheet = workbook(tmp_path / "own.xlsx")
    with open_sheet(sheet) as table, pytest.raises(InputError, match="cannot be written"):
        write_answer(table, tmp_path / "missing" / "x.xlsx", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.xlsx"]


# --- Workbooks that openpyxl does not know ----------------------------------------------------

EXTENSION = """<extLst><ext xmlns:x14="http://schemas.microsoft.com/office/spreadsheetml/2009/9/main"
 uri="{CCE6A557-97BC-4b89-ADB6-D9C93CAAB3DF}"><x14:dataValidations
 xmlns:xm="http://schemas.microsoft.com/office/excel/2006/main" count="2">
<x14:dataValidation type="list" allowBlank="1" showErrorMessage="1" error="Choose a team"
 xr:uid="{1}" xmlns:xr="urn:x"><x14:formula1><xm:f>Owners!$A$1:$A$9</xm:f></x14:formula1>
<xm:sqref>B3:B9 D3</xm:sqref></x14:dataValidation>
<x14:dataValidation type="whole" operator="between"><x14:formula1><xm:f>Owners!$B$1</xm:f>
</x14:formula1><x14:formula2><xm:f>Owners!$B$2</xm:f></x14:formula2><xm:sqref>C3</xm:sqref>
</x14:dataValidation></x14:dataValidations></ext>
<ext xmlns:x14="http://schemas.microsoft.com/office/spreadsheetml/2009/9/main"
 uri="{78C0D931-6437-407d-A8EE-F0AAD7539E65}"><x14:conditionalFormattings/></ext></extLst>"""
STRICT = re.compile(
    rb"http://schemas\.openxmlformats\.org/(spreadsheetml|officeDocument|drawingml)/2006/"
)


def changed_members(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    """Change every member of an archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: change(name, archive.read(name)) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def extend(name: str, content: bytes) -> bytes:
    if name != "xl/worksheets/sheet1.xml":
        return content
    return content.replace(b"</worksheet>", EXTENSION.encode() + b"</worksheet>")


def test_validations_that_refer_to_other_worksheets_are_kept(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """Excel stores them in an extension; what is lost is a notice in our words."""
    sheet = workbook(tmp_path / "own.xlsx")
    changed_members(sheet, extend)
    reported(tmp_path, 3)
    notices: list[str] = []
    target = answer(
        tmp_path / "own.report.csv", sheet, callbacks=Callbacks(on_notice=notices.append)
    )
    found = openpyxl.load_workbook(target)["Titles"].data_validations.dataValidation

    assert [(one.type, one.formula1, one.formula2, str(one.sqref)) for one in found] == [
        ("textLength", "2", None, "B3:B21"),
        ("list", "Owners!$A$1:$A$9", None, "B3:B9 D3"),
        ("whole", "Owners!$B$1", "Owners!$B$2", "C3"),
    ]
    assert (found[1].allowBlank, found[1].showErrorMessage, found[1].error) == (
        True,
        True,
        "Choose a team",
    )
    assert notices[-1] == (
        f"{target}: conditional formats with references, bars or icons may not all be in the copy"
    )
    assert list(recwarn) == []


def test_copy_of_a_strict_workbook_has_its_worksheets(tmp_path: Path) -> None:
    """Excel's "Strict Open XML" has other names, which openpyxl does not know."""
    sheet = workbook(tmp_path / "own.xlsx")
    changed_members(
        sheet, lambda _, content: STRICT.sub(rb"http://purl.oclc.org/ooxml/\1/", content)
    )
    reported(tmp_path, 3)
    book = answered(tmp_path, sheet)

    assert book.sheetnames == ["Titles", "Owners"]
    assert [cell.value for cell in book["Titles"][3]][:5] == [
        *(seed_id(1), "New 1", "=LEN(B3)", None, "updated"),
    ]


DAMAGES: dict[str, Callable[[str, bytes], bytes]] = {
    "a font": lambda name, xml: (
        xml.replace(b'<family val="2"/>', b'<family val="99"/>') if "styles" in name else xml
    ),
    "styles": lambda name, xml: b"<styleSheet/>" if "styles" in name else xml,
    "a validation": lambda _, xml: xml.replace(b'type="textLength"', b'type="none such"'),
    "a theme": lambda name, xml: xml[:100] if "comments" in name else xml,
}


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES)
def test_damaged_workbook_is_an_error_or_a_valid_copy(
    change: Callable[[str, bytes], bytes], tmp_path: Path
) -> None:
    """Whatever openpyxl raises is an error of the workbook, and no file is left."""
    sheet = workbook(tmp_path / "own.xlsx")
    changed_members(sheet, change)
    reported(tmp_path, 3)
    try:
        answer(tmp_path / "own.report.csv", sheet)
    except InputError as error:
        assert str(error).startswith(f"{sheet}: its formatting cannot be copied (")  # noqa: PT017
        assert not (tmp_path / "own.answer.xlsx").exists()
    else:
        assert openpyxl.load_workbook(tmp_path / "own.answer.xlsx").sheetnames[0] == "Titles"


@pytest.mark.parametrize("ending", ["xlsx", "csv"])
def test_copy_is_valid_whatever_the_texts(ending: str, tmp_path: Path) -> None:
    """No text makes a file that Excel repairs, and each is read as it was written."""
    header = ["incident_id", "title"]
    texts = ["\ufffe", "\ud83d half", "\x07", "_x0041_", "#N/A", "=1+1", "😀" * 20_000, "a\r\nb"]
    path = tmp_path / f"own.{ending}"
    if ending == "csv":
        path.write_text("\n".join([",".join(header), *(f"{seed_id(1)},x" for _ in texts)]))
    else:
        with xlsxwriter.Workbook(path) as book:
            page = book.add_worksheet()
            for row, cells in enumerate([header, *([seed_id(1), "x"] for _ in texts)]):
                page.write_row(row, 0, cells)
    answers = {row: Answer(Status.FAILED, text, "", text) for row, text in enumerate(texts, 2)}
    target = tmp_path / "own.answer.xlsx"
    with open_sheet(path) as table:
        write_answer(table, target, answers)
    rows = calamine.CalamineWorkbook.from_path(str(target)).get_sheet_by_index(0).to_python()

    expected = ["�", "� half", "�", "_x0041_", "#N/A", "=1+1", f"{'😀' * 16_383}…", "a\nb"]
    assert [row[3] for row in rows[1:]] == expected
    assert [row[5] for row in rows[1:]] == expected


def test_workbook_without_free_columns_is_an_error(tmp_path: Path) -> None:
    """Excel has 16,384 columns."""
    with xlsxwriter.Workbook(tmp_path / "own.xlsx") as book:
        page = book.add_worksheet()
        page.write_row(0, 0, ["incident_id", "title"])
        page.write_row(1, 0, [seed_id(1), "New 1"])
        page.write(0, 16_383, "Last")
    reported(tmp_path, 2)
    with pytest.raises(InputError, match="has no 5 free columns right of its cells"):
        answer(tmp_path / "own.report.csv", tmp_path / "own.xlsx")
