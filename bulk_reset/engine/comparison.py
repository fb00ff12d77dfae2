"""What a row would do to its incident as it is now: change it, nothing, or undo somebody's work.

Pure. It looks at three values of each field: what the sheet was made from (where that is
known), what the row wants, and what the incident has now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from bulk_reset.core.change import Change
from bulk_reset.core.custom_fields import COMMENT_FIELD, is_same, live_value, text_of
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.safe_text import one_line

_SHOWN_CHARACTERS: Final = 60


class Verdict(StrEnum):
    """What is to be done with a row, by what its incident has now."""

    UPDATE = "update"
    UNCHANGED = "unchanged"
    CONFLICT = "conflict"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a row would do.

    Attributes:
        change: what is left to send, without the fields that are so already.
        before: field -> what the incident has now, of ``change.fields`` but a comment.
        wanted: field -> what the row wants, of the same.
        conflicts: field -> what the sheet was made from, where somebody has changed it since.
        link: the incident's page.
    """

    verdict: Verdict
    change: Change
    before: Mapping[str, Any]
    wanted: Mapping[str, Any]
    conflicts: Mapping[str, Any]
    link: str = ""


def compare(
    change: Change,
    incident: Mapping[str, Any] | None,
    *,
    overwrites: bool = False,
    own: Mapping[str, Any] | None = None,
    is_last_written: Callable[[str, object], bool] = lambda _name, _value: False,
) -> Comparison:
    """Judge a row by its incident as it is now.

    Args:
        incident: None where there is none.
        overwrites: whether what somebody has changed since is written over.
        own: field -> what an earlier row of the same incident has set, or is going to.
        is_ours: whether a field's value is what an earlier run of the same report wrote last: a
            workbook that is edited again overwrites nobody but its own user.
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
    )


def outcome_unless_sent(comparison: Comparison, finished_at: float) -> Outcome | None:
    """Return the outcome of a row that is not to be sent; None for one that is."""
    change, code, message = comparison.change, "", ""
    match comparison.verdict:
        case Verdict.UPDATE:
            return None
        case Verdict.UNCHANGED:
            status = Status.UNCHANGED
        case Verdict.MISSING:
            status, code = Status.FAILED, "ResourceNotFound"
            message = "there is no such incident; not sent"
        case Verdict.CONFLICT:
            status, code, message = Status.CONFLICT, "changed_since", _tell(comparison)
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


def _tell(comparison: Comparison) -> str:
    told = [
        f"{name}: the sheet was made from {_shown(was)}, it is {_shown(comparison.before[name])} "
        f"now, and {_shown(comparison.wanted[name])} is wanted"
        for name, was in comparison.conflicts.items()
    ]
    return "; ".join(told)


def _shown(value: object) -> str:
    text = one_line(str(value if value is not None else ""))
    cut = text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
    return f"'{cut}'"
