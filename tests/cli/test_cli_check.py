"""``bulk-reset check``, ``report`` and ``template`` as processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from make_samples import INVALID_COLUMNS
from programs import FAST, ROOT, read_csv, write_sheet

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_valid_sheet_is_summarized_with_the_time_it_needs(
    command: Command, tmp_path: Path
) -> None:
    """A check needs no key, and prints the next command."""
    write_sheet(tmp_path / "incidents.csv", 2_000)
    done = command("check", "incidents.csv", key=None)
    assert (done.returncode, done.stdout) == (
        0,
        (
            "2,000 rows: 0 invalid\n"
            "Fields to update: title 2,000\n"
            "2,000 requests take at least 1 min 20 s.\n"
            "Next: bulk-reset run incidents.csv\n"
        ),
    )


def test_json_lists_every_error_by_row_and_column(command: Command) -> None:
    """A script gets all errors, not only the first twenty."""
    done = command("check", ROOT / "samples" / "invalid-rows.csv", "--json", key=None)
    results = json.loads(done.stdout)
    found: dict[int, set[str]] = {}
    for row_error in results["row_errors"]:
        found.setdefault(row_error["row_number"], set()).add(row_error["column"])
    assert (done.returncode, results["exit_code"]) == (2, 2)
    assert found == {row: set(columns) for row, columns in INVALID_COLUMNS.items()}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("no.csv", None, "no.csv: file not found."),
        (
            "old.xls",
            b"\xd0\xcf\x11\xe0",
            "old.xls: .xls files are not supported. Save it as .xlsx or .csv",
        ),
        ("empty.csv", b"", "empty.csv: the file is empty."),
        ("header.csv", b"id,title\n", "header.csv: no rows below the header."),
        ("noid.csv", b"incident,name,x\n1,2,3\n", "1 row: 1 invalid"),
        ("nofield.csv", b"id,x\n1,2\n", "no column for any field to update"),
        ("twice.csv", b"id,title,Title\n1,2,3\n", "more than one column for title"),
        ("broken.xlsx", b"PK\x03\x04 broken", "cannot be read as a workbook"),
    ],
)
def test_a_sheet_that_cannot_be_used_is_reported_in_one_line(
    name: str, content: bytes | None, words: str, command: Command, tmp_path: Path
) -> None:
    """An unusable sheet gets an error with place, reason and fix; never a traceback."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = command("check", name, key=None)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split() + done.stdout.split())
    assert "Traceback" not in done.stderr


def test_a_report_file_is_summarized(command: Command, tmp_path: Path) -> None:
    """The report file alone has the result of a run."""
    write_sheet(tmp_path / "incidents.csv", 5)
    command("run", "incidents.csv", "--sandbox", *FAST, key=None)
    done = command("report", "incidents.sandbox.report.csv", "--json", key=None)
    results = json.loads(done.stdout)
    assert (done.returncode, results["lines"], results["counts"]["updated"]) == (0, 5, 5)
    shown = command("report", "incidents.sandbox.report.csv", key=None)
    assert " updated       5   confirmed by the API" in shown.stdout


def test_a_file_that_is_not_a_report_is_refused(command: Command, tmp_path: Path) -> None:
    """A wrong file name is reported, and no file is changed."""
    sheet = write_sheet(tmp_path / "incidents.csv", 5)
    other = write_sheet(tmp_path / "other.csv", 5)
    before = sheet.read_bytes()
    summed = command("report", "incidents.csv", key=None)
    run = command("run", "other.csv", "--report", "incidents.csv", "--base-url", "http://[::1]")
    itself = command("run", "other.csv", "--report", "other.csv", "--base-url", "http://[::1]")
    assert (summed.returncode, run.returncode, itself.returncode) == (2, 2, 2)
    assert "--report other.csv: this is the sheet itself. Choose another report." in itself.stderr
    assert other.read_bytes() == before
    assert "not a report of bulk-reset" in summed.stderr
    assert "not a report of bulk-reset; the file was not changed" in run.stderr
    assert sheet.read_bytes() == before


def test_the_template_is_a_sheet_that_can_be_checked(command: Command) -> None:
    """The empty workbook is read by the other commands; only the rows are missing."""
    made = command("template", "new.xlsx", key=None)
    checked = command("check", "new.xlsx", key=None)
    again = command("template", "new.xlsx", key=None)
    assert (made.returncode, checked.returncode, again.returncode) == (0, 2, 2)
    assert "new.xlsx: no rows below the header." in checked.stderr


def test_a_mapped_column_is_used(command: Command, tmp_path: Path) -> None:
    """--map names the column of a field."""
    (tmp_path / "own.csv").write_text(f"key,wording\n{'a' * 24},A new title\n", encoding="utf-8")
    mapped = ("--map", "incident_id=key", "--map", "title=wording")
    done = command("run", "own.csv", "--sandbox", *mapped, *FAST, key=None)
    assert done.returncode == 0, done.stderr
    (line,) = read_csv(tmp_path / "own.sandbox.report.csv")
    assert (line["incident_id"], line["fields"]) == ("a" * 24, "title")


def test_a_text_of_a_sheet_cannot_control_the_terminal(command: Command, tmp_path: Path) -> None:
    """Escape codes, markup and emoji codes in a cell are shown as text."""
    (tmp_path / "x.csv").write_text("id,title\n[bold]x\x1b[31mRED\x07:x:,abc\n", encoding="utf-8")
    done = command("check", "x.csv", key=None)
    assert "[bold]x\N{REPLACEMENT CHARACTER}[31mRED\N{REPLACEMENT CHARACTER}:x:" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout
