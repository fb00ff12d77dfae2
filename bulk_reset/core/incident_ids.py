"""Reads the incident id from a cell: an id, the link to the incident's page, or a short number.

Case, and spaces, quotes and invisible characters that were copied along, are ignored. Nothing
else is corrected.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from bulk_reset.core.counting import counted

ID_DIGITS: Final = 24
_ID: Final = re.compile(r"[0-9a-f]{24}")
_NUMBER: Final = re.compile(r"#?((?=[a-z]*[0-9])[0-9a-z]{6}|[a-f]{6})")
_ID_IN_LINK: Final = re.compile(r"(?<![0-9a-z])[0-9a-f]{24}(?![0-9a-z])")
_LINK: Final = re.compile(r"https?://\S+")
_LONGEST_LINK: Final = 2048
_QUOTES: Final = "\"'`\u00ab\u00bb\u2018\u2019\u201c\u201d\u201e"
_INVISIBLE: Final = dict.fromkeys(
    [
        0xAD,
        0x61C,
        0x180E,
        0xFEFF,
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
    ]
)
"""Soft hyphen, zero-width and direction marks, which are often copied along with text."""


@dataclass(slots=True)
class Readings:
    """Counts of ids that were not plain ids in the sheet.

    Attributes:
        links: ids taken from links.
        cleaned: ids from which quotes or invisible characters were removed.
        numbers: short numbers whose incident is not known yet.
        found: ids found by short numbers.
    """

    links: int = 0
    cleaned: int = 0
    numbers: int = 0
    found: int = 0

    def add(self, other: Readings) -> None:
        """Add the counts of another chunk."""
        self.links += other.links
        self.cleaned += other.cleaned
        self.numbers += other.numbers
        self.found += other.found

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences for the user."""
        notices = []
        if self.links:
            notices.append(f"{counted(self.links, 'ID')} read from links to incidents")
        if self.cleaned:
            cleaned = counted(self.cleaned, "ID")
            notices.append(f"quotes or invisible characters removed from {cleaned}")
        if self.numbers:
            notices.append(
                f"{counted(self.numbers, 'ID')} given as short numbers; their incidents are looked "
                "up before a plan or a run"
            )
        if self.found:
            notices.append(f"{counted(self.found, 'ID')} found by short numbers")
        return tuple(notices)


def is_id(text: str) -> bool:
    """Return whether a text is 24 hexadecimal digits in lower case."""
    return _ID.fullmatch(text) is not None


def short_number(text: str) -> str:
    """Return the short number in a cell, in upper case; empty if it is none.

    Args:
        text: in lower case.
    """
    found = _NUMBER.fullmatch(text)
    return found[1].upper() if found else ""


def ids_in_link(text: str) -> set[str] | None:
    """Return the ids in a link (in lower case); None if the text is not a link."""
    if len(text) > _LONGEST_LINK or not _LINK.fullmatch(text):
        return None
    return set(_ID_IN_LINK.findall(unquote(text)))


def read_ids(
    texts: list[str], readings: Readings, id_of: Callable[[str], str] | None = None
) -> list[str]:
    """Return the id in each cell; a cell without an id is returned unchanged.

    Args:
        texts: trimmed and in lower case.
        readings: updated with the counts of these cells.
        id_of: returns the id for a short number; None where short numbers are no ids.
    """
    return [text if is_id(text) else _read_id(text, readings, id_of) for text in texts]


def _read_id(text: str, readings: Readings, id_of: Callable[[str], str] | None) -> str:
    if len(text) > _LONGEST_LINK:
        return text
    bare = text.translate(_INVISIBLE).strip().strip(_QUOTES).strip()
    if is_id(bare):
        readings.cleaned += 1
        return bare
    if id_of is not None and (number := short_number(bare)):
        return id_of(number)
    named = ids_in_link(bare) or ()
    if len(named) == 1:
        readings.links += 1
        return next(iter(named))
    return bare
