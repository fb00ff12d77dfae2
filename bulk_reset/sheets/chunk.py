"""A chunk: rows of a sheet that are read together, stored by column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

INCOMPLETE_CHARACTER: Final = "contains an incomplete character"
"""The problem of a text with half of a surrogate pair."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that are read together, stored by column.

    Attributes:
        numbers: the row numbers, without blank rows.
        columns: the text cells of each column of the header; each as long as ``numbers``.
        odd_cells: (row_number, column) -> the problem of a cell whose text is uncertain (a date,
            a fraction, a failed formula).
        blank_rows: number of blank rows that were left out.
        was: field -> cells with the pulled values, if the sheet was pulled. Cells of ``columns``
            with the pulled value are empty, so that their fields are not sent.
        emptied: number of cells that had a pulled value and are empty now.
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
