"""Rows and fields are left out of a saved plan; the rest is sent as it was planned."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from bulk_reset import Options, plan, run
from bulk_reset.core.saved_plan import SavedPlan
from bulk_reset.workflows.plan_picking import pick_rows

ID = "69da451e{:016x}"


def test_what_is_picked_is_sent_and_counted(tmp_path: Path) -> None:
    """A deselected row, a deselected field, and a row that is left without fields."""
    path, whole, picked = (tmp_path / name for name in ("x.csv", "all.plan", "x.plan"))
    lines = [
        f"{ID.format(1)},Renamed 1,Warning",
        f"{ID.format(2)},Renamed 2,Warning",
        f"{ID.format(3)},,Critical",
        f"{ID.format(4)},Renamed 4,",
        f"{'f' * 24},Renamed 5,",
    ]
    path.write_text("\n".join(["id,title,severity", *lines, ""]), encoding="utf-8")
    state = tmp_path / "s.json"
    options = Options(sandbox_state=state)
    planned = plan(path, options, out=whole)
    before = json.loads(state.read_text(encoding="utf-8"))
    opened = SavedPlan.open(whole)
    footer = pick_rows(opened, picked, without_rows={2}, without_fields={"incident_severity"})
    left_out = planned.counts["update"] - footer.counts["update"]
    assert footer.counts == planned.counts | {
        "update": footer.counts["update"],
        "left out": left_out,
    }
    saved = SavedPlan.open(picked)
    rows = list(saved.rows())
    assert [(row.row_number, row.verdict) for row in rows if row.verdict == "update"] == [
        (3, "update"),
        (5, "update"),
    ]
    assert {one.field for row in rows for one in row.fields} == {"title"}
    assert saved.footer == replace(footer)
    assert footer.fields == {"title": 2}
    totals = run(picked, options)
    assert totals.counts["updated"] == 2
    now = json.loads(state.read_text(encoding="utf-8"))
    assert {one for one in now if now[one]["title"] != before[one]["title"]} == {
        ID.format(2),
        ID.format(4),
    }
    assert all(now[n]["incident_severity"] == before[n]["incident_severity"] for n in now)
