"""What value a custom field can have, by its published definition.

Source: the Flashduty Open API's ``/field/list``: a checkbox is true or false, a single select
one of its options, a multi select a list of them, a text has up to 3,000 characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bulk_reset.sandbox.codes import ApiError
from bulk_reset.sandbox.rules import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

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
