"""The way back where rows failed, were sent twice or by others: what never stood is never set."""

from __future__ import annotations

import csv
import json
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import (
    FAST,
    KEY,
    QUICK,
    Begin,
    SandboxProcess,
    read_csv,
    seed_id,
    statuses,
    values,
    write_rows,
    write_sheet,
)

Command = Callable[..., subprocess.CompletedProcess[str]]
StartSandbox = Callable[..., SandboxProcess]
Start = Callable[..., tuple[Command, SandboxProcess]]


@pytest.fixture
def start(command: Command, start_sandbox: StartSandbox, tmp_path: Path) -> Start:
    """Start a sandbox with faults; return a command that uses it, and the sandbox."""

    def begin(*rules: dict[str, Any]) -> tuple[Command, SandboxProcess]:
        faults = tmp_path / "faults.json"
        faults.write_text(json.dumps(rules))
        sandbox = start_sandbox("--seed-incidents", "12", "--faults", str(faults), *QUICK)
        return lambda *words: command(*words, "--base-url", sandbox.url, *FAST), sandbox

    return begin


def test_a_row_whose_comment_failed_is_undone(start: Start, tmp_path: Path) -> None:
    """Its title was set, although the row failed."""
    run, sandbox = start({"path": "/incident/comment", "error": "InvalidParameter"})
    before = values(sandbox)
    write_rows(tmp_path / "x.csv", ["id", "title", "comment"], [seed_id(5), "Renamed", "Hello"])
    assert run("run", "x.csv").returncode == 1
    assert values(sandbox) != before
    undone = run("undo", "x.report.csv", "--yes")
    assert (undone.returncode, values(sandbox)) == (0, before), undone.stdout


@pytest.mark.parametrize("refused", [1, 2, 3])
def test_a_value_that_the_api_rejected_is_never_set_by_an_undo(
    refused: int, start: Start, tmp_path: Path
) -> None:
    """Rows in order are compared as if those before them were applied; one was not."""
    rule = {"path": "/incident/reset", "arrivals": [refused], "error": "InvalidParameter"}
    run, sandbox = start(rule)
    before = values(sandbox)
    rows = [[seed_id(5), title] for title in ("First", "Second", "Third")]
    write_rows(tmp_path / "x.csv", ["id", "title"], *rows)
    assert run("run", "x.csv", "--on-conflict", "in-order").returncode == 1
    assert statuses(tmp_path / "x.report.csv") == {"updated": 2, "failed": 1}
    undone = run("undo", "x.report.csv", "--yes")
    assert (undone.returncode, values(sandbox)) == (0, before), undone.stdout


def test_an_undo_waits_for_the_run_that_writes_the_report(
    command: Command, start_sandbox: StartSandbox, begin: Begin, tmp_path: Path
) -> None:
    """Otherwise half of the run would be undone, and the other half sent afterwards."""
    sandbox = start_sandbox("--seed-incidents", "200", *QUICK)
    write_sheet(tmp_path / "x.csv", 200)
    # 200 rows take 40 seconds, so the run has not ended when the undo starts.
    process = begin("run", "x.csv", "--base-url", sandbox.url, "--quiet", "--per-second", "5")
    path = tmp_path / "x.report.csv"
    while not path.exists() or path.read_bytes().count(b"\n") < 10:
        assert process.poll() is None
    undone = command("undo", "x.report.csv", "--yes", "--base-url", sandbox.url, *FAST)
    assert (undone.returncode, "another run is writing it" in undone.stderr) == (4, True)
    assert not (tmp_path / "x.undo.csv").exists()


def test_rows_without_previous_values_are_reported_by_an_undo(start: Start, tmp_path: Path) -> None:
    """Restored, not restorable and unknown add up; the exit code is 1 where some are unknown."""
    run, _ = start()
    write_sheet(tmp_path / "x.csv", 6)
    run("run", "x.csv", "--limit", "4")
    run("run", "x.csv", "--no-before")
    undone = run("undo", "x.report.csv", "--yes", "--json")
    results = json.loads(undone.stdout)
    assert (
        undone.returncode,
        results["counts"]["updated"],
        results["previous_values_unknown"],
    ) == (1, 4, 2)
    again = run("undo", "x.report.csv", "--yes")
    assert "2 rows cannot be restored: sent with --no-before" in again.stdout


def test_a_run_does_not_add_to_the_previous_values_of_another(start: Start, tmp_path: Path) -> None:
    """The report was moved away, the previous values were not: an undo would undo both runs."""
    run, sandbox = start()
    write_sheet(tmp_path / "x.csv", 3)
    run("run", "x.csv")
    after = values(sandbox)
    (tmp_path / "x.report.csv").rename(tmp_path / "old.csv")
    write_rows(tmp_path / "x.csv", ["id", "title"], [seed_id(5), "Another month"])
    refused = run("run", "x.csv")
    assert (refused.returncode, values(sandbox)) == (2, after)
    assert "x.before.csv: has the previous values of another run" in refused.stderr
    (tmp_path / "x.before.csv").rename(tmp_path / "old.before.csv")
    assert run("run", "x.csv").returncode == 0
    assert (run("undo", "x.report.csv", "--yes").returncode, values(sandbox)) == (0, after)


def test_the_report_of_an_older_undo_stops_a_new_run(start: Start, tmp_path: Path) -> None:
    """The report was deleted, that of its undo was not: the next undo would find all rows done."""
    run, sandbox = start()
    before = values(sandbox)
    write_sheet(tmp_path / "x.csv", 3)
    run("run", "x.csv")
    run("undo", "x.report.csv", "--yes")
    (tmp_path / "x.report.csv").unlink()
    refused = run("run", "x.csv")
    assert (refused.returncode, values(sandbox)) == (2, before)
    assert "x.undo.report.csv: belongs to the undo of an older run" in refused.stderr
    (tmp_path / "x.undo.report.csv").unlink()
    assert run("run", "x.csv").returncode == 0
    assert (run("undo", "x.report.csv", "--yes").returncode, values(sandbox)) == (0, before)


def test_a_value_that_cannot_be_restored_does_not_stop_the_others(
    start: Start, tmp_path: Path
) -> None:
    """Control characters, half surrogate pairs: restored where JSON has them, else listed."""
    run, sandbox = start()
    odd: list[Any] = ["a\x7fb", "x\x85y", "\ud800z", "fine", 7, "#REF!", " "]
    for n, value in enumerate(odd, 1):
        body = {"incident_id": seed_id(n), "field_name": "odd", "field_value": value}
        address = f"{sandbox.url}/incident/field/reset?app_key={KEY}"
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(address, json.dumps(body).encode(), kind)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            assert answer.status == 200
    before = values(sandbox)
    rows = [[seed_id(n), json.dumps(100 + n if n == 5 else "new")] for n in range(1, 8)]
    write_rows(tmp_path / "x.csv", ["id", "field:odd:json"], *rows)
    assert run("run", "x.csv").returncode == 0
    undone = run("undo", "x.report.csv", "--yes")
    assert undone.returncode == 0, undone.stderr
    [lost] = read_csv(tmp_path / "x.not-restored.csv")
    assert (lost["incident_id"], lost["it was"]) == (seed_id(3), "\\ud800z")
    assert (
        lost["why"]
        == "the API does not accept the previous value: contains an incomplete character"
    )
    now = values(sandbox)
    assert now.pop(seed_id(3))["fields"]["odd"] == "new"
    assert now == {one: incident for one, incident in before.items() if one != seed_id(3)}


def test_previous_values_that_a_spreadsheet_saved_are_used(start: Start, tmp_path: Path) -> None:
    """Saved with semicolons and 007 as 7: the original value is restored."""
    run, sandbox = start()
    write_rows(tmp_path / "first.csv", ["id", "title"], *[[seed_id(n), "007"] for n in (1, 2)])
    run("run", "first.csv")
    before = values(sandbox)
    write_sheet(tmp_path / "x.csv", 2)
    run("run", "x.csv", "--limit", "1")
    path = tmp_path / "x.before.csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [["7" if cell == "007" else cell for cell in cells] for cells in csv.reader(file)]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    run("run", "x.csv")
    assert (tmp_path / "x.before.csv~").exists()
    undone = run("undo", "x.report.csv", "--yes")
    assert (undone.returncode, values(sandbox)) == (0, before), undone.stderr
