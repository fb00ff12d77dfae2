"""Every rule of the API at its limits, and the fix in its error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import jsonschema
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_samples import INVALID_COLUMNS
from programs import ROOT

from bulk_reset.core.change import Change
from bulk_reset.core.fields import FIELDS
from bulk_reset.core.outcome import Status
from bulk_reset.core.row_error import RowError
from bulk_reset.sheets.cell_rules import error_of, problem_of, shorten
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.sheet_check import DecidedChunk, SheetCheck, check_rows
from bulk_reset.sheets.validation import CheckedChunk, check_chunk

ID: Final = "66d1f0a2c3b4a5968778695a"
SAMPLES = ROOT / "samples"
LONG_FIELDS = ("description", "impact", "root_cause", "resolution")


def checked(*rows: dict[str, object]) -> CheckedChunk:
    with open_sheet(pd.DataFrame(list(rows), columns=list(FIELDS))) as sheet:
        (chunk,) = sheet.chunks()
        return check_chunk(chunk, sheet.columns)


def row_errors(**values: object) -> list[RowError]:
    """Return the errors of one row, which has a valid id unless one is given."""
    return checked({"incident_id": ID, **values}).row_errors


def kinds(**values: object) -> list[tuple[str, str]]:
    return [(row_error.column, row_error.kind) for row_error in row_errors(**values)]


# --- Lengths ---------------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["x", "磁", "😀", "\u0301", "\n"])
@pytest.mark.parametrize("field", ["title", *LONG_FIELDS])
def test_length_is_counted_in_code_points_at_both_limits(field: str, character: str) -> None:
    """An emoji is one character, and a combining accent too, as the API counts."""
    longest = 200 if field == "title" else 6144
    found = {
        length: kinds(**{field: "x" + character * (length - 2) + "x"})
        for length in (2, 3, longest, longest + 1)
    }

    assert found == {
        2: [(field, "too_short")],
        3: [],
        longest: [],
        longest + 1: [(field, "too_long")],
    }


def test_one_character_is_too_short_and_in_the_singular() -> None:
    """Counts agree with their nouns."""
    assert [row_error.problem for row_error in row_errors(title="x")] == [
        "1 character; the minimum is 3"
    ]


def test_spaces_around_a_text_are_kept() -> None:
    """Text is sent unchanged; its whole length counts."""
    assert [kinds(title=text) for text in (" x ", "  x", "x\n\n")] == [[], [], []]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Disk\0full", "contains the control character U+0000 at position 5"),
        ("\x07bell", "contains the control character U+0007 at position 1"),
        ("\x1b[31mred", "contains the control character U+001B at position 1"),
        ("two\x0blines", "contains the control character U+000B at position 4"),
        ("Disk full\x7f", "contains the control character U+007F at position 10"),
        ("磁盘\x85已满", "contains the control character U+0085 at position 3"),
        ("\x0c\x0c\x0c", "contains the control character U+000C at position 1"),
    ],
)
@pytest.mark.parametrize(
    "more", ["", " and what else there is to say\n", " in °C, a text of its own"]
)
@pytest.mark.parametrize("field", ["title", "impact"])
def test_control_character_is_an_error_that_names_it(
    field: str, more: str, text: str, problem: str
) -> None:
    """Its code and position are reported, because no spreadsheet shows it."""
    found = [(m.kind, m.problem, m.fix) for m in row_errors(**{field: text + more})]

    assert found == [("control_character", problem, "Remove it, or clear the cell")]


@pytest.mark.parametrize("other", [None, 7, True])
def test_a_control_character_is_found_beside_cells_of_other_types(other: object) -> None:
    """A column of texts, numbers and empty cells is searched as one of texts alone."""
    found = checked({"incident_id": ID, "title": other}, {"incident_id": ID, "title": "Full\x07"})
    errors = [(one.row_number, one.kind) for one in found.row_errors]
    assert (3, "control_character") in errors


@pytest.mark.parametrize(
    "text",
    [
        *("a\tb", "a\nb", "a\r\nb", "a\u2028b", "a\u00a0b", "e\u0301té", "a\u200db", "\ue000ab"),
        *("°C is hot", "😀😀😀", "\U0010fffdab", "\u202ertl", "  x", "\ufeffabc"),
    ],
)
def test_other_characters_are_kept(text: str) -> None:
    """Tabs, line breaks and all other Unicode characters are sent unchanged."""
    found = checked({"incident_id": ID, "title": text})
    (change,) = DecidedChunk(found, SheetCheck(), "").items()

    assert isinstance(change, Change)
    assert json.loads(change.body) == {"incident_id": ID, "title": text}


# --- Ids -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written", [ID, ID.upper(), f"  {ID}", f"{ID}\t\n", f"\u00a0{ID.title()} ", "1" * 24]
)
def test_id_is_trimmed_and_in_lower_case(written: str) -> None:
    """Case and spaces around an ID do not change the incident."""
    found = checked({"incident_id": written, "title": "abc"})
    (change,) = DecidedChunk(found, SheetCheck(), "").items()

    assert (found.row_errors, change.incident_id) == ([], written.strip().lower())


LOST_DIGITS: Final = "a spreadsheet converted the ID to a number, and digits are lost"
LINK: Final = "https://console.flashcat.cloud/incident/detail/"


@pytest.mark.parametrize(
    ("written", "links", "cleaned"),
    [
        (f"{LINK}{ID}", 1, 0),
        (f"{LINK}{ID}?tab=timeline#top", 1, 0),
        (f"HTTP://Console.example/{ID.upper()}/", 1, 0),
        (f" {LINK}{ID} ", 1, 0),
        (f"{LINK}{ID}?again={ID}", 1, 0),
        (f"{LINK}?path=%2F{ID}", 1, 0),
        (f"'{LINK}{ID}'", 1, 0),
        (f"'{ID}'", 0, 1),
        (f"'{ID}", 0, 1),
        (f' "{ID.upper()}" ', 0, 1),
        (f"\u201c{ID}\u201d", 0, 1),
        (f"\u200b{ID}\ufeff", 0, 1),
        (f"{ID[:8]}\u2060{ID[8:]}\u200e", 0, 1),
        (f"\u200b\u00a0{ID}", 0, 1),
        (ID, 0, 0),
    ],
)
def test_id_in_a_link_or_with_invisible_characters_is_read_and_counted(
    written: str, links: int, cleaned: int
) -> None:
    """A pasted link and an ID with invisible characters are accepted."""
    found = checked({"incident_id": written, "title": "abc"})

    assert (found.ids, found.row_errors) == ([ID], [])
    assert (found.readings.links, found.readings.cleaned) == (links, cleaned)


def test_id_from_a_link_changes_neither_body_nor_digest() -> None:
    """A resumed run recognises the row, however its ID was written."""
    items = [
        item
        for written in (ID, ID.upper(), f"{LINK}{ID}", f"'{ID}\u200b'")
        for item in DecidedChunk(
            checked({"incident_id": written, "title": "abc"}), SheetCheck(), "scope"
        ).items()
    ]

    assert items == [items[0]] * 4


def test_cleaned_ids_are_reported_once_per_sheet(tmp_path: Path) -> None:
    """The notice states how many IDs were not plain IDs."""
    rows = [f"{LINK}{n:024x},abc" for n in range(3)] + [f"'{n:024x},abc" for n in range(3, 5)]
    (tmp_path / "x.csv").write_text("id,title\n" + "\n".join([*rows, f"{ID},abc"]))
    with open_sheet(tmp_path / "x.csv") as sheet:
        sheet_check = check_rows(sheet)

    assert (sheet_check.row_errors, sheet_check.readings.notices) == (
        (),
        (
            "3 IDs read from links to incidents",
            "quotes or invisible characters removed from 2 IDs",
        ),
    )


@pytest.mark.parametrize(
    ("text", "kind", "problem"),
    [
        ("", "id_missing", "the incident ID is missing"),
        ("   ", "id_missing", "the incident ID is missing"),
        (ID[:23], "id_invalid", "23 characters; an ID has 24"),
        (ID + "0", "id_invalid", "25 characters; an ID has 24"),
        (f"{ID[:12]} {ID[12:]}", "id_invalid", "25 characters; an ID has 24"),
        ("g" * 24, "id_invalid", "an ID contains only the digits 0-9 and the letters a-f"),
        ("１" * 24, "id_invalid", "an ID contains only the digits 0-9 and the letters a-f"),  # noqa: RUF001
        ("6.9E+23", "id_number", LOST_DIGITS),
        ("6,9e+23", "id_number", LOST_DIGITS),
        ("1E23", "id_number", LOST_DIGITS),
        ("0.5", "id_number", LOST_DIGITS),
        ("12345", "id_invalid", "5 characters; an ID has 24"),
        (f"{LINK}{ID}/{ID[::-1]}", "id_invalid", "the link contains 2 incident IDs"),
        (f"{LINK}{ID}0", "id_invalid", "the link contains no incident ID"),
        (LINK, "id_invalid", "the link contains no incident ID"),
        (f"ftp://x/{ID}", "id_invalid", "32 characters; an ID has 24"),
        (f"{LINK}{ID} {ID}", "id_invalid", "96 characters; an ID has 24"),
        ("'\u200b'", "id_missing", "the incident ID is missing"),
    ],
)
def test_invalid_ids_have_errors_by_their_cause(text: str, kind: str, problem: str) -> None:
    """Cut, mistyped and converted to a number are different problems with different fixes."""
    fixes = {
        "id_missing": "Enter the ID, or remove the row",
        "id_number": "Format the column as Text, then paste the ID again from its source",
        "id_invalid": "Copy the whole ID",
    }
    fix = "Copy the ID again from its source" if "only the digits" in problem else fixes[kind]
    fix = "Use the ID of one incident" if "link" in problem else fix

    assert row_errors(incident_id=text, title="abc") == [
        RowError(2, "incident_id", kind, shorten(text), problem, fix)
    ]


# --- Fixes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind", "problem", "fix"),
    [
        (
            {"title": "Up"},
            "too_short",
            "2 characters; the minimum is 3",
            "Enter at least 3 characters, or clear the cell",
        ),
        (
            {"title": "x" * 201},
            "too_long",
            "201 characters; the maximum is 200",
            "Shorten it by 1 character",
        ),
        (
            {"impact": "x" * 7200},
            "too_long",
            "7,200 characters; the maximum is 6,144",
            "Shorten it by 1,056 characters",
        ),
        (
            {"impact": " " * 6145},
            "too_long",
            "6,145 characters; the maximum is 6,144",
            "Shorten it by 1 character",
        ),
        (
            {"root_cause": " \n\u3000"},
            "only_spaces",
            "contains only spaces",
            "Clear the cell",
        ),
        (
            {"title": " "},
            "only_spaces",
            "contains only spaces",
            "Clear the cell",
        ),
        *(
            ({name: text}, "only_spaces", "contains only invisible characters", "Clear the cell")
            for name in ("title", "impact")
            for text in (
                "\u200b\u200b\u200b",
                " \u2060\u200d ",
                "\u3164\u3164\u3164",
                "\u2800\ufe0f\u2800",
            )
        ),
        (
            {"title": 0.5},
            "cell_type",
            "the cell contains a number, not text",
            "Format the cell as Text, then enter the text",
        ),
    ],
)
def test_row_error_has_a_problem_and_a_fix(
    values: dict[str, object], kind: str, problem: str, fix: str
) -> None:
    """Every error names the cell, the problem and the fix, once."""
    ((field, value),) = values.items()

    assert row_errors(**values) == [RowError(2, field, kind, shorten(str(value)), problem, fix)]


def test_row_that_sets_nothing_is_an_error() -> None:
    """It is reported, unless the ID is invalid already."""
    found = checked({"incident_id": ID}, {"incident_id": "x"})

    assert [(m.row_number, m.column, m.kind, m.problem, m.fix) for m in found.row_errors] == [
        (
            2,
            "incident_id",
            "nothing_to_set",
            "the row has no field to update",
            "Fill in a field, or remove the row",
        ),
        (
            3,
            "incident_id",
            "id_invalid",
            "1 character; an ID has 24",
            "Copy the whole ID",
        ),
    ]


CHOICE: Final = "Use Info, Warning or Critical, or clear the cell"


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        ("critical", "Use Critical"),
        ("CRITICAL ", "Use Critical"),
        ("P1", "Use Critical"),
        ("严重", "Use Critical"),
        ("warn", "Use Warning"),
        ("警告", "Use Warning"),
        ("low", "Use Info"),
        ("信息", "Use Info"),
        ("Ok", CHOICE),
        ("urgent-ish", CHOICE),
        (" ", CHOICE),
    ],
)
def test_invalid_severity_is_reported_and_not_replaced(written: str, fix: str) -> None:
    """The user's word is never replaced; the valid one is suggested."""
    problem = "the severity Ok cannot be set" if written == "Ok" else "not a severity"
    assert row_errors(incident_severity=written) == [
        RowError(2, "incident_severity", "severity", written.strip(), problem, fix)
    ]


def test_severities_of_the_api_are_valid() -> None:
    """The three severities that can be set are accepted."""
    assert [kinds(incident_severity=word) for word in ("Info", "Warning", "Critical")] == [[]] * 3


def test_all_errors_of_a_row_are_in_the_order_of_fields() -> None:
    """All errors of a row can be fixed at once."""
    found = kinds(
        incident_id="",
        incident_severity="no",
        title="x",
        impact=" ",
        resolution=True,
        description="abc",
    )

    assert found == [
        ("incident_id", "id_missing"),
        ("title", "too_short"),
        ("impact", "only_spaces"),
        ("incident_severity", "severity"),
    ]


def test_row_error_names_the_column_as_the_sheet_does() -> None:
    """The user finds the name in the header."""
    frame = pd.DataFrame([["x", "y"]], columns=["故障ID", "New title"])
    with open_sheet(frame) as sheet:
        found = check_rows(sheet).row_errors

    assert [row_error.column for row_error in found] == ["故障ID", "New title"]


def test_value_in_a_message_is_one_short_line() -> None:
    """A long or multi-line cell does not fill the screen."""
    assert shorten("a\n\n b" + "c" * 100) == "a b" + "c" * 56 + "…"
    assert shorten("x" * 60) == "x" * 60


# --- Schema ----------------------------------------------------------------------------------


def test_sample_of_invalid_rows_is_checked_exactly() -> None:
    """Every row of the sample is invalid in exactly the listed columns."""
    found: dict[int, set[str]] = {}
    with open_sheet(SAMPLES / "invalid-rows.csv") as sheet:
        sheet_check = check_rows(sheet)
    for row_error in sheet_check.row_errors:
        found.setdefault(row_error.row_number, set()).add(row_error.column)

    assert found == INVALID_COLUMNS
    assert {
        row: r.status for row, r in sheet_check.decisions.items() if r.status is Status.SKIPPED
    } == {28: Status.SKIPPED}


REQUEST: Final = {
    "type": "object",
    "properties": {
        "incident_id": {"type": "string", "pattern": "^[0-9a-fA-F]{24}$"},
        "title": {"type": "string", "minLength": 3, "maxLength": 200},
        "description": {"type": "string", "minLength": 3, "maxLength": 6144},
        "impact": {"type": "string", "minLength": 3, "maxLength": 6144},
        "root_cause": {"type": "string", "minLength": 3, "maxLength": 6144},
        "resolution": {"type": "string", "minLength": 3, "maxLength": 6144},
        "incident_severity": {"enum": ["Info", "Warning", "Critical"]},
    },
    "required": ["incident_id"],
    "minProperties": 2,
    "additionalProperties": False,
}
"""The request in the API's description."""


def texts(longest: int) -> st.SearchStrategy[str]:
    lengths = st.sampled_from([2, 3, longest, longest + 1])
    edges = st.builds(lambda character, n: character * n, st.sampled_from("x磁😀 "), lengths)
    return st.just("") | st.text(max_size=6) | edges


IDS = (
    st.from_regex(r"\s{0,2}[0-9a-fA-F]{23,25}\s?", fullmatch=True)
    | st.text(max_size=26)
    | st.just("6.9E+23")
)
SEVERITIES = st.sampled_from(["", "Info", "Warning", "Critical", "Ok", "info", "P1", " "])
ROWS = st.fixed_dictionaries(
    {"incident_id": st.just(ID) | IDS, "title": texts(200)},
    optional={name: texts(6144) for name in LONG_FIELDS} | {"incident_severity": SEVERITIES},
)


@given(row=ROWS.filter(lambda row: any(text.strip() for text in row.values())))
def test_rules_agree_with_the_published_schema(row: dict[str, Any]) -> None:
    """What is sent is allowed by the API's schema, and only what it forbids is rejected."""
    request = {name: text for name, text in row.items() if text}
    request["incident_id"] = row["incident_id"].strip()
    is_allowed = jsonschema.Draft202012Validator(REQUEST).is_valid(request)
    found = checked({**dict.fromkeys(FIELDS, ""), **row})
    (item,) = DecidedChunk(found, SheetCheck(), "").items()

    kinds_found = {row_error.kind for row_error in found.row_errors}
    if (
        is_allowed
        and kinds_found
        and kinds_found <= {"only_spaces", "control_character", "formula_error"}
    ):
        return
    assert isinstance(item, Change) is is_allowed
    if isinstance(item, Change):
        sent = request | {"incident_id": request["incident_id"].lower()}
        assert (json.loads(item.body), item.fields) == (
            sent,
            tuple(f for f in FIELDS[1:] if f in sent),
        )


def test_row_is_sent_independently_of_other_rows() -> None:
    """An error in one row does not change what the other rows send."""
    good: list[dict[str, object]] = [
        {
            "incident_id": ID,
            "title": "Disk full",
            "impact": "none yet",
            "incident_severity": "Info",
        },
        {"incident_id": ID.replace("6", "7"), "root_cause": "磁盘已满"},
        {"incident_id": ID.replace("6", "8"), "title": "with \t in it", "resolution": "rebooted"},
    ]
    alone, beside = (
        list(DecidedChunk(checked(*rows), SheetCheck(), "scope").items())
        for rows in (good, [*good, {"incident_id": "oops", "title": "Disk full"}])
    )

    assert beside[:-1] == alone
    assert [item.fields for item in alone] == [
        ("title", "impact", "incident_severity"),
        ("root_cause",),
        ("title", "resolution"),
    ]


@pytest.mark.parametrize("name", ["title", "field:team", "comment"])
def test_invisible_text_is_an_error_in_every_column(name: str) -> None:
    """Custom fields and comments have no minimum length, so the text itself is the error."""
    assert error_of(name, "\u200b\u3164 \u2060") == "contains only invisible characters"


@pytest.mark.parametrize(
    "text", ["a\u200b\u200b", "\u200b\u200ba", "\u200d👩\u200d💻 on call", "\u2060磁盘"]
)
def test_text_with_invisible_characters_among_others_is_sent_unchanged(text: str) -> None:
    """Joiners are part of emoji and of some scripts."""
    found = checked({"incident_id": ID, "title": text})

    assert (found.row_errors, found.values(0)) == ([], {"title": text})


@pytest.mark.parametrize("text", ['="Disk full"', '="0012"'])
@pytest.mark.parametrize("name", ["title", "description", "field:team", "comment"])
def test_text_within_a_formula_is_an_error(name: str, text: str) -> None:
    """Exports write it so that a spreadsheet shows a text as it is."""
    assert problem_of(name, text) == (
        "a formula of a spreadsheet around the text",
        'Remove =" and the " at the end',
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (r'"\u001b[2J"', "contains the control character U+001B at position 1"),
        (r'["\u200b"]', "contains only invisible characters"),
        (r'{"a": ["b", "\u0000"]}', "contains the control character U+0000 at position 1"),
        (r'{"\u0007": 1}', "contains the control character U+0007 at position 1"),
        (r'["a", ""]', ""),
    ],
)
def test_texts_within_json_are_checked_as_others(text: str, problem: str) -> None:
    """Escapes do not hide what a text contains."""
    assert error_of("field:x:json", text) == problem
