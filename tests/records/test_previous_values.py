"""Previous values: any value is read back unchanged, and a torn end costs nothing."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_reset.core.custom_fields import is_whole
from bulk_reset.core.errors import InputError, RunError
from bulk_reset.core.fields import SETTABLE_FIELDS
from bulk_reset.core.safe_text import guard_formula, guard_json
from bulk_reset.records.previous_values import (
    COLUMNS,
    PreviousValues,
    PreviousValuesFile,
    SentDigests,
    line_of,
    read_previous_values,
)
from bulk_reset.records.restorability import why_not_restorable
from bulk_reset.sheets.cell_rules import error_of
from bulk_reset.sheets.open_sheet import open_sheet

ID = "69da451e0000000000000001"


def image(digest: str = "a" * 24, **before: Any) -> PreviousValues:  # noqa: ANN401  (JSON)
    return PreviousValues(
        7, digest, ID, "https://sandbox.invalid/1", before, dict.fromkeys(before, "new")
    )


def kept(path: Path, *images: PreviousValues) -> list[PreviousValues]:
    with PreviousValuesFile(path) as file:
        file.append(images)
    return list(read_previous_values(path))


TEXTS = st.text(st.characters(exclude_categories=()), max_size=40)


@given(
    fields=st.dictionaries(st.sampled_from(SETTABLE_FIELDS), st.none() | TEXTS, min_size=1),
    customs=st.dictionaries(
        st.sampled_from(["field:owner", "field:tags"]),
        st.none() | TEXTS | st.booleans() | st.integers(-9, 9) | st.lists(TEXTS, max_size=2),
    ),
)
def test_any_previous_value_is_read_back_unchanged(
    fields: dict[str, Any], customs: dict[str, Any], tmp_path: Path
) -> None:
    """Line breaks, quotes, formulas, half characters, lists, nothing: all of it."""
    path = tmp_path / "x.before.csv"
    path.unlink(missing_ok=True)
    made = PreviousValues(7, "a" * 24, ID, "", {**fields, **customs}, {**fields, **customs})
    assert kept(path, made) == [made]


ODD = st.sampled_from(
    [
        *(
            "",
            "ab",
            "Ok",
            "#N/A",
            "=1+1",
            "'=1",
            ";=1",
            '="a"',
            "  ",
            "a,b;c",
            "a\r\nb",
            "\x07bell",
        ),
        *("\ud800 half", "磁盘", '"quoted"', "a\u2028b", "x" * 201, "x" * 6145, "Info"),
        *(None, True, 0, 1.5, [], ["a", None], {"b": [1]}),
    ]
)
NAMES = st.sampled_from([*SETTABLE_FIELDS, "action", "field:owner", "field:名", 'field:a"b'])


@given(st.dictionaries(NAMES, ODD | TEXTS), st.dictionaries(NAMES, ODD | TEXTS))
def test_a_line_has_the_cells_that_can_be_set_and_all_values_as_json(
    before: dict[str, Any], wrote: dict[str, Any]
) -> None:
    """The format of the file, written out: its bytes are the same for every value."""

    def as_json(values: dict[str, Any]) -> str:
        text = json.dumps(values, ensure_ascii=False)
        return guard_json(text if is_whole(text) else json.dumps(values))

    cells = {
        name: guard_formula(value)
        for name, value in before.items()
        if name in SETTABLE_FIELDS
        if not why_not_restorable(name, value)
        if not error_of(name, value)
    }
    expected = io.StringIO()
    texts = [cells.get(name, "") for name in SETTABLE_FIELDS]
    csv.writer(expected).writerow([ID, *texts, 7, "a" * 24, "'=x", as_json(before), as_json(wrote)])
    assert line_of(PreviousValues(7, "a" * 24, ID, "=x", before, wrote)) == expected.getvalue()


def test_it_is_a_sheet_of_what_can_be_set_again(tmp_path: Path) -> None:
    """A user who has only this file can run it."""
    path = tmp_path / "x.before.csv"
    kept(path, image(title="=Old title", impact="", incident_severity="Ok", root_cause="A leak"))
    with open_sheet(path) as sheet:
        [chunk] = sheet.chunks()
        cells = {name: chunk.columns[at][0] for name, at in sheet.columns.position.items()}
    assert cells == {
        "incident_id": ID,
        "title": "=Old title",
        "description": "",
        "impact": "",
        "root_cause": "A leak",
        "resolution": "",
        "incident_severity": "",
    }
    assert "'=Old title" in path.read_text(encoding="utf-8-sig")


@pytest.mark.parametrize("keep", range(0, 400, 7))
def test_a_torn_end_is_removed_and_the_file_can_be_appended(keep: int, tmp_path: Path) -> None:
    """Killed in the middle of a line, be it within quotes: none of its rows was sent."""
    path = tmp_path / "x.before.csv"
    first, second = image("a" * 24, title='Old,\n"title"\r\n'), image("b" * 24, title="Two\nlines")
    kept(path, first)
    whole = path.stat().st_size
    kept(path, second)
    os.truncate(path, min(whole + keep, path.stat().st_size - 1))
    assert list(read_previous_values(path)) == [first]
    assert kept(path, second) == [first, second]


@pytest.mark.parametrize("size", range(len(",".join(COLUMNS)) + 5))
def test_a_torn_header_is_rewritten(size: int, tmp_path: Path) -> None:
    """Killed before anything was kept: as if there were no file."""
    path = tmp_path / "x.before.csv"
    kept(path)
    os.truncate(path, size)
    assert kept(path, image(title="Old")) == [image(title="Old")]


def test_a_file_that_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    """Other quotes and a semicolon do not prevent an undo."""
    path, saved = tmp_path / "x.before.csv", tmp_path / "saved.before.csv"
    made = image(title="Old; title", impact="")
    kept(path, made)
    with (
        path.open(encoding="utf-8-sig", newline="") as file,
        saved.open("w", encoding="utf-8-sig", newline="") as other,
    ):
        csv.writer(other, delimiter=";").writerows(csv.reader(file))
    assert list(read_previous_values(saved)) == [made]
    known = SentDigests(saved)
    assert (known.count, "a" * 24 in known, "b" * 24 in known) == (1, True, False)


def test_a_file_of_another_program_is_not_changed(tmp_path: Path) -> None:
    """A file of the same name is not changed."""
    path = tmp_path / "x.before.csv"
    path.write_text("incident_id,title\n")
    for act in (lambda: PreviousValuesFile(path), lambda: list(read_previous_values(path))):
        with pytest.raises(InputError, match="not a file of previous values"):
            act()
    assert path.read_text() == "incident_id,title\n"


@pytest.mark.parametrize(
    ("written", "edited"),
    [
        (b'{""title"": ""new""}', b"{title: new}"),
        (b",7,", b",-7,"),
        (b",7,", b",7777777777777777777,"),
    ],
)
def test_a_line_that_was_edited_is_refused(tmp_path: Path, written: bytes, edited: bytes) -> None:
    """A way back that is half right is none."""
    path = tmp_path / "x.before.csv"
    kept(path, image(title="Old"))
    path.write_bytes(path.read_bytes().replace(written, edited))
    with pytest.raises(InputError, match="may have been edited"):
        list(read_previous_values(path))


def test_a_full_disk_raises_before_the_rows_are_sent(tmp_path: Path) -> None:
    """What is not kept is not sent."""
    with PreviousValuesFile(tmp_path / "x.before.csv") as file:
        file._file.close()  # noqa: SLF001  (as if the disk had gone)
        file._file = open("/dev/full", "ab", buffering=0)  # noqa: SLF001, SIM115, PTH123
        with pytest.raises(RunError, match="No space left on device"):
            file.append([image(title="Old")])


def test_a_rewritten_file_keeps_its_permissions(tmp_path: Path) -> None:
    """It is made as any file of the user's is: the umask decides."""
    before = os.umask(0o077)
    try:
        kept(tmp_path / "x.before.csv", image(title="Old"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.before.csv").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("title", "Old title", ""),
        ("incident_severity", "Critical", ""),
        ("impact", "", "it was empty, and the API cannot empty a field"),
        ("impact", None, "it was empty, and the API cannot empty a field"),
        ("incident_severity", "Ok", "it was Ok, which the API cannot set"),
        (
            "title",
            "Ok",
            "the API does not accept the previous value: 2 characters; the minimum is 3",
        ),
        ("title", ["a"], "it was not a text"),
        ("field:owner", "ops", ""),
        ("field:owner", False, ""),
        ("field:owner", 0, ""),
        ("field:tags", [], ""),
        (
            "field:owner",
            None,
            "it was not set, and the API cannot unset a custom field",
        ),
    ],
)
def test_a_value_that_cannot_be_restored_has_a_reason(
    name: str, value: object, reason: str
) -> None:
    """A plan shows it before, and an undo after."""
    assert why_not_restorable(name, value) == reason
