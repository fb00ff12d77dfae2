"""Row numbers that a user selects, such as ``2-40,77``, and the rows that a run leaves out.

Row numbers are 1-based and count the header, as Excel shows them.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Final, Self

_RANGE: Final = re.compile(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class RowRanges:
    """Some ranges of row numbers, both ends included."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, text: str) -> Self:
        """Read ranges; raises ValueError with what is wrong."""
        found = []
        for part in text.split(","):
            match = _RANGE.fullmatch(part)
            if match is None:
                raise ValueError(f"{part.strip()!r} is not a row or a range of rows")
            first, last = int(match[1]), int(match[2] or match[1])
            if not 1 <= first <= last:
                raise ValueError(f"{part.strip()!r} ends before it begins")
            found.append((first, last))
        return cls(tuple(found))

    def __contains__(self, row_number: object) -> bool:
        return isinstance(row_number, int) and any(
            first <= row_number <= last for first, last in self.ranges
        )


@dataclass(slots=True)
class LeftOut(Container[int]):
    """The rows that a run leaves out; they stay pending.

    Attributes:
        selected: rows outside of these are left out; None for no such selection.
        numbers: further rows.
    """

    selected: RowRanges | None = None
    numbers: set[int] = field(default_factory=set)

    def __contains__(self, row_number: object) -> bool:
        if self.selected is not None and row_number not in self.selected:
            return True
        return row_number in self.numbers

    def __bool__(self) -> bool:
        return self.selected is not None or bool(self.numbers)
