"""What a file really is, by its first bytes, whatever its name says.

Web sites call pages ``.xls``, people rename what does not open. Each kind is told with its
own way out, before a reader that expects something else stumbles over it.

Source of the magic numbers: the formats' own descriptions; of the members of archives: what
the programs write.
"""

from __future__ import annotations

import codecs
import re
import zipfile
from pathlib import Path
from typing import Final

WORKBOOK: Final = "a workbook"
_START_BYTES: Final = 4096
_SAVE: Final = "Open it in a spreadsheet program and save it as .xlsx or .csv."
_GET: Final = "Get the table itself, as .xlsx or .csv."
_MAGIC: Final = (
    (b"%PDF-", "a PDF", _GET),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls), or one with a password", _SAVE),
    (b"\x1f\x8b", "a compressed file (gzip)", "Unpack it first."),
    (b"7z\xbc\xaf", "a compressed file (7-Zip)", "Unpack it first."),
    (b"Rar!", "a compressed file (RAR)", "Unpack it first."),
    (b"\x89PNG", "a picture", _GET),
    (b"\xff\xd8\xff", "a picture", _GET),
    (b"{\\rtf", "a text document (RTF)", _GET),
    (b"SQLite format 3", "a database", "Export the table as .csv."),
)
_MARKUP: Final = (
    (r"<\?xml[^>]*>\s*(<\?mso-application.*)?<(\w+:)?workbook\b", "a workbook in XML (Excel 2003)"),
    (
        r"(<\?xml[^>]*>\s*)?<(!doctype html|html|head|meta|body|table|div|style|script)\b",
        "a web page",
    ),
    (r"<\?xml\b", "XML"),
    (r"""\[\s*\{\s*["}]|\{\s*["}]""", "JSON"),
)
_MEMBERS: Final = (
    ("xl/", WORKBOOK, "Give it the ending .xlsx."),
    ("word/", "a Word document", _GET),
    ("Index/", "a Numbers document", "Export it from Numbers as Excel or CSV."),
    ("content.xml", "an OpenDocument spreadsheet (.ods)", _SAVE),
)


def kind_of(path: Path) -> tuple[str, str]:
    """Return what a file is and what to do with it; two empty texts for text and the unknown."""
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


def _archive_of(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        # Cut off: most likely what its ending says.
        return WORKBOOK, "Give it the ending .xlsx."
    for member, kind, fix in _MEMBERS:
        if any(name.startswith(member) for name in names):
            return kind, fix
    return "a ZIP archive", "Unpack it first."
