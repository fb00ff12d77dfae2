"""Cells of custom fields, checked and converted by the types that the account has defined.

A row's digest is made of its cells as they are in the sheet, so it is the same where the types
are not known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from bulk_reset.core.custom_fields import field_of, is_custom, value_of
from bulk_reset.core.errors import SheetError
from bulk_reset.core.field_types import CellValueError, FieldType, FieldTypes
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.columns import Columns
from bulk_reset.sheets.pulled_rows import Broken

_JSON: Final = ":json"
_MOST_SHOWN: Final = 10


def types_of(columns: Columns, types: FieldTypes, label: str) -> dict[str, FieldType]:
    """Return column -> its custom field.

    Raises:
        SheetError: there is no such field, it was deleted, or two may be meant.
    """
    found: dict[str, FieldType] = {}
    for column in filter(is_custom, columns.position):
        fields = types.of(column)
        where = f"{label}: column {columns.name(column)!r}"
        if len(fields) > 1:
            names = " or ".join(f"field:{one_line(one.name)}" for one in fields)
            raise SheetError(
                f"{where}: {len(fields)} custom fields have this display name. Use {names}."
            )
        if not fields or fields[0].is_deleted:
            problem = "this custom field was deleted" if fields else "no such custom field"
            names = ", ".join(map(one_line, types.near(column)[:_MOST_SHOWN]))
            fix = f"Use one of: {names}" if names else "Remove the column"
            raise SheetError(f"{where}: {problem}. {fix}.")
        twice = next((name for name, one in found.items() if one.name == fields[0].name), None)
        if twice is not None:
            raise SheetError(
                f"{where} and {columns.name(twice)!r} set the same custom field. Remove one."
            )
        found[column] = fields[0]
    return found


def broken_types(name: str, texts: Sequence[str], field: FieldType) -> Broken:
    """Find cells that are not a value of their field."""
    for place, text in enumerate(texts):
        if text:
            try:
                _value(name, text, field)
            except CellValueError as error:
                yield place, name, "field_type", error.problem, error.fix
            except ValueError:
                continue  # not JSON, which is found by the rules for all JSON


def typed_values(values: Mapping[str, str], types: Mapping[str, FieldType]) -> dict[str, str]:
    """Return column -> text, in which texts of other types than text are JSON."""
    found: dict[str, str] = {}
    for name, text in values.items():
        field = types.get(name) or types.get(field_of(name))
        if field is None:
            found[name] = text
            continue
        column = name if name in types else field_of(name)
        value = _value(column, text, field)
        if isinstance(value, str):
            found[field.column] = value
        else:
            found[field.column + _JSON] = json.dumps(value, ensure_ascii=False)
    return found


def _value(column: str, text: str, field: FieldType) -> object:
    """Return the value of a cell; raises ValueError."""
    if not column.endswith(_JSON):
        return field.value_of(text)
    value = value_of(column, text)
    field.require_value(value)
    return value
