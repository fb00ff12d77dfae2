"""The sheet that a pull writes: read back unchanged, and formatted for people."""

from __future__ import annotations

import csv
import errno
import os
import re
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_reset.core.custom_fields import header_of
from bulk_reset.core.errors import InputError, SheetError
from bulk_reset.core.fields import SETTABLE_FIELDS
from bulk_reset.sheets import pulled_sheet
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.pulled_sheet import PulledSheet
from bulk_reset.sheets.pulled_values import (
    MEMORY_SHEET,
    MemoryRow,
    check_of,
    memory_of,
    shown_columns,
)
from bulk_reset.sheets.validation import check_chunk

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


def checked(incident_id: str, was: dict[str, str], json_names: Sequence[str] = ()) -> str:
    """Return the check of an incident's pulled values and read-only cells."""
    read_only = [str(incident()[name]) for name in ("num", "progress", "channel_name")]
    return MemoryRow.of(incident_id, was, json_names, read_only).check


def written(path: Path, *incidents: dict[str, Any], **more: Any) -> Path:  # noqa: ANN401
    rules = more.pop("rules", {})
    more["custom"] = dict.fromkeys(more.get("custom", ()), ())
    with PulledSheet(path, zone=BERLIN, zone_name="Europe/Berlin", **more) as sheet:
        for one in incidents:
            sheet.write(one, rules)
    return path


def read(path: Path) -> list[dict[str, str]]:
    """Return all cells as a run reads them, with the pulled value of each field."""
    found = []
    with open_sheet(path) as sheet:
        for chunk in sheet.chunks():
            assert chunk.recalled is not None
            was = {f"was {header_of(name)}": texts for name, texts in chunk.recalled.was.items()}
            columns = [*shown_columns(chunk, sheet.columns.position), *was.values()]
            found += [
                dict(zip([*sheet.columns.header, *was], cells, strict=True))
                for cells in zip(*columns, strict=True)
            ]
            assert not chunk.refused
    return found


def texts() -> st.SearchStrategy[str]:
    """Return any text that JSON can contain, with more unusual ones."""
    starts = ["'=1", "=1+1", "@a", "-b", "a;=1", "'", "''=", "\t=", "\n=1", "\uff1d1"]
    lines = ["x\r\ny", "x\ry", "\r", "\n", "\u2028", " a ", "\t"]
    markup = ["_x000D_", "<r>a</r>", "<r><t>a</t></r>", "<![CDATA[", "&amp;"]
    odd = ["a\x00b", "\x0b", "\x1b[1m", "\ud800 half", "\ufffe", "\ufeff", "\N{BUG}"]
    return st.sampled_from([*starts, *lines, *markup, *odd]) | st.text(st.characters(), max_size=30)


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=60)
@given(values=st.fixed_dictionaries(dict.fromkeys(SETTABLE_FIELDS, texts())))
def test_unedited_sheet_sets_nothing(ending: str, values: dict[str, str], tmp_path: Path) -> None:
    """For all texts of incidents, and all changes that a file format makes to them."""
    path = tmp_path / f"x{ending}"
    written(path, incident(**values | {"title": f"t{values['title']}"}), overwrite=True)
    with open_sheet(path) as sheet:
        [chunk] = sheet.chunks()
        checked = check_chunk(chunk, sheet.columns)
    assert (checked.ids, checked.row_errors, checked.untouched) == ([ID], [], {0})


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=60)
@given(values=st.lists(texts(), min_size=7, max_size=7))
def test_every_text_is_read_back_with_its_pulled_value(
    ending: str, values: list[str], tmp_path: Path
) -> None:
    """Including line endings; only halves of characters become U+FFFD."""
    named = dict(zip([*SETTABLE_FIELDS, "field:note"], values, strict=True))
    one = incident(**named, fields={"note": values[-1], "tags": values})
    custom = ["field:note", "field:tags:json"]
    [row] = read(written(tmp_path / f"x{ending}", one, custom=custom, overwrite=True))
    wanted = {
        name: re.sub("[\ud800-\udfff\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", text)
        for name, text in named.items()
    }
    places = [*pulled_sheet.HEADER_OF.values()][1:] + custom
    assert {name: row[f"was {name}"] for name in named} == wanted
    assert [row[place] for place in places] == [row[f"was {name}"] for name in [*named, custom[1]]]


@pytest.mark.parametrize("text", ["<r>a</r>", "<r><t>a</t></r>", "<r>&</r>", "<r> \n </r>"])
def test_text_like_markup_stays_text(text: str, tmp_path: Path) -> None:
    """No title is lost or becomes markup, for any reader."""
    path = written(tmp_path / "x.xlsx", incident(title=text))
    seen = openpyxl.load_workbook(path)["Incidents"]["B2"].value
    assert (read(path)[0]["Title"], openpyxl.utils.escape.unescape(seen)) == (text, text)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (1_764_061_200, "2025-11-25 10:00:00"),
        (0, ""),
        (None, ""),
        (10**12, "1000000000000"),
        (10**18, "1000000000000000000"),
    ],
)
def test_times_are_local_and_invalid_times_do_not_stop_a_pull(
    ending: str, at: object, shown: str, tmp_path: Path
) -> None:
    """A time outside the calendar is shown as its number."""
    [row] = read(written(tmp_path / f"x{ending}", incident(start_time=at)))
    assert row["Started (Europe/Berlin)"] == shown


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("https://sandbox.invalid/1?a=b;=c", "https://sandbox.invalid/1?a=b;=c"),
        ("https://sandbox.invalid/\x00", None),
        ("https://sandbox.invalid/" + "x" * 2_100, None),
        ("javascript:alert(1)", None),
        ("external:secret.xlsx", None),
        ("=1+1", None),
    ],
)
def test_link_is_the_api_address_or_plain_text(
    link: str, target: str | None, tmp_path: Path
) -> None:
    """The cell's text is kept, and only a web address becomes a link."""
    path = written(tmp_path / "x.xlsx", incident(detail_url=link))
    hyperlink = openpyxl.load_workbook(path)["Incidents"]["M2"].hyperlink
    assert (hyperlink and hyperlink.target, read(path)[0]["Link"]) == (target, link)


def test_links_beyond_the_limit_of_excel_are_plain_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Excel would repair a worksheet with more than 65,530 links by removing all of them."""
    assert pulled_sheet._MAX_LINKS == 65_530  # noqa: SLF001  (made small below)
    monkeypatch.setattr(pulled_sheet, "_MAX_LINKS", 2)
    path = written(tmp_path / "x.xlsx", *map(incident, range(1, 5)))
    sheet = openpyxl.load_workbook(path)["Incidents"]
    assert [sheet[f"M{row}"].hyperlink is not None for row in range(2, 6)] == [
        True,
        True,
        False,
        False,
    ]
    assert [row["Link"] for row in read(path)] == [
        f"https://sandbox.invalid/{number}" for number in range(1, 5)
    ]


@pytest.mark.parametrize("ending", ENDINGS)
def test_only_edited_cells_are_set(ending: str, tmp_path: Path) -> None:
    """The other fields are not changed, and the row knows its pulled values."""
    path = written(tmp_path / f"x{ending}", incident(), incident(2), rules={"impact": "All users"})
    with open_sheet(path) as sheet:
        [chunk] = sheet.chunks()
        checked = check_chunk(chunk, sheet.columns)
    assert [checked.values(place) for place in (0, 1)] == [{"impact": "All users"}] * 2
    was = checked.was_at(0)
    assert was is not None
    assert (was["impact"], was["title"]) == ("", "Disk full")


@pytest.mark.parametrize("ending", ENDINGS)
def test_requested_custom_fields_have_columns(ending: str, tmp_path: Path) -> None:
    """Text as text, a list as JSON; edits are sent in the same form."""
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


def test_workbook_is_prepared_for_editing(tmp_path: Path) -> None:
    """IDs are text, the header is frozen, severities have a list, read-only columns are grey."""
    path = written(tmp_path / "x.xlsx", incident(), incident(2), rules={"title": "Edited"})
    book = openpyxl.load_workbook(path)
    sheet = book["Incidents"]
    header = [cell.value for cell in sheet[1]]
    letter = {name: sheet.cell(1, place).column_letter for place, name in enumerate(header, 1)}
    assert header[:13] == [
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
        "Pinned",
        "Link",
    ]
    assert len(header) == 13
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("C2", "A1:M3")
    assert sheet["A2"].number_format == "@"
    assert sheet["A2"].value == ID
    assert sheet["K2"].value == "2025-11-25 10:00:00"
    assert sheet["M2"].hyperlink.target == "https://sandbox.invalid/1"
    drop_down = [
        rule.formula1
        for rule in sheet.data_validations.dataValidation
        if f"{letter['Severity']}2" in rule.sqref
    ]
    assert drop_down == ['"Info,Warning,Critical"']
    grey = sheet["H2"].fill.start_color.rgb
    assert {sheet[f"{one}2"].fill.start_color.rgb for one in "HIJKM"} == {grey}
    assert grey not in {sheet[f"{one}2"].fill.start_color.rgb for one in "ABCDEFG"}
    assert sheet["B2"].fill.start_color.rgb != sheet["C2"].fill.start_color.rgb
    assert not any(column.hidden for column in sheet.column_dimensions.values())
    prompts = {
        cells: rule.prompt
        for rule in sheet.data_validations.dataValidation
        for cells in str(rule.sqref).split()
        if rule.promptTitle == "Read-only"
    }
    assert prompts == {
        f"{one}2:{one}1048576": "Changes in this column are not sent." for one in "HIJKLM"
    }
    colours = [sheet[f"{one}1"].fill.start_color.rgb for one in "ABH"]
    assert len(set(colours)) == 3
    # Two lines of each text; and no warning for numbers that are stored as text.
    assert [sheet.row_dimensions[row].height for row in (2, 3)] == [30, 30]
    with zipfile.ZipFile(path) as archive:
        assert b'numberStoredAsText="1"' in archive.read("xl/worksheets/sheet1.xml")


@pytest.mark.parametrize("ending", ENDINGS)
def test_existing_sheet_is_not_replaced_without_overwrite(ending: str, tmp_path: Path) -> None:
    """Edits are not lost when a command is run twice."""
    path = tmp_path / f"x{ending}"
    path.write_text("edited")
    with pytest.raises(InputError, match="already exists and may contain edits"):
        written(path, incident())
    assert path.read_text() == "edited"
    written(path, incident(), overwrite=True)
    assert path.read_bytes() != b"edited"


@pytest.mark.parametrize("ending", ENDINGS)
def test_sheet_created_during_the_pull_is_not_replaced(ending: str, tmp_path: Path) -> None:
    """A pull takes minutes; another program may create a sheet of that name in that time."""
    path = tmp_path / f"x{ending}"

    def write_into_the_others_name() -> None:
        with PulledSheet(path, zone=BERLIN, zone_name="Europe/Berlin") as sheet:
            sheet.write(incident())
            path.write_text("edited")

    with pytest.raises(InputError, match="already exists and may contain edits"):
        write_into_the_others_name()
    assert [(file, file.read_text()) for file in tmp_path.iterdir()] == [(path, "edited")]


def test_links_are_not_followed_or_replaced(tmp_path: Path) -> None:
    """In a shared folder, a link must not redirect a pull to another file."""
    precious, path = tmp_path / "precious", tmp_path / "x.csv"
    precious.write_text("as it was")
    (tmp_path / "x.csv.tmp").symlink_to(precious)
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="already exists and may contain edits"):
        written(path, incident())
    written(path, incident(), overwrite=True)
    assert (precious.read_text(), path.is_symlink()) == ("as it was", False)
    assert {file.name for file in tmp_path.iterdir()} == {"precious", "x.csv"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_replaced_sheet_keeps_its_permissions(ending: str, tmp_path: Path) -> None:
    """A private sheet stays private after the next pull."""
    path = written(tmp_path / f"x{ending}", incident())
    path.chmod(0o600)
    assert written(path, incident(2), overwrite=True).stat().st_mode & 0o777 == 0o600
    assert read(path)[0]["Incident ID"] == incident(2)["incident_id"]


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate folder for temporary files."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, None])
def test_stopped_pull_leaves_no_partial_sheet(
    error: type[BaseException] | None, ending: str, scratch: Path, tmp_path: Path
) -> None:
    """A partial sheet would look complete; temporary files are deleted in any case."""

    def pull() -> None:
        with PulledSheet(tmp_path / f"x{ending}", zone=BERLIN, zone_name="Europe/Berlin") as sheet:
            for number in range(1, 100):
                sheet.write(incident(number))
            if error is not None:
                raise error

    if error is not None:
        with pytest.raises(error):
            pull()
    else:
        pull()
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"scratch"} | ({f"x{ending}"} if error is None else set())
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_full_disk_is_an_error_and_leaves_no_files(
    ending: str, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The existing sheet is unchanged."""
    path = tmp_path / f"x{ending}"
    path.write_text("older")

    def fill_up(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(InputError) as caught:
        written(path, incident(), overwrite=True)
    assert str(caught.value) == (
        f"{path}: cannot be written (No space left on device). "
        "Use another folder, or free disk space (also for temporary files)."
    )
    assert (path.read_text(), list(scratch.iterdir())) == ("older", [])
    assert {file.name for file in tmp_path.iterdir()} == {path.name, "scratch"}


@pytest.mark.parametrize("name", ["x.ods", "x", "missing/x.csv", "missing/x.xlsx"])
def test_path_that_cannot_be_written_is_an_error_at_once(name: str, tmp_path: Path) -> None:
    """Before thousands of incidents are read."""
    with pytest.raises(InputError, match=r"ends in \.xlsx or \.csv|Use another folder"):
        written(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_too_long_cell_is_an_error_that_names_the_incident(tmp_path: Path) -> None:
    """A custom field can be longer than a cell; nothing is cut."""
    long = incident(fields={"log": "x" * 40_000})
    with pytest.raises(InputError, match=r"field:log of 69da451e0000000000000001 has 40,000 char"):
        written(tmp_path / "x.xlsx", long, custom=["field:log"])
    path = written(tmp_path / "x.csv", long, custom=["field:log"])
    assert "x" * 40_000 in path.read_text(encoding="utf-8-sig")


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ("x" * 32_767, True),
        ("x" * 32_768, False),
        ("\N{BUG}" * 16_383, True),
        ("\N{BUG}" * 16_384, False),  # two units each
        ("=" + "x" * 32_766, True),
    ],
)
def test_cell_is_complete_or_an_error(text: str, is_kept: bool, tmp_path: Path) -> None:
    """Up to the last UTF-16 unit that Excel counts: nothing is cut."""
    path, one = tmp_path / "x.xlsx", incident(fields={"log": text})
    if is_kept:
        [row] = read(written(path, one, custom=["field:log"]))
        assert (row["field:log"], row["was field:log"]) == (text, text)
        return
    with pytest.raises(InputError) as caught:
        written(path, one, custom=["field:log"])
    assert str(caught.value) == (
        f"{path}: field:log of {ID} has {len(text):,} characters, too many for a cell "
        "of a workbook. Use a .csv file."
    )
    assert list(tmp_path.iterdir()) == []


def test_more_incidents_than_rows_of_a_worksheet_are_an_error(tmp_path: Path) -> None:
    """No incident is left out silently; a CSV holds all of them."""
    path = tmp_path / "x.xlsx"

    def write_one_more(path: Path) -> None:
        with PulledSheet(path, zone=BERLIN, zone_name="Europe/Berlin") as sheet:
            sheet.rows = 1_048_575  # as if there were so many already
            sheet.write(incident())

    with pytest.raises(InputError) as caught:
        write_one_more(path)
    assert str(caught.value) == (
        f"{path}: more than 1,048,575 incidents, the limit of a workbook. "
        "Use a .csv file, or pull a shorter time range."
    )
    assert list(tmp_path.iterdir()) == []
    write_one_more(tmp_path / "x.csv")
    assert len(read(tmp_path / "x.csv")) == 1


def test_pulled_values_are_in_a_worksheet_that_no_search_reaches(tmp_path: Path) -> None:
    """Very hidden and protected; by incident, with a check of its values."""
    one = incident(title="=1+1", fields={"tags": ["a"]})
    book = openpyxl.load_workbook(written(tmp_path / "x.xlsx", one, custom=["field:tags"]))
    page = book[MEMORY_SHEET]
    assert (page.sheet_state, page.protection.sheet, book.active.title) == (
        "veryHidden",
        True,
        "Incidents",
    )
    names = [*SETTABLE_FIELDS, "field:tags"]
    values = dict(zip(names, ["=1+1", "", "", "", "", "Critical", '["a"]'], strict=True))
    assert [[cell.value or "" for cell in row] for row in page.iter_rows()] == [
        ["incident_id", *names, "bulk-reset check"],
        [ID, *values.values(), checked(ID, values, ["field:tags"])],
    ]
    assert {cell.data_type for row in page.iter_rows() for cell in row if cell.value} == {"s"}


def test_pulled_values_of_a_csv_are_at_the_far_right(tmp_path: Path) -> None:
    """With their check, and the cells that were guarded."""
    path = written(tmp_path / "x.csv", incident(title="=1+1"), incident(2))
    with path.open(encoding="utf-8-sig", newline="") as file:
        header, first, second = csv.reader(file)
    was = dict.fromkeys(SETTABLE_FIELDS, "") | {"incident_severity": "Critical"}
    columns = [*(f"bulk-reset was {name}" for name in SETTABLE_FIELDS), "bulk-reset check"]
    assert header[13:] == [*columns, "bulk-reset guarded"]
    assert first[13:] == [
        *(was | {"title": "'=1+1"}).values(),
        checked(ID, was | {"title": "=1+1"}),
        '{"Title": "\'=1+1"}',
    ]
    assert second[-2:] == [checked(incident(2)["incident_id"], was | {"title": "Disk full"}), ""]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("a\r\nb", "a\nb", True),
        ("a_x000D_\nb", "a\nb", True),
        ("a\x0bb", "ab", True),
        (" \n", "", True),
        ("a\n\nb", "a\nb", False),
        ("a  b", "a b", False),
        ("a\tb", "ab", False),
        ("007", "7", False),
        ("A", "a", False),
    ],
)
def test_check_ignores_only_what_file_formats_change(one: str, other: str, is_same: bool) -> None:
    """Any other change of a pulled value is detected."""
    assert (check_of(ID, {"title": one}) == check_of(ID, {"title": other})) is is_same


def test_check_belongs_to_the_incident_and_each_field() -> None:
    """Moved values do not fit; the order of the columns does not count."""
    was = {"title": "a", "impact": "b"}
    others = [
        check_of(incident(2)["incident_id"], was),
        check_of(ID, {"title": "b", "impact": "a"}),
        check_of(ID, {"title": "ab", "impact": ""}),
        check_of(ID, {"title": "a"}),
        check_of(ID, was, ["field:x"]),
    ]
    assert check_of(ID, was) == check_of(ID, {"impact": "b", "title": "a"})
    assert check_of(ID, was) not in others
    assert check_of(ID, was)[0] == "k"


@pytest.mark.parametrize("rows", [[], [[]], [["x"]], [["incident_id", "title"], [ID, "a"]]])
def test_changed_worksheet_of_pulled_values_is_refused(rows: list[list[str]]) -> None:
    """It is named; nothing is sent."""
    with pytest.raises(SheetError) as caught:
        memory_of(("Incident ID", "Title"), rows, "x.xlsx")
    assert str(caught.value) == (
        "x.xlsx: worksheet 'bulk-reset pulled values' was changed. Undo that, or pull again."
    )


def test_rows_of_the_hidden_worksheet_may_be_short_or_blank() -> None:
    """A spreadsheet program writes them so; an incident with a changed value is refused."""
    was = dict.fromkeys(SETTABLE_FIELDS, "") | {"title": "a"}
    check = check_of(ID, was)
    header = ["incident_id", *SETTABLE_FIELDS, "bulk-reset check"]
    other = incident(2)["incident_id"]
    rows = [header, [], [ID, *was.values(), check, ""], [other, "a"], [""]]
    memory = memory_of(("Incident ID", "Title"), rows, "x.xlsx")
    assert memory is not None
    recalled = memory.recall([ID, other, incident(3)["incident_id"]], [])
    assert recalled.was["title"] == ["a", "a", ""]
    assert {place: problem for place, (problem, _) in recalled.problems.items()} == {
        1: "the pulled values of this row were changed or moved",
        2: "the pulled values of this row are missing",
    }
