"""Text that does nothing where it is shown: in a terminal, in a spreadsheet.

What a sheet or a server says must neither move the cursor nor run as a formula for whoever
reads it.

Source of the formula starts: OWASP, "CSV Injection"; the wide ones are what East Asian
keyboards type, and Excel there takes them for the narrow.
"""

from __future__ import annotations

import re
from typing import Final

_STARTS: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_ACTS: Final = rf"[^\S\r\n]*[{re.escape(''.join(_STARTS))}]"


def _quotes(how_many: str) -> re.Pattern[str]:
    """Return a pattern of the quotes before what a spreadsheet may run.

    That is at the start, and inside after ``;`` and line breaks: where ``;`` separates cells
    (Excel in German and French), a line with commas is taken apart there.
    """
    return re.compile(rf"^{how_many}(?=[\t\r\n]|{_ACTS})|(?<=[;\r\n]){how_many}(?={_ACTS})")


_NO_QUOTE: Final = _quotes("")
_ANY_QUOTES: Final = _quotes("'*")
_SOME_QUOTES: Final = _quotes("'+")
_ACTIVE: Final = re.compile(
    # Controls, 7-bit and 8-bit; line and paragraph separators; what turns the writing around;
    # what is not seen at all, but for the joiners that some writings and emoji need.
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    r"\u200b\u2060-\u2064\ufeff]"
)
_LONGEST_LINK: Final = 255
_LINK: Final = re.compile(r"https?://[!-~]+")
_NO_TEXT: Final = re.compile("[\ud800-\udfff\ufffe\uffff]")
"""Halves of characters, and what no XML may hold: JSON can carry them."""


def without_controls(text: str) -> str:
    """Return the text without anything that a terminal obeys; its line breaks stay."""
    return _ACTIVE.sub("\N{REPLACEMENT CHARACTER}", text)


def escape_controls(json: str) -> str:
    """Return the JSON text, the same in meaning, without anything that a terminal obeys."""
    return _ACTIVE.sub(lambda active: f"\\u{ord(active[0]):04x}", json)


def one_line(text: str) -> str:
    """Return the text with its white space folded and nothing left in it that acts."""
    return without_controls(" ".join(text.split()))


def escape_formula(text: str) -> str:
    """Return the text on one line, and so that no spreadsheet runs it as a formula."""
    line = one_line(text)
    # Most are of no interest, and this is done for every row.
    return _NO_QUOTE.sub("'", line) if ";" in line or line.startswith(_STARTS) else line


def guard_formula(text: str) -> str:
    """Return the text so that no spreadsheet runs it, and ``unguarded`` gets it back."""
    return _ANY_QUOTES.sub(r"'\g<0>", text)


def unguard_formula(text: str) -> str:
    """Return a text as it was before ``guarded``; other texts as they are."""
    return _SOME_QUOTES.sub(lambda quotes: quotes[0][1:], text) if "'" in text else text


def shown(text: str) -> str:
    """Return the text with its tabs and lines, and marks for what acts or cannot be seen."""
    if text.isprintable():
        return text
    lines = _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))
    return "\t".join(without_controls(piece) for piece in lines.split("\t"))


def is_link(link: str) -> bool:
    """Tell whether a text is an address that may be followed, and not too long for Excel."""
    return len(link) <= _LONGEST_LINK and _LINK.fullmatch(link) is not None
