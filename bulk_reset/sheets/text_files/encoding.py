"""Detects the encoding of a text file: by its BOM, else UTF-8, else Chinese in GB18030.

Other encodings are an error and not guessed: nearly every file can be decoded as something, and
``ÇÃ`` is ``敲`` in GB18030. Where the evidence for an encoding is small, the error shows the text
in each encoding that fits.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bulk_reset.core.errors import InputError, SheetError
from bulk_reset.core.option_names import option, option_name
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.text_files.common_hanzi import COMMON_HANZI

_BLOCK_BYTES: Final = 1 << 20
_START_BYTES: Final = 1 << 10
_ZERO_SHARE: Final = 20
_CHECKED_BYTES: Final = 1 << 24
_SAMPLE_CHARACTERS: Final = 60
"""Different characters that are enough to decide."""
_COMMON_BITS: Final = 2.4
_OTHER_BITS: Final = -1.5
"""The evidence for Chinese of a hanzi that is common, and of another: log2 of how much more
often it is in Chinese (0.70 and 0.30) than in other encodings read as GB18030 (0.13 and 0.87)."""
_RARE_BITS: Final = -3.0
_EMOJI_BITS: Final = 3.0
_CERTAIN_BITS: Final = 7.0
_DOUBTFUL_BITS: Final = 4.8
"""Text in other encodings has up to 1.8 bits, of all that were tried; two common hanzi have 4.8."""
_THREE_BYTES: Final = re.compile("[^\\x00-\u07ff]")
"""A character of three or four bytes in UTF-8."""
_PUNCTUATION: Final = (0xA1, 0xA3)
"""First bytes that mean punctuation in the encodings of China, Japan and Korea alike."""
_CANDIDATES: Final = (
    *("utf-8", "cp1252", "gb18030", "shift_jis", "euc_jp", "big5", "euc_kr", "cp1251"),
    *("koi8_r", "cp1250", "cp850"),
)
_FOREIGN_CELL: Final = re.compile(rb'[^,;\t\r\n"]*[\x80-\xff][^,;\t\r\n"]*')
"""A cell that is not ASCII. No multi-byte encoding of the candidates uses these delimiters."""
_SHOWN_CHARACTERS: Final = 30
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # Before UTF-16, because this BOM begins with the one of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def known_codec(name: str, path: Path) -> str:
    """Return the codec of this name; the variant with BOM if the file has one.

    Raises:
        InputError: the codec is unknown.
    """
    try:
        "".encode(name)  # fails for codecs that do not encode text, such as base64
        codec = codecs.lookup(name).name
    except (LookupError, ValueError) as exc:
        raise InputError(
            f"{option('encoding', name)}: unknown encoding. "
            "Use for example utf-8, gb18030 or shift_jis."
        ) from exc
    # A BOM that is read as text hides a quote that follows it.
    of_bom = _codec_of_bom(path)
    return of_bom if of_bom and codec.startswith(of_bom.removesuffix("-sig")) else codec


def display_name(codec: str) -> str:
    """Return a codec's name for messages."""
    return "UTF-8 with BOM" if codec == "utf-8-sig" else codec.upper()


def find_encoding(path: Path, label: str) -> str:
    """Return the codec in which the file decodes: by BOM, else UTF-8, else GB18030.

    The first 16 MiB are checked; reading the rest reports an error if it does not decode.

    Raises:
        SheetError: none of them is certain; shows the text in those that decode.
    """
    codec = _codec_of_bom(path)
    if codec is not None:
        return codec
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
    # A few zero bytes are an error in a cell; in UTF-16 every second byte of ASCII letters is one.
    if start.count(0) * _ZERO_SHARE > len(start):
        raise SheetError(
            f"{label}: not plain text, because it contains zero bytes. If it is UTF-16, use "
            f"{option('encoding', 'utf-16-le')} or {option('encoding', 'utf-16-be')}; "
            "otherwise save it as CSV or .xlsx."
        )
    invalid_at = _first_undecodable(path, "utf-8")
    if invalid_at is None and not _is_doubtful_utf8(path):
        return "utf-8"
    is_gb18030 = _first_undecodable(path, "gb18030") is None
    bits = sum(map(_bits, _sample(path, "gb18030"))) if is_gb18030 else 0.0
    if invalid_at is None:
        # ``系统`` in GB18030 is valid UTF-8: ``ϵͳ``.
        if bits < _DOUBTFUL_BITS:
            return "utf-8"
        raise _uncertain(path, label, "valid UTF-8, but probably not meant as such")
    if bits >= _CERTAIN_BITS:
        return "gb18030"
    raise _uncertain(path, label, f"not UTF-8 (byte {invalid_at:,} is invalid)")


def _is_doubtful_utf8(path: Path) -> bool:
    """Return whether all characters that are not ASCII have two bytes, as hanzi in GB18030."""
    is_ascii = True
    for block in _blocks(path, "utf-8"):
        if not block.isascii():
            is_ascii = False
            if _THREE_BYTES.search(block):
                return False
    return not is_ascii


def _uncertain(path: Path, label: str, found: str) -> SheetError:
    """Return the error that shows the first cell that is not ASCII in each encoding that fits."""
    cell = _first_foreign_cell(path)
    shown: dict[str, str] = {}
    for codec in _CANDIDATES:
        try:
            text = cell.decode(codec).replace("\u00a0", " ").strip()
        except UnicodeDecodeError:
            continue
        if text.isprintable() and _first_undecodable(path, codec) is None:
            shown.setdefault(text, codec)
    if not shown:
        return SheetError(
            f"{label}: {found}, and its encoding is unknown. Save the file as UTF-8, or set "
            f"{option_name('encoding')}."
        )
    choices = ", ".join(
        f"{option('encoding', codec)} shows {one_line(text)[:_SHOWN_CHARACTERS]!r}"
        for text, codec in shown.items()
    )
    return SheetError(
        f"{label}: {found}, and its encoding is uncertain. Use the one that shows the text "
        f"correctly: {choices}. Or save the file as UTF-8."
    )


def _first_foreign_cell(path: Path) -> bytes:
    with path.open("rb") as file:
        while line := file.readline(_BLOCK_BYTES):
            if found := _FOREIGN_CELL.search(line):
                return found[0].strip()
    return b""


def _sample(path: Path, codec: str) -> list[str]:
    """Return the first characters that are not ASCII, each once: a sheet repeats its texts."""
    characters: dict[str, None] = {}
    for block in _blocks(path, codec):
        if not block.isascii():
            characters |= dict.fromkeys(c for c in dict.fromkeys(block) if not c.isascii())
        if len(characters) >= _SAMPLE_CHARACTERS:
            break
    return list(characters)[:_SAMPLE_CHARACTERS]


def _blocks(path: Path, codec: str) -> Iterator[str]:
    """Yield the text that is checked."""
    offset = 0
    with path.open(encoding=codec, newline="") as file:
        while offset < _CHECKED_BYTES and (block := file.read(_BLOCK_BYTES)):
            offset += len(block)
            yield block


def _bits(character: str) -> float:
    """Return the evidence, in bits, that a text decoded as GB18030 is Chinese.

    Nearly every file decodes: ``für`` becomes rare hanzi, Korean becomes common ones of other
    meanings.
    """
    if character in COMMON_HANZI:
        return _COMMON_BITS
    encoded = character.encode("gb18030", "replace")
    if len(encoded) > 2:  # noqa: PLR2004  (bytes)
        return _EMOJI_BITS if character > "\uffff" and character.isprintable() else _RARE_BITS
    if encoded[0] in _PUNCTUATION:
        return 0.0
    return _OTHER_BITS if character.encode("gb2312", "ignore") else _RARE_BITS


def _codec_of_bom(path: Path) -> str | None:
    with path.open("rb") as file:
        start = file.read(4)
    return next((codec for bom, codec in _BOMS if start.startswith(bom)), None)


def _first_undecodable(path: Path, codec: str) -> int | None:
    decoder = codecs.getincrementaldecoder(codec)()
    offset = 0
    with path.open("rb") as file:
        while offset < _CHECKED_BYTES and (block := file.read(_BLOCK_BYTES)):
            try:
                decoder.decode(block, final=not file.peek(1))
            except UnicodeDecodeError as exc:
                return offset + exc.start
            offset += len(block)
    return None
