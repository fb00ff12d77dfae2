"""The file of rows that are not done: a sheet to fix and run again."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Final

import pytest
import xlsxwriter
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bulk_reset.core.change import Change
from bulk_reset.core.look_alikes import is_invisible
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.engine.work_source import WorkSource
from bulk_reset.records.report_file import Report
from bulk_reset.reports.failed_rows import failed_path, write_failed
from bulk_reset.sheets.columns import field_named
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.sheet_check import check_rows

A, B, C, D = (letter * 24 for letter in "abcd")
HEADER: Final = ["Incident ID", "Title", "Owner"]
OWN: Final = ["bulk-reset row", "bulk-reset status", "bulk-reset reason", "bulk-reset guarded"]
Results = dict[int, tuple[Status, str, str]]
"""row_number -> status, error code and message that the API gave; updated where left out."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "july.csv"


def write_sheet(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(rows)


def run(path: Path, results: Results | None = None) -> Path | None:
    """Do what a run does, with these responses, and write the file of failed rows."""
    report_path = path.with_name(f"{path.stem}.report.csv")
    with open_sheet(path) as sheet:
        sheet_check = check_rows(sheet)
        with Report(report_path) as report:
            work = WorkSource(sheet, sheet_check, "", report.history, retries_failed=True)
            for changes, outcomes in work.batches():
                for outcome in [*outcomes, *(answer(c, results or {}) for c in changes)]:
                    report.write(outcome)
        return write_failed(sheet, sheet_check, "", report_path)


def answer(change: Change, results: Results) -> Outcome:
    status, code, message = results.get(change.row_number, (Status.UPDATED, "", ""))
    return Outcome(
        change.row_number,
        change.incident_id,
        status,
        change.fields,
        change.digest,
        error_code=code,
        error_message=message,
    )


def cells(path: Path | None, delimiter: str = ",") -> list[list[str]]:
    assert path is not None
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


@pytest.mark.parametrize(
    ("report", "failed"),
    [
        ("july.report.csv", "july.failed.csv"),
        ("july.sandbox.report.csv", "july.sandbox.failed.csv"),
        ("july.csv", "july.failed.csv"),
        ("july", "july.failed.csv"),
        ("july.2024.report.csv", "july.2024.failed.csv"),
    ],
)
def test_the_file_is_beside_the_report_under_its_name(report: str, failed: str) -> None:
    """A user who finds the report finds the failed rows."""
    assert failed_path(Path("out") / report) == Path("out") / failed


def test_rows_not_done_are_kept_with_their_reason(path: Path) -> None:
    """Failed, unknown and rejected rows are in it, in order; done and skipped ones are not."""
    rows = [
        HEADER,
        [A, "good", "x"],
        [B, "bad", "y"],
        ["", "", ""],
        [C, "lost", ""],
        ["z", "wrong", ""],
    ]
    write_sheet(path, [*rows, [A, "good", "x"], [D, "good", ""]])
    found = run(
        path,
        {
            3: (Status.FAILED, "ResourceNotFound", "no such\nincident"),
            5: (Status.UNKNOWN, "timeout", "no answer"),
        },
    )

    assert found == path.with_name("july.failed.csv")
    assert cells(found) == [
        [*HEADER, *OWN],
        [B, "bad", "y", "3", "failed", "ResourceNotFound: no such incident", ""],
        [C, "lost", "", "5", "unknown", "timeout: no answer", ""],
        [
            "z",
            "wrong",
            "",
            "6",
            "rejected",
            "id_invalid: Incident ID: 1 character; an ID has 24. Copy the whole ID.",
            "",
        ],
    ]


def test_cells_are_no_formulas_and_are_read_back_unchanged(path: Path) -> None:
    """Nothing in the file runs as a formula; the texts sent again are those of the sheet."""
    written = {
        '=HYPERLINK("x")': '\'=HYPERLINK("x")',
        " -5 ": "' -5 ",
        "+1\r\n\n2\t": "'+1\r\n\n2\t",
        "\"q\", 'q'": "\"q\", 'q'",
        "磁盘😀": "磁盘😀",
        "NaN": "NaN",
        "007": "007",
        "@me\r": "'@me\r",
        "'=1": "''=1",
        "'quoted'": "'quoted'",
        "a; =cmd|'/C calc'!A0;b": "a;' =cmd|'/C calc'!A0;b",
        "to do:\n- fix;-)": "to do:\n'- fix;'-)",
    }
    texts = list(written)
    write_sheet(path, [HEADER, *([f"{n:024X} ", text, "=1+1"] for n, text in enumerate(texts))])
    found = run(path, dict.fromkeys(range(2, 14), (Status.FAILED, "", "=cmd()\n|x")))

    assert found is not None
    *lines, records = zip(*cells(found)[1:], strict=True)
    assert list(zip(*lines, strict=True)) == [
        (f"{n:024X} ", written[text], "'=1+1", str(n + 2), "failed", "'=cmd() |x")
        for n, text in enumerate(texts)
    ]
    assert [json.loads(record) for record in records] == [
        {"Title": written[text], "Owner": "'=1+1"} if written[text] != text else {"Owner": "'=1+1"}
        for text in texts
    ]
    assert read_again(found)[:3] == [
        [f"{n:024X} " for n in range(12)],
        texts,
        ["=1+1"] * 12,
    ]


def read_again(found: Path) -> list[list[str]]:
    """Return the columns of a file of failed rows as a run reads them."""
    with open_sheet(found) as sheet:
        [chunk] = sheet.chunks()
        return chunk.columns


ANY = st.sampled_from("=+-@'\";, \t\r\n\uff1d\u3000") | st.characters()


@pytest.mark.slow
@settings(max_examples=200)
@given(
    name=st.text(ANY, min_size=1, max_size=9),
    texts=st.lists(st.text(ANY, min_size=3, max_size=9), min_size=1, max_size=4),
)
def test_any_text_of_a_cell_is_read_back_and_never_runs(name: str, texts: list[str]) -> None:
    """For any text and column name: no formula in the file, unchanged when sent again.

    Also where a spreadsheet takes the lines apart at ``;``, as it does in some countries.
    """
    name, texts = csv_text(name), [csv_text(text) for text in texts]
    # Text in a column without a name is invalid: of such a row, only the id is kept.
    assume(not is_invisible(name) and field_named(name) is None)
    rows = [[f"{n:024x}", f"title {n}", text] for n, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.csv"
        write_sheet(path, [["id", "title", name], *rows])
        found = run(path, dict.fromkeys(range(2, 6), (Status.FAILED, "C", "no")))
        assert found is not None
        for delimiter in ",;":
            shown = [cell for line in cells(found, delimiter) for cell in line]
            assert [cell for cell in shown if cell.lstrip().startswith(STARTS)] == []
            assert [cell for cell in shown if delimiter == "," and cell[:1] in set("\t\r\n")] == []
        assert read_again(found)[2] == texts
        with open_sheet(found) as sheet, open_sheet(path) as original:
            assert sheet.columns.header[:3] == original.columns.header


STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_text(text: str) -> str:
    """Return a text that a CSV file can hold: UTF-8, no NUL, line breaks as they are read."""
    return text.encode("utf-8", "replace").decode().replace("\0", "0")


def test_the_file_begins_with_a_byte_order_mark(path: Path) -> None:
    """Excel reads its encoding from it."""
    write_sheet(path, [HEADER, [A, "磁盘满", ""]])
    found = run(path, {2: (Status.FAILED, "x", "y")})

    assert found is not None
    assert found.read_bytes().decode().startswith("\ufeffIncident ID,Title,Owner,bulk-reset row,")


def test_without_failed_rows_there_is_no_file(path: Path) -> None:
    """Where every row is done there is no file, and no incomplete one."""
    write_sheet(path, [HEADER, [A, "good", ""], [A, "good", ""]])

    assert run(path) is None
    assert sorted(file.name for file in path.parent.iterdir()) == ["july.csv", "july.report.csv"]


def test_a_row_that_succeeded_later_is_not_in_the_file(path: Path) -> None:
    """The last line of a row counts; the older file is kept: the user may have edited it."""
    write_sheet(path, [HEADER, [A, "one", ""], [B, "two", ""]])
    before = cells(run(path, dict.fromkeys((2, 3), (Status.FAILED, "x", "y"))))
    after = run(path, {3: (Status.FAILED, "x", "y")})

    assert cells(after) == [before[0], before[2]]
    assert cells(path.with_name("july.failed.csv~")) == before
    assert run(path) is None
    assert cells(path.with_name("july.failed.csv~")) == [before[0], before[2]]
    assert not path.with_name("july.failed.csv").exists()


def test_the_same_file_again_is_not_kept_twice(path: Path) -> None:
    """Running again with the same end leaves one file."""
    write_sheet(path, [HEADER, [A, "one", ""]])
    results = {2: (Status.FAILED, "x", "y")}
    first = cells(run(path, results))

    assert cells(run(path, results)) == first
    assert not path.with_name("july.failed.csv~").exists()


def test_a_row_that_was_fixed_in_the_sheet_is_not_in_the_file(path: Path) -> None:
    """A row fixed in the sheet itself is a new row; the old one is left out."""
    write_sheet(path, [HEADER, [A, "bad", ""]])
    assert run(path, {2: (Status.FAILED, "x", "y")}) is not None
    write_sheet(path, [HEADER, [A, "fixed", ""]])

    assert run(path) is None


def test_failed_rows_are_a_sheet_that_runs(path: Path) -> None:
    """When fixed, the file runs as it is; rows that fail again have the added columns once."""
    write_sheet(path, [HEADER, [A, "no", "x"], [B, "two", ""], [C, "three\nlines", ""]])
    failed = run(path, {4: (Status.FAILED, "BadRequest", "no")})
    assert failed is not None
    rows = cells(failed)
    rows[1][1] = "fixed"
    write_sheet(failed, rows)
    with open_sheet(failed) as sheet:
        notices = sheet.notices
    again = run(failed, {3: (Status.FAILED, "BadRequest", "still no")})

    assert notices[1:] == (f"{failed}: not used: 'Owner'",)
    assert again == path.with_name("july.failed.failed.csv")
    assert cells(again) == [
        [*HEADER, *OWN],
        [C, "three\nlines", "", "3", "failed", "BadRequest: still no", ""],
    ]


def test_failed_rows_of_a_workbook_are_csv(tmp_path: Path) -> None:
    """The rows of a workbook are kept as text, numbered as Excel numbers them."""
    path = tmp_path / "july.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate(
            [[*HEADER[:2], "Severity"], [A, 1234, "Info"], [B, "b\nb", ""]], 2
        ):
            sheet.write_row(number, 1, row)
    found = run(path, dict.fromkeys((4, 5), (Status.FAILED, "x", "y")))

    assert cells(found) == [
        ["Incident ID", "Title", "Severity", *OWN],
        [A, "1234", "Info", "4", "failed", "x: y", ""],
        [B, "b\nb", "", "5", "failed", "x: y", ""],
    ]


def test_row_whose_cells_are_not_certain_keeps_only_its_id(path: Path) -> None:
    """What was cut or moved is not made valid by copying it: the row is refused again."""
    path.write_text(f'{",".join(HEADER)}\n{A},"Disk" full,x\n{B},Disk full, on db,y\n{C},good,z\n')
    found = run(path)

    first, second = cells(found)[1:]
    assert first[:5] == [A, "", "", "2", "rejected"]
    assert second[:5] == [B, "", "", "3", "rejected"]
    assert second[5] == (
        "cell_count: column 4: the row has 4 cells, the header has 3; left over: 'y'. Put a cell "
        "that contains the delimiter in double quotes, or remove the cells that are left over."
    )
    assert found is not None
    with open_sheet(found) as sheet:
        kinds = [(one.row_number, one.kind) for one in check_rows(sheet).row_errors]
    assert kinds == [(2, "nothing_to_set"), (3, "nothing_to_set")]
