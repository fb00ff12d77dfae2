"""The file of a saved plan: whatever is changed in it, it is refused, and never a traceback."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
from pathlib import Path

import pytest

from bulk_reset.core.errors import InputError
from bulk_reset.core.plan_writer import PlanWriter
from bulk_reset.core.saved_plan import (
    MAGIC,
    PlanFooter,
    PlanHeader,
    SavedField,
    SavedPlan,
    SavedRow,
)
from bulk_reset.sheets.open_sheet import open_sheet

HEADER = PlanHeader(
    sheet="x.csv",
    sheet_sha256="ab" * 32,
    columns={"incident_id": "ID", "title": "New title", "field:team": "field:team"},
    options={"only_rows": "2-40"},
    version="9.8.7",
    address="https://api.flashcat.cloud",
    account="c0ffee",
    made_at=1_718_000_000.0,
    expires_at=1_718_086_400.0,
    made_by="alice",
)
FOOTER = PlanFooter(3, 4, {"update": 2, "missing": 1}, {"title": 2}, 1, 2, 0.5, 0)
ID = "69da451e{:016x}"
ROWS = (
    SavedRow(
        2,
        ID.format(1),
        "update",
        (
            SavedField("title", "Disk full", "Disk full on db-01"),
            SavedField("field:team", ["a", 1], ["b"], lost="why"),
        ),
        "https://console.example/1",
        expected={"impact": "none"},
    ),
    SavedRow(5, ID.format(2), "update", (SavedField("title", None, "naïve \ud800 名"),)),
    SavedRow(7, "no id", "missing", reason="no such incident"),
)


def written(rows: tuple[SavedRow, ...] = ROWS, footer: PlanFooter = FOOTER) -> bytes:
    file = io.BytesIO()
    writer = PlanWriter(file, HEADER)
    for row in rows:
        writer.add(row)
    writer.finish(footer)
    return file.getvalue()


def resealed(lines: bytes) -> bytes:
    """Return a plan with these lines and the right hash, as only a forger writes it."""
    content = MAGIC + gzip.compress(lines) + b"\n"
    return content + f"sha256 {hashlib.sha256(content).hexdigest()}\n".encode()


def read(path: Path) -> tuple[PlanHeader, list[SavedRow], PlanFooter | None]:
    plan = SavedPlan.open(path)
    rows = list(plan.rows())
    return plan.header, rows, plan.footer


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Every value comes back: header, rows with typed values, totals."""
    path = tmp_path / "x.plan"
    path.write_bytes(written())
    assert read(path) == (HEADER, list(ROWS), FOOTER)
    assert written() == written()


def test_a_plan_without_a_maker_is_read(tmp_path: Path) -> None:
    """Plans of an earlier version have no ``made_by``."""
    content = written()
    lines = gzip.decompress(content[len(MAGIC) : -73]).split(b"\n")
    header = json.loads(lines[0])
    assert header.pop("made_by") == "alice"
    path = tmp_path / "x.plan"
    path.write_bytes(resealed(b"\n".join([json.dumps(header).encode(), *lines[1:]])))
    assert read(path) == (dataclasses.replace(HEADER, made_by=""), list(ROWS), FOOTER)


def test_every_byte_that_is_changed_is_refused(tmp_path: Path) -> None:
    """One flipped bit anywhere: the plan is an input error when it is opened as a sheet."""
    content = written()
    path = tmp_path / "x.plan"
    for place in range(len(content)):
        for bit in (1, 0x80):
            path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
            with pytest.raises(InputError), open_sheet(path) as sheet:
                list(sheet.chunks())


def test_every_part_of_a_plan_is_refused(tmp_path: Path) -> None:
    """A file that was cut anywhere, or that has more at its end, is not a plan."""
    content = written()
    path = tmp_path / "x.plan"
    for other in [content[:end] for end in range(1, len(content))] + [content + b"\n"]:
        path.write_bytes(other)
        with pytest.raises(InputError), open_sheet(path) as sheet:
            list(sheet.chunks())


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"\n",
        b"[]\n",
        b"{}\n",
        b"not json\n",
        b'{"sheet":1}\n',
        b"[" * 100_000 + b"\n",
        b"\xff\n",
        b"x" * (1 << 25),
    ],
)
def test_a_plan_with_a_forged_header_is_refused(tmp_path: Path, lines: bytes) -> None:
    """The hash is right, the contents are not what a plan has."""
    path = tmp_path / "x.plan"
    path.write_bytes(resealed(lines))
    with pytest.raises(InputError):
        SavedPlan.open(path)


@pytest.mark.parametrize(
    "rows",
    [
        b"",
        b"1\n",
        b"null\n",
        b"{}\n",
        b'{"fields":{},"id":1,"row":2,"verdict":"update"}\n',
        b'{"fields":{},"id":"a","row":"2","verdict":"update"}\n',
        b'{"fields":{},"id":"a","row":2,"verdict":"else"}\n',
        b'{"fields":{},"id":"a","row":2,"verdict":[]}\n',
        b'{"fields":{"title":{"new":"x"}},"id":"a","row":2,"verdict":"update"}\n',
        b'{"fields":[],"id":"a","row":2,"verdict":"update"}\n',
        b'{"footer":{}}\n',
        b'{"footer":[]}\n',
    ],
)
def test_a_plan_with_forged_rows_is_refused(tmp_path: Path, rows: bytes) -> None:
    """Each row and the totals are checked before anything is sent."""
    path = tmp_path / "x.plan"
    header = gzip.decompress(written()[len(MAGIC) : -73]).split(b"\n")[0]
    path.write_bytes(resealed(header + b"\n" + rows))
    with pytest.raises(InputError):
        read(path)


def test_the_rows_are_counted(tmp_path: Path) -> None:
    """A plan whose footer counts other rows than it has is refused."""
    path = tmp_path / "x.plan"
    path.write_bytes(written(ROWS[:2]))
    with pytest.raises(InputError, match="2 rows, and its footer counts 3"):
        read(path)


def test_a_newer_format_is_refused_with_the_fix(tmp_path: Path) -> None:
    """The error names what to do, not that the file was altered."""
    path = tmp_path / "x.plan"
    path.write_bytes(written().replace(MAGIC, b"bulk-reset plan 2\n"))
    with pytest.raises(InputError, match="format that this version cannot read"):
        SavedPlan.open(path)
