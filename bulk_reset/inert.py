"""Text that does nothing where it is shown: in a terminal, in a spreadsheet.

What a sheet or a server says must neither move the cursor nor run as a formula for whoever
reads it.

Source of the formula starts: OWASP, "CSV Injection"; the wide ones are what East Asian
keyboards type, and Excel there takes them for the narrow.
"""

from __future__ import annotations

import re
from typing import Final

_WIDE: Final = ("\uff1d", "\uff0b", "\uff0d", "\uff20")
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", *_WIDE)
_GUARDED: Final = (*_FORMULA_STARTS, "'")
_ACTIVE: Final = re.compile(
    # Controls, 7-bit and 8-bit; line and paragraph separators; what turns the writing around.
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def visible(text: str) -> str:
    """Return the text without anything that a terminal obeys; its line breaks stay."""
    return _ACTIVE.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """Return the text with its white space folded and nothing left in it that acts."""
    return visible(" ".join(text.split()))


def inert(text: str) -> str:
    """Return the text on one line, and so that no spreadsheet runs it as a formula."""
    line = one_line(text)
    return f"'{line}" if line.startswith(_FORMULA_STARTS) else line


def guarded(text: str) -> str:
    """Return the text so that no spreadsheet runs it, and ``unguarded`` gets it back."""
    return f"'{text}" if text.startswith(_GUARDED) else text


def unguarded(text: str) -> str:
    """Return a text as it was before ``guarded``; other texts as they are."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(_GUARDED) else text
