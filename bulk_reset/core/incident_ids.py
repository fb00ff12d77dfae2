"""Which incident a cell names: an id as people copy it, or the link to the incident's page.

Case, spaces, quotes and invisible characters around or in an id do not change which incident
it names. Nothing else is mended.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

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
"""Soft hyphen, zero-width and direction marks: they come along when text is copied."""


@dataclass(slots=True)
class Readings:
    """How often an id was not written as an id alone."""

    links: int = 0
    cleaned: int = 0

    def add(self, other: Readings) -> None:
        """Add the counts of another chunk."""
        self.links += other.links
        self.cleaned += other.cleaned

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know."""
        told = []
        if self.links:
            told.append(f"{self.links:,} ids were taken out of links to their incidents")
        if self.cleaned:
            told.append(f"{self.cleaned:,} ids were freed of quotes or invisible characters")
        return tuple(told)


def is_id(text: str) -> bool:
    """Tell whether a text is 24 hexadecimal digits in lower case."""
    return _ID.fullmatch(text) is not None


def ids_in_link(text: str) -> set[str] | None:
    """Return the ids that a link in lower case has in it; None where the text is no link."""
    if len(text) > _LONGEST_LINK or not _LINK.fullmatch(text):
        return None
    return set(_ID_IN_LINK.findall(unquote(text)))


def read_ids(texts: list[str], readings: Readings) -> list[str]:
    """Return what each cell names; what names nothing stays as it is.

    Args:
        texts: trimmed and in lower case.
        readings: is added to.
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
