"""Loads a user's workbook with openpyxl, to write a copy of it.

openpyxl leaves out what it does not know, and warns about it in its own words. Here, validations
that refer to other worksheets are added again, and the rest is reported as notices. It raises
whatever a damaged workbook happens to break; that becomes one error.

Source: ECMA-376 part 1 (strict names) and part 4 (transitional names); [MS-XLSX] 2.4.11
(validations that refer to other worksheets, in an extension).
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from openpyxl import Workbook, load_workbook
from openpyxl.worksheet.datavalidation import DataValidation

from bulk_reset.core.errors import BulkResetError, InputError
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.workbooks.package import Package
from bulk_reset.sheets.workbooks.xml_parts import local_name, parse

_STRICT: Final = re.compile(rb"http://purl\.oclc\.org/ooxml/([A-Za-z]{1,40})/([A-Za-z]{1,40})")
_RENAMED: Final = {
    b"extendedProperties": b"extended-properties",
    b"customProperties": b"custom-properties",
}
_LOST_PARTS: Final = {
    "charts, pictures and shapes": ("xl/drawings/drawing", "xl/charts/", "xl/media/"),
    "pivot tables": ("xl/pivotTables/",),
    "slicers": ("xl/slicers/",),
}
_LOST_BY_WARNING: Final = {
    "Data Validation": "",  # added again
    "Conditional Formatting": "conditional formats with references, bars or icons",
    "Sparkline": "sparklines",
    "Slicer": "slicers",
    "header or footer": "headers and footers of printed pages",
    "Print area": "print areas",
    "marked as a date": "dates before 1900 or after 9999",
    "DrawingML": "charts, pictures and shapes",
    "chart": "charts, pictures and shapes",
    "stylesheet": "",
    "default style": "",
}
"""Words of openpyxl's warnings -> what is not kept; empty if nothing is lost."""
_FLAGS: Final = (*("allowBlank", "showInputMessage", "showErrorMessage", "showDropDown"),)
_TEXTS: Final = (
    *("type", "operator", "errorStyle", "imeMode", "error", "errorTitle", "prompt", "promptTitle"),
)


def load_for_copy(path: Path) -> tuple[Workbook, list[str]]:
    """Load a workbook with its formats; return it, and what will not be in the copy.

    Raises:
        InputError: openpyxl cannot read it, or would read it wrongly.
    """
    with _as_input_error(path), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with zipfile.ZipFile(path) as archive:
            package = Package(archive, str(path))
            if not package.is_usual():
                raise ValueError("the names of its parts are unusual")
            names = archive.namelist()
            source = _transitional(archive) if _is_strict(archive) else None
            book = load_workbook(
                source or path, rich_text=True, keep_vba=path.suffix.lower() == ".xlsm"
            )
            _add_validations(book, package)
    return book, _lost(names, [str(one.message) for one in caught])


@contextmanager
def _as_input_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (BulkResetError, OSError):
        raise
    except Exception as exc:
        reason = one_line(f"{type(exc).__name__}: {exc}")[:200]
        raise InputError(
            f"{path}: its formatting cannot be copied ({reason}). Save it again in a spreadsheet "
            "program, or save it as CSV and run that."
        ) from exc


def save_copy(book: Workbook, file: BinaryIO, path: Path) -> None:
    """Write the workbook, whose formats are those of ``path``.

    Raises:
        InputError: a part of it cannot be written.
    """
    with _as_input_error(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl repeats what it said when it loaded it.
        book.save(file)


def _lost(names: list[str], messages: list[str]) -> list[str]:
    lost = [
        what
        for what, starts in _LOST_PARTS.items()
        if any(name.startswith(start) for name in names for start in starts)
    ]
    for message in messages:
        known = (what for words, what in _LOST_BY_WARNING.items() if words in message)
        lost.append(next(known, "some settings of the workbook"))
    unique = list(dict.fromkeys(filter(None, lost)))
    return [f"{_listed(unique)} may not all be in the copy"] if unique else []


def _listed(words: list[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


# --- Strict workbooks ------------------------------------------------------------------------


def _is_strict(archive: zipfile.ZipFile) -> bool:
    return _STRICT.search(archive.read("xl/workbook.xml")) is not None


def _transitional(archive: zipfile.ZipFile) -> io.BytesIO:
    """Return a copy with the usual names of elements; openpyxl finds no worksheet otherwise."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as copy:
        for member in archive.infolist():
            content = archive.read(member)
            if member.filename.endswith((".xml", ".rels", ".vml")):
                content = _STRICT.sub(_transitional_name, content)
            copy.writestr(member.filename, content)
    packed.seek(0)
    return packed


def _transitional_name(strict: re.Match[bytes]) -> bytes:
    name = _RENAMED.get(strict[2], strict[2])
    return b"http://schemas.openxmlformats.org/" + strict[1] + b"/2006/" + name


# --- Validations that refer to other worksheets ------------------------------------------------


def _add_validations(book: Workbook, package: Package) -> None:
    for sheet in package.sheets:
        if sheet.kind != "worksheet":
            continue
        extended = _ExtendedValidations()
        with package.archive.open(package.part_of(sheet)) as file:
            parse(file, extended.start, extended.end, extended.text)
        for validation in extended.found:
            book[sheet.name].add_data_validation(validation)


class _ExtendedValidations:
    """Collects the validations in extensions while a worksheet is parsed.

    State: how many extensions are open; the attributes and texts of the open validation.
    """

    def __init__(self) -> None:
        self.found: list[DataValidation] = []
        self._extensions = 0
        self._attributes: dict[str, str] | None = None
        self._texts: dict[str, str] = {}
        self._open = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        own = local_name(name)
        self._extensions += own == "ext"
        if own == "dataValidation" and self._extensions:
            self._attributes, self._texts = attributes, {}
        elif own in {"formula1", "formula2", "sqref"}:
            self._open = own

    def text(self, text: str) -> None:
        if self._attributes is not None and self._open:
            self._texts[self._open] = self._texts.get(self._open, "") + text

    def end(self, name: str) -> None:
        own = local_name(name)
        self._extensions -= own == "ext"
        if own in {"formula1", "formula2", "sqref"}:
            self._open = ""
        if own == "dataValidation" and self._attributes is not None:
            self.found.append(self._validation(self._attributes))
            self._attributes = None

    def _validation(self, attributes: dict[str, str]) -> DataValidation:
        values: dict[str, Any] = {name: attributes[name] for name in _TEXTS if name in attributes}
        values |= {name: attributes.get(name) in {"1", "true"} for name in _FLAGS}
        values |= {name: text.strip() for name, text in self._texts.items()}
        return DataValidation(**values)
