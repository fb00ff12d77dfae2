"""Which previous values an undo can restore, and why the others cannot be restored.

The API's rules alone decide: an undo also restores what a sheet may not set, such as control
characters, a text of spaces or ``#N/A``.
"""

from __future__ import annotations

import json
from typing import Final

from bulk_reset.core.actions import ACTION_FIELD, undoing_action
from bulk_reset.core.custom_fields import is_custom, is_whole
from bulk_reset.core.fields import SEVERITY_FIELD, TEXT_LENGTHS
from bulk_reset.sheets.cell_rules import api_error_of
from bulk_reset.sheets.chunk import INCOMPLETE_CHARACTER

_NOT_UNDONE: Final = "an acknowledgement cannot be taken back"


def why_not_restorable(name: str, value: object, wrote: object = None) -> str:
    """Return why a previous value cannot be restored; empty if it can.

    Args:
        wrote: the value that replaced it.
    """
    shortest, longest = TEXT_LENGTHS.get(name, (1, 0))
    if isinstance(value, str) and shortest <= len(value) <= longest and is_whole(value):
        return ""  # as nearly all values; a page asks for hundreds of thousands
    if name == ACTION_FIELD:
        return "" if undoing_action(value, wrote) else _NOT_UNDONE
    if is_custom(name):
        if value is None or value == "":
            return "it was not set, and the API cannot unset a custom field"
        problem = "" if is_whole(json.dumps(value, ensure_ascii=False)) else INCOMPLETE_CHARACTER
        return f"the API does not accept the previous value: {problem}" if problem else ""
    return _why_not_standard(name, value)


def _why_not_standard(name: str, value: object) -> str:
    if value is None or value == "":
        return "it was empty, and the API cannot empty a field"
    if not isinstance(value, str):
        return "it was not a text"
    if value == "Ok" and name == SEVERITY_FIELD:
        return "it was Ok, which the API cannot set"
    problem = api_error_of(name, value)
    return f"the API does not accept the previous value: {problem}" if problem else ""
