"""Parses XML of unknown origin in linear time, and rewrites it in the form that calamine reads.

Patterns over such text must not backtrack, so it is searched for constants only, and parsed by
expat. calamine finds no text in another encoding than UTF-8, stops at a comment or a CDATA
section in a value, and decodes escaped characters up to U+00FF only (``_xD83D__xDE00_`` is one
emoji): a part with one of these is rewritten before calamine reads it.

Source of the escapes: ECMA-376 part 1, 22.9.2.19 (ST_Xstring).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import IO, Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import numpy.typing as npt

BROKEN: Final = "\N{REPLACEMENT CHARACTER}\ufdd0"
"""Stands in a rewritten part for half of a character; no other text contains it."""
_BLOCK_BYTES: Final = 1 << 24
"""expat searches an unfinished tag from its start with every block, so blocks are large."""
_SCANNED_BYTES: Final = 1 << 18
_OVERLAP_BYTES: Final = 8
"""Longer than the constants that are searched."""
_DECLARATION_BYTES: Final = 128
_ESCAPED: Final = re.compile(rb"_x(?!00)[0-9A-Fa-f]{4}_")
_FIRST_NOT_DECODED: Final = 0x100
_ESCAPE: Final = re.compile(r"_x([0-9A-Fa-f]{4})_")
_HIGH, _LOW = range(0xD800, 0xDC00), range(0xDC00, 0xE000)
_NO_CHARACTERS: Final = frozenset((*_HIGH, *_LOW, 0xFFFE, 0xFFFF))

Start = Callable[[str, dict[str, str]], object]
End = Callable[[str], object]
Text = Callable[[str], object]


class DamagedError(ValueError):
    """The parts of a workbook do not fit together, or are not what they should be."""


def local_name(name: str) -> str:
    """Return a name without its prefix."""
    return name.rpartition(":")[2]


def parse(file: IO[bytes], start: Start, end: End | None = None, text: Text | None = None) -> None:
    """Call the functions with every start tag, end tag and piece of text.

    Names are complete with their prefixes; see ``local_name``.

    Raises:
        DamagedError: it is not well-formed, or has a document type, which workbooks never have
            and which can define a text that grows without limit.
    """
    for _ in _parsed(expat.ParserCreate(), file, start, end, text):
        pass


def parse_by_block(file: IO[bytes], start: Start, end: End, text: Text) -> Iterator[None]:
    """Parse as ``parse``, and pause after each block, so that rows need not be kept.

    Names are the address of the namespace, a space and the local name; raises as ``parse``.
    """
    return _parsed(expat.ParserCreate(namespace_separator=" "), file, start, end, text)


def _parsed(
    parser: expat.XMLParserType,
    file: IO[bytes],
    start: Start,
    end: End | None,
    text: Text | None,
) -> Iterator[None]:
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_document_type
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    try:
        while block := file.read(_BLOCK_BYTES):
            parser.Parse(block, False)
            yield
        parser.Parse(b"", True)
    except expat.ExpatError as exc:
        raise DamagedError(f"invalid XML: {exc}") from exc
    yield


def _refuse_document_type(*_: object) -> None:
    raise DamagedError("a part has a document type (<!DOCTYPE)")


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
    if b"\0" in text or (has_bytes(codes, b"_x") and _ESCAPED.search(text)):
        return True
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


def rewrite(file: IO[bytes], target: IO[bytes], dropped: frozenset[str] = frozenset()) -> bool:
    """Write an equivalent part: UTF-8, without prefixes and comments.

    Args:
        dropped: elements to leave out, with everything inside.

    Returns: whether halves of characters were replaced by ``BROKEN``.
    """
    rewriter = _Rewriter(target, dropped)
    target.write(b'<?xml version="1.0" encoding="UTF-8"?>')
    parse(file, rewriter.start, rewriter.end, rewriter.pieces.append)
    return rewriter.has_broken


class _Rewriter:
    """Writes the elements that it is called with.

    State: ``pieces`` is the text since the last tag; ``_depth`` counts the open elements from a
    dropped one on.
    """

    def __init__(self, target: IO[bytes], dropped: frozenset[str]) -> None:
        self._target, self._dropped = target, dropped
        self.pieces: list[str] = []
        self.has_broken = False
        self._depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._write_text()
        own = local_name(name)
        if self._depth or own in self._dropped:
            self._depth += 1
            return
        kept = "".join(
            f" {key}={quoteattr(value)}"
            for key, value in attributes.items()
            if ":" not in key and key != "xmlns"
        )
        space = ' xml:space="preserve"' if attributes.get("xml:space") == "preserve" else ""
        self._target.write(f"<{own}{kept}{space}>".encode())

    def end(self, name: str) -> None:
        self._write_text()
        if self._depth:
            self._depth -= 1
            return
        self._target.write(f"</{local_name(name)}>".encode())

    def _write_text(self) -> None:
        if self.pieces and not self._depth:
            text = "".join(self.pieces)
            if "_x" in text:
                text = "".join(_decoded(text))
                self.has_broken = self.has_broken or BROKEN in text
            # A parser would turn a bare carriage return into a line feed.
            self._target.write(escape(text, {"\r": "&#13;"}).encode())
        self.pieces.clear()


def _decoded(text: str) -> Iterator[str]:
    """Yield the text with its escapes decoded, besides those that calamine decodes."""
    done = 0
    high: re.Match[str] | None = None
    for found in _ESCAPE.finditer(text):
        code = int(found[1], 16)
        if high is not None and not (high.end() == found.start() and code in _LOW):
            yield from (text[done : high.start()], BROKEN)
            done, high = high.end(), None
        if code in _HIGH:
            high = found
        elif code >= _FIRST_NOT_DECODED:
            start = found if high is None else high
            yield from (text[done : start.start()], _character(high, code))
            done, high = found.end(), None
    if high is not None:
        yield from (text[done : high.start()], BROKEN)
        done = high.end()
    yield text[done:]


def _character(high: re.Match[str] | None, code: int) -> str:
    if high is not None:
        return chr(0x10000 + ((int(high[1], 16) - _HIGH.start) << 10) + code - _LOW.start)
    return BROKEN if code in _NO_CHARACTERS else chr(code)
