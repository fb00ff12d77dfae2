"""Files that are not sheets, and options that do not apply: clear errors with a fix."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from bulk_reset.core.errors import InputError, MissingColumnError, SheetError
from bulk_reset.sheets.open_sheet import open_sheet

HEADER = "id,title\n"
UNSUPPORTED = (
    "not supported. Save it as .xlsx or .csv "
    "(.xlsb, .ods, .parquet, .tsv and .txt are also supported)."
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "incidents.csv"


def read(path: Path, chunk_rows: int = 10_000, **options: str) -> None:
    with open_sheet(path, **options) as table:
        for _ in table.chunks(chunk_rows):
            pass


def refusal(path: Path, **options: str) -> str:
    """Return the error of a sheet that cannot be read, without its path."""
    with pytest.raises(InputError) as caught:
        read(path, **options)
    return str(caught.value).removeprefix(f"{path}: ")


# --- Options ---------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", ["||", '"', "\n", "\r", "§"])
def test_invalid_delimiter_is_an_error(path: Path, delimiter: str) -> None:
    """The error lists the valid values."""
    path.write_text(HEADER)

    assert refusal(path, delimiter=delimiter) == (
        f"delimiter={delimiter!r}: invalid delimiter. "
        "Use comma, semicolon, tab, pipe or one ASCII character."
    )


def test_wrong_delimiter_gives_a_header_of_one_column(path: Path) -> None:
    """The error shows the whole line as one column."""
    path.write_text("id,title\na,b\n")

    with pytest.raises(MissingColumnError) as caught:
        read(path, delimiter="tab")
    assert caught.value.header == ("id,title",)


@pytest.mark.slow
def test_wrong_encoding_is_an_error_anywhere_in_the_file(path: Path) -> None:
    """Text that does not decode is not replaced by question marks."""
    for text in ("id,título\na,b\n", "id,title\na,b\n" * 100_000 + "a,título\n"):
        path.write_text(text, encoding="utf-8")
        assert refusal(path, encoding="ascii") == (
            "not ASCII. Set the encoding, for example encoding='shift_jis', "
            "or save the file as UTF-8."
        )


@pytest.mark.parametrize("encoding", ["klingon", "base64", "rot13", "\0"])
def test_unknown_encoding_is_an_error(path: Path, encoding: str) -> None:
    """A typing error in the option is reported before the file is read."""
    path.write_text(HEADER)

    assert refusal(path, encoding=encoding) == (
        f"encoding={encoding!r}: unknown encoding. Use for example utf-8, gb18030 or shift_jis."
    )


def test_worksheet_name_for_a_text_file_is_an_error(path: Path) -> None:
    """A text file has no worksheets."""
    path.write_text(HEADER)

    assert (
        refusal(path, sheet_name="x")
        == f"sheet_name='x': {path} is not a workbook. Remove this option."
    )


# --- Files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_rows", [1, 2, 1000])
def test_unclosed_quote_is_an_error_that_names_the_row(path: Path, chunk_rows: int) -> None:
    """A missing quote does not turn the rest of the sheet into one title."""
    path.write_text(HEADER + '"a\nb",c\nd,"e\nf,g\n')

    with pytest.raises(SheetError) as caught:
        read(path, chunk_rows)
    assert str(caught.value) == (
        f"{path}: a double quote in row 3 is not closed. "
        "Close it, or write it twice if it is part of the text."
    )


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("x.csv", b"", "the file is empty. Add a header line and rows."),
        ("x.csv", b"\n \n\t\n", "only blank lines. Add a header line and rows."),
        ("x.csv", b"PK\x03\x04xx", "the file is an Excel workbook, not text. Rename it to .xlsx."),
        ("x.pdf", b"x", f".pdf files are {UNSUPPORTED}"),
        (
            "x",
            b"x",
            f"a file name without an extension is {UNSUPPORTED}",
        ),
        (
            "x.csv",
            b"id\n%\xff\xff\xff\xff\n",
            (
                "not UTF-8 (byte 4 is invalid), and its encoding is uncertain. Use the one that "
                "shows the text correctly: encoding='cp1252' shows '%ÿÿÿÿ', "
                "encoding='cp1251' shows '%яяяя', encoding='koi8_r' shows '%ЪЪЪЪ', "
                "encoding='cp1250' shows '%˙˙˙˙', encoding='cp850' shows '%'. "
                "Or save the file as UTF-8."
            ),
        ),
        (
            "x.csv",
            b"%PDF-1.7\n1 0 obj\n",
            "the file is a PDF, not text. Export the table as .xlsx or .csv.",
        ),
        (
            "x.csv",
            "id,title\na,b\n".encode("utf-16-le"),
            (
                "not plain text, because it contains zero bytes. If it is UTF-16, use "
                "encoding='utf-16-le' or encoding='utf-16-be'; "
                "otherwise save it as CSV or .xlsx."
            ),
        ),
        (
            "x.csv",
            b"id,title,x" + b"x" * 5_000_000,
            (
                "row 1 has a cell of more than 4,194,304 characters. "
                "If a double quote is not closed, close it; otherwise clear the cell."
            ),
        ),
    ],
)
def test_file_of_another_type_is_a_clear_error(
    tmp_path: Path, name: str, content: bytes, text: str
) -> None:
    """The error states what was found and the fix, without a traceback."""
    (tmp_path / name).write_bytes(content)

    assert refusal(tmp_path / name) == text


def test_path_that_is_not_a_file_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelled name, a folder and a pipe have their own errors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")

    assert [refusal(Path(name)) for name in ("none.csv", "folder.csv", "pipe.csv")] == [
        f"file not found. Check the name; the current folder is {tmp_path}.",
        "is a folder. Use the name of a file.",
        "not a regular file. To read a pipe, use - as the file name.",
    ]


def test_file_modified_between_two_reads_is_an_error(path: Path) -> None:
    """Only rows that were checked are sent."""
    path.write_text(HEADER + "a,b\n")
    for change in (lambda: path.write_text(HEADER + "a,bb\n"), path.unlink):
        with open_sheet(path) as table:
            assert len(list(table.chunks())) == 1
            change()
            with pytest.raises(SheetError) as caught:
                list(table.chunks())
        assert str(caught.value) == (
            f"{path}: the file was modified during the run. "
            "Run the command again; finished rows will not be sent again."
        )


@pytest.mark.parametrize(
    ("content", "options", "text"),
    [
        (b"", {}, "standard input: only blank lines. Add a header line and rows."),
        (
            b"PK\x03\x04",
            {},
            "standard input: the file is an Excel workbook, not text. Rename it to .xlsx.",
        ),
        (
            b"id,title\n",
            {"sheet_name": "x"},
            "sheet_name='x': standard input is not a workbook. Remove this option.",
        ),
    ],
)
def test_invalid_standard_input_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, content: bytes, options: dict[str, str], text: str
) -> None:
    """Errors name standard input, never a temporary file."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    assert refusal(Path("-"), **options) == text


def test_late_undecodable_byte_in_a_large_file_is_an_error(
    path: Path,
) -> None:
    """Only the first 16 MiB decide the encoding; the rest is never read in another one."""
    row = b"a," + b"plain text " * 100 + b"\n"
    path.write_bytes(b"id,title\n" + row * 16_000 + "a,磁盘\n".encode("gb18030"))

    assert refusal(path) == (
        "not UTF-8. Set the encoding, for example encoding='shift_jis', or save the file as UTF-8."
    )
    read(path, encoding="gb18030")
