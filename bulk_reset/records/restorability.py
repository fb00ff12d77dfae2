"""Which previous values an undo can restore, and why the others cannot be restored."""

from __future__ import annotations

from typing import Final

from bulk_reset.core.custom_fields import is_custom, text_of
from bulk_reset.core.fields import SETTABLE_FIELDS
from bulk_reset.sheets.validation import error_of

_TEXTS: Final = SETTABLE_FIELDS[:-1]


def why_not_restorable(name: str, value: object) -> str:
    """Return why a previous value cannot be restored; empty if it can."""
    if is_custom(name):
        if value is None or value == "":
            return "it was not set, and the API cannot unset a custom field"
        column = f"{name}:json"
        problem = error_of(column, text_of(column, value))
        return f"the API does not accept the previous value: {problem}" if problem else ""
    if value is None or value == "":
        return "it was empty, and the API cannot empty a field"
    if not isinstance(value, str):
        return "it was not a text"
    if value == "Ok" and name not in _TEXTS:
        return "it was Ok, which the API cannot set"
    problem = error_of(name, value)
    return f"the API does not accept the previous value: {problem}" if problem else ""
