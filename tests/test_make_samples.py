"""The samples are what ``make_samples.py`` writes, and have what their table promises."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from make_samples import INVALID_COLUMNS, make_samples
from python_calamine import CalamineWorkbook

SAMPLES = Path(__file__).parent.parent / "samples"
CSV_ENCODINGS = {
    "retitle.csv": "utf-8",
    "chinese-gb18030.csv": "gb18030",
    "invalid-rows.csv": "utf-8",
}


def rows_of(name: str) -> list[list[str]]:
    if name.endswith(".xlsx"):
        # Blank rows inside a sheet are compared too.
        sheet = CalamineWorkbook.from_path(SAMPLES / name).get_sheet_by_index(0)
        return sheet.to_python(skip_empty_area=False)
    text = (SAMPLES / name).read_bytes().decode(CSV_ENCODINGS[name])
    return list(csv.reader(io.StringIO(text, newline="")))


def test_every_sheet_in_the_folder_is_written_by_the_script() -> None:
    """Every sheet in samples/ can be written again."""
    sheets = {file.name for file in SAMPLES.iterdir() if file.suffix in {".csv", ".xlsx"}}
    assert sheets == set(make_samples())


@pytest.mark.parametrize("name", CSV_ENCODINGS)
def test_csv_sample_is_byte_for_byte_what_the_script_writes(name: str) -> None:
    """A sample edited by hand, or a script that was not run after a change, is detected."""
    assert (SAMPLES / name).read_bytes() == make_samples()[name]


def test_workbook_sample_has_the_cells_that_the_script_writes() -> None:
    """Cells are compared, because the bytes depend on the version of the writer."""
    made = CalamineWorkbook.from_filelike(io.BytesIO(make_samples()["postmortems.xlsx"]))

    assert rows_of("postmortems.xlsx") == made.get_sheet_by_index(0).to_python(
        skip_empty_area=False
    )


def test_samples_have_no_incident_in_common() -> None:
    """All samples can be sent to one sandbox; none overwrites another."""
    ids = [{row[0] for row in rows_of(name)[1:]} - {""} for name in make_samples()]

    assert len(set.union(*ids)) == sum(len(own) for own in ids)


def test_retitle_is_300_sendable_titles() -> None:
    """The sheet for a rehearsal of a renaming has no invalid rows."""
    header, *rows = rows_of("retitle.csv")

    assert (header, len({row[0] for row in rows})) == (["incident_id", "title"], 300)
    assert all(re.fullmatch("[0-9a-f]{24}", row[0]) for row in rows)
    assert all(3 <= len(row[1]) <= 200 for row in rows)


def test_postmortems_are_40_around_a_blank_row() -> None:
    """The sheet is like those of users: a blank row, empty cells, long texts."""
    header, *rows = rows_of("postmortems.xlsx")
    blank = [number for number, row in enumerate(rows, start=2) if not any(row)]

    assert header == [
        "Incident ID",
        "Title",
        "Root Cause",
        "Impact",
        "Resolution",
        "Severity",
        "Owner team",
    ]
    assert (len(rows), blank) == (41, [21])
    assert {text for row in rows for text in row if 0 < len(text) < 3} == set()
    text = "".join(text for row in rows for text in row)
    assert [sign for sign in '",\n🌩发' if sign not in text] == []


def test_chinese_sample_can_only_be_read_as_gb18030() -> None:
    """Neither UTF-8 nor the older GBK can read the sheet."""
    content = (SAMPLES / "chinese-gb18030.csv").read_bytes()

    for encoding in ("utf-8", "gbk"):
        with pytest.raises(UnicodeDecodeError):
            content.decode(encoding)
    assert len(rows_of("chinese-gb18030.csv")) == 26


def test_the_list_of_invalid_columns_matches_the_sheet() -> None:
    """The valid rows are the first five, the duplicates and the two rows of one incident."""
    header, *rows = rows_of("invalid-rows.csv")

    assert set().union(*INVALID_COLUMNS.values()) == set(header)
    assert set(range(2, len(rows) + 2)) - set(INVALID_COLUMNS) == {2, 3, 4, 5, 6, 27, 28, 29, 30}
    assert rows[27 - 2] == rows[28 - 2]
    assert [len(rows[number - 2][1]) for number in (12, 13, 14)] == [2, 201, 5]
    assert [max(map(len, rows[number - 2][2:6])) for number in range(15, 23)] == [
        *[2] * 4,
        *[6145] * 4,
    ]
