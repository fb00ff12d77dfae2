"""Rows of a sheet that are read together, column by column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows read together, column by column.

    Attributes:
        numbers: the row numbers. Blank rows are not among them.
        columns: the text cells of each column of the header; each as long as ``numbers``.
        odd_cells: (row_number, column) -> what is wrong with a cell whose text is not
            certain (a date, a fraction, a formula's error).
        blank_rows: how many were left out.
        was: field -> cells, what the sheet was made from, where it says so. Cells of
            ``columns`` that still say the same are empty: they leave their field alone.
        emptied: cells that held something when the sheet was made, and nothing now.
    """

    numbers: Sequence[int]
    columns: list[list[str]]
    odd_cells: dict[tuple[int, int], str] = field(default_factory=dict)
    blank_rows: int = 0
    was: dict[str, list[str]] = field(default_factory=dict)
    emptied: int = 0

    def rows(self) -> Iterator[tuple[int | str, ...]]:
        """Yield each row: its number, then its cells."""
        return zip(self.numbers, *self.columns, strict=True)
