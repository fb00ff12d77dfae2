"""The fast reader of clean blocks gives the rows and faults that the strict one gives."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_reset.core.errors import SheetError
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.text_files import clean_blocks
from bulk_reset.sheets.text_files.clean_blocks import CleanReader, Utf8Stream

A = "69da451ef77b1b51f40e83ee"
PIECES = [
    "\n",
    "\r\n",
    "\r",
    ",",
    '"',
    '""',
    "a",
    " ",
    "磁",
    "\ufeff",
    A,
    "b,c\n",
    f"{A},x\n",
    '"a,\n"',
    "\x1f",
    "\x1e",
    "\x1d",
]


def read(path: Path, encoding: str) -> Any:  # noqa: ANN401  (rows and faults, or an error)
    try:
        with open_sheet(path, encoding=encoding) as sheet:
            chunks = list(sheet.chunks(1000))
    except SheetError as error:
        return str(error)
    rows = [row for chunk in chunks for row in chunk.rows()]
    return rows, {number: fault for chunk in chunks for number, fault in chunk.row_faults.items()}


@given(
    pieces=st.lists(st.sampled_from(PIECES), max_size=30),
    encoding=st.sampled_from(["utf-8", "utf-16"]),
    block_bytes=st.integers(1, 60),
)
@settings(max_examples=300)
def test_any_text_is_read_alike_by_both_readers(
    pieces: list[str], encoding: str, block_bytes: int
) -> None:
    """At any border of a block, with any quotes, line breaks and numbers of cells."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder, "x.csv")
        path.write_bytes(f"id,title\n{A},first\n{''.join(pieces)}".encode(encoding))
        patch.setattr(clean_blocks, "_BLOCK_BYTES", block_bytes)
        fast = read(path, encoding)
        patch.setattr(CleanReader, "next", lambda _: None)

        assert fast == read(path, encoding)


def clean_rows(path: Path, text: str) -> list[list[str]]:
    """Return the rows that the fast reader reads."""
    path.write_bytes(text.encode())
    rows = []
    with Utf8Stream(path, "utf-8") as stream:
        reader = CleanReader(stream, ",", 2)
        while (block := reader.next()) is not None:
            rows += list(map(list, zip(*block.columns, strict=True)))
    return rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n\nc,d\r\n\r\n", [["a", "b"], ["", ""], ["c", "d"], ["", ""]]),
        ('"a\n,""x""",b\nc,d', [['a\n,"x"', "b"], ["c", "d"]]),
        ('"",""\na,b\n', [["", ""], ["a", "b"]]),
        ('a,b\nc,"d" e\n', []),
        ("a,b\nc\n", []),
        ("a,b\rc,d\r", []),
        ('a,b\nc,d"\n', [["a", "b"]]),
        ('a,b\nc,"d', [["a", "b"]]),
        ("a,b\n\ufeffc,d\n", []),
    ],
)
def test_clean_rows_are_read_fast(tmp_path: Path, text: str, rows: list[list[str]]) -> None:
    """Line breaks, delimiters and quotes in enclosed cells are clean, and blank lines."""
    assert clean_rows(tmp_path / "x.csv", text) == rows
