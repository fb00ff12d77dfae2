"""What value a custom field can have, by its published definition, and a file of definitions.

Source: the Flashduty Open API's ``/field/list``: a checkbox is true or false, a single select
one of its options, a multi select a list of them, a text has up to 3,000 characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bulk_reset.sandbox.codes import ApiError
from bulk_reset.sandbox.list_files import read_list
from bulk_reset.sandbox.rules import invalid, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_TEXT: Final = 3_000


def require_field(definition: Mapping[str, Any] | None, value: object) -> None:
    """Refuse a value that a field cannot have; raises ApiError."""
    if definition is None or definition.get("status") == "deleted":
        raise ApiError("ResourceNotFound", "The resource you request is not found.")
    options = definition.get("options") or ()
    match definition["field_type"]:
        case "checkbox":
            is_valid = isinstance(value, bool)
        case "single_select":
            is_valid = isinstance(value, str) and value in options
        case "multi_select":
            is_valid = isinstance(value, list) and all(
                isinstance(one, str) and one in options for one in value
            )
        case _:
            is_valid = isinstance(value, str) and len(value) <= MAX_TEXT
    if not is_valid:
        raise invalid("field_value", "it is not a value of this field")


# --- A file of definitions -------------------------------------------------------------------

_TYPES: Final = ("checkbox", "single_select", "multi_select", "text")
_KEYS: Final = ("field_name", "display_name", "field_type", "options", "status")
_SELECTS: Final = ("single_select", "multi_select")
_EXAMPLE: Final = '{"field_name": "region", "field_type": "single_select", "options": ["eu"]}'


def load_fields(path: Path) -> tuple[dict[str, Any], ...]:
    """Read the custom fields of an account from a JSON list.

    Raises:
        ValueError: it cannot be read, or a definition is wrong; the message has the fix.
    """
    found = [
        _definition(one, f"{path}: field {number}")
        for number, one in enumerate(read_list(path, "fields"), start=1)
    ]
    names = [one["field_name"] for one in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{path}: two fields {twice!r}. Remove one.")
    return tuple(found)


def fields_beside(state: Path | None) -> tuple[dict[str, Any], ...]:
    """Return the fields of ``NAME.fields.json`` beside a state ``NAME.json``; none without one.

    Raises:
        ValueError: as ``load_fields``.
    """
    if state is None:
        return ()
    path = fields_file(state)
    return load_fields(path) if path.exists() else ()


def fields_file(state: Path) -> Path:
    """Return the file of definitions beside a state."""
    return state.with_suffix(".fields.json")


def _definition(one: object, where: str) -> dict[str, Any]:
    if not isinstance(one, dict):
        raise ValueError(f"{where}: found {kind_of(one)}. Give an object such as {_EXAMPLE}.")  # noqa: TRY004 - a file's content, not a caller's type
    unknown = next((key for key in one if key not in _KEYS), None)
    if unknown is not None:
        raise ValueError(f"{where}, key {unknown!r}: not known. The keys are {', '.join(_KEYS)}.")
    name, kind, options = one.get("field_name"), one.get("field_type"), one.get("options")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{where}: has no field_name. Give an object such as {_EXAMPLE}.")
    if kind not in _TYPES:
        raise ValueError(f"{where}, field_type: not a type. The types are {', '.join(_TYPES)}.")
    has_options = isinstance(options, list) and all(isinstance(text, str) for text in options)
    if kind in _SELECTS and not (has_options and options):
        raise ValueError(f'{where}, options: needed for {kind}. Give a list such as ["eu", "us"].')
    display = one.get("display_name", name)
    if not isinstance(display, str):
        raise ValueError(f"{where}, display_name: found {kind_of(display)}. Give a text.")  # noqa: TRY004 - a file's content, not a caller's type
    return {
        "field_name": name,
        "display_name": display,
        "field_type": kind,
        "options": options if kind in _SELECTS else None,
        "status": one.get("status", "enabled"),
    }
