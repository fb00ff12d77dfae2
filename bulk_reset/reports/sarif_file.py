"""The errors of a check as SARIF 2.1.0, which CI systems show beside the sheet.

A region's line is the row and its column the number of the column, as a spreadsheet counts them.
In a text file, a row is a line as long as no cell has a line break.

Source: "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", OASIS Standard,
sections 3.13 (sarifLog), 3.14 (run), 3.27 (result), 3.29 (physicalLocation), 3.30 (region).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from bulk_reset.core.errors import SheetError
from bulk_reset.core.json_codec import dumps
from bulk_reset.core.row_error import RowError
from bulk_reset.core.safe_text import without_invalid
from bulk_reset.reports.own_files import own_file

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_START: Final = (
    f'{{"$schema":"{_SCHEMA}","version":"2.1.0","runs":[{{"tool":{{"driver":{{"name":"bulk-reset"'
).encode()
_SHEET_RULE: Final = "sheet_unreadable"
_DESCRIPTIONS: Final = {_SHEET_RULE: "The sheet cannot be read as a table of incidents"}
_MANUAL: Final = "bulk-reset docs sheets"


def write_sarif(
    path: Path, sheet: str, header: Sequence[str], errors: Iterable[RowError | SheetError]
) -> None:
    """Write the errors of a sheet; an older file of this program is replaced.

    Args:
        sheet: as it was given, ``-`` for standard input.
        header: the names of the sheet's columns.
        errors: none for a valid sheet.

    Raises:
        InputError: the file was not made by this program, or cannot be written.
    """
    errors = list(errors)
    with own_file(path, _is_own, "SARIF file") as file:
        for piece in _pieces(sheet, header, errors):
            file.write(piece)


def _is_own(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_START)) == _START


def _pieces(
    sheet: str, header: Sequence[str], errors: Sequence[RowError | SheetError]
) -> Iterator[bytes]:
    kinds = list(dict.fromkeys(_kind_of(error) for error in errors))
    rules = [{"id": kind, "shortDescription": {"text": _description(kind)}} for kind in kinds]
    yield _START
    yield f',"version":{json.dumps(version("bulk-reset"))},"rules":{json.dumps(rules)}}}}}'.encode()
    yield b',"columnKind":"unicodeCodePoints","results":['
    column_of = {name: place for place, name in reversed(list(enumerate(header, 1)))}
    rule_of = {kind: place for place, kind in enumerate(kinds)}
    uri = _uri_of(Path("stdin.csv" if sheet == "-" else sheet))
    for place, error in enumerate(errors):
        result = _result(error, uri, column_of) | {"ruleIndex": rule_of[_kind_of(error)]}
        yield b",\n" * bool(place) + dumps(result)
    yield b"]}]}\n"


def _uri_of(sheet: Path) -> str:
    """Return a relative reference, or a URI for an absolute path; a name may be no text."""
    path = quote(os.fsencode(sheet.as_posix()))
    return f"file://{path}" if sheet.is_absolute() else path


def _kind_of(error: RowError | SheetError) -> str:
    return error.kind if isinstance(error, RowError) else _SHEET_RULE


def _description(kind: str) -> str:
    return _DESCRIPTIONS.get(kind, f"A cell is invalid: {kind.replace('_', ' ')}. See {_MANUAL}.")


def _result(error: RowError | SheetError, uri: str, column_of: dict[str, int]) -> dict[str, Any]:
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": uri}}}
    text = str(error)
    if isinstance(error, RowError):
        region = {"startLine": error.row_number}
        if error.column in column_of:
            region["startColumn"] = column_of[error.column]
        location["physicalLocation"]["region"] = region
        name = f"row {error.row_number}, column {error.column}"
        location["logicalLocations"] = [{"fullyQualifiedName": without_invalid(name)}]
        text = f"{error.column}: {error.problem}. {error.fix}."
    return {
        "ruleId": _kind_of(error),
        "level": "error",
        "message": {"text": without_invalid(text)},
        "locations": [location],
    }
