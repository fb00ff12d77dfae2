"""Parquet files: exact numbers are texts, dates only by a format, other columns refused."""

from __future__ import annotations

import datetime as dt
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sheet_zoo import A, B, inspect_sheet
from workbooks import read

from bulk_reset.core.errors import InputError
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.preview import preview

NUMBER = "the cell contains a number, not text"
DATE = "the cell contains a date or time, not text"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "故障.parquet"


def write(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught, open_sheet(path, **options) as sheet:
        list(sheet.chunks())
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("chunk_rows", [1, 2, 1000])
def test_rows_are_read_with_their_numbers(path: Path, chunk_rows: int) -> None:
    """Texts are kept, also those of a dictionary; a missing value is an empty cell."""
    titles = pa.array(["磁盘已满 😀", None, "磁盘已满 😀"]).dictionary_encode()
    write(path, id=[A, "", B], title=titles)

    assert read(path, chunk_rows) == ([(2, A, "磁盘已满 😀"), (4, B, "磁盘已满 😀")], {})
    assert inspect_sheet(
        path
    ).notices == f"{path}: read as Parquet\n{path}: 1 blank row ignored" or (
        inspect_sheet(path).notices == f"{path}: read as Parquet"
    )


@pytest.mark.parametrize(
    ("value", "kind", "text", "problem"),
    [
        (2**60 + 1, pa.int64(), "1152921504606846977", ""),
        (2**63 + 1, pa.uint64(), "9223372036854775809", ""),
        (Decimal("1.10"), pa.decimal128(38, 2), "1.10", ""),
        (Decimal("1E+3"), pa.decimal128(38, 0), "1000", ""),
        (True, pa.bool_(), "TRUE", ""),
        (7.0, pa.float64(), "7", ""),
        (1.5, pa.float32(), "1.5", NUMBER),
        (float("nan"), pa.float64(), "", ""),
        (dt.date(2024, 5, 6), pa.date32(), "2024-05-06", DATE),
        (dt.datetime(2024, 5, 6, 7, 8), pa.timestamp("us"), "2024-05-06 07:08:00", DATE),  # noqa: DTZ001
        (dt.time(7, 8), pa.time64("us"), "07:08:00", DATE),
        (dt.timedelta(hours=36), pa.duration("s"), "1 day, 12:00:00", DATE),
    ],
)
def test_value_has_a_text_only_if_it_is_exact(
    path: Path, value: object, kind: pa.DataType, text: str, problem: str
) -> None:
    """Integers and decimals keep all digits; a fraction and a date need a format."""
    write(path, id=[A], title=pa.array([value], kind))

    assert read(path) == ([(2, A, text)], {(2, 1): problem} if problem else {})


def test_columns_without_texts_are_refused_by_name(path: Path) -> None:
    """A list is not sent as something else."""
    write(path, id=[A], title=["x"], tags=[["a"]], raw=[b"x"], more=[{"a": 1}])

    assert refusal(path) == (
        "columns without texts: 'tags' (list<element: string>), 'raw' (binary), "
        "'more' (struct<a: int64>). Leave out lists, structures and bytes, or write them as texts."
    )


def test_what_is_no_parquet_file_is_a_clear_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged file, an option of text files, and a missing extra."""
    path.write_bytes(b"PAR1 damaged PAR1")
    assert refusal(path).startswith("cannot be read as Parquet (")
    write(path, id=[A], title=["Disk full"])
    assert refusal(path, delimiter="tab") == (
        f"delimiter: {path} is a Parquet file, which has named columns. Remove this option."
    )
    other = path.with_suffix(".csv")
    other.write_bytes(path.read_bytes())
    assert refusal(other).endswith("the file is a Parquet file, not text. Rename it to .parquet.")
    assert [one.samples for one in preview(path).columns] == [(A,), ("Disk full",)]
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert refusal(path) == (
        "Parquet needs the extra 'parquet'. Install it: pip install 'bulk-reset[parquet]'."
    )
