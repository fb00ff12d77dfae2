"""Lines that are read by column are those that are read one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import OUTCOMES

from bulk_reset.core.errors import InputError
from bulk_reset.core.outcome import Outcome
from bulk_reset.records import report_index
from bulk_reset.records.report_block import Block
from bulk_reset.records.report_columns import HEADER, ending_of, line_of, outcome_of
from bulk_reset.records.report_index import ReportIndex
from bulk_reset.records.report_reader import csv_cells

MESSAGES = ["", "no", 'a "b", c', "满了", "=2", "x" * 900]
LINES = st.lists(
    st.builds(
        lambda one, message, id_: one._replace(error_message=message, request_id=id_),
        st.sampled_from(OUTCOMES),
        st.sampled_from(MESSAGES),
        st.sampled_from(["", "req-1", "req-2", "满"]),
    ),
    max_size=12,
)
EDITS = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.integers(0, 12),
        st.sampled_from(
            [
                *("", "2", "updated", "title impact", "满", '"', '"a,b"', 'a"b', '"a"b', "A" * 24),
                *("2026-02-30T12:00:00.000Z", "2026-01-31 12:00:00.000Z", "9999-01-31T12:00:00.5"),
                *("0001-01-01T00:00:00.000Z", "1969-12-31T23:59:59.999Z", "\r", "a\0", "a\ud800"),
                "9999-12-31T23:59:59.999Z",
            ]
        ),
    ),
    max_size=2,
)


def content_of(outcomes: Iterable[Outcome]) -> bytes:
    return "".join(map(line_of, outcomes)).encode()


def by_line(blocks: Iterable[Block]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for block in blocks:
        endings = [block.endings[number] for number in block.ending_of]
        columns = (block.request_ids, block.starts.tolist(), block.finishes.tolist())
        found += zip(endings, *columns, strict=True)
    return found


def one_by_one(outcomes: Iterable[Outcome]) -> list[tuple[Any, ...]]:
    return [
        (ending_of(one), one.request_id.encode(), one.started_at, one.finished_at)
        for one in outcomes
    ]


@settings(max_examples=300)
@given(LINES, EDITS)
def test_a_report_is_read_by_column_as_one_by_one(
    tmp_path_factory: pytest.TempPathFactory,
    outcomes: list[Outcome],
    edits: list[tuple[int, int, str]],
) -> None:
    """Whatever was edited, both find the same values or the same invalid line."""
    lines = [line_of(one).split(",") for one in outcomes]
    for number, place, text in edits:
        if number < len(lines):
            lines[number][min(place, len(lines[number]) - 1)] = text
    content = "".join(",".join(cells) for cells in lines)
    path = tmp_path_factory.mktemp("report") / "x.report.csv"
    path.write_bytes(HEADER + content.encode(errors="surrogatepass"))

    def result(read: Callable[[], list[tuple[Any, ...]]]) -> list[tuple[Any, ...]] | str:
        try:
            return read()
        except InputError as error:
            return str(error)

    try:
        index = ReportIndex(path)
    except InputError:
        return
    with index, patch.object(report_index, "_BLOCK_BYTES", 5_600):
        expected = result(lambda: one_by_one(index.outcomes()))
        assert result(lambda: by_line(index.blocks())) == expected


def test_what_a_run_writes_is_read_many_lines_at_a_time() -> None:
    """Also quotes, commas and every language in messages."""
    content = content_of(one._replace(error_message=text) for one in OUTCOMES for text in MESSAGES)
    lines = [outcome_of(csv_cells(line)) for line in content.split(b"\n") if line]
    assert by_line([Block.read(content)]) == one_by_one(lines)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b",updated,", b",broken,"),
        (b"req-2", b'"req-2"'),
        (b",title,", b",title\r,"),
        (b",title,", b",title\0,"),
        (b",title,", b",title,,"),
        (b"T02:00", b" 02:00"),
        (b".000Z", b".00Z"),
        (b"2,69da", b"2,69DA"),
        (b".000Z,", b".000Z2026-01-05T02:00:00.000Z,"),
        (b"2,69da", b"2,"),
        (b"req-2", b"req-\xff"),
        (b"Z,a0", b"Z,xa0"),
    ],
    ids=str,
)
def test_other_lines_are_left_to_reading_one_by_one(old: bytes, new: bytes) -> None:
    """Where it is not certain that both find the same values."""
    content = content_of(OUTCOMES)
    assert old in content
    with pytest.raises(ValueError):  # noqa: PT011  (never seen by a user)
        Block.read(content.replace(old, new, 1))


@pytest.mark.parametrize(
    "time",
    [
        *("0001-01-01T00:00:00.000Z", "1969-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        *("2026-02-30T12:00:00.000Z", "2026-01-31 12:00:00.000Z", "2026-01-31", "soon", ""),
    ],
)
def test_a_time_is_read_by_column_as_one_by_one(tmp_path: Path, time: str) -> None:
    """Also one that no run has written."""
    content = content_of(OUTCOMES[1:3])
    path = tmp_path / "x.report.csv"
    path.write_bytes(HEADER + content.replace(b"2026-01-05T02:00:00.000Z", time.encode(), 1))
    with ReportIndex(path) as index:
        assert by_line(index.blocks()) == one_by_one(index.outcomes())


def test_lines_that_a_run_adds_meanwhile_are_not_in_blocks(tmp_path: Path) -> None:
    """A report may be summarized while its run writes it."""
    path = tmp_path / "x.report.csv"
    path.write_bytes(HEADER + content_of(OUTCOMES[:2]))
    with ReportIndex(path) as index:
        with path.open("ab") as file:
            file.write(content_of(OUTCOMES))
        assert by_line(index.blocks()) == one_by_one(OUTCOMES[:2])
