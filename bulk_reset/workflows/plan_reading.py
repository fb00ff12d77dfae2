"""Reads saved plans for people: what one will change, and what differs between two."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bulk_reset.core.custom_fields import text_of
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option
from bulk_reset.core.plan import FieldPlan, PlanTotals, RowPlan
from bulk_reset.core.saved_plan import SavedPlan, SavedRow, is_saved_plan
from bulk_reset.engine.options import PathLike

Kind = Literal["added", "removed", "changed"]
_Key = tuple[str, int]
"""An incident, and which of its rows."""


def open_plan(path: PathLike) -> SavedPlan:
    """Open a saved plan; its hash is checked.

    Raises:
        InputError: it is no plan, cannot be read, was altered, or is incomplete.
    """
    path = Path(path)
    if path.is_file() and not is_saved_plan(path):
        raise InputError(
            f"{path}: not a saved plan. Save one with {option('out', 'FILE.plan')} of plan."
        )
    try:
        return SavedPlan.open(path)
    except OSError as exc:
        raise InputError(
            f"{path}: cannot be read ({exc.strerror or exc}). Check the name and its permissions."
        ) from exc


def read_plan(plan: SavedPlan, add: Callable[[RowPlan], None]) -> PlanTotals:
    """Read a saved plan; return its totals.

    Args:
        add: called with each row, in the sheet's order.

    Raises:
        InputError: it is damaged.
    """
    for row in plan.rows():
        add(row_plan(row))
    header, footer = plan.header, plan.footer
    assert footer is not None  # noqa: S101  (the rows were read to their end)
    return PlanTotals(
        sheet=header.sheet,
        made_at=header.made_at,
        rows=footer.rows,
        counts=dict(footer.counts),
        fields=dict(footer.fields),
        lost=footer.lost,
        requests=footer.requests,
        estimate_s=footer.estimate_s,
        not_edited=footer.not_edited,
        sha256=header.sheet_sha256,
        version=header.version,
        plan_sha256=plan.sha256,
    )


def row_plan(row: SavedRow) -> RowPlan:
    """Return a row of a saved plan as it was planned."""
    fields = tuple(
        FieldPlan(
            one.field,
            text_of(one.field, one.old),
            text_of(one.field, one.new),
            one.was,
            one.lost,
            one.old,
            one.new,
        )
        for one in row.fields
    )
    return RowPlan(
        row.row_number,
        row.incident_id,
        row.verdict,  # type: ignore[arg-type]  # checked when it was read
        fields,
        row.link,
        row.reason,
        row.expected,
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that differs between two plans; ``old`` or ``new`` is None where there is no row."""

    kind: Kind
    old: RowPlan | None
    new: RowPlan | None


@dataclass(slots=True)
class PlanDiff:
    """What differs between two plans.

    Attributes:
        same: rows that are in both plans with the same values.
        differences: the others: by the order of the new plan, then rows that were removed.
    """

    same: int = 0
    differences: list[Difference] = field(default_factory=list)

    def count(self, kind: Kind) -> int:
        """Return the differences of a kind."""
        return sum(one.kind == kind for one in self.differences)


def diff_plans(old: SavedPlan, new: SavedPlan) -> PlanDiff:
    """Compare two plans by incident; memory grows with 100 bytes a row, and the differences.

    Row numbers and links are not compared: a sheet that was sorted makes the same plan.
    """
    left = {key: _mark(row) for key, row in _keyed(old)}
    diff, changed, added = PlanDiff(), dict[_Key, RowPlan](), dict[_Key, RowPlan]()
    for key, row in _keyed(new):
        mark = left.pop(key, None)
        if mark == _mark(row):
            diff.same += 1
        elif mark is None:
            added[key] = row_plan(row)
        else:
            changed[key] = row_plan(row)
    before: dict[_Key, RowPlan] = {}
    if changed or left:
        wanted = changed.keys() | left.keys()
        before = {key: row_plan(row) for key, row in _keyed(old) if key in wanted}
    found = [Difference("changed", before[key], row) for key, row in changed.items()]
    found += [Difference("added", None, row) for row in added.values()]
    found.sort(key=lambda one: one.new.row_number if one.new is not None else 0)
    found += [Difference("removed", before[key], None) for key in left]
    diff.differences = found
    return diff


def _keyed(plan: SavedPlan) -> Iterator[tuple[_Key, SavedRow]]:
    seen: Counter[str] = Counter()
    for row in plan.rows():
        yield (row.incident_id, seen[row.incident_id]), row
        seen[row.incident_id] += 1


def _mark(row: SavedRow) -> bytes:
    """Return a hash of what a row of a plan does."""
    values = [(one.field, one.old, one.new, one.was) for one in row.fields]
    text = repr((row.verdict, values, sorted(row.expected.items()), row.reason))
    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=16).digest()
