"""Detects the type of a file by its first bytes, independent of its name.

Some web sites deliver pages named ``.xls``, and people rename files that do not open. Each type
has its own fix, so the error is clearer than that of a reader that expects another type.

Source of the magic numbers: the formats' descriptions; of the members of archives: files that
the programs wrote.
"""

from __future__ import annotations

import codecs
import os
import re
import zipfile
from pathlib import Path
from typing import Final

from bulk_reset.sheets.workbooks.package import part_key

TEXT_EXTENSIONS: Final = (".csv", ".tsv", ".txt")
WORKBOOK: Final = "an Excel workbook"
PROTECTED_OR_OLD: Final = "an old (.xls) or password-protected Excel workbook"
ODS: Final = "an OpenDocument spreadsheet (.ods)"
PARQUET: Final = "a Parquet file"
PARQUET_EXTENSIONS: Final = (".parquet",)
XLSB: Final = "a binary Excel workbook (.xlsb)"
WORKBOOK_TYPES: Final = {
    ".xlsx": WORKBOOK,
    ".xlsm": WORKBOOK,
    ".xlsb": XLSB,
    ".ods": ODS,
}
"""Extension -> the type that such a file has."""
_LAST_BYTES: Final = 4
"""The bytes of a line break in UTF-32."""
_START_BYTES: Final = 4096
_MIMETYPE_BYTES: Final = 200
_OPEN_DOCUMENT: Final = "application/vnd.oasis.opendocument."
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,20})://")
_SAVE: Final = "Open it in a spreadsheet program and save it as .xlsx or .csv."
_GET: Final = "Export the table as .xlsx or .csv."
_RENAME: Final = "Rename it to .xlsx."
_MAGIC: Final = (
    (b"%PDF-", "a PDF", _GET),
    (b"\xd0\xcf\x11\xe0", PROTECTED_OR_OLD, _SAVE),
    (b"\x1f\x8b", "a compressed file (gzip)", "Unpack it first."),
    (b"7z\xbc\xaf", "a compressed file (7-Zip)", "Unpack it first."),
    (b"Rar!", "a compressed file (RAR)", "Unpack it first."),
    (b"\x89PNG", "an image", _GET),
    (b"\xff\xd8\xff", "an image", _GET),
    (b"{\\rtf", "a text document (RTF)", _GET),
    (b"PAR1", PARQUET, "Rename it to .parquet."),
    (b"SQLite format 3", "a database", "Export the table as .csv."),
)
_MARKUP: Final = (
    (r"<\?xml[^>]*>\s*(<\?mso-application.*)?<(\w+:)?workbook\b", "an Excel 2003 XML workbook"),
    (
        r"(<\?xml[^>]*>\s*)?<(!doctype html|html|head|meta|body|table|div|style|script)\b",
        "a web page",
    ),
    (r"<\?xml\b", "XML"),
    (r"""\[\s*\{\s*["}]|\{\s*["}]""", "JSON"),
)
_MEMBERS: Final = (
    ("xl/workbook.bin", XLSB, "Rename it to .xlsb."),
    ("xl/", WORKBOOK, _RENAME),
    ("word/", "a Word document", _GET),
    ("ppt/", "a PowerPoint presentation", _GET),
    ("index/", "a Numbers document", "Export it from Numbers as Excel or CSV."),
    ("content.xml", ODS, "Rename it to .ods."),
)


def is_remote(sheet: object) -> bool:
    """Return whether the name of a sheet is an address; see ``remote.address``."""
    return isinstance(sheet, str) and _SCHEME.match(sheet) is not None


def kind_of(path: Path) -> tuple[str, str]:
    """Return the type of a file and the fix; two empty texts for text and for unknown types."""
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _archive_of(path)
    for magic, kind, fix in _MAGIC:
        if start.startswith(magic):
            return kind, fix
    is_utf_16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = start.decode("utf-16" if is_utf_16 else "utf-8-sig", "replace").lstrip()
    for pattern, kind in _MARKUP:
        if re.match(pattern, text, re.IGNORECASE | re.DOTALL):
            return kind, _SAVE
    return "", ""


def is_last_line_ended(path: Path) -> bool:
    """Return whether a text file in any encoding ends with a line break, or is empty."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LAST_BYTES))
        last = file.read().rstrip(b"\0")
    return size == 0 or last.endswith((b"\n", b"\r"))


def _archive_of(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            keys = set(map(part_key, archive.namelist()))
            if other := _other_document(archive):
                return other, _GET
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        # Cut off: the type that its name suggests is the most likely one.
        return WORKBOOK, _RENAME
    for member, kind, fix in _MEMBERS:
        if any(key.startswith(member) for key in keys):
            return kind, fix
    if "[content_types].xml" in keys and "_rels/.rels" in keys:
        # A package whose parts have other names; reading it shows whether it is a workbook.
        return WORKBOOK, _RENAME
    return "a ZIP archive", "Unpack it first."


def _other_document(archive: zipfile.ZipFile) -> str:
    """Return the type of an OpenDocument file that is no spreadsheet; empty for all others.

    The first member names the type, see OpenDocument 1.3 part 2, 3.3.
    """
    if "mimetype" not in archive.namelist():
        return ""
    with archive.open("mimetype") as file:
        own = file.read(_MIMETYPE_BYTES).decode("ascii", "replace")
    is_other = own.startswith(_OPEN_DOCUMENT) and "spreadsheet" not in own
    return "an OpenDocument file without a spreadsheet" if is_other else ""
