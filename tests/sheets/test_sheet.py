"""CSV files, standard input and data frames, as people and programs write them.

The csv module gives the expected values.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from programs import ROOT

from bulk_reset.sheets.open_sheet import open_sheet

HEADER = "id,title\n"
SAMPLES = ROOT / "samples"
Rows = list[tuple[object, ...]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "incidents.csv"


def rows_of(sheet: Path | pd.DataFrame | str, chunk_rows: int = 10_000, **options: Any) -> Rows:  # noqa: ANN401 - any option
    """Return (row_number, *cells) of every row."""
    with open_sheet(sheet, **options) as table:
        return [row for chunk in table.chunks(chunk_rows) for row in chunk.rows()]


def rows_of_text(path: Path, text: str, chunk_rows: int = 10_000, **options: Any) -> Rows:  # noqa: ANN401 - any option
    path.write_bytes(text.encode())
    return rows_of(path, chunk_rows, **options)


def notices_of(path: Path, **options: Any) -> tuple[str, ...]:  # noqa: ANN401 - any option
    with open_sheet(path, **options) as table:
        return tuple(notice.removeprefix(f"{path}: ") for notice in table.notices)


# --- Auto-detection ---------------------------------------------------------------------------


@pytest.mark.parametrize(("delimiter", "name"), [(",", "comma"), (";", "semicolon"), ("\t", "tab")])
def test_delimiter_is_detected_and_reported(path: Path, delimiter: str, name: str) -> None:
    """A sheet exported with semicolons or tabs is read without an option."""
    others = ",;\t".replace(delimiter, "")
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([["id", "title"], ["a", f"x{others}y"]])

    assert rows_of_text(path, text.getvalue()) == [(2, "a", f"x{others}y")]
    assert notices_of(path) == (f"read as UTF-8, {name}-separated",)


@pytest.mark.parametrize(
    ("codec", "bom", "spoken"),
    [
        ("utf-8", b"", "UTF-8"),
        ("utf-8", b"\xef\xbb\xbf", "UTF-8 with BOM"),
        ("utf-16-le", b"\xff\xfe", "UTF-16"),
        ("utf-16-be", b"\xfe\xff", "UTF-16"),
        ("gb18030", b"", "GB18030"),
    ],
)
def test_encoding_is_detected_and_reported(path: Path, codec: str, bom: bytes, spoken: str) -> None:
    """A sheet saved by Excel in any of its formats is read without an option."""
    path.write_bytes(bom + '"故障ID","标题"\r\na,磁盘㙟𠮷😀\r\n'.encode(codec))

    assert rows_of(path) == [(2, "a", "磁盘㙟𠮷😀")]
    assert notices_of(path) == (f"read as {spoken}, comma-separated",)


def test_gb18030_after_the_first_mebibyte_is_detected(path: Path) -> None:
    """The whole file is checked, not only its beginning."""
    rows = [[f"{number:024}", "x" * 100] for number in range(10_000)]
    text = io.StringIO()
    csv.writer(text).writerows([["id", "title"], *rows, ["a", "磁盘已满"]])
    content = text.getvalue().encode("gb18030")
    path.write_bytes(content)

    assert content[: 1 << 20].isascii()
    assert rows_of(path)[-1] == (10_002, "a", "磁盘已满")


def test_samples_are_read_like_the_csv_module() -> None:
    """Every cell of the samples is read."""
    for name, encoding in (("invalid-rows.csv", "utf-8"), ("chinese-gb18030.csv", "gb18030")):
        with (SAMPLES / name).open(encoding=encoding, newline="") as file:
            expected = [(n, *cells) for n, cells in enumerate(csv.reader(file), 1)][1:]
        assert rows_of(SAMPLES / name) == expected


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt", ".CSV"])
def test_text_may_have_any_known_extension(tmp_path: Path, ending: str) -> None:
    """The extension only means that the file is text."""
    assert rows_of_text(tmp_path / f"x{ending}", "id\ttitle\na\tb\n") == [(2, "a", "b")]


# --- Set by options --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("id|title\na|b\n", "|"),
        ("id;title\na;b\n", "Semicolon"),
        ("id\ttitle\na\tb\n", "\\t"),
        ("id title\na b\n", " "),
    ],
)
def test_delimiter_can_be_set(path: Path, text: str, delimiter: str) -> None:
    """The option takes a name or a character."""
    assert rows_of_text(path, text, delimiter=delimiter) == [(2, "a", "b")]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("id,title\na,日本\n".encode("shift_jis"), "shift_jis"),
        ("id,title\na,日本\n".encode("utf-16-le"), "utf-16-le"),
        # The BOM is not part of the header, quoted or not.
        ('\ufeff"id",title\na,日本\n'.encode(), "utf-8"),
        ('\ufeff"id",title\na,日本\n'.encode("utf-16-be"), "utf-16-be"),
    ],
)
def test_encoding_can_be_set(path: Path, content: bytes, encoding: str) -> None:
    """The option takes any encoding that Python knows."""
    path.write_bytes(content)

    assert rows_of(path, encoding=encoding) == [(2, "a", "日本")]


# --- Row numbers of Excel --------------------------------------------------------------------


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 5, 1000])
def test_row_numbers_match_excel(path: Path, chunk_rows: int) -> None:
    """Blank lines and line breaks in cells count as in Excel, at every border of a chunk."""
    text = '\n\r\n , \nid,title\na,"1\n2\r\n\n3"\n\n"",""\nb,x\n,y\n\n \n'
    path.write_bytes(text.encode())
    with open_sheet(path) as table:
        chunks = list(table.chunks(chunk_rows))

    assert table.source.header_row == 4
    assert [row for chunk in chunks for row in chunk.rows()] == [
        (5, "a", "1\n2\r\n\n3"),
        (8, "b", "x"),
        (9, "", "y"),
    ]
    assert sum(chunk.blank_rows for chunk in chunks) == 4
    assert max(len(chunk.numbers) for chunk in chunks) <= chunk_rows


def test_header_without_rows_gives_no_rows(path: Path) -> None:
    """A sheet with nothing below its header is read, and is empty."""
    assert [rows_of_text(path, text) for text in (HEADER, "id,title", HEADER + "\n\n")] == [[]] * 3


def test_text_that_looks_like_another_type_stays_text(path: Path) -> None:
    """Text is not converted to numbers, dates, booleans or empty cells."""
    texts = ["NA", "null", "nan", "NaN", "None", "N/A", "#N/A", "inf", "TRUE", "007", "1e5", "1.50"]
    texts += [
        "-0",
        "1,000",
        "2024-01-02",
        "=1+1",
        "0x1F",
        "1234567890" * 2 + "1234",
        "0" * 23 + "1",
    ]
    stream = io.StringIO()
    csv.writer(stream).writerows([["id", "title"], *((text, text) for text in texts)])

    assert rows_of_text(path, stream.getvalue()) == [
        (number, text, text) for number, text in enumerate(texts, 2)
    ]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('"he said ""no"", twice"', 'he said "no", twice'),
        ('x "y" z', 'x "y" z'),
        ('"""q"""', '"q"'),
        ('"a\r\nb\rc\nd"', "a\r\nb\rc\nd"),
        ("  kept  ", "  kept  "),
        ("x\x0by\u2028z\x85", "x\x0by\u2028z\x85"),
        ("#not a comment", "#not a comment"),
        (f'"{"long " * 40_000}"', "long " * 40_000),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_cell_is_read_unchanged(path: Path, written: str, text: str, end: str) -> None:
    """Quotes, line breaks and spaces of a cell are kept, with any line ending."""
    assert rows_of_text(path, f"id,title{end}a,{written}{end}b,c{end}") == [
        (2, "a", text),
        (3, "b", "c"),
    ]


# --- Standard input and data frames ----------------------------------------------------------


def test_standard_input_can_be_read_several_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe is a sheet like any other, although it can be read only once."""
    content = b"\xef\xbb\xbfid;title\r\na;b\r\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    with open_sheet("-") as table:
        readings = [[list(c.rows()) for c in table.chunks()] for _ in "12"]

    assert (table.label, table.path, readings) == ("standard input", None, [[[(2, "a", "b")]]] * 2)
    assert table.notices == ("standard input: read as UTF-8 with BOM, semicolon-separated",)


def test_first_row_of_a_frame_is_row_2() -> None:
    """With any index, rows are counted as if the frame were written to a sheet."""
    frame = pd.DataFrame({"ID": list("abcde"), "Title": list("vwxyz")}, index=[7, 7, 0, 1, 2])

    assert rows_of(frame, chunk_rows=2) == [
        (number, *cells) for number, cells in enumerate(zip("abcde", "vwxyz", strict=True), 2)
    ]


def test_missing_values_in_a_frame_are_empty() -> None:
    """NaN, None, NaT and NA do not change the field; a row of them is blank."""
    nothing = [float("nan"), None, pd.NaT, pd.NA, ""]
    frame = pd.DataFrame({"id": [*"abcde", None], "title": [*nothing, None]})
    with open_sheet(frame) as table:
        (chunk,) = table.chunks()

    assert list(chunk.rows()) == [(n, c, "") for n, c in enumerate("abcde", 2)]
    assert (chunk.blank_rows, chunk.odd_cells) == (1, {})


@pytest.mark.parametrize(
    ("values", "text", "problem"),
    [
        ([12], "12", None),
        ([-3.0], "-3", None),
        (pd.array([7], dtype="Int64"), "7", None),
        ([True], "TRUE", None),
        (pd.Categorical(["abc"]), "abc", None),
        (["日本😀"], "日本😀", None),
        ([0.5], "0.5", "the cell contains a number, not text"),
        ([float("inf")], "INF", "the cell contains a number, not text"),
        ([int("1" * 24)], "1.11111111111111E+23", "the cell contains a number, not text"),
        (
            pd.to_datetime(["2024-05-06"]),
            "2024-05-06 00:00:00",
            "the cell contains a date or time, not text",
        ),
        ([b"abc"], "b'abc'", "the cell contains a value of type bytes, not text"),
        (pd.Series(["a\ud83db"], dtype=object), "a?b", "contains an incomplete character"),
    ],
)
def test_frame_cell_becomes_text_only_if_certain(
    values: Any,  # noqa: ANN401 - of any type
    text: str,
    problem: str | None,
) -> None:
    """A typed value becomes the text that a spreadsheet shows, or is reported."""
    with open_sheet(pd.DataFrame({"id": ["a"], "title": values})) as table:
        (chunk,) = table.chunks()

    assert list(chunk.rows()) == [(2, "a", text)]
    assert chunk.odd_cells == ({(2, 1): problem} if problem else {})
