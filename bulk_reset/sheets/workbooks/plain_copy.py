"""Copies a workbook's cells into an archive with the names and the markup that calamine reads."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import quoteattr

from bulk_reset.sheets.workbooks.package import Package, SheetPart
from bulk_reset.sheets.workbooks.xml_rewriting import rewrite

_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_DOCUMENT: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_DROPPED: Final = frozenset({"extLst", "rPh", "conditionalFormatting", "dataValidations"})
"""Elements without cells; a rewritten part has no prefixes to tell their names from others."""


def plain_copy(package: Package, sheets: Sequence[SheetPart]) -> tuple[io.BytesIO, bool]:
    """Copy worksheets, with the styles and texts of the workbook.

    Returns: the archive, and whether halves of characters were replaced by ``BROKEN``. The
    worksheets are ``xl/worksheets/sheet1.xml`` …, in the given order.
    """
    packed = io.BytesIO()
    has_broken = False
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as copy:
        for name, content in _index_parts(package, sheets).items():
            copy.writestr(name, content)
        parts = {f"xl/{_sheet_target(n)}": package.part_of(one) for n, one in enumerate(sheets, 1)}
        if package.styles is not None:
            parts["xl/styles.xml"] = package.styles
        if package.texts is not None:
            parts["xl/sharedStrings.xml"] = package.texts
        for name, member in parts.items():
            with (
                package.archive.open(member) as part,
                copy.open(name, "w", force_zip64=True) as target,
                io.BufferedWriter(target, 1 << 20) as buffered,
            ):
                has_broken |= rewrite(part, buffered, _DROPPED)
    packed.seek(0)
    return packed, has_broken


def _sheet_target(number: int) -> str:
    return f"worksheets/sheet{number}.xml"


def _index_parts(package: Package, sheets: Sequence[SheetPart]) -> dict[str, str]:
    numbered = list(enumerate(sheets, 1))
    names = "".join(
        f"<sheet name={quoteattr(one.name)} sheetId='{n}' r:id='rId{n}'/>" for n, one in numbered
    )
    targets = {f"rId{n}": ("worksheet", _sheet_target(n)) for n, _ in numbered}
    targets["styles"] = ("styles", "styles.xml")
    targets["texts"] = ("sharedStrings", "sharedStrings.xml")
    return {
        "[Content_Types].xml": f"<Types xmlns='{_PACKAGE}/content-types'/>",
        "_rels/.rels": _relations({"book": ("officeDocument", "xl/workbook.xml")}),
        "xl/workbook.xml": (
            f"<workbook xmlns='{_MAIN}' xmlns:r='{_DOCUMENT}'>"
            f"<workbookPr date1904='{int(package.is_from_1904)}'/><sheets>{names}</sheets>"
            "</workbook>"
        ),
        "xl/_rels/workbook.xml.rels": _relations(targets),
    }


def _relations(targets: dict[str, tuple[str, str]]) -> str:
    lines = "".join(
        f"<Relationship Id='{own}' Type='{_DOCUMENT}/{kind}' Target='{target}'/>"
        for own, (kind, target) in targets.items()
    )
    return f"<Relationships xmlns='{_PACKAGE}/relationships'>{lines}</Relationships>"
