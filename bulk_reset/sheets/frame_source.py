"""A pandas data frame as a sheet."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from bulk_reset.sheets.cell_texts import Formats, text_columns
from bulk_reset.sheets.chunk import Chunk


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
            columns = [part.iloc[:, position].tolist() for position in range(part.shape[1])]
            numbers = list(range(start + 2, start + 2 + len(part)))
            yield text_columns(numbers, columns, self.formats)
