"""In which encoding a text file is written: by its BOM, else UTF-8, else Chinese in GB18030.

What is none of them is refused rather than guessed: nearly every file decodes as something.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Final

from bulk_reset.core.errors import InputError, SheetError

_BLOCK_BYTES: Final = 1 << 20
_START_BYTES: Final = 1 << 10
_ZERO_SHARE: Final = 20
_SAMPLE_CHARACTERS: Final = 10_000
_GB_COMMON: Final = range(0xA1, 0xD8)
_GB_KANA: Final = range(0xA4, 0xA6)
_GB_LATE: Final = range(0xC9, 0xD8)
"""First bytes of GB2312: punctuation and the hanzi of the first level; kana; its second half."""
_SURELY_KOREAN: Final = 8
"""So many hanzi without one of the second half; four in ten are, so it is one text in sixty."""
_LOOKED_AT_BYTES: Final = 1 << 24
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # Before UTF-16, whose BOM is the beginning of this one.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def known_codec(name: str, path: Path) -> str:
    """Return the codec of this name, and whether the file has its BOM.

    Raises:
        InputError: there is none.
    """
    try:
        "".encode(name)  # fails for codecs that are not of text, such as base64
        codec = codecs.lookup(name).name
    except (LookupError, ValueError) as exc:
        raise InputError(
            f"--encoding {name}: no such encoding. Say for example utf-8, gb18030 or shift_jis."
        ) from exc
    # A BOM that is read as text would hide the quote that follows it.
    of_bom = _codec_of_bom(path)
    return of_bom if of_bom and codec.startswith(of_bom.removesuffix("-sig")) else codec


def spoken(codec: str) -> str:
    """Return a codec's name as people write it."""
    return "UTF-8 with BOM" if codec == "utf-8-sig" else codec.upper()


def find_encoding(path: Path, label: str) -> str:
    """Return the codec in which the file decodes: by BOM, else UTF-8, else GB18030.

    Its first 16 MiB are looked at; if what follows does not fit, reading it says so.

    Raises:
        SheetError: none of them does; says where it stops being UTF-8.
    """
    codec = _codec_of_bom(path)
    if codec is not None:
        return codec
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
    # A single one is a cell's mistake; in UTF-16 every second byte of plain letters is one.
    if start.count(0) * _ZERO_SHARE > len(start):
        raise SheetError(
            f"{label}: not a table of text, it has zero bytes. "
            "If it is UTF-16, say --encoding utf-16-le or utf-16-be, else save it as CSV or .xlsx."
        )
    stops_at = _first_undecodable(path, "utf-8")
    if stops_at is None:
        return "utf-8"
    if _first_undecodable(path, "gb18030") is None and _looks_chinese(path):
        return "gb18030"
    raise SheetError(
        f"{label}: not UTF-8 (byte {stops_at} does not fit), and it does not look like Chinese in "
        "GB18030. Say what it is, for example --encoding cp1252, shift_jis or gb18030, "
        "or save it as UTF-8."
    )


def _looks_chinese(path: Path) -> bool:
    """Tell Chinese from other text that happens to decode as GB18030.

    Nearly every byte sequence does: ``für`` would become two rare characters, Korean common
    ones. Most of real text is hanzi of GB2312's first level or its
    punctuation, and some of them stand in that level's second half (it is ordered by sound),
    where Korean has nothing; kana are Japanese.
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
        while offset < _LOOKED_AT_BYTES and (block := file.read(_BLOCK_BYTES)):
            try:
                decoder.decode(block, final=not file.peek(1))
            except UnicodeDecodeError as exc:
                return offset + exc.start
            offset += len(block)
    return None
