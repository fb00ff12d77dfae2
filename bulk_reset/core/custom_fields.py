"""Custom fields and comments: what a sheet can set beside the six standard fields.

Each needs its own request. A column ``field:NAME`` sends its cells as text; a column
``field:NAME:json`` sends them as JSON, for fields that hold lists, numbers or booleans.

Source: the Flashduty Open API's ``ResetIncidentFieldRequest`` (the type must match the field's
definition) and ``CommentIncidentRequest``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

from bulk_reset.core.actions import ACTION_FIELD, PROGRESS_FIELD, is_reached
from bulk_reset.core.fields import TEXT_LENGTHS
from bulk_reset.core.look_alikes import latin_letters, strip_invisible, without_invisible
from bulk_reset.core.safe_text import escape_controls

CUSTOM_PREFIX: Final = "field:"
COMMENT_FIELD: Final = "comment"
LONGEST_COMMENT: Final = 1024
"""Characters. Source: ``CommentIncidentRequest``."""
_JSON_SUFFIX: Final = ":json"
_MOST_DIGITS: Final = 300
"""Of a whole number in JSON; a longer one is infinite for most readers."""
_PREFIX_WORD, _SUFFIX_WORD = CUSTOM_PREFIX.strip(":"), _JSON_SUFFIX.strip(":")
_COLONS: Final = re.compile("[:\uff1a\ufe55\u2236\ua789]")


_ODD: Final = re.compile(r"[\s%,;\"\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Part(NamedTuple):
    """One request of a row in addition to ``/incident/reset``."""

    field: str
    """``field:NAME``, ``action`` or ``comment``."""
    body: bytes
    """The request's JSON, encoded once."""


def part_of(incident_id: str, column: str, text: str) -> Part:
    """Return the request for a cell; raises ValueError if a JSON column's cell is not JSON."""
    if column == ACTION_FIELD:
        return Part(column, _encoded({"incident_ids": [incident_id], column: text}))
    if not is_custom(column):
        return Part(column, comment_body([incident_id], text))
    name, value = api_name(column), value_of(column, text)
    body = {"incident_id": incident_id, "field_name": name, "field_value": value}
    return Part(field_of(column), _encoded(body))


def comment_body(incident_ids: Sequence[str], text: str, *, mute_reply: bool = False) -> bytes:
    """Return the request that adds a comment to up to 100 incidents.

    Args:
        mute_reply: whether the account's webhooks are not called for it.
    """
    body = {"incident_ids": list(incident_ids), COMMENT_FIELD: text}
    return _encoded({**body, "mute_reply": True} if mute_reply else body)


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def custom_column(header: str) -> str | None:
    """Return ``field:NAME`` or ``field:NAME:json`` if a column's name has that form, else None.

    ``field`` and ``json`` may have letters that look alike, and the colon may be a wide one.
    Spaces in NAME become ``%20``, because a report separates fields by spaces; other characters
    that a report's line must not contain are escaped too. ``header_of`` reverses this.
    """
    prefix, *rest = _COLONS.split(header, maxsplit=1)
    if not rest or latin_letters(prefix).strip().casefold() != _PREFIX_WORD:
        return None
    own = _visible(rest[0])
    before, last = _split_last(own)
    is_json = bool(before) and latin_letters(last).strip().casefold() == _SUFFIX_WORD
    name = _visible(before) if is_json else own
    quoted = _ODD.sub(lambda odd: quote(odd[0], safe="", errors="surrogatepass"), name)
    return f"{CUSTOM_PREFIX}{quoted}{_JSON_SUFFIX if is_json else ''}" if quoted else None


def _visible(name: str) -> str:
    """Return a field's name without invisible characters, which some scripts need inside words."""
    visible = without_invisible(name).strip()
    return visible if visible.isascii() else strip_invisible(name)


def _split_last(name: str) -> tuple[str, str]:
    """Return what is before the last colon and what is behind it; before is empty without one."""
    last = _COLONS.split(name)[-1]
    return name[: -len(last) - 1] if len(last) < len(name) else "", last


def header_of(column: str) -> str:
    """Return the header name that ``custom_column`` turns into this column."""
    if not is_custom(column):
        return column
    return CUSTOM_PREFIX + api_name(column) + column.removeprefix(field_of(column))


def is_custom(field: str) -> bool:
    """Return whether a field is a custom field."""
    return field.startswith(CUSTOM_PREFIX)


def field_of(column: str) -> str:
    """Return the field that a column sets: the column without ``:json``."""
    return column.removesuffix(_JSON_SUFFIX) if is_custom(column) else column


def api_name(field: str) -> str:
    """Return the API's name of a custom field."""
    return unquote(field_of(field).removeprefix(CUSTOM_PREFIX), errors="surrogatepass")


def value_of(column: str, text: str) -> Any:  # noqa: ANN401  (JSON)
    """Return the value of a cell: its text, or the parsed JSON.

    Raises:
        ValueError: it is not JSON, or a part of it would be lost.
    """
    if not (is_custom(column) and column.endswith(_JSON_SUFFIX)):
        return text
    try:
        return _strict_json.decode(text)
    except RecursionError:
        raise ValueError("too many levels") from None


def _number(text: str) -> float:
    number = float(text)
    is_zero = not any(digit in "123456789" for digit in re.split("[eE]", text)[0])
    if not math.isfinite(number) or (number == 0 and not is_zero):
        raise ValueError(f"the number {text[:20]} is out of range")
    return number


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text):,} digits is out of range")
    return int(text)


def _not_json(name: str) -> Any:  # noqa: ANN401  (never returns)
    raise ValueError(f"{name} is not valid JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is used twice")
    return values


_strict_json: Final = json.JSONDecoder(
    parse_float=_number,
    parse_int=_integer,
    parse_constant=_not_json,
    object_pairs_hook=_object,
)


def text_of(column: str, value: object) -> str:
    """Return a value as the text of a cell of its column; empty if there is no value."""
    if value is None:
        return ""
    if isinstance(value, str) and not (column.endswith(_JSON_SUFFIX) and is_custom(column)):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return escape_controls(text) if is_whole(text) else json.dumps(value)


def is_whole(text: str) -> bool:
    """Return whether a text can be sent: it contains no half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def live_value(incident: Mapping[str, Any], column: str) -> Any:  # noqa: ANN401  (JSON)
    """Return the current value of an incident's field; None or empty if it has none.

    That of ``action`` is the incident's progress.
    """
    if column in TEXT_LENGTHS or not is_custom(column):
        return incident.get(PROGRESS_FIELD if column == ACTION_FIELD else column)
    fields = incident.get("fields")
    return fields.get(api_name(column)) if isinstance(fields, Mapping) else None


def has_value(field: str, live: object, wanted: object) -> bool:
    """Return whether the current value of a field is the wanted one, so that nothing is sent."""
    return is_reached(live, wanted) if field == ACTION_FIELD else is_same(live, wanted)


def is_same(one: object, other: object) -> bool:
    """Return whether two values are equal, ignoring line endings; None equals the empty text.

    True and 1 are different.
    """
    if isinstance(one, str) and isinstance(other, str):
        if one == other or not ("\r" in one or "\r" in other):
            return one == other
        return _lines(one) == _lines(other)
    if one in (None, "") and other in (None, ""):
        return True
    return type(one) is type(other) and one == other


def is_trimmed(stored: object, text: object) -> bool:
    """Return whether a value is a text as the API may store it: without white space around it.

    White space alone equals no value.
    """
    return is_same(trimmed(text), stored) or trimmed(text) == trimmed(stored) == ""


def trimmed(value: object) -> object:
    """Return a text without white space around it, and with one kind of line endings.

    No value is the empty text.
    """
    if value is None:
        return ""
    return _lines(value).strip() if isinstance(value, str) else value


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
