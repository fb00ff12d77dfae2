"""Compares a row with its incident: update, no change needed, conflict, or no such incident.

Pure. Three values of each field count: what the sheet was pulled with (where that is known),
what the row sets, and what the incident has now.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from bulk_reset.core.actions import ACTION_FIELD, PROCESSING, TRIGGERED
from bulk_reset.core.change import Change
from bulk_reset.core.custom_fields import (
    COMMENT_FIELD,
    field_of,
    has_value,
    is_same,
    is_trimmed,
    live_value,
    text_of,
    value_of,
)
from bulk_reset.core.fields import SETTABLE_FIELDS
from bulk_reset.core.outcome import SAME_VALUES, Outcome, Status
from bulk_reset.core.plan import NOTHING
from bulk_reset.core.safe_text import one_line

_SHOWN_CHARACTERS: Final = 60
_STANDARD: Final = frozenset(SETTABLE_FIELDS)
_EMPTY: Final = (None, "")


class Verdict(StrEnum):
    """What a run does with a row, given its incident."""

    UPDATE = "update"
    UNCHANGED = "unchanged"
    CONFLICT = "conflict"
    MISSING = "missing"


class Comparison(NamedTuple):
    """A row compared with its incident; a named tuple for speed, like ``Change``.

    Attributes:
        change: what is left to send, without fields that have the wanted value already.
        before: field -> the incident's current value, of ``change.fields`` but a comment.
        wanted: field -> the row's value, of the same fields.
        conflicts: field -> the value that was pulled, where it was modified since.
        link: the incident's page.
        unexpected: field -> the value that the sheet expects and the incident does not have.
        incident: as it was read; None where there is no such incident.
    """

    verdict: Verdict
    change: Change
    before: Mapping[str, Any]
    wanted: Mapping[str, Any]
    conflicts: Mapping[str, Any]
    link: str = ""
    incident: Mapping[str, Any] | None = None
    unexpected: Mapping[str, str] = NOTHING


def compare(
    change: Change,
    incident: Mapping[str, Any] | None,
    *,
    overwrites: bool = False,
    own: Mapping[str, Any] | None = None,
    is_last_written: Callable[[str, object], bool] = lambda _name, _value: False,
) -> Comparison:
    """Compare a row with its incident as it is now.

    Args:
        incident: None where there is no such incident.
        overwrites: whether values that were modified since the pull are overwritten.
        own: field -> the value that an earlier row of the same incident sets in this run.
        is_last_written: whether a field's value is what an earlier run of the same report wrote
            last, so that a workbook that is edited again is no conflict with itself.
    """
    if incident is None:
        return Comparison(Verdict.MISSING, change, {}, {}, {})
    own = own or NOTHING
    wanted = change.wanted()
    before, differing = find_differing(incident, wanted, own)
    was = change.was or NOTHING
    conflicts = was and {
        name: was[name]
        for name in differing
        if name in was and name not in own
        if not is_same(was[name], before[name])
        if not is_trimmed(before[name], was[name])
        if not is_same(was[name], text_of(name, before[name]))
        if not is_last_written(name, before[name])
    }
    left = change
    if len(differing) < len(change.fields):
        left = change.only([*differing, *(name for name in change.fields if name == COMMENT_FIELD)])
    verdict = Verdict.UPDATE if left.fields else Verdict.UNCHANGED
    expected = _expected(change, wanted, differing)
    unexpected = expected and {
        name: text
        for name, text in expected.items()
        if left.fields and name not in own
        if not _is_expected(name, text, live_value(incident, name))
        if not is_last_written(field_of(name), live_value(incident, name))
    }
    if (conflicts or unexpected) and not overwrites:
        verdict = Verdict.CONFLICT
    if len(differing) < len(wanted):
        before = {name: before[name] for name in differing}
        wanted = {name: wanted[name] for name in differing}
    link = incident.get("detail_url")
    return Comparison(
        verdict,
        left,
        before,
        wanted,
        conflicts,
        link if isinstance(link, str) else "",
        incident,
        unexpected,
    )


def find_differing(
    incident: Mapping[str, Any], wanted: Mapping[str, Any], own: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return field -> the incident's current value, and the fields that have not the wanted one.

    A value that an earlier row sets is set again: that row may fail. An action is not repeated.
    """
    before: dict[str, Any] = {}
    differing: list[str] = []
    has_own = bool(own)
    for name, value in wanted.items():
        is_standard = name in _STANDARD
        live = incident.get(name) if is_standard else live_value(incident, name)
        if has_own and name in own:
            if name != ACTION_FIELD:
                before[name] = live if has_value(name, own[name], value) else own[name]
                differing.append(name)
                continue
            live = own[name]
        before[name] = live
        # Most fields have no value, which needs no call.
        is_empty = is_standard and live is None
        is_there = value in _EMPTY if is_empty else has_value(name, live, value)
        if not is_there:
            differing.append(name)
    return before, differing


def _expected(
    change: Change, wanted: Mapping[str, Any], differing: Collection[str]
) -> Mapping[str, str]:
    """Return field -> the text that the incident must have; to acknowledge, it must be open."""
    expected = change.expected or NOTHING
    if ACTION_FIELD not in differing or wanted[ACTION_FIELD] != PROCESSING:
        return expected
    return {**expected, ACTION_FIELD: TRIGGERED}


def _is_expected(column: str, text: str, live: object) -> bool:
    """Return whether an incident has the value that a sheet expects, as the sheet writes it."""
    if is_same(text, text_of(column, live)) or is_trimmed(live, text):
        return True
    with contextlib.suppress(ValueError):
        return is_same(value_of(column, text), live)
    return False


def outcome_unless_sent(comparison: Comparison, finished_at: float) -> Outcome | None:
    """Return the outcome of a row that is not sent; None for a row to send."""
    change, code, message = comparison.change, "", ""
    match comparison.verdict:
        case Verdict.UPDATE:
            return None
        case Verdict.UNCHANGED:
            status, message = Status.UNCHANGED, SAME_VALUES
        case Verdict.MISSING:
            status, code = Status.FAILED, "ResourceNotFound"
            message = "no such incident; not sent"
        case Verdict.CONFLICT:
            status, code, message = Status.CONFLICT, "changed_since", _describe(comparison)
    return Outcome(
        change.row_number,
        change.incident_id,
        status,
        change.fields,
        change.digest,
        error_code=code,
        error_message=message,
        finished_at=finished_at,
    )


def _describe(comparison: Comparison) -> str:
    """Return each conflict with its three values."""
    modified = (
        f"{name}: {_shown(was)} when pulled, {_shown(comparison.before[name])} now, "
        f"{_shown(comparison.wanted[name])} in the sheet"
        for name, was in comparison.conflicts.items()
    )
    return "; ".join([*modified, *unexpected_values(comparison)])


def unexpected_values(comparison: Comparison) -> list[str]:
    """Return each value that the sheet expects and the incident does not have, in words."""
    incident = comparison.incident or {}
    return [
        f"{name}: {_shown(text)} expected, {_shown(text_of(name, live_value(incident, name)))} now"
        for name, text in comparison.unexpected.items()
    ]


def _shown(value: object) -> str:
    text = one_line(str(value if value is not None else ""))
    cut = text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
    return f"'{cut}'"
