"""What a sheet would change, as values: the plan of a field, of a row, and the totals.

Frozen, plain data. Units: ``*_s`` seconds, ``*_at`` UTC epoch seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

Verdict = Literal["update", "unchanged", "conflict", "missing", "rejected"]
"""What a run would find: see ``MEANING_OF``."""

MEANING_OF: Final = {
    "update": "would be set",
    "conflict": "somebody has changed it since the sheet was made",
    "missing": "there is no such incident",
    "unchanged": "is already so, and would not be sent",
    "rejected": "breaks the rules, and would not be sent",
    "skipped": "another row sets the same",
    "done before": "was done by an earlier run",
    "held back": "beyond --limit",
}
"""What a count of the totals says about its rows, in the order of reading."""


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """What would become of one field of an incident.

    Attributes:
        field: its name; ``field:NAME`` of a custom field; ``comment``.
        old: what stands there now.
        new: what the row wants.
        was: what the sheet was made from, where somebody has changed it since; else None.
        lost: why ``old`` could not be restored afterwards; empty where it can be.
    """

    field: str
    old: str
    new: str
    was: str | None = None
    lost: str = ""


@dataclass(frozen=True, slots=True)
class RowPlan:
    """What would become of one row.

    Attributes:
        row_number: 1-based, the header counted, as Excel shows it.
        fields: that would change; of an unchanged, missing or rejected row, none.
        link: to the incident's page; empty where it is not known.
        reason: why the row is rejected; empty otherwise.
    """

    row_number: int
    incident_id: str
    verdict: Verdict
    fields: tuple[FieldPlan, ...]
    link: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PlanTotals:
    """What would become of the sheet as a whole.

    Attributes:
        rows: of the sheet.
        counts: verdict, or "rejected", "skipped", "done before" -> rows.
        fields: field -> rows that would change it.
        lost: values that could not be restored.
        requests: that a run would send.
        estimate_s: how long they take at the account's quota.
        sha256: of the sheet's file, in hexadecimal.
        version: of the program that made the plan.
    """

    sheet: str
    made_at: float
    rows: int
    counts: dict[str, int]
    fields: dict[str, int]
    lost: int
    requests: int
    estimate_s: float
    sha256: str = ""
    version: str = ""


def facts(totals: PlanTotals) -> dict[str, str]:
    """Return what both files say about the plan as a whole."""
    made = datetime.fromtimestamp(totals.made_at, UTC)
    return {
        "Sheet": totals.sheet,
        "SHA-256 of the sheet": totals.sha256,
        "Planned": f"{made:%Y-%m-%d %H:%M:%S} UTC",
        "By": f"bulk-reset {totals.version}".strip(),
        "Requests": f"{totals.requests:,}",
        "Time at the quota": _duration(totals.estimate_s),
        "Cannot be restored": f"{totals.lost:,} of the values that stand there now",
    }


def counts(totals: PlanTotals) -> Iterator[tuple[str, int, str]]:
    """Yield each count with its name and meaning, in the order of reading."""
    for name in [*MEANING_OF, *(name for name in totals.counts if name not in MEANING_OF)]:
        if totals.counts.get(name):
            yield name, totals.counts[name], MEANING_OF.get(name, "")
    yield "all rows", totals.rows, ""


def _duration(seconds: float) -> str:
    minutes, whole = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {whole:02} s" if minutes else f"{whole} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
