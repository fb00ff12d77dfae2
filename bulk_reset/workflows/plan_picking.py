"""Leaves out rows and fields of a saved plan, without reading anything again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.plan_writer import PlanWriter
from bulk_reset.core.saved_plan import PlanFooter, SavedPlan, SavedRow
from bulk_reset.workflows.plan import LEFT_OUT

_UPDATE = "update"


def pick_rows(
    plan: SavedPlan, out: Path, *, without_rows: Collection[int], without_fields: Collection[str]
) -> PlanFooter:
    """Write a plan without some rows and fields; return its totals.

    Conditions of ``only if`` columns stay. Rows whose fields are all left out are left out, too.

    Raises:
        InputError: the plan is damaged. OSError: the new one cannot be written.
    """
    fields: Counter[str] = Counter()
    lost = left_out = 0
    with atomic_file(out, like=plan.path) as file:
        writer = PlanWriter(file, plan.header)
        for row in plan.rows():
            kept = _picked(row, without_rows, without_fields)
            if kept is None:
                left_out += 1
                continue
            if kept.verdict == _UPDATE:
                fields.update(one.field for one in kept.fields)
                lost += sum(1 for one in kept.fields if one.lost)
            if writer.add(kept):
                writer.flush()
        whole = plan.footer
        assert whole is not None  # noqa: S101  (the rows were read to their end)
        updates = whole.counts.get(_UPDATE, 0) - left_out
        counts = {**whole.counts, _UPDATE: updates}
        counts[LEFT_OUT] = whole.counts.get(LEFT_OUT, 0) + left_out
        share = updates / max(1, whole.counts.get(_UPDATE, 0))
        footer = replace(
            whole,
            lines=writer.lines,
            counts={name: rows for name, rows in counts.items() if rows},
            fields=dict(fields),
            lost=lost,
            requests=round(whole.requests * share),
            estimate_s=whole.estimate_s * share,
        )
        writer.finish(footer)
    return footer


def _picked(
    row: SavedRow, without_rows: Collection[int], without_fields: Collection[str]
) -> SavedRow | None:
    """Return what is left of a row; None for nothing. Rows that are not sent stay as they are."""
    if row.verdict != _UPDATE:
        return row
    if row.row_number in without_rows:
        return None
    fields = tuple(one for one in row.fields if one.field not in without_fields)
    if not fields:
        return None
    return row if len(fields) == len(row.fields) else row._replace(fields=fields)
