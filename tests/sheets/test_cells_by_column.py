"""Tests of how rows of cells become columns."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_reset.sheets.cell_texts import cells_by_column, text_chunk

_ROWS = st.lists(
    st.lists(st.one_of(st.text(max_size=2), st.integers(0, 9), st.none()), max_size=4), max_size=9
)


def _by_cell(rows: list[list[object]], width: int) -> list[list[object]]:
    """Return the same cells, looked up one by one."""
    return [[row[at] if at < len(row) else "" for row in rows] for at in range(width)]


@given(_ROWS, st.integers(1, 5), st.integers(0, 700), st.sampled_from([255, 256, 257, 600, 1]))
def test_all_cells_are_in_their_column_and_row(
    seeds: list[list[object]], width: int, count: int, most: int
) -> None:
    rows = list(itertools.islice(itertools.cycle(seeds), count)) if seeds else []
    waiting = iter(rows)

    parts = [cells_by_column(waiting, most, width) for _ in range(count // most + 2)]

    columns = [[cell for part in parts for cell in part[at]] for at in range(width)]
    assert columns == _by_cell(rows, width)
    assert all(len(part[0]) == most for part in parts[: len(rows) // most])


@pytest.mark.parametrize("count", [0, 1, 256, 257, 513])
def test_a_chunk_has_the_texts_of_all_rows(count: int) -> None:
    rows = [[f"a{n}", n] for n in range(count)]

    chunk = text_chunk(range(2, 2 + count), rows, 3)

    assert chunk.columns == [
        [f"a{n}" for n in range(count)],
        [str(n) for n in range(count)],
        [""] * count,
    ]
    assert chunk.odd_cells == {}
