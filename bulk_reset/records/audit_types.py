"""The types of an audit's values, checked when its lines are read: a person may have edited them.

Keys that are not known here are of another version, and are not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Record = dict[str, Any]
_Check = Callable[[object], bool]
_LARGEST: Final = 1e15
"""Above all counts, and below what a float cannot hold exactly."""
_LATEST_AT: Final = 1e11
"""Seconds: the year 5138."""


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _is_amount(value: object) -> bool:
    return type(value) in {int, float} and 0 <= value < _LARGEST  # type: ignore[operator]


def _is_time(value: object) -> bool:
    return type(value) in {int, float} and 0 <= value < _LATEST_AT  # type: ignore[operator]


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _are_counts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _are_amounts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_amount, value.values()))


def _are_texts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _are_peaks(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_peak, value))


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_object, value))


def _is_peak(value: object) -> bool:
    return isinstance(value, dict) and all(
        _is_amount(value.get(name)) for name in ("window_s", "limit", "started")
    )


_TYPES: Final[Mapping[str, tuple[_Check, str]]] = {
    **dict.fromkeys(("version", "user", "host", "sheet", "scope"), (_is_text, "a text")),
    **dict.fromkeys(("sheet_sha256", "note", "previous"), (_is_text, "a text")),
    **dict.fromkeys(("started_at", "ended_at"), (_is_time, "a time")),
    **dict.fromkeys(
        ("rows", "requests", "throttled", "sheet_bytes", "not_as_written", "exit_code", "line"),
        (_is_count, "a whole number"),
    ),
    "counts": (_are_counts, "an object of whole numbers"),
    "waited_s": (_are_amounts, "an object of numbers"),
    "peaks": (_are_peaks, "a list of objects with window_s, limit and started"),
    **dict.fromkeys(("options", "stop", "source"), (_is_object, "an object")),
    "finished": (_are_texts, "an object of texts"),
    "approvals": (_are_objects, "a list of objects"),
}
"""Key -> whether a value has its type, and the type's name. Every value may also be null."""


def wrong_types(record: Record) -> tuple[str, str] | None:
    """Return the first key of a line whose value has another type, and why; None for none."""
    for name, (is_right, kind) in _TYPES.items():
        value = record.get(name)
        if value is not None and not is_right(value):
            return name, f"not {kind}"
    return None
