"""Compares a row with its incident: update, no change needed, conflict, or no such incident.

Pure. Three values of each field count: what the sheet was pulled with (where that is known),
what the row sets, and what the incident has now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from bulk_reset.core.change import Change
from bulk_reset.core.custom_fields import COMMENT_FIELD, is_same, is_trimmed, live_value, text_of
from bulk_reset.core.outcome import SAME_VALUES, Outcome, Status
from bulk_reset.core.safe_text import one_line

_SHOWN_CHARACTERS: Final = 60


class Verdict(StrEnum):
    """What a run does with a row, given its incident."""

    UPDATE = "update"
    UNCHANGED = "unchanged"
    CONFLICT = "conflict"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row compared with its incident.

    Attributes:
        change: what is left to send, without fields that have the wanted value already.
        before: field -> the incident's current value, of ``change.fields`` but a comment.
        wanted: field -> the row's value, of the same fields.
        conflicts: field -> the value that was pulled, where it was modified since.
        link: the incident's page.
        incident: as it was read; None where there is no such incident.
    """

    verdict: Verdict
    change: Change
    before: Mapping[str, Any]
    wanted: Mapping[str, Any]
    conflicts: Mapping[str, Any]
    link: str = ""
    incident: Mapping[str, Any] | None = None


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
    own = own or {}
    wanted = change.wanted()
    before = {name: own.get(name, live_value(incident, name)) for name in wanted}
    differing = [name for name in wanted if not is_same(before[name], wanted[name])]
    conflicts = {
        name: change.was[name]
        for name in differing
        if change.was is not None and name in change.was and name not in own
        if not is_same(change.was[name], before[name])
        if not is_trimmed(before[name], change.was[name])
        if not is_same(change.was[name], text_of(name, before[name]))
        if not is_last_written(name, before[name])
    }
    left = change.only([*differing, *(name for name in change.fields if name == COMMENT_FIELD)])
    verdict = Verdict.UPDATE if left.fields else Verdict.UNCHANGED
    if conflicts and not overwrites:
        verdict = Verdict.CONFLICT
    link = incident.get("detail_url")
    return Comparison(
        verdict,
        left,
        {name: before[name] for name in differing},
        {name: wanted[name] for name in differing},
        conflicts,
        link if isinstance(link, str) else "",
        incident,
    )


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
    return "; ".join(
        f"{name}: {_shown(was)} when pulled, {_shown(comparison.before[name])} now, "
        f"{_shown(comparison.wanted[name])} in the sheet"
        for name, was in comparison.conflicts.items()
    )


def _shown(value: object) -> str:
    text = one_line(str(value if value is not None else ""))
    cut = text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
    return f"'{cut}'"
