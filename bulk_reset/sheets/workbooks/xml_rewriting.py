"""Rewrites XML of unknown origin in the form that calamine reads.

Escaped characters that calamine does not decode are decoded, see ``unusual_markup``.

Source of the escapes: ECMA-376 part 1, 22.9.2.19 (ST_Xstring).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Final
from xml.sax.saxutils import escape, quoteattr

from bulk_reset.sheets.workbooks.xml_parts import BROKEN, local_name, parse

_FIRST_NOT_DECODED: Final = 0x100
_ESCAPE: Final = re.compile(r"_x([0-9A-Fa-f]{4})_")
_HIGH, _LOW = range(0xD800, 0xDC00), range(0xDC00, 0xE000)
_NO_CHARACTERS: Final = frozenset((*_HIGH, *_LOW, 0xFFFE, 0xFFFF))


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
