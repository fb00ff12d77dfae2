"""Detects the encoding of a text file: by its BOM, else UTF-8, else Chinese in GB18030.

Other encodings are an error and not guessed: nearly every file can be decoded as something.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Final

from bulk_reset.core.errors import InputError, SheetError
from bulk_reset.core.option_names import option

_BLOCK_BYTES: Final = 1 << 20
_START_BYTES: Final = 1 << 10
_ZERO_SHARE: Final = 20
_SAMPLE_CHARACTERS: Final = 10_000
_GB_COMMON: Final = range(0xA1, 0xD8)
_GB_KANA: Final = range(0xA4, 0xA6)
_GB_LATE: Final = range(0xC9, 0xD8)
"""First bytes in GB2312: punctuation and hanzi of the first level; kana; that level's 2nd half."""
_SURELY_KOREAN: Final = 8
"""More hanzi than this, none of them of the second half, are taken for Korean. In Chinese four
in ten are of the second half, so this misjudges one text in sixty."""
_CHECKED_BYTES: Final = 1 << 24
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
        SheetError: none of them decodes; names the first byte that is not UTF-8.
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
    if invalid_at is None:
        return "utf-8"
    if _first_undecodable(path, "gb18030") is None and _is_probably_chinese(path):
        return "gb18030"
    raise SheetError(
        f"{label}: not UTF-8 (byte {invalid_at:,} is invalid) and probably not Chinese in GB18030. "
        f"Set the encoding, for example {option('encoding', 'cp1252')} (or shift_jis, gb18030), "
        "or save the file as UTF-8."
    )


def _is_probably_chinese(path: Path) -> bool:
    """Return whether a file that decodes as GB18030 is probably Chinese.

    Nearly every file decodes: ``für`` becomes two rare characters, Korean becomes common ones.
    Chinese text consists mostly of hanzi of GB2312's first level and punctuation, and some of
    the hanzi are in the second half of that level (it is ordered by sound), where Korean text
    has none; many kana mean Japanese.
    """
    common = late = foreign = kana = 0
    with path.open(encoding="gb18030", newline="") as file:
        while (block := file.read(_BLOCK_BYTES)) and foreign < _SAMPLE_CHARACTERS:
            for character in block:
                if not character.isascii():
                    foreign += 1
                    lead = (character.encode("gb2312", "ignore") or b"\0")[0]
                    kana += lead in _GB_KANA
                    common += lead in _GB_COMMON and lead not in _GB_KANA
                    late += lead in _GB_LATE
    is_korean = not late and common > _SURELY_KOREAN
    return common > foreign - common and kana * 10 < foreign and not is_korean


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
