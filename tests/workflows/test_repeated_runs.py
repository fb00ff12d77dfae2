"""One report, many runs of a sheet that is edited between them: no row is silently left undone."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from programs import seed_id, write_rows

from bulk_reset import Options, run
from bulk_reset.core.defaults import OnConflict
from bulk_reset.core.errors import InputError

FIELDS = ("title", "impact")
Row = tuple[int, str, str]
"""The number of an incident, then its title and impact; empty to leave a field as it is."""


class Step(NamedTuple):
    """The sheet as it is now, and how it is run."""

    rows: Sequence[Row]
    before: bool = True
    limit: int | None = None


TEXTS = st.sampled_from(["", "Text A", "Text B"])
ROWS = st.lists(
    st.tuples(st.integers(1, 2), TEXTS, TEXTS).filter(lambda row: any(row[1:])),
    min_size=1,
    max_size=3,
)
STEPS = st.lists(
    st.builds(Step, ROWS, st.booleans(), st.sampled_from([None, None, None, 1])),
    min_size=2,
    max_size=5,
)
A, B = [(1, "Text A", "")], [(1, "Text B", "")]


def wanted(rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """Return the values that incidents have after a sheet: the last row of each counts."""
    return {
        (seed_id(incident), name): text
        for incident, *texts in rows
        for name, text in zip(FIELDS, texts, strict=True)
        if text
    }


def current(state: Path) -> dict[tuple[str, str], str]:
    """Return the values of the sandbox's incidents."""
    incidents = json.loads(state.read_text(encoding="utf-8"))
    return {(number, name): one[name] for number, one in incidents.items() for name in FIELDS}


@pytest.mark.slow
@settings(max_examples=60)
@given(ROWS, STEPS, st.sampled_from([OnConflict.IN_ORDER, OnConflict.LAST]))
@example(A, [Step(A), Step(B), Step(A)], OnConflict.LAST)
@example(B, [Step([*A, (1, "Text B", "Text A")]), Step(A)], OnConflict.IN_ORDER)
def test_after_a_run_the_incidents_have_the_values_of_the_sheet(
    first: Sequence[Row], steps: Sequence[Step], policy: OnConflict
) -> None:
    """Whatever was run before, and whatever values the incidents had already."""
    with tempfile.TemporaryDirectory() as folder:
        sheet, state = Path(folder, "x.csv"), Path(folder, "state.json")
        common = {"sandbox_state": state, "per_second": 5_000, "per_minute": 300_000}
        for step, path in (
            (Step(first), sheet.with_name("first.csv")),
            *((s, sheet) for s in steps),
        ):
            texts = [[seed_id(incident), *cells] for incident, *cells in step.rows]
            write_rows(path, ["incident_id", *FIELDS], *texts)
            options = Options(
                before=step.before,
                limit=step.limit,
                on_conflict=policy,
                **common,  # type: ignore[arg-type]
            )
            try:
                totals = run(path, options)
            except InputError as error:
                assert "belongs to another sheet" in str(error)  # noqa: PT017  (not an error here)
                return
            assert totals.exit_code == 0
            if not totals.counts["pending"]:
                live = current(state)
                assert {key: live[key] for key in wanted(step.rows)} == wanted(step.rows)
