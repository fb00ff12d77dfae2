"""A pandas data frame as a sheet."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeGuard

from bulk_reset.sheets.cell_texts import Formats, text_columns
from bulk_reset.sheets.chunk import Chunk

if TYPE_CHECKING:
    import pandas as pd


def is_frame(value: object) -> TypeGuard[pd.DataFrame]:
    """Return whether a value is a data frame, without importing pandas."""
    frame_type = getattr(sys.modules.get("pandas"), "DataFrame", None)
    return frame_type is not None and isinstance(value, frame_type)


class FrameSource:
    """A pandas DataFrame; its first row is row 2, as in a sheet with a header."""

    header_row = 1
    notice = ""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self.formats: Formats = {}
        self.header = tuple(str(name) for name in frame.columns)

    def read(self, chunk_rows: int) -> Iterator[Chunk]:
        """Yield chunks; see ``Source``."""
        for start in range(0, len(self._frame), chunk_rows):
            part = self._frame.iloc[start : start + chunk_rows]
            columns = [_cells(part.iloc[:, position]) for position in range(part.shape[1])]
            numbers = list(range(start + 2, start + 2 + len(part)))
            yield text_columns(numbers, columns, self.formats)


def _cells(column: pd.Series) -> list[object]:
    """Return the values of a column; None for each kind of a missing value."""
    cells: list[object] = column.astype(object).where(column.notna(), None).tolist()
    return cells
