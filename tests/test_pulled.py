"""The sheet that a pull writes: read back as it was written, and good to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_reset.errors import InputError
from bulk_reset.load import open_sheet
from bulk_reset.model import SETTABLE_FIELDS
from bulk_reset.pulled import PulledSheet
from bulk_reset.validate import check_chunk

ID = "69da451e0000000000000001"
BERLIN = ZoneInfo("Europe/Berlin")
ENDINGS = [".csv", ".xlsx"]


def incident(number: int = 1, **values: Any) -> dict[str, Any]:  # noqa: ANN401  (JSON)
    return {
        "incident_id": f"69da451e{number:016x}",
        "num": "00000A",
        "title": "Disk full",
        "incident_severity": "Critical",
        "progress": "Triggered",
        "channel_name": "Ops",
        "start_time": 1_764_061_200,
        "detail_url": f"https://sandbox.invalid/{number}",
        "fields": {},
        **values,
    }


def written(path: Path, *incidents: dict[str, Any], **more: Any) -> Path:  # noqa: ANN401
    rules = more.pop("rules", {})
    with PulledSheet(path, zone=BERLIN, zone_name="Europe/Berlin", **more) as sheet:
        for one in incidents:
            sheet.write(one, rules)
    return path


def texts() -> st.SearchStrategy[str]:
    """Return any text that JSON can bring, and more of what is odd."""
    odd = st.sampled_from(
        ["'=1", "=1+1", "@a", "-b", "a;=1", "x\r\ny", "x\ry", "_x000D_", "'", "\t="]
    )
    return odd | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize("ending", ENDINGS)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(values=st.fixed_dictionaries(dict.fromkeys(SETTABLE_FIELDS, texts())))
def test_a_sheet_that_nobody_edited_sets_nothing(
    ending: str, values: dict[str, str], tmp_path: Path
) -> None:
    """Whatever texts the incidents hold, and however a file changes them."""
    path = tmp_path / f"x{ending}"
    written(path, incident(**values | {"title": f"t{values['title']}"}), overwrite=True)
    with open_sheet(path) as sheet:
        [chunk] = sheet.chunks()
        checked = check_chunk(chunk, sheet.columns)
    assert (checked.ids, checked.mistakes, checked.untouched) == ([ID], [], {0})


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_edited_is_what_is_set(ending: str, tmp_path: Path) -> None:
    """The rest of the row stays alone, and the row knows what it was made from."""
    path = written(tmp_path / f"x{ending}", incident(), incident(2), rules={"impact": "All users"})
    with open_sheet(path) as sheet:
        [chunk] = sheet.chunks()
        checked = check_chunk(chunk, sheet.columns)
    assert [checked.values(place) for place in (0, 1)] == [{"impact": "All users"}] * 2
    was = checked.was_at(0)
    assert was is not None
    assert (was["impact"], was["title"]) == ("", "Disk full")


@pytest.mark.parametrize("ending", ENDINGS)
def test_custom_fields_have_columns_when_they_are_asked_for(ending: str, tmp_path: Path) -> None:
    """Text as it is, a list as JSON; and what is edited is sent as that."""
    custom = ["field:owner", "field:tags:json", "comment"]
    rules = {"field:tags:json": '["b"]', "comment": "Retagged"}
    one = incident(fields={"owner": "ops", "tags": ["a", "ü"]})
    path = written(tmp_path / f"x{ending}", one, custom=custom, rules=rules)
    with open_sheet(path) as sheet:
        [chunk] = sheet.chunks()
        checked = check_chunk(chunk, sheet.columns)
    assert checked.values(0) == rules
    was = checked.was_at(0)
    assert was is not None
    assert (was["field:owner"], was["field:tags"]) == ("ops", ["a", "ü"])


def test_a_workbook_is_made_to_be_edited(tmp_path: Path) -> None:
    """Ids are text, the header stays, severities drop down, what is only to read is grey."""
    path = written(tmp_path / "x.xlsx", incident(), incident(2), rules={"title": "Edited"})
    book = openpyxl.load_workbook(path)
    sheet = book["Incidents"]
    header = [cell.value for cell in sheet[1]]
    letter = {name: sheet.cell(1, place).column_letter for place, name in enumerate(header, 1)}
    assert header[:12] == [
        "Incident ID",
        "Title",
        "Description",
        "Impact",
        "Root cause",
        "Resolution",
        "Severity",
        "Number",
        "Progress",
        "Channel",
        "Started (Europe/Berlin)",
        "Link",
    ]
    assert header[12:] == [f"bulk-reset was {name}" for name in SETTABLE_FIELDS]
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("C2", "A1:R3")
    assert sheet["A2"].number_format == "@"
    assert sheet["A2"].value == ID
    assert sheet["K2"].value == "2025-11-25 10:00:00"
    assert sheet["L2"].hyperlink.target == "https://sandbox.invalid/1"
    drop_down = [
        rule.formula1
        for rule in sheet.data_validations.dataValidation
        if f"{letter['Severity']}2" in rule.sqref
    ]
    assert drop_down == ['"Info,Warning,Critical"']
    grey = sheet["H2"].fill.start_color.rgb
    assert {sheet[f"{one}2"].fill.start_color.rgb for one in "HIJKL"} == {grey}
    assert grey not in {sheet[f"{one}2"].fill.start_color.rgb for one in "ABCDEFG"}
    assert sheet["B2"].fill.start_color.rgb != sheet["C2"].fill.start_color.rgb
    assert sheet.column_dimensions["M"].hidden
    assert not sheet.column_dimensions["B"].hidden


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_sheet_that_is_there_is_not_replaced_unasked(ending: str, tmp_path: Path) -> None:
    """An hour of editing is not lost to a command that was given twice."""
    path = tmp_path / f"x{ending}"
    path.write_text("edited")
    with pytest.raises(InputError, match="may be edited"):
        written(path, incident())
    assert path.read_text() == "edited"
    written(path, incident(), overwrite=True)
    assert path.read_bytes() != b"edited"


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_pull_that_ends_early_leaves_no_half_sheet(ending: str, tmp_path: Path) -> None:
    """Half of the incidents would look like all of them."""

    def breaks() -> None:
        with PulledSheet(tmp_path / f"x{ending}", zone=BERLIN, zone_name="Europe/Berlin") as sheet:
            sheet.write(incident())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaks()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x.ods", "x", "missing/x.csv", "missing/x.xlsx"])
def test_a_place_that_cannot_be_written_is_told_at_once(name: str, tmp_path: Path) -> None:
    """Before thousands of incidents are read."""
    with pytest.raises(InputError, match=r"Give it such a name|Choose another place"):
        written(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_no_workbook_holds_is_told_with_the_incident(tmp_path: Path) -> None:
    """A custom field can be longer than a cell; nothing is cut."""
    long = incident(fields={"log": "x" * 40_000})
    with pytest.raises(InputError, match=r"field:log of 69da451e0000000000000001 has 40,000 char"):
        written(tmp_path / "x.xlsx", long, custom=["field:log"])
    path = written(tmp_path / "x.csv", long, custom=["field:log"])
    assert "x" * 40_000 in path.read_text(encoding="utf-8-sig")
