"""Finds markup that calamine reads wrongly, by constants in blocks of bytes.

calamine finds no text in another encoding than UTF-8, stops at a comment or a CDATA section in a
value, and decodes escaped characters up to U+00FF only (``_xD83D__xDE00_`` is one emoji): a part
with one of these is rewritten before calamine reads it, see ``xml_rewriting``.

Source of the escapes: ECMA-376 part 1, 22.9.2.19 (ST_Xstring).
"""

from __future__ import annotations

import re
from typing import IO, Final

import numpy as np
import numpy.typing as npt

_SCANNED_BYTES: Final = 1 << 18
_OVERLAP_BYTES: Final = 8
"""Longer than the constants that are searched."""
_DECLARATION_BYTES: Final = 128
_ESCAPED: Final = re.compile(rb"_x(?!00)[0-9A-Fa-f]{4}_")


def has_bytes(codes: npt.NDArray[np.uint8], piece: bytes) -> bool:
    """Return whether a text has these two or three bytes; some four times faster than ``in``."""
    last = len(piece) - 1
    found = codes[last:] == piece[last]
    for place, code in enumerate(piece[:last]):
        found &= codes[place : place - last] == code
    return bool(found.any())


def is_unusual(text: bytes, *, is_start: bool) -> bool:
    """Return whether calamine may read this piece of a part wrongly.

    Args:
        is_start: whether the piece is the beginning of the part.
    """
    codes = np.frombuffer(text, np.uint8)
    # One character is found faster than two, and many blocks have none.
    is_escaped = b"_" in text and has_bytes(codes, b"_x") and _ESCAPED.search(text)
    if b"\0" in text or is_escaped:
        return True
    if b"!" not in text and b"?" not in text:
        return False
    is_mark = (codes[1:] == ord("!")) | (codes[1:] == ord("?"))
    if not (is_mark & (codes[:-1] == ord("<"))).any():
        return False
    if b"<!" in text or not is_start:
        return True
    declaration = text[:_DECLARATION_BYTES].partition(b"?>")[0].lower()
    is_utf_8 = b"encoding" not in declaration or b"utf-8" in declaration
    return text.count(b"<?") > 1 or b"<?xml" not in declaration or not is_utf_8


def has_unusual_text(file: IO[bytes]) -> bool:
    """Return whether calamine may read a part wrongly."""
    rest = b""
    while block := file.read(_SCANNED_BYTES):
        if is_unusual(rest + block, is_start=not rest):
            return True
        rest = block[-_OVERLAP_BYTES:]
    return False
