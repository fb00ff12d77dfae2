"""The lines of an audit are chained: what was changed afterwards is named."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import write_sheet

from bulk_reset import InputError, Options, run
from bulk_reset.records.audit import append_audit, read_audit
from bulk_reset.records.audit_chain import ChainCheck, verify_audit

Lines = list[bytes]


def written(tmp_path: Path, lines: int = 6) -> Path:
    """Write an audit; return it."""
    for number in range(1, lines + 1):
        append_audit(tmp_path / "it.report.csv", {"version": "1", "rows": number})
    return tmp_path / "it.audit.jsonl"


def checked(path: Path, lines: Lines, last: str = "") -> ChainCheck:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return verify_audit(path, last)


def found(path: Path, lines: Lines, last: str = "") -> list[tuple[int, str]]:
    return [(one.line, one.kind) for one in checked(path, lines, last).problems]


def test_every_line_of_a_run_continues_the_one_before(tmp_path: Path) -> None:
    """Runs, and the lines that are written before them, are one chain."""
    sheet = write_sheet(tmp_path / "it.csv", 3)
    for limit in (1, 1, 1):
        run(sheet, Options(sandbox=True, per_second=5_000, per_minute=300_000, limit=limit))
    path = tmp_path / "it.sandbox.audit.jsonl"
    records = [json.loads(line) for line in path.read_bytes().splitlines()]

    check = verify_audit(path)
    assert (check.lines, check.unchained, check.problems) == (4, 0, ())
    assert [record["line"] for record in records] == [1, 2, 3, 4]
    assert records[0]["previous"] == ""
    assert len({record["previous"] for record in records} | {check.last}) == 5


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        (lambda a: [a[0], a[1], a[3], a[4], a[5]], [(3, "removed")]),
        (lambda a: [a[0], a[4], a[5]], [(2, "removed")]),
        (lambda a: a[2:], [(1, "removed")]),
        (lambda a: [a[0], a[1], a[2].replace(b'"rows":3', b'"rows":9'), *a[3:]], [(3, "altered")]),
        (lambda a: [a[0].replace(b'"rows":1', b'"rows":9'), *a[1:]], [(1, "altered")]),
        (lambda a: [*a[:2], b"garbage", *a[3:]], [(3, "altered")]),
        (lambda a: [*a[:2], a[2].replace(b'"previous":"', b'"previous":"0'), *a[3:]],
         [(2, "altered"), (3, "altered")]),
        (lambda a: [a[0], a[2], a[1], *a[3:]], [(3, "moved")]),
        (lambda a: [a[0], *a[2:], a[1]], [(6, "moved")]),
        (lambda a: [a[0], a[1], a[5], a[2], a[3], a[4]], [(3, "moved")]),
        (lambda a: a[::-1], [(n, "moved") for n in range(2, 7)]),
        (lambda a: [*a[:4], a[1], *a[4:]], [(5, "copied")]),
        (lambda a: [*a[:2], a[2].replace(b'"rows":3', b'"rows":9'), *a[2:]], [(3, "inserted")]),
        (lambda a: [*a[:2], b'{"version":"1","previous":"00","line":3}', *a[2:]],
         [(3, "inserted")]),
        (lambda a: [*a[:2], b'{"version":"1","rows":9}', *a[2:]], [(3, "inserted")]),
        (lambda a: [*a[:2], b"garbage", *a[2:]], [(3, "inserted")]),
    ],
)  # fmt: skip
def test_a_line_that_was_changed_afterwards_is_named(
    tmp_path: Path, change: Callable[[Lines], Lines], problems: list[tuple[int, str]]
) -> None:
    """Removed, altered, moved, copied and inserted lines, each by its number."""
    path = written(tmp_path)
    lines = path.read_bytes().splitlines()
    assert found(path, lines) == []
    assert found(path, change(lines)) == problems


def test_every_order_and_every_subset_but_the_whole_is_found(tmp_path: Path) -> None:
    """Whatever is removed or moved, except lines at the end, the audit is not intact."""
    path = written(tmp_path, 4)
    lines = path.read_bytes().splitlines()
    for count in range(1, 5):
        for some in itertools.permutations(lines, count):
            is_start = list(some) == lines[:count]
            assert (found(path, list(some)) == []) is is_start, some


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    """One bit of any line but the last one breaks the chain; of that, its hash."""
    path = written(tmp_path, 3)
    content = path.read_bytes()
    last = verify_audit(path).last
    for place in range(len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert not verify_audit(path, last).is_intact, place


def test_lines_missing_at_the_end_are_found_by_the_hash_that_was_kept(tmp_path: Path) -> None:
    """The chain alone cannot show them; lines added since are no problem."""
    path = written(tmp_path)
    lines, last = path.read_bytes().splitlines(), verify_audit(path).last
    assert found(path, lines[:4], last) == [(4, "removed")]
    append_audit(tmp_path / "it.report.csv", {"version": "1"})
    assert verify_audit(path, last).is_intact is False  # 4 lines, then a new one
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    append_audit(tmp_path / "it.report.csv", {"version": "1"})
    assert verify_audit(path, last).is_intact


def test_an_audit_of_an_earlier_version_is_continued(tmp_path: Path) -> None:
    """Its lines have no hashes, but the first new line has that of the last one."""
    path = tmp_path / "it.audit.jsonl"
    path.write_text('{"version":"0.1.0","rows":1}\n{"version":"0.1.0","rows":2}\n')
    assert (verify_audit(path).unchained, verify_audit(path).is_intact) == (2, True)
    written(tmp_path, 2)
    check = verify_audit(path)
    assert (check.lines, check.unchained, check.problems) == (4, 2, ())
    lines = path.read_bytes().splitlines()
    assert found(path, [lines[0], lines[1].replace(b"2}", b"3}"), *lines[2:]]) == [(2, "altered")]
    assert found(path, [lines[0], *lines[2:]]) == [(2, "removed")]
    assert found(path, [lines[0], lines[2], lines[1], lines[3]]) != []


def test_a_line_that_a_crash_tore_is_part_of_the_chain(tmp_path: Path) -> None:
    """It is counted as a line without a hash; the next line has its hash."""
    path = written(tmp_path, 2)
    with path.open("ab") as file:
        file.write(b'{"version":"1","ro')
    append_audit(tmp_path / "it.report.csv", {"version": "1", "rows": 3})
    check = verify_audit(path)
    assert (check.lines, check.unchained, check.problems) == (4, 1, ())
    assert [record["rows"] for record in read_audit(tmp_path / "it.report.csv")] == [1, 2, 3]


@pytest.mark.parametrize("content", [b"", b"incident_id,title\n", b"\xff\x00"])
def test_another_file_is_not_an_audit(tmp_path: Path, content: bytes) -> None:
    """A wrong name is an error with a fix."""
    path = tmp_path / "x.audit.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not an audit of bulk-reset"):
        verify_audit(path)
