"""The template, read by other programs than the one that writes it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import openpyxl
import pytest
from python_calamine import CalamineWorkbook
from typer.testing import CliRunner

from bulk_reset.cli import app
from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import FIELDS
from bulk_reset.sheets.columns import bind, field_named
from bulk_reset.sheets.template import write_template

if TYPE_CHECKING:
    from pathlib import Path

HEADER = ["Incident ID", "Title", "Description", "Impact", "Root cause", "Resolution", "Severity"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "incidents.xlsx"


@pytest.fixture
def workbook(path: Path) -> openpyxl.Workbook:
    write_template(path, rows=500)
    return openpyxl.load_workbook(path)


def test_template_has_one_header_and_no_rows(path: Path) -> None:
    """A run reads the header as the only row of the first worksheet."""
    write_template(path)
    book = CalamineWorkbook.from_path(path)

    assert book.sheet_names == ["Incidents", "Instructions"]
    assert book.get_sheet_by_index(0).to_python() == [HEADER]


def test_header_names_every_field_once() -> None:
    """Every column of the template is a field, and every field has a column."""
    columns = bind(tuple(HEADER), {}, "incidents.xlsx")

    assert (columns.position, columns.notices) == ({f: i for i, f in enumerate(FIELDS)}, ())


def test_every_column_has_one_input_check(workbook: openpyxl.Workbook) -> None:
    """It covers exactly the requested rows."""
    checks = {
        str(check.sqref): (check.type, check.operator, check.formula1, check.formula2)
        for check in workbook["Incidents"].data_validations.dataValidation
    }
    id_formula = (
        "AND(LEN(A2)=24,ISNUMBER(HEX2DEC(MID(A2,1,8))+HEX2DEC(MID(A2,9,8))+HEX2DEC(MID(A2,17,8))))"
    )

    assert checks == {
        "A2:A501": ("custom", None, id_formula, None),
        "B2:B501": ("textLength", None, "3", "200"),
        "C2:C501": ("textLength", None, "3", "6144"),
        "D2:D501": ("textLength", None, "3", "6144"),
        "E2:E501": ("textLength", None, "3", "6144"),
        "F2:F501": ("textLength", None, "3", "6144"),
        "G2:G501": ("list", None, '"Info,Warning,Critical"', None),
    }


def test_wrong_length_is_a_warning_and_wrong_id_an_error(workbook: openpyxl.Workbook) -> None:
    """Excel counts an emoji as two, so for texts it may only warn."""
    checks = workbook["Incidents"].data_validations.dataValidation

    assert [check.errorStyle or "stop" for check in checks] == ["stop", *["warning"] * 5, "stop"]


def test_every_input_check_explains_the_rule_and_the_error(workbook: openpyxl.Workbook) -> None:
    """The rule is shown before typing and after an invalid input."""
    checks = workbook["Incidents"].data_validations.dataValidation
    title = checks[1]

    assert [check.promptTitle for check in checks] == HEADER
    assert (title.prompt, title.error) == (
        "3 to 200 characters. If empty, it is not changed.",
        "Title must have 3 to 200 characters. Excel counts an emoji as two, bulk-reset as one.",
    )
    assert all(check.prompt and check.error for check in checks)


def test_whole_columns_are_text_so_that_ids_keep_their_digits(workbook: openpyxl.Workbook) -> None:
    """An ID of digits and one e does not become a number, in any row."""
    columns = workbook["Incidents"].column_dimensions
    spans = {
        number: column.number_format
        for column in columns.values()
        for number in range(column.min, column.max + 1)
    }

    assert spans == dict.fromkeys(range(1, 8), "@")


def test_header_and_id_are_frozen(workbook: openpyxl.Workbook) -> None:
    """Scrolling keeps the column names and the IDs; every column has a filter."""
    sheet = workbook["Incidents"]

    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("B2", "A1:G501")


def test_instructions_list_rules_and_commands(workbook: openpyxl.Workbook) -> None:
    """The second worksheet has a row for every column, and the commands."""
    rows = list(workbook["Instructions"].iter_rows(values_only=True))
    first = [row[0] for row in rows]

    assert rows[1] == ("Column", "Required", "Rule", "Example")
    assert [row[:3] for row in rows[2:9]] == [
        ("Incident ID", "yes", "24 hexadecimal digits: 0 to 9 and a to f."),
        ("Title", "no", "3 to 200 characters."),
        ("Description", "no", "3 to 6,144 characters."),
        ("Impact", "no", "3 to 6,144 characters."),
        ("Root cause", "no", "3 to 6,144 characters."),
        ("Resolution", "no", "3 to 6,144 characters."),
        ("Severity", "no", "Info, Warning or Critical."),
    ]
    assert rows[first.index("Empty cell")][1] == (
        "The field is not changed. The API does not allow clearing a field."
    )
    assert first[-4:-1] == [
        "bulk-reset check FILE.xlsx",
        "bulk-reset run FILE.xlsx --dry-run",
        "bulk-reset run FILE.xlsx",
    ]
    assert first[-1] == (
        "Replace FILE with the name of this workbook. "
        "The result of every row is written to FILE.report.csv in the same folder."
    )


def test_existing_file_is_kept(path: Path) -> None:
    """A completed template is not lost."""
    path.write_bytes(b"filled in")
    with pytest.raises(InputError) as caught:
        write_template(path)

    assert path.read_bytes() == b"filled in"
    assert str(caught.value) == (
        f"{path}: already exists and may contain edits. "
        "Use another name, or overwrite=True to replace it."
    )


def test_overwrite_replaces_the_file(path: Path) -> None:
    """The file is replaced by a new template."""
    path.write_bytes(b"filled in")
    write_template(path, overwrite=True)

    assert CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python() == [HEADER]


def test_missing_folder_is_an_input_error(tmp_path: Path) -> None:
    """The path is named, without a traceback."""
    path = tmp_path / "missing" / "incidents.xlsx"
    with pytest.raises(InputError) as caught:
        write_template(path)

    assert str(caught.value) == (
        f"{path}: cannot be written (No such file or directory). Use another folder."
    )


def test_name_of_another_file_type_is_an_error(tmp_path: Path) -> None:
    """No program would open a workbook with the extension .csv."""
    path = tmp_path / "incidents.csv"
    with pytest.raises(InputError) as caught:
        write_template(path)

    assert list(tmp_path.iterdir()) == []
    assert str(caught.value) == (
        f"{path}: the template is an Excel workbook. Use a name that ends in .xlsx."
    )


def test_command_prints_the_file_and_the_next_command(tmp_path: Path) -> None:
    """The next command can be copied, even if the name has a space."""
    path = tmp_path / "my incidents.xlsx"
    result = CliRunner().invoke(app, ["template", str(path)])

    assert (result.exit_code, result.stderr, path.exists()) == (0, "", True)
    assert result.stdout == (
        f"Wrote {path}. Fill in the first sheet; the second sheet has instructions.\n"
        f"Next: bulk-reset check '{path}'\n"
    )


def test_command_without_a_name_writes_incidents_xlsx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a name, the template is written to the current folder."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["template"])

    assert (result.exit_code, [file.name for file in tmp_path.iterdir()]) == (
        0,
        ["incidents.xlsx"],
    )


def test_command_keeps_a_file_unless_forced(path: Path) -> None:
    """The error goes to standard error with exit code 2; --force replaces the file."""
    path.write_bytes(b"filled in")
    refused = CliRunner().invoke(app, ["template", str(path)])

    assert (refused.exit_code, refused.stdout, path.read_bytes()) == (2, "", b"filled in")
    assert refused.stderr.startswith(f"error: {path}: already exists")
    assert CliRunner().invoke(app, ["template", str(path), "--force"]).exit_code == 0
    assert path.read_bytes() != b"filled in"


def test_command_is_imported_without_xlsxwriter() -> None:
    """XlsxWriter does not slow down the start."""
    code = "import sys, bulk_reset.cli.template; print('xlsxwriter' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout == "False\n"


def test_column_of_actions_has_a_drop_down(tmp_path: Path) -> None:
    """``template --action`` adds the column, which is read as actions."""
    path = tmp_path / "t.xlsx"
    done = CliRunner().invoke(app, ["template", str(path), "--action"])
    assert done.exit_code == 0, done.output
    sheet = openpyxl.load_workbook(path)["Incidents"]
    found = {one.formula1 for one in sheet.data_validations.dataValidation if one.type == "list"}

    assert sheet.cell(1, 8).value == "action"
    assert '"ack,resolve,reopen"' in found
    assert field_named("action") == "action"
