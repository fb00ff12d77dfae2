"""Reads the incident id from a cell: an id, or the link to the incident's page.

Case, and spaces, quotes and invisible characters that were copied along, are ignored. Nothing
else is corrected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from bulk_reset.core.counting import counted

ID_DIGITS: Final = 24
_ID: Final = re.compile(r"[0-9a-f]{24}")
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
    """

    links: int = 0
    cleaned: int = 0

    def add(self, other: Readings) -> None:
        """Add the counts of another chunk."""
        self.links += other.links
        self.cleaned += other.cleaned

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences for the user."""
        notices = []
        if self.links:
            notices.append(f"{counted(self.links, 'ID')} read from links to incidents")
        if self.cleaned:
            cleaned = counted(self.cleaned, "ID")
            notices.append(f"quotes or invisible characters removed from {cleaned}")
        return tuple(notices)


def is_id(text: str) -> bool:
    """Return whether a text is 24 hexadecimal digits in lower case."""
    return _ID.fullmatch(text) is not None


def ids_in_link(text: str) -> set[str] | None:
    """Return the ids in a link (in lower case); None if the text is not a link."""
    if len(text) > _LONGEST_LINK or not _LINK.fullmatch(text):
        return None
    return set(_ID_IN_LINK.findall(unquote(text)))


def read_ids(texts: list[str], readings: Readings) -> list[str]:
    """Return the id in each cell; a cell without an id is returned unchanged.

    Args:
        texts: trimmed and in lower case.
        readings: updated with the counts of these cells.
    """
    return [text if is_id(text) else _read_id(text, readings) for text in texts]


def _read_id(text: str, readings: Readings) -> str:
    if len(text) > _LONGEST_LINK:
        return text
    bare = text.translate(_INVISIBLE).strip().strip(_QUOTES).strip()
    if is_id(bare):
        readings.cleaned += 1
        return bare
    named = ids_in_link(bare) or ()
    if len(named) == 1:
        readings.links += 1
        return next(iter(named))
    return bare
