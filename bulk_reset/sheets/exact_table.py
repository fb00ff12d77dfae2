"""A table of texts that are sent exactly as they are; an undo is made of one.

No file is in between, and no rule but the API's is checked: it has had these values before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bulk_reset.sheets.chunk import Chunk


@dataclass(slots=True)
class ExactTable:
    """A table of texts that are sent as they are; a ``Source``.

    Attributes:
        label: the name used in messages: the file that shows the table.
        header: names of fields, and of columns of bulk-reset.
        rows: the cells of each row, in memory or on the disk; the first one is row 2.
    """

    label: str
    header: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    header_row: int = 1
    notice: str = ""

    def read(self, chunk_rows: int) -> Iterator[Chunk]:
        """Yield chunks; see ``Source``."""
        for start in range(0, len(self.rows), chunk_rows):
            part = self.rows[start : start + chunk_rows]
            columns = [list(cells) for cells in zip(*part, strict=True)]
            yield Chunk(range(start + 2, start + 2 + len(part)), columns)
