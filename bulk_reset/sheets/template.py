"""Writes the template: an empty workbook with input checks, and a worksheet of instructions.

Place in the flow: before everything else; a run reads the completed workbook. The rules come
from ``core.fields``. The workbook's checks only help while typing: spreadsheet programs do not
check pasted cells, so a run validates every cell again.
"""

from __future__ import annotations

from io import BytesIO
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import xlsxwriter

from bulk_reset.core.custom_fields import header_of
from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import FIELDS, ID_FIELD, SEVERITIES, SEVERITY_FIELD, TEXT_LENGTHS
from bulk_reset.core.option_names import option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

INCIDENTS_SHEET: Final = "Incidents"
INSTRUCTIONS_SHEET: Final = "Instructions"
HEADER_OF: Final = {
    "incident_id": "Incident ID",
    "title": "Title",
    "description": "Description",
    "impact": "Impact",
    "root_cause": "Root cause",
    "resolution": "Resolution",
    "incident_severity": "Severity",
}
"""The column name of each field, in the order of ``FIELDS``."""

_EXAMPLE_OF: Final = {
    "incident_id": "66d1f0a2c3b4e5f60718293a",
    "title": "Checkout: payments declined for card users",
    "description": "Between 09:12 and 09:40 UTC every third card payment was declined.",
    "impact": "1,240 payments failed; 310 customers did not try again.",
    "root_cause": "The connection pool was halved by a change of its defaults.",
    "resolution": "The pool's size was set back and is now part of the deployment.",
    "incident_severity": "Critical",
}
# Widths are in characters of the default font, heights in points, as Excel counts them.
_WIDTH_OF: Final = {"incident_id": 29, "title": 38, "incident_severity": 13}
_TEXT_WIDTH: Final = 46
HEADER_HEIGHT: Final = 24
_LINE_HEIGHT: Final = 20
_SECTION_HEIGHT: Final = 34
_A4: Final = 9
# As numbers, ids would lose digits (6.9E+23) and texts their leading zeros.
_TEXT_FORMAT: Final = "@"
# HEX2DEC accepts at most ten digits, so there are three parts; array constants are not allowed.
_ID_FORMULA: Final = (
    "=AND(LEN(A2)=24,ISNUMBER(HEX2DEC(MID(A2,1,8))+HEX2DEC(MID(A2,9,8))+HEX2DEC(MID(A2,17,8))))"
)
_ID_RULE: Final = "24 hexadecimal digits: 0 to 9 and a to f."
_SEVERITY_RULE: Final = f"{', '.join(SEVERITIES[:-1])} or {SEVERITIES[-1]}."

_HOW_TO: Final = {
    "One row": "One incident. Fill in its ID and at least one other column.",
    "Empty cell": "The field is not changed. The API does not allow clearing a field.",
    "Columns": (
        "Can be moved, removed or added; they are matched by name. "
        "Columns with other names are not sent."
    ),
    "Pasting": (
        "Paste values only (Paste Special), so that IDs remain text. "
        "Pasted cells are not checked here; use bulk-reset check."
    ),
}
_COMMANDS: Final = {
    "bulk-reset check FILE.xlsx": "Checks every row. Sends nothing.",
    "bulk-reset run FILE.xlsx --dry-run": "Shows what a run will do. Changes nothing.",
    "bulk-reset run FILE.xlsx": "Sends the updates. Run it again to resume a stopped run.",
}
_REPORT: Final = (
    "Replace FILE with the name of this workbook. The result of every row is written to "
    "FILE.report.csv in the same folder."
)
_LIST_LENGTH: Final = 255
"""Characters of a drop-down's options, with commas, that a workbook can have."""
_TITLE_LENGTH: Final = 32
_INSTRUCTION_WIDTHS: Final = (16, 11, 44, 64)
_RULES_ROW: Final = 1
_LAST: Final = len(_INSTRUCTION_WIDTHS) - 1

_DARK: Final = "#1B3A57"
_HEADER: Final = {
    "bold": True,
    "font_color": "#FFFFFF",
    "bg_color": "#2F5D8A",
    "valign": "vcenter",
    "indent": 1,
    "border": 1,
    "border_color": "#FFFFFF",
}
_CELL: Final = {
    "text_wrap": True,
    "valign": "vcenter",
    "indent": 1,
    "border": 1,
    "border_color": "#C9D3DD",
}
# Excel applies an indent only if the alignment is set.
_TYPED: Final = {"num_format": _TEXT_FORMAT, "valign": "top", "align": "left", "indent": 1}
STYLES: Final[dict[str, dict[str, object]]] = {
    "header": _HEADER,
    "required": {**_HEADER, "bg_color": _DARK},
    "id": {**_TYPED, "font_name": "Courier New"},
    "text": {**_TYPED, "text_wrap": True},
    "page title": {"bold": True, "font_size": 16, "font_color": _DARK, "valign": "vcenter"},
    "section": {"bold": True, "font_size": 12, "font_color": _DARK, "valign": "vcenter"},
    "cell": _CELL,
    "name": {**_CELL, "bold": True},
    "code": {**_CELL, "font_name": "Courier New"},
    "note": {"valign": "vcenter"},
}


def write_template(
    path: Path,
    *,
    rows: int = 10_000,
    overwrite: bool = False,
    further: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> None:
    """Write an empty workbook to fill in.

    Args:
        path: the file to write; its name ends in ``.xlsx``.
        rows: number of rows below the header with input checks.
        overwrite: replace an existing file.
        further: columns of custom fields -> the options of their drop-downs.

    Raises:
        InputError: the file exists already and is unchanged; or it cannot be written.
    """
    if path.suffix.lower() != ".xlsx":
        raise InputError(
            f"{path}: the template is an Excel workbook. Use a name that ends in .xlsx."
        )
    content = _workbook(rows, further)
    try:
        # "x" checks for an existing file and creates the new one in one step.
        with path.open("wb" if overwrite else "xb") as file:
            file.write(content)
    except FileExistsError as exc:
        raise InputError(
            f"{path}: already exists and may contain edits. Use another name, or "
            f"{option('force')} to replace it."
        ) from exc
    except OSError as exc:
        raise InputError(
            f"{path}: cannot be written ({exc.strerror}). Use another folder."
        ) from exc


def _workbook(rows: int, further: Mapping[str, Sequence[str]]) -> bytes:
    """Return the workbook's bytes, before a file is opened."""
    buffer = BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
        book.set_properties({"title": "Incidents to update", "comments": "Made by bulk-reset"})
        formats = {name: book.add_format(style) for name, style in STYLES.items()}
        sheet = book.add_worksheet(INCIDENTS_SHEET)
        _fill_incidents(sheet, formats, rows)
        _add_further(sheet, formats, rows, further)
        _fill_instructions(book.add_worksheet(INSTRUCTIONS_SHEET), formats)
    return buffer.getvalue()


def _fill_incidents(sheet: Worksheet, formats: dict[str, Format], rows: int) -> None:
    sheet.set_row(0, HEADER_HEIGHT)
    for column, field in enumerate(FIELDS):
        is_id = field == ID_FIELD
        width = width_of(field)
        # Formats for whole columns, so that ids below the checked rows are text too.
        sheet.set_column(column, column, width, formats["id" if is_id else "text"])
        sheet.write_string(0, column, HEADER_OF[field], formats["required" if is_id else "header"])
        sheet.data_validation(1, column, rows, column, validation_of(field))
    sheet.freeze_panes(1, 1)
    sheet.autofilter(0, 0, rows, len(FIELDS) - 1)
    set_up_page(sheet)


def _add_further(
    sheet: Worksheet, formats: dict[str, Format], rows: int, further: Mapping[str, Sequence[str]]
) -> None:
    """Add the columns of custom fields."""
    for place, (column, choices) in enumerate(further.items(), len(FIELDS)):
        name = header_of(column)
        sheet.set_column(place, place, width_of(column), formats["text"])
        sheet.write_string(0, place, name, formats["header"])
        if check := choice_of(name, choices):
            sheet.data_validation(1, place, rows, place, check)
        sheet.autofilter(0, 0, rows, place)


def set_up_page(sheet: Worksheet) -> None:
    """Set a worksheet of incidents to print as wide as the page, with its header on each page."""
    sheet.set_landscape()
    sheet.set_paper(_A4)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)


def width_of(field: str) -> int:
    """Return the width of a field's column, in characters."""
    return _WIDTH_OF.get(field, _TEXT_WIDTH)


def validation_of(field: str) -> dict[str, object]:
    """Return XlsxWriter's options for the input check of a field's column."""
    name = HEADER_OF[field]
    messages: dict[str, object] = {"input_title": name, "error_title": f"{name} is not valid"}
    if field == ID_FIELD:
        return messages | {
            "validate": "custom",
            "value": _ID_FORMULA,
            "input_message": f"Required. {_ID_RULE}",
            "error_message": f"An ID has {_ID_RULE} Copy it from the incident's page.",
        }
    if field == SEVERITY_FIELD:
        return messages | {
            "validate": "list",
            "source": list(SEVERITIES),
            "input_message": f"{_SEVERITY_RULE} If empty, the severity is not changed.",
            "error_message": f"Use {_SEVERITY_RULE} If empty, the severity is not changed.",
        }
    shortest, longest = TEXT_LENGTHS[field]
    return messages | {
        "validate": "length",
        "criteria": "between",
        "minimum": shortest,
        "maximum": longest,
        "input_message": f"{shortest} to {longest:,} characters. If empty, it is not changed.",
        # Excel counts UTF-16 units (an emoji is two), the API counts characters. So Excel only
        # warns, because the text may be valid.
        "error_type": "warning",
        "error_message": (
            f"{name} must have {shortest} to {longest:,} characters. "
            "Excel counts an emoji as two, bulk-reset as one."
        ),
    }


def choice_of(name: str, choices: Sequence[str]) -> dict[str, object] | None:
    """Return XlsxWriter's options for a drop-down; None where a workbook cannot have it."""
    if not choices or any("," in one for one in choices) or len(",".join(choices)) > _LIST_LENGTH:
        return None
    return {
        "validate": "list",
        "source": list(choices),
        "input_title": name[:_TITLE_LENGTH],
        "input_message": "Choose a value. If empty, the field is not changed.",
        "error_title": "Not an option",
        "error_message": "Use one of the options. If empty, the field is not changed.",
    }


def _rule(field: str) -> str:
    if field == ID_FIELD:
        return _ID_RULE
    if field == SEVERITY_FIELD:
        return _SEVERITY_RULE
    shortest, longest = TEXT_LENGTHS[field]
    return f"{shortest} to {longest:,} characters."


def _fill_instructions(sheet: Worksheet, formats: dict[str, Format]) -> None:
    sheet.hide_gridlines(2)
    sheet.set_landscape()
    sheet.set_paper(_A4)
    sheet.fit_to_pages(1, 1)
    for column, width in enumerate(_INSTRUCTION_WIDTHS):
        sheet.set_column(column, column, width)
    how_to_row = _RULES_ROW + 1 + len(FIELDS)
    commands_row = how_to_row + 1 + len(_HOW_TO)
    report_row = commands_row + 1 + len(_COMMANDS)
    for row in range(report_row + 1):
        sheet.set_row(row, _LINE_HEIGHT)
    _write_section(sheet, 0, "Update incidents from this workbook", formats["page title"])
    _write_rules(sheet, formats)
    _write_section(sheet, how_to_row, "How to fill it in", formats["section"])
    for row, (name, text) in enumerate(_HOW_TO.items(), start=how_to_row + 1):
        sheet.write_string(row, 0, name, formats["name"])
        sheet.merge_range(row, 1, row, _LAST, text, formats["cell"])
    _write_section(sheet, commands_row, "Commands", formats["section"])
    for row, (command, effect) in enumerate(_COMMANDS.items(), start=commands_row + 1):
        sheet.merge_range(row, 0, row, _LAST - 1, command, formats["code"])
        sheet.write_string(row, _LAST, effect, formats["cell"])
    sheet.set_row(report_row, _SECTION_HEIGHT)
    sheet.merge_range(report_row, 0, report_row, _LAST, _REPORT, formats["note"])


def _write_section(sheet: Worksheet, row: int, text: str, style: Format) -> None:
    sheet.set_row(row, _SECTION_HEIGHT)
    sheet.write_string(row, 0, text, style)


def _write_rules(sheet: Worksheet, formats: dict[str, Format]) -> None:
    sheet.set_row(_RULES_ROW, HEADER_HEIGHT)
    for column, name in enumerate(("Column", "Required", "Rule", "Example")):
        sheet.write_string(_RULES_ROW, column, name, formats["header"])
    for row, field in enumerate(FIELDS, start=_RULES_ROW + 1):
        sheet.write_string(row, 0, HEADER_OF[field], formats["name"])
        sheet.write_string(row, 1, "yes" if field == ID_FIELD else "no", formats["cell"])
        sheet.write_string(row, 2, _rule(field), formats["cell"])
        sheet.write_string(row, 3, _EXAMPLE_OF[field], formats["cell"])
