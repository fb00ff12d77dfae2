"""Files for the zoo: how each is made, and the result of reading one."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import openpyxl
import xlsxwriter

from bulk_reset.core.change import Change
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.sheet_check import DecidedChunk, check_rows
from bulk_reset.sheets.validation import check_chunk

A: Final = "69da451ef77b1b51f40e83ee"
B: Final = "66d1f0a2c3b4a5968778695a"
FILES: Final = Path(__file__).parent.parent / "files"
Make = Callable[[Path], object]
Cells = list[list[object]]
TABLE: Final[Cells] = [["id", "title"], [A, "Disk full"], [B, "磁盘已满 😀"]]
ROWS: Final = {2: (A, {"title": "Disk full"}), 3: (B, {"title": "磁盘已满 😀"})}
"""The requests for ``TABLE``: row number -> id and values."""


@dataclass
class Found:
    """The result of reading a sheet."""

    rows: dict[int, tuple[str, dict[str, str]]] = field(default_factory=dict)
    row_errors: list[tuple[int, str]] = field(default_factory=list)
    notices: str = ""


def inspect_sheet(path: Path, **options: Any) -> Found:  # noqa: ANN401  (any option)
    """Read and check a sheet; ``rows`` is what the server would receive."""
    found = Found()
    with open_sheet(path, **options) as sheet:
        sheet_check = check_rows(sheet)
        for chunk in sheet.chunks():
            for item in DecidedChunk(check_chunk(chunk, sheet.columns), sheet_check, "").items():
                if isinstance(item, Change):
                    values = json.loads(item.body)
                    assert values.pop(ID_FIELD) == item.incident_id
                    found.rows[item.row_number] = (item.incident_id, values)
        found.row_errors = [
            (row_error.row_number, row_error.kind) for row_error in sheet_check.row_errors
        ]
        found.notices = "\n".join((*sheet.notices, *sheet_check.readings.notices))
    return found


def text(content: str, encoding: str = "utf-8") -> Make:
    """Make a file of text."""
    return lambda path: path.write_bytes(content.encode(encoding))


def raw(content: bytes) -> Make:
    """Make a file of bytes."""
    return lambda path: path.write_bytes(content)


def copy_of(name: str) -> Make:
    """Make a copy of a file that another program wrote."""
    return lambda path: path.write_bytes((FILES / name).read_bytes())


def by_xlsxwriter(fill: Callable[[xlsxwriter.Workbook, Any], object]) -> Make:
    """Make a workbook with one worksheet."""

    def make(path: Path) -> None:
        with xlsxwriter.Workbook(path) as book:
            fill(book, book.add_worksheet())

    return make


def put(sheet: Any, rows: Cells, first: int = 0) -> None:  # noqa: ANN401  (XlsxWriter has no types)
    """Write rows into a worksheet, from a 0-based row on."""
    for number, row in enumerate(rows, first):
        sheet.write_row(number, 0, row)


def by_openpyxl(rows: Cells) -> Make:
    """Make a workbook with one worksheet."""

    def make(path: Path) -> None:
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(path)

    return make


def zipped(members: dict[str, str]) -> Make:
    """Make an archive."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return make


MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
DOCUMENT: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"


def by_hand(
    sheet: str, prefix: str = "", shared: str = "", target: str = "worksheets/s.xml"
) -> Make:
    """Make a workbook from XML, as small programs and web sites write it.

    Args:
        sheet: what is in ``sheetData``; ``P`` is replaced by the prefix.
        shared: the shared strings, none if empty.
    """
    colon = f"{prefix}:" if prefix else ""
    names = f"xmlns{f':{prefix}' if prefix else ''}='{MAIN}' xmlns:r='{DOCUMENT}'"
    data = f"<P worksheet {names}><P sheetData>{sheet}</P sheetData></P worksheet>"
    book = (
        f"<P workbook {names}><P sheets><P sheet name='Export' sheetId='7' r:id='rId9'/>"
        "</P sheets></P workbook>"
    )
    relations = f"<Relationship Id='rId9' Type='{DOCUMENT}/worksheet' Target='{target}'/>"
    members = {
        "[Content_Types].xml": f"<Types xmlns='{PACKAGE}/content-types'/>",
        "_rels/.rels": (
            f"<Relationships xmlns='{PACKAGE}/relationships'><Relationship Id='rId1' "
            f"Type='{DOCUMENT}/officeDocument' Target='xl/workbook.xml'/></Relationships>"
        ),
        "xl/worksheets/s.xml": data.replace("P ", colon),
        "xl/workbook.xml": book.replace("P ", colon),
    }
    if shared:
        members["xl/sharedStrings.xml"] = f"<sst xmlns='{MAIN}'>{shared}</sst>"
        shared = (
            f"<Relationship Id='rId1' Type='{DOCUMENT}/sharedStrings' Target='sharedStrings.xml'/>"
        )
    members["xl/_rels/workbook.xml.rels"] = (
        f"<Relationships xmlns='{PACKAGE}/relationships'>{shared}{relations}</Relationships>"
    )
    return zipped(members)


def inline(rows: Cells, has_places: bool) -> str:
    """Return rows as XML with every text in its own cell."""
    lines = []
    for number, row in enumerate(rows, 1):
        cells = ""
        for letter, value in zip("ABCDEFG", row, strict=False):
            place = f" r='{letter}{number}'" if has_places else ""
            cells += f"<P c{place} t='inlineStr'><P is><P t>{value}</P t></P is></P c>"
        place = f" r='{number}'" if has_places else ""
        lines.append(f"<P row{place}>{cells}</P row>")
    return "".join(lines)
