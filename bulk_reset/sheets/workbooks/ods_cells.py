"""Cells of an OpenDocument spreadsheet: their values, and why a text is uncertain.

The file has the text of every cell as the program showed it, besides the value. So a number has a
certain text only if it was shown as its digits, whatever its format is.

Source: OpenDocument 1.3 part 3, 19.389 (types of values) and 6.1.2 (white space); how LibreOffice
writes failed formulas (``calcext:value-type="error"``), empty results and TRUE.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from bulk_reset.sheets.workbooks.workbook_xml import NEVER_CALCULATED, SPECIAL_FORMAT, ErrorCell

_NAMES: Final = "urn:oasis:names:tc:opendocument:xmlns:"
TABLE: Final = f"{_NAMES}table:1.0 "
OFFICE: Final = f"{_NAMES}office:1.0 "
TEXT: Final = f"{_NAMES}text:1.0 "
STYLE: Final = f"{_NAMES}style:1.0 "
_CALC: Final = "urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0 value-type"
_NUMBERS: Final = frozenset({"float", "percentage", "currency"})
_ERROR_CODE: Final = re.compile(r"#[A-Z][A-Z0-9/_]{1,20}[!?]?|Err:[0-9]{1,5}")
_TIME: Final = re.compile(r"(-?)P(?:(\d{1,6})D)?T(\d{1,8})H(\d{1,4})M(\d{1,4})(?:[.,](\d{1,9}))?S")
_SPACES: Final = re.compile(r"[ \t\r\n]+")
_CERTAIN_BELOW: Final = 1e11
"""See ``cell_texts``: no larger number has a certain text."""
_TYPE: Final = f"{OFFICE}value-type"
_FORMULA: Final = f"{TABLE}formula"
_STRING: Final = f"{OFFICE}string-value"
_OF_PLAIN_TEXT: Final = frozenset({_TYPE, _CALC, f"{TABLE}style-name"})
_NO_VALUE: Final = "the cell has no valid value"
_BOOLEANS: Final = {("TRUE", 1.0): True, ("FALSE", 0.0): False}
"""LibreOffice writes a TRUE of Excel as the number 1 that is shown as TRUE."""


class OdsCell(NamedTuple):
    """A value as calamine would return it, and why its text is uncertain (None if it is not)."""

    value: object
    error: ErrorCell | None = None


EMPTY: Final = OdsCell("")


def cell_of(attributes: Mapping[str, str], shown: str | None) -> OdsCell:
    """Return the cell of an element.

    Args:
        shown: the text that the program showed; None if the file has none.
    """
    if shown is not None and not attributes.keys() - _OF_PLAIN_TEXT and _is_string(attributes):
        return OdsCell(shown)
    kind, formula = attributes.get(_TYPE, ""), attributes.get(_FORMULA)
    is_text = kind in {"", "string"}
    is_code = is_text and shown is not None and _ERROR_CODE.fullmatch(shown) is not None
    if "error" in {kind, attributes.get(_CALC)} or (formula is not None and is_code):
        code = shown or "#"
        return OdsCell("", ErrorCell(code, f"the formula failed with {code}"))
    if kind == "" and shown is None and formula is not None:
        return OdsCell("", ErrorCell(f"={formula.partition('=')[2]}", NEVER_CALCULATED))
    if is_text:
        return OdsCell(attributes.get(_STRING, shown or ""))
    return _valued(_value_of(kind, attributes, shown), kind, shown)


def _valued(value: object | None, kind: str, shown: str | None) -> OdsCell:
    """Return the cell of a value that is no text; an error of its format or of a missing value."""
    if value is None:
        return OdsCell("", ErrorCell(shown or "", _NO_VALUE))
    if (
        kind in _NUMBERS
        and isinstance(value, float)
        and not _is_shown_as_digits(value, kind, shown)
    ):
        return OdsCell(value, ErrorCell("", SPECIAL_FORMAT, is_number=True))
    return OdsCell(value)


def _is_string(attributes: Mapping[str, str]) -> bool:
    return attributes.get(_TYPE) == "string" and attributes.get(_CALC) in {None, "string"}


def _value_of(kind: str, attributes: Mapping[str, str], shown: str | None) -> object | None:
    """Return the value of a cell that is no text; None if it has no valid one."""
    name = "value" if kind in _NUMBERS else f"{kind}-value"
    text = attributes.get(f"{OFFICE}{name}", "")
    if kind in _NUMBERS:
        number = _number_of(text)
        return number if number is None else _BOOLEANS.get((shown or "", number), number)
    if kind == "boolean":
        return {"true": True, "false": False}.get(text)
    if kind == "date":
        return _date_of(text)
    if kind == "time":
        return _time_of(text)
    return "" if kind == "void" else None


def _is_shown_as_digits(value: float, kind: str, shown: str | None) -> bool:
    """Return whether a whole number was shown as its digits; others are reported anyway."""
    if not value.is_integer() or abs(value) >= _CERTAIN_BELOW:
        return True
    return kind == "float" if shown is None else shown == f"{value:.0f}"


def _number_of(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None


def _date_of(text: str) -> dt.date | None:
    try:
        if "T" in text:
            return dt.datetime.fromisoformat(text).replace(tzinfo=None)
        return dt.date.fromisoformat(text)
    except ValueError:
        return None


def _time_of(text: str) -> dt.time | dt.timedelta | None:
    """Return a time of day, or a duration of a day and more."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    sign, days, hours, minutes, seconds, fraction = found.groups("0")
    duration = dt.timedelta(
        days=int(days),
        hours=int(hours),
        minutes=int(minutes),
        seconds=int(seconds),
        microseconds=round(float(f"0.{fraction}") * 1e6),
    )
    if sign == "-":
        return -duration
    if duration.days:
        return duration
    whole = duration.seconds
    return dt.time(whole // 3600, whole // 60 % 60, whole % 60, duration.microseconds)


class CellText:
    """The paragraphs of a cell while it is parsed.

    State: the pieces of the open paragraph; whether its last character is collapsible space.
    """

    def __init__(self) -> None:
        self._paragraphs: list[str] = []
        self._pieces: list[str] = []
        self._is_after_space = True

    def take(self) -> str | None:
        """Return the text with its line breaks, and clear it; None if there is no paragraph."""
        if not self._paragraphs:
            return None
        text = "\n".join(self._paragraphs)
        self._paragraphs.clear()
        return text

    def end_paragraph(self) -> None:
        """Add the open paragraph."""
        self._paragraphs.append("".join(self._pieces))
        self._pieces.clear()
        self._is_after_space = True

    def add(self, text: str) -> None:
        """Add characters; white space in a row is one space."""
        # Most texts have single spaces; a pattern takes longer.
        if "  " in text or not text.isprintable():
            text = _SPACES.sub(" ", text)
        if self._is_after_space and text.startswith(" "):
            text = text[1:]
        if text:
            self._pieces.append(text)
            self._is_after_space = text.endswith(" ")

    def add_exactly(self, text: str) -> None:
        """Add spaces, a tab or a line break that are written as an element."""
        self._pieces.append(text)
        self._is_after_space = False
