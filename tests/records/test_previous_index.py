"""The index of previous values finds the lines that reading the whole file finds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import digest

from bulk_reset.core.errors import InputError
from bulk_reset.core.row_keys import numbers_of
from bulk_reset.records import previous_index
from bulk_reset.records.previous_index import LastWritten, PreviousIndex
from bulk_reset.records.previous_values import (
    HEADER,
    PreviousValues,
    PreviousValuesFile,
    read_previous_values,
)

A, B = "a" * 24, "b" * 24
TEXT = 'One "quoted",\r\nline; =two 满了'
LINES = [
    PreviousValues(2, digest(2), A, "https://console.example/a", {"title": "0"}, {"title": TEXT}),
    PreviousValues(3, digest(3), B, "", {"title": "b"}, {"title": "c"}),
    PreviousValues(
        *(4, digest(4), A, ""), {"title": TEXT, "field:n": 1}, {"title": "2", "field:n": 1.0}
    ),
    PreviousValues(3, digest(3), B, "", {"impact": "x\n"}, {"impact": "y"}),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "x.before.csv"
    with PreviousValuesFile(found) as file:
        file.append(LINES)
    return found


@pytest.mark.parametrize("is_resaved", [False, True])
def test_lines_are_found_by_row_and_by_incident(path: Path, *, is_resaved: bool) -> None:
    """Cells with quotes and line breaks too, and in a file that a spreadsheet has saved."""
    if is_resaved:
        path.write_bytes(path.read_bytes().removeprefix("\ufeff".encode()))
    else:
        path.write_bytes(path.read_bytes() + b'torn,"line\r\n')
    assert list(read_previous_values(path)) == LINES
    with PreviousIndex(path) as index:
        assert [index.values(n) for n in range(len(index))] == LINES
        rows = numbers_of([digest(3), digest(9), digest(2)])
        assert list(index.of_rows(rows)) == [[LINES[1], LINES[3]], [], [LINES[0]]]
        assert list(index.incidents_in_order()) == [[LINES[0], LINES[2]], [LINES[1], LINES[3]]]
        newest = list(index.incidents_in_order(newest_first=True))
        assert newest == [[LINES[1], LINES[3]], [LINES[0], LINES[2]]]
        wanted = np.array([False, False, True, True])
        assert list(index.incidents_in_order(wanted)) == [[LINES[2]], [LINES[3]]]
    with PreviousIndex(path, skipped=3) as index:
        assert list(index.incidents_in_order()) == [[LINES[3]]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\r\n", b"\n"),
        (digest(3).encode(), f'"{digest(3)}"'.encode()),
        (f"{B},,".encode(), f'{B},b"b,'.encode()),
    ],
    ids=["line ends", "quoted digest", "quote within a cell"],
)
def test_a_line_that_an_editor_has_changed_is_found(path: Path, old: bytes, new: bytes) -> None:
    """If it still has the values that a run wrote."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    lines = list(read_previous_values(path))
    assert len(lines) == len(LINES)
    with PreviousIndex(path) as index:
        assert [index.values(n) for n in range(len(index))] == lines


@pytest.mark.parametrize("step", [1, 7])
def test_many_lines_are_found_in_any_order(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they are read together or one by one; blocks may end within a line."""
    monkeypatch.setattr(previous_index, "_BLOCK_BYTES", 100)
    lines = [
        PreviousValues(n, digest(n), f"{n:024x}", "", {"title": TEXT * (n % 9)}, {"title": "new"})
        for n in range(2, 402)
    ]
    path = tmp_path / "x.before.csv"
    with PreviousValuesFile(path) as file:
        file.append(lines)
    wanted = lines[::-step] + lines[:3]
    with PreviousIndex(path) as index:
        found = list(index.of_rows(numbers_of([one.digest for one in wanted])))
        assert found == [[one] for one in wanted]
        newest = list(index.incidents_in_order(newest_first=True))
        assert newest == [[one] for one in lines[::-1]]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=12))
def test_incidents_are_in_the_order_of_their_lines(
    path: Path, lines: list[tuple[str, bool]]
) -> None:
    """Also where some lines are left out, and an incident has several of them."""
    path.unlink()
    with PreviousValuesFile(path) as file:
        file.append(PreviousValues(n, digest(n), one * 24) for n, (one, _) in enumerate(lines))

    def in_order(numbers: list[int]) -> list[list[int]]:
        groups: dict[str, list[int]] = {}
        for number in numbers:
            groups.setdefault(lines[number][0], []).append(number)
        return list(groups.values())

    def rows(groups: Iterable[list[PreviousValues]]) -> list[list[int]]:
        return [[one.row_number for one in group] for group in groups]

    with PreviousIndex(path) as index:
        for is_wanted in (None, np.array([is_so for _, is_so in lines], bool)):
            mask = [True] * len(lines) if is_wanted is None else is_wanted.tolist()
            expected = in_order([n for n, is_so in enumerate(mask) if is_so])
            assert rows(index.incidents_in_order(is_wanted)) == expected
            expected.sort(key=max, reverse=True)
            assert rows(index.incidents_in_order(is_wanted, newest_first=True)) == expected


def test_no_file_has_no_lines(tmp_path: Path) -> None:
    """Nothing is found, and nothing was written last."""
    with PreviousIndex(tmp_path / "none.csv") as index:
        assert (index.exists, len(index), list(index.incidents_in_order())) == (False, 0, [])
    assert not LastWritten(tmp_path / "none.csv").is_last(A, "title", "0")


def test_the_value_that_was_written_last_is_known(path: Path) -> None:
    """Of each field; a value that it replaced is known as well, and numbers keep their kind."""
    written = LastWritten(path)
    assert [written.is_last(A, "title", text) for text in ("2", " 2 ", TEXT)] == [True, True, False]
    assert [written.is_replaced(A, "title", text) for text in ("2", TEXT, "0", "new")] == [
        *(False, True, True, False)
    ]
    assert [written.is_last(A, "field:n", value) for value in (1.0, 1)] == [True, False]
    assert written.is_last(B, "impact", "y")
    assert not written.is_last("c" * 24, "title", "2")


def test_an_edited_line_is_named(path: Path) -> None:
    """When the file is indexed, where its digest is wrong; else when the line is read."""
    content = path.read_bytes()
    path.write_bytes(content.replace(digest(4).encode(), b"4"))
    with pytest.raises(InputError, match="row 4: not as a run wrote it"):
        PreviousIndex(path)
    path.write_bytes(content.replace(b'{""impact"": ""y""}', b"{}"))
    with PreviousIndex(path) as index, pytest.raises(InputError, match="row 5: not as a run wrote"):
        index.values(3)
    with PreviousIndex(path) as index, pytest.raises(InputError, match="row 5: not as a run wrote"):
        list(index.of_rows(index.digests))


texts = st.text(st.sampled_from('a",\r\n{}=é\\ '))


@settings(max_examples=60)
@given(
    pairs=st.lists(st.tuples(st.sampled_from([A, B]), texts, texts), max_size=6),
    edit=st.none()
    | st.tuples(st.integers(0, 2_000), st.sampled_from([b"", b'"', b",", b"\n", b"x"])),
)
def test_many_lines_at_a_time_are_read_as_one_by_one(
    pairs: list[tuple[str, str, str]], edit: tuple[int, bytes] | None, path: Path
) -> None:
    """Whatever the cells are, also where one byte of the file was replaced."""
    path.unlink(missing_ok=True)
    with PreviousValuesFile(path) as file:
        file.append(
            PreviousValues(n, digest(n), incident, "", {"title": old}, {"title": new})
            for n, (incident, old, new) in enumerate(pairs, 2)
        )
    if edit is not None:
        content = bytearray(path.read_bytes())
        at = len(HEADER) + edit[0] % (len(content) - len(HEADER) + 1)
        content[at : at + 1] = edit[1]
        path.write_bytes(content)

    def found() -> list[PreviousValues] | str:
        try:
            with PreviousIndex(path) as index:
                return [index.values(line) for line in range(len(index))]
        except InputError as error:
            return str(error)

    quickly = found()
    with patch.object(PreviousIndex, "_columns", side_effect=ValueError):
        assert found() == quickly
