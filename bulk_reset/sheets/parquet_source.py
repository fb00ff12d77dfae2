"""A Parquet file as a sheet; needs pyarrow, an extra.

Such a file has typed columns. Integers and decimals are exact there, so their text is certain; a
float, a date and a time have a text only in a format that the user gave, as in a workbook. Columns
of lists, structures and bytes have no text and are refused.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bulk_reset.core.errors import SheetError
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.cell_texts import Formats, text_columns
from bulk_reset.sheets.chunk import Chunk

_MAX_CELLS: Final = 1 << 27
_NAMES_SHOWN: Final = 5


class ParquetSource:
    """A Parquet file; its first row is row 2, as in a sheet with a header.

    Raises:
        SheetError: pyarrow is not installed, the file is damaged, or a column has no text.
    """

    header_row = 1
    notice = "read as Parquet"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.formats: Formats = {}
        with _opened(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
            self.header: tuple[str, ...] = tuple(schema.names)
            _refuse_types(path, schema)
            if metadata.num_rows * max(1, len(self.header)) > _MAX_CELLS:
                raise SheetError(
                    f"{path}: has {metadata.num_rows:,} rows of {len(self.header):,} columns, too "
                    "many for one run. Split it into smaller files."
                )

    def read(self, chunk_rows: int) -> Iterator[Chunk]:
        """Yield chunks; see ``sheet.Source``."""
        start = 2
        with _opened(self._path) as file:
            for batch in file.iter_batches(chunk_rows, use_threads=False):
                columns = [_cells(column.to_pylist()) for column in batch.columns]
                numbers = list(range(start, start + batch.num_rows))
                start += batch.num_rows
                yield text_columns(numbers, columns, self.formats)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a Parquet file until the block ends; errors of pyarrow become a SheetError."""
    try:
        import pyarrow as pa  # noqa: PLC0415  (an extra)
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as exc:
        raise SheetError(
            f"{path}: Parquet needs the extra 'parquet'. Install it: "
            "pip install 'bulk-reset[parquet]'."
        ) from exc
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as exc:
        raise SheetError(
            f"{path}: cannot be read as Parquet ({one_line(str(exc))[:160]}). "
            "Save it again, or export the table as .csv."
        ) from exc


def _refuse_types(path: Path, schema: Any) -> None:  # noqa: ANN401  (pyarrow has no types)
    """Raise SheetError if a column has no texts, whether it is used or not."""
    wrong = [
        f"{name!r} ({kind})"
        for name, kind in zip(schema.names, schema.types, strict=True)
        if not _has_text(kind)
    ]
    if wrong:
        more = f" and {len(wrong) - _NAMES_SHOWN:,} more" if len(wrong) > _NAMES_SHOWN else ""
        raise SheetError(
            f"{path}: columns without texts: {one_line(', '.join(wrong[:_NAMES_SHOWN]))}{more}. "
            "Leave out lists, structures and bytes, or write them as texts."
        )


def _has_text(kind: Any) -> bool:  # noqa: ANN401  (pyarrow has no types)
    from pyarrow import types  # noqa: PLC0415  (an extra)

    if types.is_dictionary(kind):
        return _has_text(kind.value_type)
    is_text = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
    is_value = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)
    is_time = (types.is_timestamp, types.is_date, types.is_time, types.is_duration)
    return any(check(kind) for check in (*is_text, *is_value, *is_time))


def _cells(values: Sequence[object]) -> list[object]:
    """Return the values of a column, with the exact numbers as texts."""
    return [_exact(value) for value in values]


def _exact(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return f"{value:f}" if isinstance(value, decimal.Decimal) else value
