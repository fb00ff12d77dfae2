"""A file that is replaced only when it is complete, also by several writers at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_reset.core.atomic_file import atomic_file


def test_writers_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Each writes a temporary file of its own; the last that is complete is there at the end."""
    path = tmp_path / "page.html"
    with atomic_file(path) as first:
        first.write(b"first")
        with atomic_file(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
        first.write(b" and whole")
    assert path.read_bytes() == b"first and whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_leftover_and_an_error_leave_nothing_behind(tmp_path: Path) -> None:
    """What a killed run has left is replaced; after an error, the file is as before."""
    path = tmp_path / "page.html"
    path.write_bytes(b"before")
    (tmp_path / "page.html.tmp").write_bytes(b"torn")

    def fail() -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
