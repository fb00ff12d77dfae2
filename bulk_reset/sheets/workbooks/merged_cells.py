"""Finds the cells that a merged range covers.

A spreadsheet shows only the first cell of a merged range. The others are empty, or have a text
that is not shown; both would be left out or sent silently.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from bulk_reset.sheets.workbooks.xml_parts import DamagedError

MERGED_ABOVE: Final = "merged with a cell above it"
MERGED_LEFT: Final = "merged with a cell to its left"
_MAX_COLUMNS: Final = 1 << 14


class _Range(NamedTuple):
    """0-based and inclusive."""

    top: int
    bottom: int
    left: int
    right: int


class MergedCells:
    """The merged ranges of a worksheet.

    Args:
        ranges: ((top, left), (bottom, right)) of each, 0-based.

    Raises:
        DamagedError: ranges overlap.
    """

    def __init__(self, ranges: Iterable[tuple[tuple[int, int], tuple[int, int]]]) -> None:
        self._ranges = sorted(
            _Range(top, bottom, left, right) for (top, left), (bottom, right) in ranges
        )
        self._refuse_overlaps()

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def _refuse_overlaps(self) -> None:
        """Without overlaps, at most as many ranges as columns are open in a row."""
        ends: list[tuple[int, int]] = []
        columns = 0
        for one in self._ranges:
            while ends and ends[0][0] < one.top:
                columns -= heapq.heappop(ends)[1]
            width = one.right - one.left + 1
            heapq.heappush(ends, (one.bottom, width))
            columns += width
            if columns > _MAX_COLUMNS:
                raise DamagedError("its merged cells overlap")

    def by_row(self) -> Iterator[list[tuple[int, str]]]:
        """Yield the covered cells of each row, from the first row on, without end.

        Each is a 0-based column and why its text is uncertain.
        """
        waiting = iter(self._ranges)
        following = next(waiting, None)
        opened: list[_Range] = []
        row = 0
        while True:
            while following is not None and following.top <= row:
                opened.append(following)
                following = next(waiting, None)
            opened = [one for one in opened if one.bottom >= row]
            yield [
                (column, MERGED_ABOVE if row > one.top else MERGED_LEFT)
                for one in opened
                for column in range(one.left + (row == one.top), one.right + 1)
            ]
            row += 1
