"""The index of a report finds the lines that reading the whole report finds."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import OUTCOMES, digest

from bulk_reset.core.errors import InputError
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.row_keys import numbers_of
from bulk_reset.records.history import code_of
from bulk_reset.records.report_columns import (
    HEADER,
    line_of,
    outcome_of,
    outcome_of_plain,
)
from bulk_reset.records.report_index import DigestOrder, ReportIndex
from bulk_reset.records.report_reader import read_report

ROWS = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from(["", 'a "b", c', "满了"])), max_size=30
)


def outcome(row: int, message: str = "", status: Status = Status.FAILED) -> Outcome:
    return OUTCOMES[1]._replace(
        row_number=row, digest=digest(row), status=status, error_message=message
    )


def write(path: Path, outcomes: list[Outcome], end: str = "") -> Path:
    path.write_bytes(HEADER + "".join(map(line_of, outcomes)).encode() + end.encode())
    return path


def after(lines: list[Outcome]) -> set[str]:
    return {line.digest for line in lines}


@given(
    st.lists(
        st.tuples(
            st.integers(0, 12),
            st.sampled_from(
                ["", "2", "1.0", "x", "updated", "title impact", "满", "a,b", "A" * 24]
            ),
        ),
        max_size=3,
    )
)
def test_a_line_without_quotes_is_read_as_its_cells_are(edits: list[tuple[int, str]]) -> None:
    """Whatever a line contains, both ways of reading it return the same, or refuse it."""
    cells = line_of(outcome(2))[:-1].split(",")
    for place, text in edits:
        cells[place] = text
    cells = ",".join(cells).split(",")
    ways = [lambda: outcome_of(cells.copy()), lambda: outcome_of_plain(",".join(cells))]
    found: list[Outcome | None] = []
    for read in ways:
        try:
            found.append(read())
        except ValueError:
            found.append(None)
    assert found[0] == found[1]


@given(ROWS)
def test_the_index_has_the_lines_of_the_report(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str]]
) -> None:
    """All lines, the last ones of each row in both orders, and the lines of one row."""
    path = tmp_path_factory.mktemp("report") / "x.report.csv"
    write(path, [outcome(row, message) for row, message in rows], end="7,torn")
    lines = list(read_report(path))
    last = {line.digest: line for line in lines}
    with ReportIndex(path) as index:
        assert list(index.outcomes()) == lines
        assert index.codes().tolist() == [code_of(line.status) for line in lines]
        assert list(index.last_outcomes()) == [
            line for n, line in enumerate(lines) if line.digest not in after(lines[n + 1 :])
        ]
        assert list(index.rows_in_order()) == sorted(last.values(), key=lambda one: one.row_number)
        digests = [digest(row) for row in range(8)]
        assert list(index.of_rows(numbers_of(digests))) == [
            [line for line in lines if line.digest == one] for one in digests
        ]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: content.replace(b"\n", b"\n\n"),
        lambda content: content.removeprefix("\ufeff".encode()),
        lambda content: content.replace(b",", b";"),
    ],
    ids=["line ends", "empty lines", "no BOM", "semicolons"],
)
def test_a_report_that_a_spreadsheet_saved_is_indexed(tmp_path: Path, change: object) -> None:
    """It has the same rows, in the same order."""
    rows = [outcome(3), outcome(2, "no"), outcome(3, status=Status.UPDATED)]
    path = write(tmp_path / "x.report.csv", rows)
    assert callable(change)
    path.write_bytes(change(path.read_bytes()))
    with ReportIndex(path) as index:
        assert list(index.rows_in_order()) == [rows[1], rows[2]]


def test_an_invalid_line_is_named(tmp_path: Path) -> None:
    """It is the error that reading the report line by line has."""
    path = write(tmp_path / "x.report.csv", [outcome(2), outcome(3)])
    path.write_bytes(path.read_bytes().replace(b"3,69", b"3,69").replace(b"failed", b"broken"))
    with ReportIndex(path) as index:
        for read in (index.codes, lambda: list(index.outcomes())):
            with pytest.raises(InputError, match="line 2: not a line"):
                read()


def test_lines_that_a_run_adds_meanwhile_are_not_of_the_index(tmp_path: Path) -> None:
    """A report may be summarized while its run writes it."""
    path = write(tmp_path / "x.report.csv", [outcome(2), outcome(3)])
    with ReportIndex(path) as index:
        with path.open("ab") as file:
            file.write(line_of(outcome(4)).encode())
        assert len(index.codes()) == len(list(index.outcomes())) == len(index) == 2


def test_digests_are_compared_as_a_whole() -> None:
    """Digests that differ in the first or the last digit only are different ones."""
    digests = ["0" * 24, "0" * 23 + "1", "1" + "0" * 23, "0" * 24, "f" * 24]
    order = DigestOrder(numbers_of(digests))
    assert [order.lines_of(one) for one in digests] == [[0, 3], [1], [2], [0, 3], [4]]
    assert order.lines_of("2" * 24) == []
    assert order.has(numbers_of(["f" * 24, "e" * 24])).tolist() == [True, False]
    assert (sorted(order.first().tolist()), sorted(order.last().tolist())) == (
        [0, 1, 2, 4],
        [1, 2, 3, 4],
    )
    assert len(DigestOrder(np.empty(0, numbers_of([]).dtype))) == 0


def test_many_digests_are_found_in_little_memory() -> None:
    """What is derived from the digests of a million lines may take more memory than they do."""
    digests = numbers_of(f"{n:024x}" for n in range(40_000))
    order = DigestOrder(digests[::2])
    tracemalloc.start()
    has = order.has(digests)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert has.tolist() == [True, False] * 20_000
    assert peak < 12 * len(digests)
    assert order.has(digests[:0]).tolist() == []
