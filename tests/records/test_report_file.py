"""The report file: every line complete and written once, whatever happens to disk or process."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bulk_reset.core.errors import InputError, InternalError, LockedError, RunError
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.safe_text import escape_formula
from bulk_reset.records.history import status_of
from bulk_reset.records.report_columns import COLUMNS
from bulk_reset.records.report_file import Report
from bulk_reset.records.report_reader import read_report

HEADER = (
    "\ufeffrow,incident_id,status,fields,attempts,throttled,http_status,error_code,error_message,"
    "request_id,started_at,finished_at,digest\n"
).encode()
AT = 1_767_323_045.123  # 2026-01-02 03:04:05.123 UTC
ID = "69da451ef77b1b51f40e83ee"
BOTH = ("title", "root_cause")
UPDATED = Outcome(2, ID, Status.UPDATED, BOTH, f"{10:024x}", 1, 200, "", "", "R1", AT, AT + 0.25)
FAILED = UPDATED._replace(row_number=3, status=Status.FAILED, digest="b" * 24, request_id="R2")
FAILED = FAILED._replace(attempts=2, http_status=400, error_message='标题 "x, y" 太短')
FAILED = FAILED._replace(error_code="InvalidParameter")
REJECTED = Outcome(4, "oops", Status.REJECTED, (), "c" * 24, error_code="id_invalid")
THREE = (UPDATED, FAILED, REJECTED)
LINES = """\
2,69da451ef77b1b51f40e83ee,updated,title root_cause,1,0,200,,,\
R1,2026-01-02T03:04:05.123Z,2026-01-02T03:04:05.373Z,00000000000000000000000a
3,69da451ef77b1b51f40e83ee,failed,title root_cause,2,0,400,InvalidParameter,"标题 ""x, y"" 太短",\
R2,2026-01-02T03:04:05.123Z,2026-01-02T03:04:05.373Z,bbbbbbbbbbbbbbbbbbbbbbbb
4,oops,rejected,,0,0,,id_invalid,,,,,cccccccccccccccccccccccc
""".encode().splitlines(keepends=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "incidents.report.csv"


def statuses_of(report: Report, *digests: str) -> list[Status | None]:
    codes = report.history.codes([bytes.fromhex(digest) for digest in digests])
    return [status_of(code) for code in codes.tolist()]


def write(path: Path, *outcomes: Outcome) -> None:
    with Report(path) as report:
        for outcome in outcomes:
            report.write(outcome)
        report.flush()
        report.check_written()


# --- Lines -----------------------------------------------------------------------------------


def test_a_report_holds_a_header_and_one_line_per_outcome(path: Path) -> None:
    """Excel detects the encoding, and the columns are as documented."""
    write(path, *THREE)
    assert path.read_bytes() == HEADER + b"".join(LINES)


def test_what_was_written_is_read_back_as_it_was(path: Path) -> None:
    """Times to the millisecond in UTC, statuses and texts: nothing is lost in the file."""
    write(path, *THREE)
    assert tuple(read_report(path)) == THREE


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "a\rb", "a\u2028b", "a\x0bb", "a\x85b", "\n a \t b \n"]
)
def test_a_line_break_in_a_message_is_folded(text: str, path: Path) -> None:
    """A line of the file is always a line of the report."""
    odd = FAILED._replace(error_message=text, error_code=text, request_id=text)
    write(path, odd, UPDATED)
    assert path.read_bytes().count(b"\n") == 3
    assert list(read_report(path)) == [
        FAILED._replace(error_message="a b", error_code="a b", request_id="a b"),
        UPDATED,
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1"])
def test_a_cell_that_a_spreadsheet_would_run_is_written_inert(text: str, path: Path) -> None:
    """Neither a sheet's cell nor a server's message becomes a formula in Excel."""
    odd = FAILED._replace(incident_id=text, error_code=text, error_message=text, request_id=text)
    write(path, odd)
    cells = next(iter(csv.reader([path.read_text("utf-8-sig").splitlines()[1]])))
    shown = dict(zip(COLUMNS, cells, strict=True))
    columns = ("incident_id", "error_code", "error_message", "request_id")
    assert {shown[name] for name in columns} == {f"'{text.strip()}"}


def test_an_ordinary_text_is_written_as_it_is() -> None:
    """Only what is dangerous is changed."""
    texts = ["a=b", "1-2", "'=1", "", "磁盘"]
    assert [escape_formula(text) for text in texts] == texts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x" * 200_000, "x" * 2_000),
        ('"' * 200_000, '"' * 2_000),
        ("half a pair: \ud800", "half a pair: \\ud800"),
        ("a\x00b", "a\N{REPLACEMENT CHARACTER}b"),
    ],
)
def test_a_text_of_any_size_and_letters_can_be_read_back(text: str, shown: str, path: Path) -> None:
    """One odd cell of a sheet does not spoil the report of all the others."""
    write(path, REJECTED._replace(incident_id=text, error_message=text), UPDATED)
    assert list(read_report(path)) == [
        REJECTED._replace(incident_id=shown, error_message=shown),
        UPDATED,
    ]


# --- Torn ends -------------------------------------------------------------------------------


def test_a_torn_last_line_of_any_length_is_cut_and_its_row_is_pending(path: Path) -> None:
    """A power cut in the middle of a line, or of a character, costs that line and no other."""
    whole, torn = HEADER + LINES[0], LINES[1]
    nothing = [bytes(length) for length in (1, 511, 4096)]  # which a power cut may leave
    ends = [*(torn[:length] for length in range(len(torn))), b"9" * 200_000, *nothing]
    for torn_off in [*ends, *(torn[:50] + end for end in nothing)]:
        path.write_bytes(whole + torn_off)
        assert list(read_report(path)) == [UPDATED]
        with Report(path) as report:
            assert report.truncated_bytes == len(torn_off)
            assert statuses_of(report, f"{10:024x}") == [Status.UPDATED]
            report.write(REJECTED)
        assert path.read_bytes() == whole + LINES[2]


def test_a_torn_header_of_any_length_is_rewritten(path: Path) -> None:
    """A run that was killed at its start does not block the next one."""
    for length in range(len(HEADER)):
        path.write_bytes(HEADER[:length])
        with Report(path) as report:
            assert report.truncated_bytes == length
        assert path.read_bytes() == HEADER


def test_a_report_can_be_read_while_it_is_written(path: Path) -> None:
    """Progress is visible from another window."""
    with Report(path) as report:
        seen = [list(read_report(path))]
        for outcome in THREE:
            report.write(outcome)
            report.flush()
            seen.append(list(read_report(path)))
    assert seen == [[], [UPDATED], [UPDATED, FAILED], [UPDATED, FAILED, REJECTED]]


@pytest.mark.parametrize("torn", [b"", b"9", LINES[1][:70], b"x" * 70_000])
def test_of_a_long_report_too_only_the_torn_end_is_cut(torn: bytes, path: Path) -> None:
    """Megabytes of lines before it stay as they are."""
    whole = HEADER + LINES[0] * 3_000
    path.write_bytes(whole + torn)
    with Report(path) as report:
        assert report.truncated_bytes == len(torn)
    assert path.read_bytes() == whole


def test_a_report_without_its_bom_is_resumed_unchanged(path: Path) -> None:
    """An editor that leaves it out changes nothing else."""
    path.write_bytes(HEADER[3:] + LINES[0])
    with Report(path) as report:
        assert (report.notices, len(report.history)) == ([], 1)
        report.write(REJECTED)
    assert path.read_bytes() == HEADER[3:] + LINES[0] + LINES[2]


# --- What is no report -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"incident_id,title\n69da451ef77b1b51f40e83ee,Disk full\n",
        b"\n",
        HEADER.replace(b"digest", b"hash") + LINES[0],
        HEADER[:-1].replace(b",", b"|") + b"\n",
        b"PK\x03\x04\xff\xfe\n\x00",
        b"\xef\xbb\xbfro\n",
    ],
)
def test_a_file_that_is_no_report_is_refused_and_left_as_it_is(content: bytes, path: Path) -> None:
    """A slip in --report never costs a sheet."""
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        Report(path)
    assert str(caught.value) == (
        f"{path}: not a report of bulk-reset; the file was not changed. "
        "Use report='FILE' to write the report elsewhere."
    )
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"row\n", b"\xff\xff\n", HEADER[:-1], b'"\n' * 3])
def test_reading_another_file_is_an_error(content: bytes, path: Path) -> None:
    """The command names the file instead of summing up nonsense."""
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(read_report(path))
    assert str(caught.value).startswith(f"{path}: not a report of bulk-reset")


@pytest.mark.parametrize(
    ("name", "reason"), [("gone/r.csv", "No such file or directory"), (".", "Is a directory")]
)
def test_a_report_that_cannot_be_opened_is_named(name: str, reason: str, tmp_path: Path) -> None:
    """Nothing is sent if results cannot be written."""
    with pytest.raises(InputError) as caught:
        Report(tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path / name}: the report cannot be written ({reason}). "
        "Use report='FILE' to write it elsewhere."
    )


# --- Resuming and locking --------------------------------------------------------------------


def test_a_resumed_report_knows_the_last_status_of_each_row(path: Path) -> None:
    """A row that was sent again counts as what it became in the end."""
    again = FAILED._replace(status=Status.UPDATED, finished_at=AT + 60)
    write(path, *THREE, again)
    with Report(path) as report:
        statuses = statuses_of(report, f"{10:024x}", "b" * 24, "c" * 24, "d" * 24)
        assert statuses == [Status.UPDATED, Status.UPDATED, Status.REJECTED, None]


def test_two_runs_cannot_write_one_report(path: Path) -> None:
    """The second run is an error, and the first is not affected."""
    with Report(path) as first:
        first.write(UPDATED)
        with pytest.raises(LockedError) as caught:
            Report(path)
        first.write(REJECTED)
    assert str(caught.value) == f"{path}: another run is writing it. Wait until it has ended."
    assert list(read_report(path)) == [UPDATED, REJECTED]
    Report(path).close()


HOLD = "import sys; from pathlib import Path; from bulk_reset.records.report_file import Report\n"
HOLD += "with Report(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def test_two_processes_cannot_write_one_report_and_a_killed_one_frees_it(path: Path) -> None:
    """The lock is the system's, so no file is left to be removed after a crash."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(LockedError):
            Report(path)
        other.kill()
        other.wait()
        Report(path).close()


# --- Disks that fail, files that are tampered with -------------------------------------------


def disk_error(path: Path | str, reason: str) -> str:
    return (
        f"{path}: the report cannot be written ({reason}), so the run stopped. "
        "Free disk space, then run the same command again to resume."
    )


FILL = """
import json, resource, sys
from pathlib import Path
from bulk_reset.core.errors import RunError
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.records.report_file import Report
size = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
tried = 0
try:
    with Report(Path(sys.argv[1])) as report:
        for row in range(2, 1000):
            report.write(Outcome(row, "a" * 24, Status.UPDATED, ("title",), f"{row:024x}", 1))
            tried += 1
            report.flush()
except RunError as error:
    print(json.dumps([str(error), tried]))
"""


@pytest.mark.parametrize("spare_bytes", [-40, 0, 1, 30, 70, 5_000])
def test_a_disk_that_fills_up_stops_the_run_and_spoils_no_line(
    spare_bytes: int, path: Path
) -> None:
    """Every complete line is kept; with free space, the report continues."""
    command = [sys.executable, "-c", FILL, str(path), str(len(HEADER) + spare_bytes)]
    text, tried = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    written = max(0, tried - 1)
    assert text == disk_error(path, "File too large")
    with Report(path) as report:
        assert len(report.history) == written
    assert [outcome.row_number for outcome in read_report(path)] == [*range(2, 2 + written)]


def test_a_disk_that_loses_what_it_took_stops_the_run(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line counts only once the disk has it; the lock is released all the same."""

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    report = Report(path)
    report.write(UPDATED)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RunError) as caught:
        report.close()
    assert str(caught.value) == disk_error(path, "Input/output error")
    Report(path).close()


@pytest.mark.parametrize(
    "meddle",
    [
        Path.unlink,
        lambda path: path.rename(path.with_name("elsewhere.csv")),
        lambda path: (
            path.with_name("saved.csv").write_bytes(HEADER + LINES[0])
            and path.with_name("saved.csv").replace(path)
        ),
        lambda path: os.truncate(path, len(HEADER)),
    ],
    ids=["removed", "moved", "replaced", "shortened"],
)
def test_a_file_that_another_program_takes_away_stops_the_run(
    meddle: Callable[[Path], object], path: Path
) -> None:
    """A report replaced by a spreadsheet during the run is reported before more rows are sent."""
    report = Report(path)
    report.write(UPDATED)
    report.flush()
    report.sync()
    meddle(path)
    report.sync()  # nothing was written since
    report.write(FAILED)
    report.flush()
    with pytest.raises(RunError) as caught:
        report.sync()
    with pytest.raises(RunError):
        report.close()
    assert str(caught.value) == (
        f"{path}: moved, removed, replaced or shortened by another program during the run, so the "
        "run stopped. If the file was moved, move it back. Then run the same command again: rows "
        "without a line are sent again, which changes nothing."
    )
    if path.exists():
        Report(path).close()  # neither locked nor torn


def test_lines_written_during_the_check_do_not_stop_the_run(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fast run writes lines while the disk syncs earlier ones: no other program is involved."""
    look = os.path.samestat

    def look_while_writing(*files: os.stat_result) -> bool:
        report.write(FAILED)
        report.flush()
        return look(*files)

    with Report(path) as report:
        report.write(UPDATED)
        report.flush()
        with monkeypatch.context() as patch:
            patch.setattr("bulk_reset.records.report_file.os.path.samestat", look_while_writing)
            report.sync()
    assert list(read_report(path)) == [UPDATED, FAILED]


@pytest.mark.parametrize(
    "tamper",
    [
        lambda path: path.write_bytes(HEADER),
        lambda path: path.write_bytes(path.read_bytes().replace(b"updated", b"failed")),
        lambda path: path.write_bytes(path.read_bytes() + b"\n"),
        lambda path: path.write_bytes(path.read_bytes() + b"\xff\n"),
        lambda path: path.write_bytes(path.read_bytes() + LINES[0]),
        lambda path: os.truncate(path, path.stat().st_size - 70),
        Path.unlink,
    ],
)
def test_a_file_that_does_not_hold_what_was_written_is_noticed(
    tamper: Callable[[Path], object], path: Path
) -> None:
    """A summary is never given on the strength of a report that is not there."""
    write(path, REJECTED)
    with Report(path) as report:
        report.write(UPDATED)
        report.write(UPDATED._replace(digest="d" * 24))
    report.check_written()
    tamper(path)
    with pytest.raises(InternalError, match=r"Do not rely on this report\.$"):
        report.check_written()


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_cannot_be_read_again_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    """A report is read again before it is written, so a pipe would wait for ever."""
    path = tmp_path / "pipe" if kind == "pipe" else Path(os.devnull)
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(InputError) as caught:
        Report(path)
    text = "a pipe or a device cannot be a report. Use report='FILE'."
    assert str(caught.value) == f"{path}: {text}"


def test_a_report_with_commas_in_its_ids_adds_up(path: Path) -> None:
    """The final check handles invalid ids of a sheet."""
    with Report(path) as report:
        for incident_id in ("a,failed,b", 'a",b', "a;b", "plain"):
            report.write(REJECTED._replace(incident_id=incident_id))
        report.flush()
        report.check_written()


def test_what_is_on_the_disk_is_not_brought_there_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that waits does not keep the disk busy."""
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    with Report(path) as report:
        report.write(UPDATED)
        report.flush()
        for _ in range(3):
            report.sync()
    assert len(calls) == 1
