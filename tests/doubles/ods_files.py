"""OpenDocument spreadsheets for tests, written by hand as the standard describes them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape, quoteattr

_NAMES: Final = "urn:oasis:names:tc:opendocument:xmlns"
_HEAD: Final = (
    "<o:document-content "
    + " ".join(
        f"xmlns:{prefix}='{_NAMES}:{name}:1.0'"
        for prefix, name in (("o", "office"), ("t", "table"), ("x", "text"), ("s", "style"))
    )
    + " xmlns:c='urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0'"
    " xmlns:d='urn:oasis:names:tc:opendocument:xmlns:drawing:1.0'>"
    "<o:automatic-styles><s:style s:name='gone' s:family='table'>"
    "<s:table-properties t:display='false'/></s:style></o:automatic-styles>"
    "<o:body><o:spreadsheet>"
)
_TAIL: Final = "</o:spreadsheet></o:body></o:document-content>"


def text_cell(text: str) -> str:
    """Return a cell with a text of one paragraph."""
    return f"<t:table-cell o:value-type='string'><x:p>{escape(text)}</x:p></t:table-cell>"


def row(*cells: str, **attributes: object) -> str:
    """Return a row; a cell is a text, or markup that begins with ``<``."""
    written = "".join(one if one.startswith("<") else text_cell(one) for one in cells)
    names = {"repeated": "t:number-rows-repeated", "visibility": "t:visibility"}
    own = "".join(f" {names[name]}={quoteattr(str(value))}" for name, value in attributes.items())
    return f"<t:table-row{own}>{written}</t:table-row>"


def table(*rows: str, name: str = "Table", is_hidden: bool = False) -> str:
    """Return a worksheet."""
    style = " t:style-name='gone'" if is_hidden else ""
    return f"<t:table t:name={quoteattr(name)}{style}>{''.join(rows)}</t:table>"


def content(*tables: str, behind: str = "") -> str:
    """Return the part with the worksheets."""
    return f"{_HEAD}{''.join(tables)}{behind}{_TAIL}"


def write_ods(path: Path, *tables: str, manifest: str = "<manifest/>", behind: str = "") -> Path:
    """Write a spreadsheet with these worksheets."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content(*tables, behind=behind))
        archive.writestr("META-INF/manifest.xml", manifest)
    return path
