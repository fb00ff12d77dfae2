"""Reading a report that was edited, or saved with a spreadsheet."""

from __future__ import annotations

import csv
import errno
import io
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import ROOT, read_csv, seed_id
from test_report_file import FAILED, HEADER, LINES, REJECTED, THREE, UPDATED, statuses_of, write

from bulk_reset.core.errors import InputError, RunError
from bulk_reset.core.outcome import Status
from bulk_reset.records import report_reader
from bulk_reset.records.history import History
from bulk_reset.records.report_file import Report
from bulk_reset.records.report_reader import read_history, read_report
from bulk_reset.records.summary import summarise


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "incidents.report.csv"


# --- Edited by hand --------------------------------------------------------------------------


def test_a_line_taken_out_by_hand_is_a_row_to_be_sent_again(path: Path) -> None:
    """A line that is duplicated or moved changes nothing."""
    path.write_bytes(HEADER + LINES[2] + LINES[1] + LINES[1])
    with Report(path) as report:
        statuses = statuses_of(report, f"{10:024x}", "b" * 24, "c" * 24)
    assert statuses == [None, Status.FAILED, Status.REJECTED]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"failed", b"fine"),
        (b"failed", b"FAILED"),
        (b"title root_cause", b"title root_kause"),
        (b"failed,title root_cause", b"updated,"),
        (b"69da451ef77b1b51f40e83ee,failed", b"69da,updated"),
        (b"bbbb\n", b"xyz\n"),
        (b"bbbb\n", b"\n"),
        (b",R2,", b","),
        (b",R2,", b",R2,R3,"),
        (b"R2", b"\0" * 4096),
    ],
)
@pytest.mark.parametrize("message", ['"x, y"', "x"], ids=["quoted", "plain"])
def test_an_edited_line_is_named_by_its_number(
    message: str, old: bytes, new: bytes, path: Path
) -> None:
    """Who edited the report finds the line, and nothing was sent."""
    write(path, UPDATED, FAILED._replace(error_message=message), REJECTED)
    content = path.read_bytes().replace(LINES[0], LINES[0].replace(b"R1", b"R0"))
    first, at, rest = content.partition(b"\n3,")
    if b"\0" in new:
        rest = rest.replace(b",0,400", b"\0,400")
    content = first + at + rest.replace(old, new, 1)
    path.write_bytes(content)
    text = (
        f"{path}: line 3: not a line of a report; it may have been edited. Remove the line to send "
        "its row again, move the file to start from scratch, or undo the edit."
    )
    for read in (Report, summarise):
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(caught.value) == text
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        (b"\n3,", b"\nthree,", {"row_number": 0}),
        (b",2,0,400", b",2.0,,400.0", {}),  # as pandas does it
        (b",2,0,400", b",many,-1,4E+2", {"attempts": 0, "http_status": 0}),
        (b"05.373Z,bb", b"05.373+00:00,bb", {}),
        (b"2026-01-02T03:04:05.373Z,bb", b"02.01.2026 03:04,bb", {"finished_at": 0.0}),
        (b"R2", "fünf".encode("latin-1"), {"request_id": "f\N{REPLACEMENT CHARACTER}nf"}),
        (b"\n3,", b"\n\n,,,,,,,,,,,,\n\n3,", {}),
    ],
)
@pytest.mark.parametrize("message", ['"x, y"', "x"], ids=["quoted", "plain"])
def test_an_edit_that_no_resume_minds_holds_nothing_up(
    message: str, old: bytes, new: bytes, changed: dict[str, object], path: Path
) -> None:
    """A number or time that is none now is left out; a blank line is none. Both readers agree."""
    write(path, UPDATED, FAILED._replace(error_message=message), REJECTED)
    first, at, rest = path.read_bytes().partition(b"\n3,")
    content = first + (at + rest).replace(old, new, 1)
    path.write_bytes(content)
    failed = FAILED._replace(error_message=message, **changed)
    assert list(read_report(path)) == [UPDATED, failed, REJECTED]
    with Report(path) as report:
        assert statuses_of(report, f"{10:024x}", "b" * 24, "c" * 24) == [o.status for o in THREE]
    assert path.read_bytes() == content


@settings(max_examples=400)
@given(data=st.data())
def test_the_quick_reader_and_the_thorough_one_never_disagree(data: st.DataObject) -> None:
    """For any change of a byte or cell, a resume uses what ``report`` shows, or is rejected."""
    lines = [outcome_line(n) for n in range(2, 7)]
    place = data.draw(st.integers(0, len(lines) - 1))
    cells = lines[place][:-1].split(b",")
    if data.draw(st.booleans()):
        cell = st.sampled_from([b"", b"x", b"1.0", b"UPDATED", b"failed", b"title  impact", b'"'])
        cells[data.draw(st.integers(0, len(cells) - 1))] = data.draw(cell)
    line = b",".join(cells) + b"\n"
    at = data.draw(st.integers(0, len(line)))
    new = data.draw(
        st.sampled_from([b"", b"0", b"a", b"A", b" ", b",", b'"', b"\r", b"\n", b"\0", b"\xff"])
    )
    lines[place] = line[:at] + new + line[at + data.draw(st.integers(0, 1)) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.csv"
        path.write_bytes(HEADER + b"".join(lines))
        quick, thorough = (
            messages_of(read, path) for read in (read_history, lambda p: History.of(read_report(p)))
        )
    assert quick == thorough


@pytest.mark.parametrize("block_bytes", [1, 7, 200, 450, 1 << 18])
@pytest.mark.parametrize("torn", [b"", b"7,torn", b"7,torn" * 200])
def test_lines_are_read_whatever_blocks_they_are_in(
    block_bytes: int, torn: bytes, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line may begin in one block and end in another; one without an end is ignored."""
    lines = [outcome_line(number) for number in range(2, 7)]
    lines[1] = lines[1].replace(b",R3,", b',"R, 3",')
    path.write_bytes(HEADER + b"".join(lines) + torn)
    monkeypatch.setattr(report_reader, "_BLOCK_BYTES", block_bytes)
    with path.open("rb") as file:
        file.readline()
        found = History(report_reader.blocks_of(file))
    expected = messages_of(lambda report: History.of(read_report(report)), path)
    assert messages_of(lambda _: found, path) == expected


@pytest.mark.parametrize("cell", [0, 5, 12])
def test_a_quote_left_open_ends_with_its_line(cell: int, path: Path) -> None:
    """The lines after it are read as what they are, by both readers."""
    cells = outcome_line(2)[:-1].split(b",")
    cells[cell] = b'"' + cells[cell]
    path.write_bytes(HEADER + b",".join(cells) + b"\n" + outcome_line(3))
    quick = messages_of(read_history, path)
    assert quick == messages_of(lambda report: History.of(read_report(report)), path)
    assert (quick == "refused") == (cell < 12)


def outcome_line(number: int) -> bytes:
    status = (Status.UPDATED, Status.FAILED, Status.UNKNOWN)[number % 3]
    text = f"{number},{number // 2:024x},{status},title impact,1,0,200,,,R{number},"
    return f"{text}2026-01-02T03:04:05.123Z,2026-01-02T03:04:05.373Z,{number * 7:024x}\n".encode()


def messages_of(read: Callable[[Path], History], path: Path) -> object:
    """Return all results of a history, or that it is rejected."""
    try:
        history = read(path)
    except InputError:
        return "refused"
    digests = [f"{number * 7:024x}" for number in range(2, 7)]
    codes = history.codes([bytes.fromhex(digest) for digest in digests]).tolist()
    is_current = [
        history.is_current(f"{number // 2:024x}", digest, [name])
        for number, digest in enumerate(digests, 2)
        for name in ("title", "impact")
    ]
    return len(history), codes, is_current


# --- What a spreadsheet makes of a report ----------------------------------------------------

CRLF = (HEADER[3:] + b"".join(LINES)).replace(b"\n", b"\r\n")


def as_saved(**dialect: object) -> bytes:
    """Return the report's cells as the csv module writes them in some dialect."""
    rows = csv.reader((HEADER + b"".join(LINES)).decode("utf-8-sig").splitlines())
    text = io.StringIO()
    csv.writer(text, **dialect).writerows(rows)  # type: ignore[arg-type]
    return text.getvalue().encode()


def moved(content: bytes) -> bytes:
    """Return CSV with a column of the user's own, the others in another order."""
    rows = [[*row[::-1], "note"] for row in csv.reader(content.decode().splitlines())]
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


RESAVED = {
    "Excel, comma": CRLF,
    "Excel, with a BOM": b"\xef\xbb\xbf" + CRLF,
    "Excel, where the comma is in numbers": as_saved(delimiter=";"),
    "Excel, in a code page": CRLF.decode().encode("gb18030"),
    "LibreOffice, a BOM taken for text": as_saved(quoting=csv.QUOTE_NONNUMERIC).replace(
        b'"row"', '"ï»¿row"'.encode()
    ),
    "tabs": as_saved(delimiter="\t"),
    "every cell quoted": as_saved(quoting=csv.QUOTE_ALL, lineterminator="\n"),
    "blank rows and columns behind": CRLF.replace(b"\r\n", b",,\r\n") + b",,,,,,,,,,,,,,\r\n" * 9,
    "no end of the last line": CRLF[:-2],
    "a column more, another order": moved(CRLF),
}
TIMES_LOST = re.sub(rb"2026-01-02T03:04:05.\d+Z", b"02.01.2026 03:04", CRLF)


@pytest.mark.parametrize("saved", RESAVED)
def test_a_report_saved_by_a_spreadsheet_is_resumed(saved: str, path: Path) -> None:
    """A report saved by Excel loses nothing, and the user gets a notice."""
    path.write_bytes(RESAVED[saved])
    results = [(o.row_number, o.status, o.digest, o.attempts) for o in read_report(path)]
    assert results == [(o.row_number, o.status, o.digest, o.attempts) for o in THREE]
    with Report(path) as report:
        assert statuses_of(report, f"{10:024x}", "b" * 24, "c" * 24) == [o.status for o in THREE]
        [notice] = report.notices
        report.write(UPDATED)
    assert ": saved by another program; kept that file as " in notice
    assert path.with_name("incidents.report.csv~").read_bytes() == RESAVED[saved]
    lines = path.read_bytes().splitlines(keepends=True)
    assert (lines[0], lines[1], lines[3], lines[4]) == (HEADER, LINES[0], LINES[2], LINES[0])
    assert saved == "Excel, in a code page" or lines[2] == LINES[1]
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, f"{path.name}~"]


def test_a_blank_row_in_the_middle_moves_no_line_number(path: Path) -> None:
    """The line that is named is the one that the user's editor counts."""
    content = CRLF.replace(b"\r\n3,", b"\r\n,,\r\n\r\n3,").replace(b"rejected", b"done")
    path.write_bytes(content)
    with pytest.raises(InputError, match="line 6: not a line of a report"):
        Report(path)


def test_times_that_a_spreadsheet_rewrote_are_left_out(path: Path) -> None:
    """An ambiguous time is ignored, and does not stop the run."""
    path.write_bytes(TIMES_LOST)
    assert [o.started_at for o in read_report(path)] == [0.0, 0.0, 0.0]
    with Report(path) as report:
        assert len(report.history) == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"bbbbbbbbbbbbbbbbbbbbbbbb", b"1.23E+23"),
        (b"00000000000000000000000a", b"A"),
        (b"69da451ef77b1b51f40e83ee,updated", b"6.9E+23,updated"),
        (b"rejected", b"done"),
    ],
)
def test_what_a_spreadsheet_has_spoilt_is_refused_by_line_and_left(
    old: bytes, new: bytes, path: Path
) -> None:
    """A digest that became a number is an error: better no run than one with half a report."""
    content = CRLF.replace(old, new, 1)
    path.write_bytes(content)
    line = content[: content.index(new)].count(b"\n") + 1
    with pytest.raises(InputError) as caught:
        Report(path)
    assert str(caught.value) == (
        f"{path}: line {line}: not a line of a report; it may have been edited. Remove the line to "
        "send its row again, move the file to start from scratch, or undo the change of the "
        "spreadsheet (for example a long number that it has rounded)."
    )
    assert [p.read_bytes() for p in path.parent.iterdir()] == [content]


def test_a_report_that_cannot_be_rewritten_is_not_changed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a full disk, the run stops and the file is complete."""

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path.write_bytes(CRLF)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RunError):
        Report(path)
    assert [p.read_bytes() for p in path.parent.iterdir()] == [CRLF]


def test_a_report_saved_by_pandas_is_resumed(path: Path) -> None:
    """Numbers that became fractions because other rows have none are the same numbers."""
    write(path, *THREE)
    table = pd.read_csv(path, encoding="utf-8-sig")
    table.to_csv(path, index=False)
    assert b",400.0," in path.read_bytes()
    assert list(read_report(path)) == list(THREE)
    with Report(path) as report:
        assert statuses_of(report, f"{10:024x}", "b" * 24, "c" * 24) == [o.status for o in THREE]


@pytest.mark.parametrize("name", ["lo-report-semicolon.csv", "lo-report-tab.csv"])
def test_a_report_that_libreoffice_has_saved_sends_nothing_twice(
    name: str, command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Saved as CSV with semicolons, or by way of a workbook: what is done stays done."""
    rows = [f"{seed_id(number)},Renamed service {number}," for number in range(1, 7)]
    text = "\n".join(["incident_id,title,impact", *rows, f"{seed_id(8)},no,", ""])
    (tmp_path / "retitle.csv").write_text(text)
    report = tmp_path / "retitle.sandbox.report.csv"
    shutil.copy(ROOT / "tests" / "files" / name, report)
    done = command("run", "retitle.csv", "--sandbox", "--skip-invalid")
    assert "resumed; 6 of 7 rows already done" in done.stderr
    assert "No row needed to be sent." in done.stdout
    lines = read_csv(report)
    assert Counter(line["status"] for line in lines) == {"updated": 6, "rejected": 1}
    assert {line["finished_at"][:20] for line in lines} == {"2026-11-25T10:02:52."}
