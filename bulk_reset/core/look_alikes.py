"""Recognises names that look alike: other alphabets, other widths, invisible characters.

A name that a person reads as ``Title`` may have a Cyrillic T, full-width letters, a no-break
space or a zero-width space, from a web page, a chat or an input method.

Source: Unicode's ``confusables.txt`` (letters of Latin words) and ``DerivedCoreProperties.txt``
(Default_Ignorable_Code_Point).
"""

# ruff: noqa: RUF001 - letters that look alike are the data

from __future__ import annotations

import re
import unicodedata
from typing import Final

_INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Characters without a shape, besides white space; U+2800 and the Hangul fillers are blanks."""
_INVISIBLE_TEXT: Final = re.compile(rf"[\s{_INVISIBLE}]+")
_INVISIBLE_CHARACTERS: Final = re.compile(f"[{_INVISIBLE}]+")
_INVISIBLE_ENDS: Final = re.compile(rf"\A[\s{_INVISIBLE}]+|[\s{_INVISIBLE}]+\Z")
_SEPARATORS: Final = re.compile(r"[\s_\-\u2010-\u2015\u2212\x00-\x1f\x7f-\x9f]+")

_LETTERS: Final = (
    # Cyrillic
    ("АВСЕНІЈКМОРЅТХУҮԚԜѴ", "ABCEHIJKMOPSTXYYQWV"),
    ("асԁеһіјкмоԛрѕтухѵԝ", "acdehijkmoqpstyxvw"),
    # Greek
    ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX"),
    ("αικνορτυχϲϳ", "aikvoptuxcj"),
    # Armenian
    ("ՍՕհոսօցզ", "UOhnuogq"),
    # Latin without a dot, and small capitals
    ("ıȷᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "ijabcdefghijklmnoprstuvwyz"),
)
_LATIN: Final = {
    ord(other): latin
    for others, latins in _LETTERS
    for other, latin in zip(others, latins, strict=True)
}


def is_invisible(text: str) -> bool:
    """Return whether a text that is not empty shows nothing."""
    return _INVISIBLE_TEXT.fullmatch(text) is not None


def without_invisible(text: str) -> str:
    """Return the text without characters that show nothing; white space stays."""
    return text if text.isascii() else _INVISIBLE_CHARACTERS.sub("", text)


def strip_invisible(text: str) -> str:
    """Return the text without white space and invisible characters around it."""
    return _INVISIBLE_ENDS.sub("", text)


def latin_letters(text: str) -> str:
    """Return the text with Latin letters for those that look alike, and nothing invisible."""
    latin = unicodedata.normalize("NFKC", text.translate(_LATIN)).translate(_LATIN)
    return without_invisible(latin)


def plain_name(name: str) -> str:
    """Return a name in a form that is equal for names that look alike.

    Case, spaces, ``_``, ``-`` and invisible characters are left out.
    """
    return _SEPARATORS.sub("", latin_letters(name).casefold())
