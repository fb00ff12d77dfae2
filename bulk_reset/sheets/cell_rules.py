"""The API's rules for single cells: the error of a text, with its fix.

Source of the rules: ``bulk_reset.core.fields``. Two rules are our own, because the API accepts
text that is certainly an accident: text of only invisible characters, and control characters
other than tab and line break (part of a binary file, a wrong encoding, a terminal's colours).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from bulk_reset.core.actions import ACTION_FIELD, action_named, nearest_action
from bulk_reset.core.counting import counted
from bulk_reset.core.custom_fields import (
    COMMENT_FIELD,
    LONGEST_COMMENT,
    is_whole,
    value_of,
)
from bulk_reset.core.fields import SEVERITIES, SEVERITY_FIELD, TEXT_LENGTHS
from bulk_reset.core.incident_ids import ID_DIGITS, ids_in_link, is_id
from bulk_reset.core.look_alikes import is_invisible
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.chunk import INCOMPLETE_CHARACTER

_SHOWN_CHARACTERS: Final = 60
CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
FORMULA_ERRORS: Final = frozenset(
    (
        *("#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!"),
        *("#SPILL!", "#CALC!", "#GETTING_DATA", "#FIELD!", "#BLOCKED!", "#CONNECT!"),
    )
)
"""The text that a spreadsheet exports for a formula that failed."""
_NUMBER_LIKE: Final = re.compile(r"[0-9]+([.,][0-9]+)?(e[+-]?[0-9]+)?")
_VALID_SEVERITIES: Final = frozenset({"", *SEVERITIES})
_SEVERITY_MEANT: Final = {
    **{name.casefold(): name for name in SEVERITIES},
    **dict.fromkeys(("p1", "p0", "high", "fatal", "crit", "严重", "紧急", "致命"), "Critical"),
    **dict.fromkeys(("p2", "medium", "warn", "major", "警告", "重要"), "Warning"),
    **dict.fromkeys(("p3", "p4", "low", "information", "minor", "提醒", "信息", "一般"), "Info"),
}

CellError = tuple[str, str, str]
"""kind, problem, fix. Each is a phrase without a full stop: they become cells of a table or
``problem. fix.``"""


def id_error(text: str) -> CellError | None:
    """Return the error of an incident id; None if it has none."""
    if is_id(text):
        return None
    if not text:
        return "id_missing", "the incident ID is missing", "Enter the ID, or remove the row"
    if _NUMBER_LIKE.fullmatch(text) and ("e" in text or "." in text or "," in text):
        return (
            "id_number",
            "a spreadsheet converted the ID to a number, and digits are lost",
            "Format the column as Text, then paste the ID again from its source",
        )
    in_link = ids_in_link(text)
    if in_link is not None:
        found = counted(len(in_link), "incident ID") if in_link else "no incident ID"
        return "id_invalid", f"the link contains {found}", "Use the ID of one incident"
    if len(text) != ID_DIGITS:
        problem = f"{counted(len(text), 'character')}; an ID has {ID_DIGITS}"
        return "id_invalid", problem, "Copy the whole ID"
    return (
        "id_invalid",
        "an ID contains only the digits 0-9 and the letters a-f",
        "Copy the ID again from its source",
    )


def text_error(name: str, text: str) -> CellError | None:
    """Return the error of the text of a field; None if it has none."""
    shortest, longest = TEXT_LENGTHS[name]
    if text in FORMULA_ERRORS:
        problem = f"the formula failed with {text}"
        return "formula_error", problem, "Enter the text itself, or clear the cell"
    if text.startswith('="') and text.endswith('"'):
        problem = "a formula of a spreadsheet around the text"
        return "formula", problem, 'Remove =" and the " at the end'
    if len(text) > longest:
        return _too_long(text, longest)
    if not text.isprintable() and (control := CONTROL.search(text)):
        code = f"U+{ord(control[0]):04X}"
        problem = f"contains the control character {code} at position {control.start() + 1:,}"
        return "control_character", problem, "Remove it, or clear the cell"
    if is_invisible(text):
        # It has no meaning as a value, even if it is long enough.
        what = "spaces" if text.isspace() else "invisible characters"
        return "only_spaces", f"contains only {what}", "Clear the cell"
    return _too_short(text, shortest)


def _too_short(text: str, shortest: int) -> CellError | None:
    if not 0 < len(text) < shortest:
        return None
    problem = f"{counted(len(text), 'character')}; the minimum is {shortest}"
    return "too_short", problem, f"Enter at least {shortest} characters, or clear the cell"


def _too_long(text: str, longest: int) -> CellError:
    problem = f"{len(text):,} characters; the maximum is {longest:,}"
    return "too_long", problem, f"Shorten it by {counted(len(text) - longest, 'character')}"


def severity_error(text: str) -> CellError | None:
    """Return the error of a severity; None if it has none."""
    if text in _VALID_SEVERITIES:
        return None
    meant = _SEVERITY_MEANT.get(text.strip().casefold())
    if meant:
        return "severity", "not a severity", f"Use {meant}"
    is_ok = text.strip().casefold() == "ok"
    problem = "the severity Ok cannot be set" if is_ok else "not a severity"
    return "severity", problem, "Use Info, Warning or Critical, or clear the cell"


def further_error(name: str, text: str) -> CellError | None:
    """Return the error of a cell for a custom field, an action or a comment."""
    if not text:
        return None
    if name == ACTION_FIELD:
        return action_error(text)
    if name == COMMENT_FIELD and len(text) > LONGEST_COMMENT:
        return _too_long(text, LONGEST_COMMENT)
    if text in FORMULA_ERRORS or text[:2] == '="' or is_invisible(text) or CONTROL.search(text):
        return text_error("description", text)
    return _value_error(name, text)


def action_error(text: str) -> CellError | None:
    """Return the error of an action; None if it has none."""
    if action_named(text):
        return None
    near = nearest_action(text)
    others = "ack, resolve or reopen, or clear the cell"
    return "action", "not an action", f"Use {near}, if you mean it" if near else f"Use {others}"


def _value_error(name: str, text: str) -> CellError | None:
    try:
        value = value_of(name, text)
    except ValueError as exc:
        is_syntax = isinstance(exc, json.JSONDecodeError)
        problem = "not valid JSON" if is_syntax else shorten(str(exc))
        return "json", problem, 'Use for example ["a", "b"], 5, true, or "a" for a text'
    if not is_whole(json.dumps(value, ensure_ascii=False)):
        return "json", INCOMPLETE_CHARACTER, "Enter the complete character"
    for one in _texts_in(value):
        if one and (is_invisible(one) or CONTROL.search(one)):
            return text_error("description", one)
    if value is None:
        return "json", "null cannot be set", "Clear the cell to leave the field unchanged"
    return None


def _texts_in(value: Any) -> Iterator[str]:  # noqa: ANN401  (JSON)
    """Yield the texts within a value; names of objects too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        value = list(value.values())
    for one in value if isinstance(value, list) else ():
        yield from _texts_in(one)


def error_of(name: str, text: str) -> str:
    """Return why a text cannot be set in a column; empty if it can."""
    found = problem_of(name, text)
    return found[0] if found else ""


def problem_of(name: str, text: str) -> tuple[str, str] | None:
    """Return why a text cannot be set in a column, and the fix; None if it can."""
    if name == SEVERITY_FIELD:
        found = severity_error(text)
    elif name in TEXT_LENGTHS:
        found = text_error(name, text)
    else:
        found = further_error(name, text)
    if found is None and not is_whole(text):
        return INCOMPLETE_CHARACTER, "Enter the complete character"
    return found[1:] if found else None


def api_error_of(name: str, text: str) -> str:
    """Return why the API does not accept a text for a standard field; empty if it does."""
    if name == SEVERITY_FIELD:
        found = severity_error(text)
    else:
        shortest, longest = TEXT_LENGTHS[name]
        found = _too_long(text, longest) if len(text) > longest else _too_short(text, shortest)
    if found is None and not is_whole(text):
        return INCOMPLETE_CHARACTER
    return found[1] if found else ""


def shorten(text: str) -> str:
    """Return the text on one line, cut to 60 characters with an ellipsis."""
    line = one_line(text[: 4 * _SHOWN_CHARACTERS])
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"
