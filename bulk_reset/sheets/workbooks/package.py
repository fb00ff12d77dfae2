"""Finds the parts of a workbook by their relationships, whatever the parts are called.

A workbook is an archive of parts. ``_rels/.rels`` names the workbook's part, and that part's
relationships name the worksheets, the styles and the texts. Programs write the names with
backslashes, a leading slash, ``./``, ``../`` or in another case. calamine expects the usual names.

Source: ECMA-376 part 2 (names and relationships of parts) and part 1, 18.2 (the workbook).
"""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from bulk_reset.core.errors import SheetError
from bulk_reset.sheets.workbooks.xml_parts import DamagedError, local_name, parse

WORKBOOK_PART: Final = "xl/workbook.xml"
STYLES_PART: Final = "xl/styles.xml"
TEXTS_PART: Final = "xl/sharedstrings.xml"
_PICTURES: Final = (".png", ".jpg", ".jpeg", ".gif", ".emf", ".wmf", ".bmp", ".tif", ".tiff")
_HARMLESS_BYTES: Final = 1 << 26
_MAX_BYTES: Final = 1 << 31
_MAX_INDEX_BYTES: Final = 1 << 26
"""Of the workbook's part, its relationships and the styles; Excel's limits allow 10 MB."""
_MAX_RATIO: Final = 250
"""Compression of a worksheet: usually 10, at most 210 (the same long text in every cell); of a
ZIP bomb: 1,000."""


@dataclass(frozen=True, slots=True)
class SheetPart:
    """A worksheet, chart sheet or dialog of a workbook.

    Attributes:
        target: the part as the relationship names it; empty if there is none.
        kind: the last word of the relationship's type: ``worksheet``, ``chartsheet`` …
        state: ``visible``, ``hidden`` or ``veryHidden``.
    """

    name: str
    target: str
    kind: str
    state: str


@dataclass(frozen=True, slots=True)
class _Relations:
    """The relationships of one part: id -> (last word of the type, key of the target, target)."""

    by_id: dict[str, tuple[str, str, str]] = field(default_factory=dict)

    def first(self, kind: str) -> str | None:
        """Return the key of the first part of a kind."""
        return next((key for own, key, _ in self.by_id.values() if own == kind), None)


def part_key(name: str) -> str:
    """Return the name under which a part is found: without case, ``./`` and ``../``."""
    # Some programs write backslashes.
    return posixpath.normpath("/" + unquote(name).replace("\\", "/")).lstrip("/").casefold()


def is_bomb(unpacked_bytes: int, packed_bytes: int) -> bool:
    """Return whether a size or a compression is that of a ZIP bomb."""
    return unpacked_bytes > _MAX_BYTES or (
        unpacked_bytes > _HARMLESS_BYTES and unpacked_bytes > _MAX_RATIO * packed_bytes
    )


class Package:
    """The parts of an open archive.

    Attributes:
        sheets: the sheets, in the order of the workbook.
        is_from_1904: whether dates count from 1904.
        is_calculated: whether the program that saved the workbook had calculated its formulas.
        styles: the member with the styles; None if there is none.
        texts: the member with the shared texts; None if there is none.
        index_parts: the members that name the others.

    Raises:
        SheetError: it would fill the memory; nothing was unpacked.
        DamagedError: there is no workbook in it.
    """

    def __init__(self, archive: zipfile.ZipFile, label: str) -> None:
        self.archive, self.label = archive, label
        self._members: dict[str, list[zipfile.ZipInfo]] = {}
        for member in archive.infolist():
            self._members.setdefault(part_key(member.filename), []).append(member)
        self.index_parts: list[zipfile.ZipInfo] = []
        self._refuse_if_bomb(
            member
            for key, members in self._members.items()
            for member in members
            if not key.endswith(_PICTURES)
        )
        workbook = self._relations("", "_rels/.rels").first("officeDocument") or WORKBOOK_PART
        folder, name = posixpath.split(workbook)
        relations = self._relations(folder, posixpath.join(folder, "_rels", f"{name}.rels"))
        self._keys: dict[str, str] = {}
        self._workbook, self._relations_of_workbook = workbook, relations
        self.styles = self._index_part(relations.first("styles") or STYLES_PART)
        self.texts = self._optional(relations.first("sharedStrings") or TEXTS_PART)
        self.is_from_1904 = self.is_calculated = False
        self.sheets: tuple[SheetPart, ...] = tuple(self._read_workbook())
        if not self.sheets:
            raise DamagedError("it contains no worksheet")

    def _refuse_if_bomb(self, parts: Iterable[zipfile.ZipInfo]) -> None:
        # The sizes in the archive's directory are reliable: readers stop at the given size.
        sizes = [(part.file_size, part.compress_size) for part in parts]
        total, packed = (sum(column) for column in zip(*sizes, strict=True)) if sizes else (0, 0)
        if is_bomb(total, packed) or any(is_bomb(*size) for size in sizes):
            raise self._too_much(total, packed)

    def _too_much(self, unpacked: int, packed: int) -> SheetError:
        return SheetError(
            f"{self.label}: {packed / 1e6:,.1f} MB expand to {unpacked / 1e6:,.0f} MB, which is "
            "too much for a workbook. Save it as CSV."
        )

    def is_usual(self) -> bool:
        """Return whether calamine finds every part: under the usual name, in the usual folder."""
        usual = {
            "xl/workbook.xml": self._workbook,
            "xl/_rels/workbook.xml.rels": part_key("xl/_rels/workbook.xml.rels"),
            "xl/styles.xml": part_key(self.styles.filename) if self.styles else None,
            "xl/sharedStrings.xml": part_key(self.texts.filename) if self.texts else None,
        }
        for name, key in usual.items():
            members = self._members.get(part_key(name), [])
            if key not in {None, part_key(name)} or any(one.filename != name for one in members):
                return False
        return all(map(self._is_usual_sheet, self.sheets))

    def _is_usual_sheet(self, sheet: SheetPart) -> bool:
        folder = {"worksheet": "worksheets/", "chartsheet": "chartsheets/"}.get(sheet.kind)
        target = sheet.target.removeprefix("/xl/")
        if folder is None or not target.startswith(folder) or target.count("/") > 1:
            return False
        members = self._members.get(part_key(f"xl/{target}"), [])
        return all(member.filename == f"xl/{target}" for member in members)

    def part_of(self, sheet: SheetPart) -> zipfile.ZipInfo:
        """Return the member with a worksheet.

        Raises:
            SheetError: it is missing in the archive, or there twice.
        """
        key = self._keys.get(sheet.name, "")
        member = self._optional(key) if key else None
        if member is None:
            raise SheetError(
                f"{self.label}: worksheet {sheet.name!r} is missing in the file. "
                "Save the workbook again."
            )
        self._refuse_if_bomb([member])
        return member

    def _optional(self, key: str) -> zipfile.ZipInfo | None:
        """Return the member with this key; None if there is none."""
        members = self._members.get(key, [])
        if len(members) > 1:
            # Each program would read another one of them.
            raise DamagedError(f"it contains the part {members[0].filename!r} twice")
        return members[0] if members else None

    def _index_part(self, key: str) -> zipfile.ZipInfo | None:
        member = self._optional(key)
        if member is not None and member.file_size > _MAX_INDEX_BYTES:
            raise self._too_much(member.file_size, member.compress_size)
        if member is not None:
            self.index_parts.append(member)
        return member

    def _relations(self, folder: str, key: str) -> _Relations:
        found = _Relations()
        member = self._index_part(key)
        if member is None:
            return found

        def start(name: str, attributes: dict[str, str]) -> None:
            is_inside = attributes.get("TargetMode", "Internal") == "Internal"
            if local_name(name) == "Relationship" and is_inside:
                kind = attributes.get("Type", "").rpartition("/")[2]
                target = attributes.get("Target", "")
                place = target.replace("\\", "/")
                # A leading slash makes join forget the folder.
                key = part_key(posixpath.join(f"/{folder}", place))
                found.by_id.setdefault(attributes.get("Id", ""), (kind, key, target))

        with self.archive.open(member) as file:
            parse(file, start)
        return found

    def _read_workbook(self) -> Iterator[SheetPart]:
        member = self._index_part(self._workbook)
        if member is None:
            raise DamagedError(f"it has no part {self._workbook!r}")
        found: list[SheetPart] = []
        calculation: dict[str, str] | None = None

        def start(name: str, attributes: dict[str, str]) -> None:
            nonlocal calculation
            own = local_name(name)
            if own == "sheet":
                found.append(self._sheet(attributes))
            elif own == "workbookPr":
                self.is_from_1904 = attributes.get("date1904", "0") in {"1", "true"}
            elif own == "calcPr":
                calculation = attributes

        with self.archive.open(member) as file:
            parse(file, start)
        # Programs that do not calculate ask the next one to do so, or have no settings for it.
        self.is_calculated = calculation is not None and calculation.get(
            "fullCalcOnLoad", "0"
        ) not in {"1", "true"}
        return iter(found)

    def _sheet(self, attributes: dict[str, str]) -> SheetPart:
        name = attributes.get("name", "")
        if name in self._keys:
            raise DamagedError(f"it contains two worksheets {name!r}")
        relation = next(
            (value for key, value in attributes.items() if local_name(key) == "id" and ":" in key),
            "",
        )
        kind, key, target = self._relations_of_workbook.by_id.get(relation, ("worksheet", "", ""))
        self._keys[name] = key
        return SheetPart(name, target, kind, attributes.get("state", "visible"))
