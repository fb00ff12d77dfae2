"""Makes foreign text safe to show in a terminal and in a spreadsheet.

Text from a sheet or a server must not control the terminal and must not run as a formula.

Source of the formula starts: OWASP, "CSV Injection"; the wide ones are what East Asian
keyboards type, and Excel there takes them for the narrow.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Final

_STARTS: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_ACTS: Final = rf"[^\S\r\n]*[{re.escape(''.join(_STARTS))}]"


def _quotes(how_many: str) -> re.Pattern[str]:
    """Return a pattern for the quotes before text that a spreadsheet may run as a formula.

    Formulas can start at the beginning, and after ``;`` and line breaks: where ``;`` separates
    cells (Excel in German and French), a line with commas is split there.
    """
    return re.compile(rf"^{how_many}(?=[\t\r\n]|{_ACTS})|(?<=[;\r\n]){how_many}(?={_ACTS})")


_NO_QUOTE: Final = _quotes("")
_ANY_QUOTES: Final = _quotes("'*")
_SOME_QUOTES: Final = _quotes("'+")
_PIECES: Final = re.compile(r"(?<=[;\r\n])")
"""Where a guard may be inside a text: a piece begins there."""
_LINE_QUOTES: Final = re.compile(rf"'+(?={_ACTS})")
_LONGEST_ALIGNED: Final = 200
_STARTS_INSIDE: Final = re.compile(rf";[^\S\r\n]*([{re.escape(''.join(_STARTS))}])")
_ACTIVE: Final = re.compile(
    # Control characters, 7-bit and 8-bit; line and paragraph separators; characters that change
    # the writing direction; invisible characters, except the joiners that some scripts and
    # emoji need.
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    r"\u200b\u2060-\u2064\u206a-\u206f\u180e\ufeff\ufff9-\ufffb]"
)
_LONGEST_LINK: Final = 255
_LINK_STARTS: Final = ("https://", "http://")
_INVALID: Final = re.compile("[\ud800-\udfff\ufffe\uffff]")
"""Halves of characters, and characters that XML forbids; JSON can contain them."""


def without_controls(text: str) -> str:
    """Return the text without control characters, except line breaks."""
    return _ACTIVE.sub("\N{REPLACEMENT CHARACTER}", text)


def escape_controls(json: str) -> str:
    """Return an equivalent JSON text in which control characters are escaped."""
    return _ACTIVE.sub(lambda active: f"\\u{ord(active[0]):04x}", json)


def without_invalid(text: str) -> str:
    """Return the text with U+FFFD for characters that cannot be written to a file."""
    return (
        text
        if text.isascii() or text.isprintable()
        else _INVALID.sub("\N{REPLACEMENT CHARACTER}", text)
    )


def one_line(text: str) -> str:
    """Return the text on one line, with single spaces and without control characters."""
    return without_controls(" ".join(text.split()))


def escape_formula(text: str) -> str:
    """Return the text on one line, with a quote where a spreadsheet would run a formula."""
    line = one_line(text)
    # This is called for every row, and most texts cannot contain a formula.
    return _NO_QUOTE.sub("'", line) if ";" in line or line.startswith(_STARTS) else line


def guard_formula(text: str) -> str:
    """Return the text so that no spreadsheet runs it; ``unguard_formula`` reverses this."""
    # This is called for every cell, and most texts cannot contain a formula.
    if text[:1].isalnum() and not (";" in text or "\n" in text or "\r" in text):
        return text
    return _ANY_QUOTES.sub(r"'\g<0>", text) if text else text


def guard_json(json: str) -> str:
    """Return an equivalent JSON text that no spreadsheet runs a part of.

    Where ``;`` separates cells, a line with commas is split there, within quotes, too.
    """
    if ";" not in json:
        return json
    return _STARTS_INSIDE.sub(lambda found: f"{found[0][:-1]}\\u{ord(found[1]):04x}", json)


def unguard_formula(text: str) -> str:
    """Return the text that ``guard_formula`` was given; other texts unchanged."""
    return _SOME_QUOTES.sub(lambda quotes: quotes[0][1:], text) if "'" in text else text


def unguard_edited(text: str, guarded: str) -> str:
    """Return what a user made of a guarded text, without its guards.

    A quote at the start of a line is removed only if ``guard_formula`` added it: in a line that is
    as it was, or that was edited. Other quotes were typed.

    Args:
        text: the cell as it is now.
        guarded: the cell as it was written, by ``guard_formula``.
    """
    if "'" not in text:
        return text
    if "\r" not in text:  # a spreadsheet may have changed the line endings
        guarded = guarded.replace("\r\n", "\n").replace("\r", "\n")
    if text == guarded:
        return unguard_formula(text)
    now, before = _PIECES.split(text), _PIECES.split(guarded)
    for place in _guarded_places(now, before):
        now[place] = now[place][1:]
    return "".join(now)


def _guarded_places(now: list[str], before: list[str]) -> set[int]:
    """Return the places of the pieces that begin with a guard."""
    quoted, ours = _quoted_places(now), _quoted_places(before)
    if not quoted or not ours:
        return set()
    if max(len(now), len(before)) > _LONGEST_ALIGNED:  # aligning takes quadratic time
        pieces = {before[place].rstrip(";\r\n") for place in ours}
        return {place for place in quoted if now[place].rstrip(";\r\n") in pieces}
    found = set()
    for kind, i1, i2, j1, j2 in SequenceMatcher(None, before, now, False).get_opcodes():
        if kind == "equal":
            found |= quoted.intersection(range(j1, j2))
            continue
        candidates = quoted.intersection(range(j1, j2))
        for place in sorted(ours.intersection(range(i1, i2))):
            if candidates:
                best = max(sorted(candidates), key=lambda at: _likeness(before[place], now[at]))
                candidates.remove(best)
                found.add(best)
    return found


def _quoted_places(pieces: list[str]) -> set[int]:
    """Return the places of the pieces that may begin with a guard."""
    return {
        place
        for place, piece in enumerate(pieces)
        if (_LINE_QUOTES if place else _SOME_QUOTES).match(piece)
    }


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, False).quick_ratio()


def shown(text: str) -> str:
    """Return the text with its tabs and line breaks, and U+FFFD for control characters."""
    if text.isprintable():
        return text
    lines = without_invalid(text.replace("\r\n", "\n"))
    return "\t".join(without_controls(piece) for piece in lines.split("\t"))


def is_link(link: str) -> bool:
    """Return whether a text is a web address, and not too long for Excel."""
    is_short = len(link) <= _LONGEST_LINK and link not in _LINK_STARTS
    is_plain = link.isascii() and link.isprintable() and " " not in link
    return is_short and is_plain and link.startswith(_LINK_STARTS)
