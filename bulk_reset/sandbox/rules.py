"""What a request's body may say: each function reads one kind of body or raises ``ApiError``.

Pure: nothing is looked up or changed here. A field that the API does not know is ignored, as
it says nothing of additional ones.

Source: the Flashduty Open API's ``UpdateIncidentFieldsRequest``, ``IncidentInfoRequest``,
``ListIncidentsByIdsRequest``, ``ResetIncidentFieldRequest``, ``CommentIncidentRequest``,
``AckIncidentRequest``, ``ResolveIncidentRequest`` and ``ReopenIncidentRequest``.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from bulk_reset.sandbox.codes import ApiError

Body = dict[str, Any]

MAX_BODY_BYTES: Final = 1024 * 1024
"""Not published; a reset of the longest allowed texts, all escaped, is about 300 kB."""
MAX_IDS: Final = 100
MAX_COMMENT: Final = 1024
"""Characters (Unicode code points)."""
TEXT_LENGTHS: Final[dict[str, tuple[int, int]]] = {
    "title": (3, 200),
    "description": (3, 6144),
    "impact": (3, 6144),
    "root_cause": (3, 6144),
    "resolution": (3, 6144),
}
"""Shortest and longest text of each field, in characters (Unicode code points)."""
SETTABLE_SEVERITIES: Final = ("Info", "Warning", "Critical")
ACTION_TEXTS: Final = {"ack": (), "resolve": ("root_cause", "resolution"), "reopen": ("reason",)}
"""Action -> the texts that a request for it may have, of up to ``MAX_COMMENT`` characters."""
_ID_PATTERN: Final = re.compile(r"[0-9a-fA-F]{24}")


def invalid(field: str, reason: str) -> ApiError:
    """Return the error that says which parameter is wrong, and why."""
    return ApiError("InvalidParameter", f"The specified parameter {field} is not valid: {reason}.")


def is_id(value: object) -> bool:
    """Return whether a value is a well-formed incident id, in either case."""
    return isinstance(value, str) and _ID_PATTERN.fullmatch(value) is not None


def kind_of(value: object) -> str:
    """Return what kind of JSON value this is; every number is of one kind."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return kinds.get(type(value), "null" if value is None else "a number")


def parse_json(text: str) -> Any:  # noqa: ANN401 - any JSON
    """Return what a JSON text holds.

    Raises:
        ValueError: it is none; ``NaN`` is not, and a number beyond a double is taken for none.
        RecursionError: it is nested too deep.
    """
    return json.loads(text, parse_float=_finite, parse_constant=_finite)


def read_object(content: bytes) -> Body:
    """Return the JSON object that a request's body holds.

    Raises:
        ApiError: ``BadRequest`` if it is not JSON in UTF-8, ``InvalidParameter`` if it is
            JSON but not an object.
    """
    try:
        body = parse_json(content.decode())
    except (ValueError, RecursionError) as exc:
        raise ApiError("BadRequest", "The request body is not valid JSON.") from exc
    if not isinstance(body, dict):
        raise ApiError("InvalidParameter", "The request body is not a JSON object.")
    return body


def read_id(body: Body) -> str:
    """Return the body's ``incident_id`` in lower case, the one that incidents are kept under."""
    incident_id = body.get("incident_id")
    if not is_id(incident_id):
        raise invalid("incident_id", "24 hexadecimal characters are required")
    return str(incident_id).lower()


def read_ids(body: Body) -> list[str]:
    """Return the body's ``incident_ids`` in lower case, each once, in the order asked."""
    ids = body.get("incident_ids")
    if not isinstance(ids, list) or len(ids) > MAX_IDS:
        raise invalid("incident_ids", f"a list of at most {MAX_IDS} ids is required")
    if not all(is_id(one) for one in ids):
        raise invalid("incident_ids", "every id has 24 hexadecimal characters")
    return list(dict.fromkeys(one.lower() for one in ids))


def read_changes(body: Body) -> dict[str, str]:
    """Return the fields that a reset sets, at least one, each within its limits."""
    changes = {
        name: _read_text(body[name], name, *lengths)
        for name, lengths in TEXT_LENGTHS.items()
        if name in body
    }
    if "incident_severity" in body:
        if body["incident_severity"] not in SETTABLE_SEVERITIES:
            raise invalid("incident_severity", f"one of {', '.join(SETTABLE_SEVERITIES)}")
        changes["incident_severity"] = body["incident_severity"]
    if not changes:
        raise ApiError("InvalidParameter", "At least one field to update must be provided.")
    return changes


def read_field(body: Body) -> tuple[str, object]:
    """Return the name and the new value of the custom field that is set.

    Stricter than published: a name of no characters and a value that is missing or null are
    refused, because no field could be meant.
    """
    name, value = body.get("field_name"), body.get("field_value")
    if not isinstance(name, str) or not name:
        raise invalid("field_name", "a string that is not empty is required")
    if value is None:
        raise invalid("field_value", "a value is required, and null is none")
    return name, value


def read_comment(body: Body) -> tuple[list[str], str, bool]:
    """Return the ids to comment on, each once, the comment, and whether webhooks are muted.

    White space around the comment is removed before its characters are counted. Stricter than
    published: a comment that is missing or has no characters is refused.
    """
    ids, comment = read_ids(body), body.get("comment")
    if not ids:
        raise invalid("incident_ids", "at least one id is required")
    mute_reply = body.get("mute_reply", False)
    if type(mute_reply) is not bool:
        raise invalid("mute_reply", "true or false is required")
    text = comment.strip() if isinstance(comment, str) else comment
    return ids, _read_text(text, "comment", 1, MAX_COMMENT), mute_reply


def read_action(action: str, body: Body) -> tuple[list[str], dict[str, str]]:
    """Return the ids to acknowledge, resolve or reopen, each once, and the texts with it."""
    ids = read_ids(body)
    if not ids:
        raise invalid("incident_ids", "at least one id is required")
    names = [name for name in ACTION_TEXTS[action] if name in body]
    return ids, {name: _read_text(body[name], name, 0, MAX_COMMENT) for name in names}


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        # It could not be answered again.
        raise ValueError(f"found {text}")
    return number


def _read_text(value: object, name: str, shortest: int, longest: int) -> str:
    if not isinstance(value, str):
        raise invalid(name, "a string is required")
    if not shortest <= len(value) <= longest:
        raise invalid(name, f"{shortest} to {longest} characters are allowed")
    return value
