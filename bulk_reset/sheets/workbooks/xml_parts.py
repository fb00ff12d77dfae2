"""Parses XML of unknown origin in linear time.

Patterns over such text must not backtrack, so it is parsed by expat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Final
from xml.parsers import expat

BROKEN: Final = "\N{REPLACEMENT CHARACTER}\ufdd0"
"""Stands in a rewritten part for half of a character; no other text contains it."""
_BLOCK_BYTES: Final = 1 << 24
"""expat searches an unfinished tag from its start with every block, so blocks are large."""

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
