"""The sample job that resolves incidents that have been open for 30 days."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from programs import ROOT, read_csv

from bulk_reset import Options, pull

ID = "69da451e{:016x}"
DAY_S = 86_400


def test_old_info_incidents_are_resolved_and_no_others(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Of old and new ones, open and closed, of two severities, only the old open Info ones are."""
    state = tmp_path / "rehearsal.json"
    pull(tmp_path / "seed.csv", [ID.format(1)], Options(sandbox_state=state))
    incidents = json.loads(state.read_text(encoding="utf-8"))
    now = int(time.time())
    stale = set()
    for place, (incident_id, incident) in enumerate(incidents.items()):
        incident["start_time"] = now - (40 if place % 2 else 20) * DAY_S
        is_open_info = incident["progress"] != "Closed" and incident["incident_severity"] == "Info"
        if place % 2 and is_open_info:
            stale.add(incident_id)
    state.write_text(json.dumps(incidents), encoding="utf-8")
    before = {one: incidents[one]["progress"] for one in incidents}

    sample = (ROOT / "samples" / "jobs" / "resolve-stale.toml").read_text(encoding="utf-8")
    (tmp_path / "stale.toml").write_text(sample, encoding="utf-8")
    ran = command("job", "run", "stale.toml")
    assert ran.returncode == 0, ran.stderr + ran.stdout

    after = json.loads(state.read_text(encoding="utf-8"))
    assert {one: after[one]["progress"] for one in after} == before | dict.fromkeys(stale, "Closed")
    assert {one for one in after if after[one].get("comments")} == stale
    folder = ran.stdout.partition("Run: ")[2].partition("\n")[0]
    [report] = Path(folder).rglob("*.report.csv")
    lines = read_csv(report)
    assert {line["incident_id"] for line in lines if line["fields"] == "action comment"} == stale
    # One request resolves the incidents of the canary, one the others; so do two comments.
    assert len({line["request_id"] for line in lines}) == 2
    assert len(stale) > 20
