"""Custom fields of one's own in the sandbox: a file of definitions, and a rehearsal with it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import openpyxl
import pytest
from typer.testing import CliRunner

from bulk_reset import InputError, Options, check, plan, pull
from bulk_reset.cli import app
from bulk_reset.core.plan import RowPlan
from bulk_reset.sandbox import fields_beside, load_fields
from bulk_reset.workflows.incident_query import query_of

REGION = {"field_name": "region", "field_type": "single_select", "options": ["eu", "华北"]}
URGENT = {"field_name": "urgent", "field_type": "checkbox", "display_name": "紧急"}


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_definitions_are_read_with_their_defaults(tmp_path: Path) -> None:
    """A name and a type are enough; a select needs options."""
    path = write(tmp_path / "s.fields.json", [REGION, URGENT])

    assert load_fields(path) == (
        {**REGION, "display_name": "region", "status": "enabled"},
        {**URGENT, "options": None, "status": "enabled"},
    )
    assert fields_beside(tmp_path / "s.json") == load_fields(path)
    assert (fields_beside(tmp_path / "other.json"), fields_beside(None)) == ((), ())


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({}, "found an object. Give a list of fields: [{...}, ...]."),
        (
            [[]],
            (
                "field 1: found a list. Give an object such as "
                '{"field_name": "region", "field_type": "single_select", "options": ["eu"]}.'
            ),
        ),
        (
            [{**URGENT, "type": "x"}],
            (
                "field 1, key 'type': not known. The keys are field_name, display_name, "
                "field_type, options, status."
            ),
        ),
        (
            [URGENT, {"field_name": "x", "field_type": "number"}],
            (
                "field 2, field_type: not a type. The types are checkbox, single_select, "
                "multi_select, text."
            ),
        ),
        (
            [{"field_name": "x", "field_type": "multi_select", "options": []}],
            'field 1, options: needed for multi_select. Give a list such as ["eu", "us"].',
        ),
        ([URGENT, URGENT], "two fields 'urgent'. Remove one."),
    ],
)
def test_wrong_definition_is_a_clear_error(tmp_path: Path, content: object, error: str) -> None:
    """Each error names the field, the key and the fix, on the command line and in a rehearsal."""
    path = write(tmp_path / "s.fields.json", content)
    with pytest.raises(ValueError, match=r"fields\.json") as caught:
        load_fields(path)
    assert str(caught.value) == f"{path}: {error}"
    command = CliRunner().invoke(app, ["sandbox", "--fields", str(path)])
    assert (command.exit_code, command.stderr.replace("\n", "")) == (2, f"error: {path}: {error}")
    sheet = tmp_path / "x.csv"
    sheet.write_text("id,title\n")
    with pytest.raises(InputError) as refused:
        plan(sheet, Options(sandbox_state=tmp_path / "s.json"))
    assert str(refused.value).endswith(f"{path}: {error}")


def test_rehearsal_has_the_fields_beside_its_state(tmp_path: Path) -> None:
    """A sheet with own fields is checked, planned and given drop-downs as with the account's."""
    write(tmp_path / "s.fields.json", [REGION, URGENT])
    options = Options(sandbox_state=tmp_path / "s.json")
    pulled = tmp_path / "pulled.xlsx"
    pull(
        pulled,
        query_of("30d", "now", now=dt.datetime.now(dt.UTC)),
        options,
        custom=["field:region", "action"],
    )
    page = openpyxl.load_workbook(pulled)["Incidents"]
    lists = [one.formula1 for one in page.data_validations.dataValidation if one.type == "list"]
    assert {'"eu,华北"', '"ack,resolve,reopen"'} <= set(lists)
    first = next(str(cell.value) for cell in page["A"][1:])
    sheet = tmp_path / "x.csv"
    sheet.write_text(f"id,field:region,field:紧急\n{first},EU,是\n", encoding="utf-8")
    rows: list[RowPlan] = []
    plan(sheet, options, add=rows.append)
    assert [[(one.field, one.new) for one in row.fields] for row in rows] == [
        [("field:region", "eu"), ("field:urgent", "true")]
    ]
    sheet.write_text(f"id,field:region\n{first},mars\n")
    errors = check(sheet, options).row_errors
    assert [(one.row_number, one.column) for one in errors] == [(2, "field:region")]
