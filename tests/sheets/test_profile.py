"""Profiles: read, checked with the place of each error, written, and applied to rows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from bulk_reset import check
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import InputError
from bulk_reset.engine.options import Options
from bulk_reset.sheets.cell_formats import CellFormat
from bulk_reset.sheets.chunk import origin_of
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.profile import (
    Profile,
    ProfileError,
    find_profile,
    profile_text,
    read_profile,
    write_profile,
)
from bulk_reset.sheets.sheet_check import check_rows
from bulk_reset.sheets.validation import CheckedChunk

ID = "69da451e00000000000000"
WHOLE = Profile(
    worksheet="Log",
    header_row=3,
    encoding="gb18030",
    delimiter="semicolon",
    trim=True,
    columns={"incident_id": "Ref", "incident_severity": "级别", "field:team": "Team"},
    templates={"title": '[{{ row.Region }}] {{ row["Alarm name"] }}'},
    values={"incident_severity": {"SEV1": "Critical", "n/a": ""}},
    formats={"Started at": "%Y-%m-%d %H:%M"},
    ignore_blank_id=True,
    ignore_values={"Ref": ("Total", "合计")},
)


def saved(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "log.profile.toml"
    path.write_text(text, encoding="utf-8")
    return path


def read(sheet: object, profile: object, **options: object) -> list[CheckedChunk]:
    """Return the checked rows of a sheet as a profile has them."""
    chunks: list[CheckedChunk] = []
    with open_sheet(sheet, profile=profile, **options) as table:  # type: ignore[arg-type]
        check_rows(table, on_chunk=chunks.append)
    return chunks


def test_a_profile_that_is_written_is_read_back_as_it_was(tmp_path: Path) -> None:
    """Chinese names, quotes and every key survive; the file says what it is for."""
    path = tmp_path / "log.profile.toml"
    write_profile(path, WHOLE)

    assert read_profile(path) == Profile(**{**WHOLE.__dict__, "path": path})
    with pytest.raises(InputError, match="already exists and may contain edits"):
        write_profile(path, WHOLE)
    assert profile_text(WHOLE).startswith("# How bulk-reset reads this sheet")


def test_every_error_of_a_profile_has_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    """One reading shows all errors, in the order of the file."""
    path = saved(
        tmp_path,
        '[source]\nheader_row = 0\nsheet = "Log"\ntrim = "yes"\n'
        '[columns]\nincident = "Ref"\nid = "Ref 2"\ntitel = "Name"\n'
        '[templates]\ntitle = "{{ row.A"\nimpact = "{{ title }}"\nresolution = "text"\n'
        'root_cause = "{{ row[row.A] }}"\ndescription = "{{ row }}"\nincident_id = "{{ row.A }}"\n'
        "[values.severity]\nSEV1 = 1\n"
        '[formats]\nStarted = "dd.mm.yyyy"\n[ignore]\nblank = true\nvalues = "Total"\n[value]\n',
    )
    with pytest.raises(ProfileError) as raised:
        read_profile(path)

    use = 'Use the columns of the sheet: {{ row.NAME }} or {{ row["NAME"] }}.'
    fields = (
        "incident_id, title, description, impact, root_cause, resolution, incident_severity, "
        "action, comment or field:NAME"
    )
    assert [line.removeprefix(f"{path}:") for line in raised.value.lines()] == [
        "2: source.header_row: must be 1 or more. Use the row that Excel shows.",
        (
            "3: source.sheet: no such key. Did you mean worksheet? Allowed are worksheet, "
            "header_row, encoding, delimiter, trim."
        ),
        "4: source.trim: 'yes': not true or false. Use one of them, without quotes.",
        "7: columns.id: incident_id is set twice. Remove one of the keys.",
        f"8: columns.titel: no such field. Did you mean title? Use one of {fields}.",
        (
            "10: templates.title: unexpected end of template, expected 'end of print statement'. "
            "Fix the template."
        ),
        f"11: templates.impact: 'title' is unknown. {use}",
        f"12: templates.resolution: uses no column of the sheet. {use}",
        f"13: templates.root_cause: the name of a column must be written out. {use}",
        f"14: templates.description: row is used without a column. {use}",
        "15: templates.incident_id: an incident's id is read as it is. Remove this key.",
        '17: values.severity.SEV1: 1: not a text. Write it in quotes: "…".',
        (
            "19: formats.Started: 'dd.mm.yyyy': not a format. Use for example '%Y-%m-%d %H:%M' for "
            "dates, '[h]:mm' for durations, '0.00' or '0.0%' for numbers."
        ),
        "21: ignore.blank: no such key. Did you mean blank_id? Allowed are blank_id, values.",
        "22: ignore.values: not a table. Write [ignore.values] above its keys.",
        (
            "23: value: no such table. Did you mean values? Allowed are source, columns, "
            "templates, values, formats, ignore, rules."
        ),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            b"[source]\ntrim = yes\n",
            (
                ':2: not TOML: Invalid value. Write keys as name = "text", and '
                "names that are not ASCII letters in quotes."
            ),
        ),
        (b"\xff\xfe[", ":1: not UTF-8. Save the file as UTF-8."),
        (b"x" * (1 << 20) + b"yz", ": too large for a profile. Use a profile, not the sheet."),
    ],
)
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    """A wrong file is an error with its line, never a traceback."""
    path = tmp_path / "p.toml"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_profile(path)
    assert str(raised.value) == f"{path}{problem}"


def test_columns_that_the_sheet_does_not_have_are_all_reported(tmp_path: Path) -> None:
    """The error is at the line of the profile, and names the nearest column of the sheet."""
    sheet = tmp_path / "log.csv"
    sheet.write_text(f"Ref,Region,Name,Name\n{ID}01,cn,Disk full,x\n", encoding="utf-8")
    profile = saved(
        tmp_path,
        '[columns]\nid = "Reff"\n[templates]\ntitle = "{{ row.Regoin }} {{ row.Name }}"\n'
        '[formats]\n"开始" = "0.0"\n[ignore.values]\nReg = "x"\n',
    )
    with pytest.raises(ProfileError) as raised:
        read(sheet, None)

    assert [line.removeprefix(f"{profile}:") for line in raised.value.lines()] == [
        f"2: columns.incident_id: no column 'Reff' in {sheet}. Did you mean 'Ref'?",
        f"4: templates.title: no column 'Regoin' in {sheet}. Did you mean 'Region'?",
        f"4: templates.title: {sheet} has 2 columns 'Name'. Rename all but one.",
        (
            f"6: formats.\"开始\": no column '开始' in {sheet}. The columns are Ref, Region, Name, "
            "Name."
        ),
        f"8: ignore.values.Reg: no column 'Reg' in {sheet}. Did you mean 'Region'?",
    ]


def test_rows_are_trimmed_ignored_made_and_mapped_and_it_is_said(tmp_path: Path) -> None:
    """Each rule does its part in a known order, and its count is a notice."""
    sheet = tmp_path / "故障.csv"
    sheet.write_text(
        "Ref,区域,Name,级别\n"
        f" {ID}01 , cn , Disk full,SEV1\n"
        f"{ID}02,,,SEV9\n"
        f"{ID}03,eu,a {{{{ b }}}} %s,Critical\n"
        "Total,3,,\n"
        ",eu,no id,SEV1\n",
        encoding="utf-8",
    )
    profile = saved(
        tmp_path,
        '[source]\ntrim = true\n[columns]\nid = "ref"\nseverity = "级别"\n'
        '[templates]\ntitle = "[{{ row.区域 | upper }}] {{ row.Name }} 100%"\n'
        "description = \"{% if row['区域'] %}in {{ row['区域'] }}{% endif %}\"\n"
        '[values.severity]\nSEV1 = "Critical"\n'
        '[ignore]\nblank_id = true\n[ignore.values]\nRef = ["Total"]\n',
    )
    notices: list[str] = []
    result = check(sheet, Options(profile=profile), Callbacks(on_notice=notices.append))
    (checked,) = read(sheet, profile)

    assert checked.columns == {
        "incident_id": [f"{ID}01", f"{ID}02", f"{ID}03"],
        "title": ["[CN] Disk full 100%", "", "[EU] a {{ b }} %s 100%"],
        "description": ["in cn", "", "in eu"],
        "incident_severity": ["Critical", "SEV9", "Critical"],
    }
    assert notices == [
        f"{sheet}: read by the profile {profile}",
        f"{sheet}: read as UTF-8, comma-separated",
        f"{sheet}: 2 rows ignored by the profile: ignore.values.Ref 1, ignore.blank_id 1",
        (
            f"{sheet}: 8 cells changed by the profile: source.trim 3, templates.title 2, "
            "templates.description 2, values.incident_severity 1"
        ),
    ]
    assert [(one.row_number, one.column, one.value, one.fix) for one in result.row_errors] == [
        (
            *(3, "级别", "SEV9"),
            (
                "Use Info, Warning or Critical, or clear the cell, or map it in "
                "[values.incident_severity] of the profile"
            ),
        )
    ]


def test_a_value_knows_the_rule_that_it_came_from(tmp_path: Path) -> None:
    """The origin of each value is known by row, also behind rows that were left out."""
    sheet = tmp_path / "log.csv"
    sheet.write_text(f"Ref,Name,Sev\nTotal,,\n{ID}01,Disk,SEV1\n{ID}02, CPU,Info\n")
    profile = Profile(
        trim=True,
        columns={"incident_id": "Ref", "incident_severity": "Sev"},
        templates={"title": "Alarm {{ row.Name }}"},
        values={"incident_severity": {"SEV1": "Critical"}, "title": {"Alarm CPU": "CPU high"}},
        ignore_values={"Ref": ("Total",)},
    )
    with open_sheet(sheet, profile=profile) as table:
        (chunk,) = table.chunks()
        position = table.columns.position

    assert [
        (origin_of(chunk, position["title"], at), origin_of(chunk, position["severity"], at))
        if "severity" in position
        else (
            origin_of(chunk, position["title"], at),
            origin_of(chunk, position["incident_severity"], at),
        )
        for at in (0, 1)
    ] == [
        ("templates.title", "values.incident_severity 'SEV1'"),
        ("templates.title, values.title 'Alarm CPU'", ""),
    ]


def test_a_template_without_a_text_is_an_error_of_its_row(tmp_path: Path) -> None:
    """A template that fails for a row, or uses a date without a format, does not stop the check."""
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    page.append(["ID", "Name", "Count", "Started", "Rate"])
    page.append([f"{ID}01", "Disk", "0", dt.datetime(2026, 3, 1, 8, 5), 0.125])  # noqa: DTZ001
    page.append([f"{ID}02", "CPU", "4", dt.datetime(2026, 3, 2, 9, 0), 0.5])  # noqa: DTZ001
    book.save(tmp_path / "log.xlsx")
    templates = {
        "title": "{{ row.Name }} {{ 12 // (row.Count | int) }}",
        "impact": "since {{ row.Started }} at {{ row.Rate }}",
    }
    formats = {"Started": "%d.%m.%Y %H:%M"}
    (checked,) = read(
        tmp_path / "log.xlsx", Profile(columns={}, templates=templates, formats=formats)
    )
    (whole,) = read(
        tmp_path / "log.xlsx", Profile(templates=templates, formats={**formats, "Rate": "0.0%"})
    )

    fix = "Format the cell as Text, or add its format to [formats] of the profile"
    odd = "templates.impact uses 'Rate': the cell contains a number, not text"
    assert [(one.row_number, one.kind, one.problem, one.fix) for one in checked.row_errors] == [
        (
            *(2, "template", "templates.title: integer division or modulo by zero"),
            "Fix templates.title in the profile, or the row",
        ),
        (2, "cell_type", f"{odd} (from templates.impact)", fix),
        (3, "cell_type", f"{odd} (from templates.impact)", fix),
    ]
    assert whole.columns["title"][1] == "CPU 3"
    assert whole.columns["impact"] == [
        "since 01.03.2026 08:05 at 12.5%",
        "since 02.03.2026 09:00 at 50.0%",
    ]


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("%Y-%m-%d", dt.date(2026, 1, 2), "2026-01-02"),
        ("%Y年%m月%d日", dt.datetime(2026, 1, 2, 3, 4), "2026年01月02日"),  # noqa: DTZ001
        ("%H:%M", dt.time(3, 4), "03:04"),
        ("%Y %H:%M", dt.time(3, 4), None),
        ("%Y-%m-%d", 0.5, None),
        ("0.0", dt.date(2026, 1, 2), None),
        ("[h]:mm", dt.timedelta(hours=30, minutes=5), "30:05"),
        ("[h]:mm:ss", dt.timedelta(seconds=61), "0:01:01"),
        ("0.0%", 0.12345, "12.3%"),
        ("0%", 0.125, "13%"),
        ("0.00", 2.675, "2.68"),
        ("#,##0.0", 1234567.25, "1,234,567.3"),
        ("0", 123456789012.0, "123456789012"),
        ("0", 1e15, None),
        ("0.0", float("inf"), None),
        ("0.0", True, None),
        ("0.0", "5", None),
    ],
)
def test_a_format_has_one_text_for_a_value_or_none(
    text: str, value: object, expected: str | None
) -> None:
    """A value of another type, or one whose digits are lost, has no text."""
    assert CellFormat.of(text).text_of(value) == expected


@pytest.mark.parametrize("text", ["", "%", "%B", "yyyy", "0,0", "%Y-%Q", "#,##0.00 €"])
def test_a_format_that_depends_on_language_or_is_unknown_is_refused(text: str) -> None:
    """Names of months differ by system, so they are no format."""
    with pytest.raises(ValueError, match=r"not a format\. Use for example"):
        CellFormat.of(text)


def test_options_win_over_the_profile(tmp_path: Path) -> None:
    """A column that is mapped by an option replaces the profile's column and template."""
    sheet = tmp_path / "log.csv"
    sheet.write_text(f"Ref,A,B\n{ID}01,from a,from b\n", encoding="utf-8")
    profile = Profile(
        columns={"incident_id": "Ref", "impact": "B"}, templates={"title": "{{ row.A }}!"}
    )
    (checked,) = read(sheet, profile, mapping={"Title": "B", "impact": "A"})

    assert {name: cells[0] for name, cells in checked.columns.items()} == {
        "incident_id": f"{ID}01",
        "title": "from b",
        "impact": "from a",
    }


def test_the_profile_in_use_is_saved_with_what_options_added(tmp_path: Path) -> None:
    """What was found or given once is a profile for the next time, and reads the same rows."""
    book = openpyxl.Workbook()
    page = book.create_sheet("Log")
    for row in ([], ["Log of March"], ["Ref", "What"], [f"{ID}01", "Disk full"]):
        page.append(row)
    sheet = tmp_path / "log.xlsx"
    book.save(sheet)
    options = Options(mapping={"id": "Ref", "title": "What"}, header_row=3, sheet_name="Log")
    check(sheet, options, save_profile=tmp_path / "log.profile.toml")

    found = find_profile(sheet)
    assert found is not None
    assert read_profile(found) == Profile(
        worksheet="Log",
        header_row=3,
        columns={"incident_id": "Ref", "title": "What"},
        path=found,
    )
    (checked,) = read(sheet, None)
    assert checked.columns["title"] == ["Disk full"]


def test_a_data_frame_is_read_by_a_profile(tmp_path: Path) -> None:
    """Dates of pandas have the text of the format; empty cells stay empty."""
    frame = pd.DataFrame(
        {
            "ID": [f"{ID}01", f"{ID}02"],
            "Began": [pd.Timestamp("2026-03-01 08:00"), pd.NaT],
            "title": ["Disk full", "CPU high"],
        }
    )
    profile = saved(tmp_path, '[columns]\nimpact = "Began"\n[formats]\nBegan = "%Y-%m-%d"\n')
    (checked,) = read(frame, profile)
    assert checked.columns["impact"] == ["2026-03-01", ""]


@pytest.mark.parametrize(
    ("profile", "problem"),
    [
        (Profile(templates={"title": "Disk\x1b {{ row.Name }}"}), "5 (from templates.title)"),
        (Profile(templates={"title": "{{ row.Name }}{{ '\\x1b' }}"}), "5 (from templates.title)"),
        (Profile(values={"impact": {"SEV1": "very\x1b"}}), "5 (from values.impact 'SEV1')"),
    ],
)
def test_a_control_character_of_a_profile_is_an_error(
    tmp_path: Path, profile: Profile, problem: str
) -> None:
    """A sheet that has none of them is not searched, but what a profile makes is."""
    sheet = tmp_path / "log.csv"
    sheet.write_text(f"id,Name,impact\n{ID}01,db 1,SEV1\n", encoding="utf-8")
    (checked,) = read(sheet, profile)

    found = "contains the control character U+001B at position"
    assert [(one.row_number, one.problem) for one in checked.row_errors] == [
        (2, f"{found} {problem}")
    ]
