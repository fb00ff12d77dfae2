"""Formats that turn the dates, durations and numbers of cells into text.

A date and a fraction have no certain text, so they are only sent in a format that the user gave.
A value that does not fit its format stays an error of its cell.

Three types of formats: ``%Y-%m-%d %H:%M`` for dates and times, ``[h]:mm`` for durations, and
``0``, ``0.00``, ``#,##0.0``, ``0.0%`` for numbers, as a spreadsheet writes them.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

_DATE: Final = re.compile(r"(?:[^%]|%[YmdHMSyj%])*%[YmdHMSyj](?:[^%]|%[YmdHMSyj%])*")
_NUMBER: Final = re.compile(r"(#,##)?0(?:\.(0{1,15}))?(%?)")
_DURATIONS: Final = ("[h]:mm", "[h]:mm:ss")
_TIMES: Final = frozenset("HMS%")
_LARGEST: Final = 1e15
"""A workbook keeps 15 digits of a number, so the text of a larger one is not certain."""
_EXAMPLES: Final = (
    "'%Y-%m-%d %H:%M' for dates, '[h]:mm' for durations, '0.00' or '0.0%' for numbers"
)


@dataclass(frozen=True, slots=True)
class CellFormat:
    """The format of a column's dates, durations or numbers."""

    text: str

    @classmethod
    def of(cls, text: str) -> CellFormat:
        """Read a format.

        Raises:
            ValueError: it is none; the message has the problem and the fix.
        """
        is_known = text in _DURATIONS or _NUMBER.fullmatch(text) or _DATE.fullmatch(text)
        if not is_known:
            raise ValueError(f"not a format. Use for example {_EXAMPLES}.")
        return cls(text)

    def text_of(self, value: object) -> str | None:
        """Return the text of a cell's value; None if the format is for another type."""
        if isinstance(value, bool):
            return None
        if isinstance(value, int | float):
            return self._number(value)
        if isinstance(value, dt.time) and self.text in _DURATIONS:
            # A duration of less than a day, in a file that has one type for both.
            return self._duration(
                dt.timedelta(hours=value.hour, minutes=value.minute, seconds=value.second)
            )
        if isinstance(value, dt.timedelta):
            return self._duration(value)
        if isinstance(value, dt.date | dt.time):
            return self._date(value)
        return None

    def _date(self, value: dt.date | dt.time) -> str | None:
        if _NUMBER.fullmatch(self.text) or not _DATE.fullmatch(self.text):
            return None
        used = set(re.findall(r"%(.)", self.text))
        if isinstance(value, dt.time) and not used <= _TIMES:
            return None  # a time has no day
        return value.strftime(self.text)

    def _duration(self, value: dt.timedelta) -> str | None:
        if self.text not in _DURATIONS or value < dt.timedelta(0):
            return None
        seconds = round(value.total_seconds())
        whole = f"{seconds // 3600}:{seconds // 60 % 60:02}"
        return f"{whole}:{seconds % 60:02}" if self.text == _DURATIONS[1] else whole

    def _number(self, value: float) -> str | None:
        found = _NUMBER.fullmatch(self.text)
        if found is None or not math.isfinite(value) or abs(value) >= _LARGEST:
            return None
        group, decimals, percent = found.groups()
        exact = Decimal(repr(value)) * (100 if percent else 1)
        rounded = exact.quantize(Decimal(1).scaleb(-len(decimals or "")), ROUND_HALF_UP)
        return f"{rounded:{',' if group else ''}f}{percent}"
