"""The plan of a run: what will change in a field, in a row and in total.

Frozen, plain data. Units: ``*_s`` seconds, ``*_at`` UTC epoch seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

from bulk_reset.core.actions import ACTION_FIELD, PLANNED, action_to
from bulk_reset.core.counting import counted, duration
from bulk_reset.core.outcome import not_edited_of

Verdict = Literal["update", "unchanged", "conflict", "missing", "rejected"]
"""The planned result of a row; see ``MEANING_OF``."""

NOTHING: Final[Mapping[str, str]] = {}
"""The values of no field; shared, because a dictionary of its own would cost each row memory."""

MEANING_OF: Final = {
    "update": "will be updated",
    "conflict": "modified since the pull; will be skipped",
    "missing": "no such incident",
    "unchanged": "no change needed; will not be sent",
    "rejected": "invalid; will not be sent",
    "skipped": "duplicate of another row; will not be sent",
    "done before": "settled in an earlier run; will not be sent",
    "beyond the limit": "not processed, because of the row limit",
    "left out": "not selected; will not be sent",
}
"""The meaning of each count of the totals, in the order in which tables list them."""


class FieldPlan(NamedTuple):
    """The planned change of one field of an incident.

    A named tuple, as ``RowPlan``, because one is made for every row.

    Attributes:
        field: its name; ``field:NAME`` for a custom field; ``comment``.
        old: the current value.
        new: the value that the row sets.
        was: the pulled value, if it differs from the current one (a conflict); else None.
        lost: why ``old`` cannot be restored afterwards; empty if it can.
        old_value, new_value: both as the API has them; a custom field may be no text.
        origin: the rules of a profile that the new value is from; empty if it is the sheet's own.
    """

    field: str
    old: str
    new: str
    was: str | None = None
    lost: str = ""
    old_value: Any = None
    new_value: Any = None
    origin: str = ""

    @property
    def meaning(self) -> str:
        """What will be done to the incident; empty for a field that is no action."""
        if self.field != ACTION_FIELD:
            return ""
        return PLANNED.get(action_to(self.new) or "", "")

    @property
    def remark(self) -> str:
        """What will be done, and which rules the value is from; empty if there is nothing."""
        origin = f"from {self.origin}" if self.origin else ""
        return "; ".join(filter(None, (self.meaning, origin)))


class RowPlan(NamedTuple):
    """The planned result of one row.

    Attributes:
        row_number: 1-based, including the header, as Excel shows it.
        fields: the fields that will change; none for an unchanged, missing or rejected row.
        link: the address of the incident's page; empty if unknown.
        reason: why the row is rejected, or which values were expected; empty otherwise.
        expected: field -> the text that the incident must have, else the row is a conflict.
    """

    row_number: int
    incident_id: str
    verdict: Verdict
    fields: tuple[FieldPlan, ...]
    link: str = ""
    reason: str = ""
    expected: Mapping[str, str] = NOTHING


@dataclass(frozen=True, slots=True)
class PlanTotals:
    """The planned result of the whole sheet.

    Attributes:
        rows: number of rows in the sheet.
        counts: a name of ``MEANING_OF`` -> rows.
        fields: field -> rows that will change it.
        lost: number of values that cannot be restored.
        requests: number of requests that the run will send.
        estimate_s: how long they take at the account's quota.
        not_edited: rows in which nothing was edited since the pull; part of the unchanged rows.
        sha256: hash of the sheet's file, in hexadecimal.
        version: version of bulk-reset that made the plan.
        plan_sha256: hash of the saved plan; empty if it was not saved.
    """

    sheet: str
    made_at: float
    rows: int
    counts: dict[str, int]
    fields: dict[str, int]
    lost: int
    requests: int
    estimate_s: float
    not_edited: int = 0
    sha256: str = ""
    version: str = ""
    plan_sha256: str = ""


def facts(totals: PlanTotals) -> dict[str, str]:
    """Return the facts about the whole plan that its page and its workbook show."""
    made = datetime.fromtimestamp(totals.made_at, UTC)
    return {
        "Sheet": totals.sheet,
        "SHA-256 of the sheet": totals.sha256,
        "Planned": f"{made:%Y-%m-%d %H:%M:%S} UTC",
        "Planned by": f"bulk-reset {totals.version}".strip(),
        "Requests": f"{totals.requests:,}",
        "Time at the quota": duration(totals.estimate_s),
        "Cannot be undone": counted(totals.lost, "value"),
    }


def meaning_of(totals: PlanTotals, name: str) -> str:
    """Return the meaning of a count."""
    if name == "unchanged" and totals.not_edited:
        return f"{not_edited_of(totals.counts[name], totals.not_edited)}; will not be sent"
    return MEANING_OF.get(name, "")


def counts(totals: PlanTotals) -> Iterator[tuple[str, int, str]]:
    """Yield the name, number and meaning of each count, in the order of ``MEANING_OF``."""
    for name in [*MEANING_OF, *(name for name in totals.counts if name not in MEANING_OF)]:
        if totals.counts.get(name):
            yield name, totals.counts[name], meaning_of(totals, name)
    yield "all rows", totals.rows, ""
