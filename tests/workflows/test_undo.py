"""Undo where rows failed, were sent twice or by others: no value is set that was never there."""

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


def post(sandbox: SandboxProcess, path: str, body: dict[str, Any]) -> None:
    """Change an incident as another client does."""
    address = f"{sandbox.url}{path}?app_key={KEY}"
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, json.dumps(body).encode(), kind)  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert answer.status == 200


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


@pytest.mark.parametrize("refused", [1, 2, 9])
def test_a_row_does_not_rely_on_another_row_of_its_incident(
    refused: int, start: Start, tmp_path: Path
) -> None:
    """Two rows set the same title, and one of them fails: an updated row has all of its values."""
    rule = {"path": "/incident/reset", "arrivals": [refused], "error": "InvalidParameter"}
    run, sandbox = start(rule)
    before = values(sandbox)
    write_rows(
        tmp_path / "x.csv",
        ["id", "title", "incident_severity"],
        [seed_id(5), "Renamed", ""],
        [seed_id(5), "Renamed", "Info"],
    )
    assert run("run", "x.csv").returncode == (refused < 9)
    lines = read_csv(tmp_path / "x.report.csv")
    assert [line["fields"] for line in lines] == ["title", "title incident_severity"]
    assert [line["status"] == "failed" for line in lines] == [refused == 1, refused == 2]
    assert values(sandbox)[seed_id(5)]["title"] == "Renamed"
    assert run("verify", "x.report.csv").returncode == 0
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
    assert (
        "2 rows cannot be restored: their values are not in the file of previous values"
        in again.stdout
    )


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
        post(sandbox, "/incident/field/reset", body)
    before = values(sandbox)
    rows = [[seed_id(n), json.dumps(100 + n if n == 5 else "new")] for n in range(1, 8)]
    write_rows(tmp_path / "x.csv", ["id", "field:odd:json"], *rows)
    assert run("run", "x.csv").returncode == 0
    undone = run("undo", "x.report.csv", "--yes")
    assert undone.returncode == 1, undone.stderr
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


def test_a_field_is_restored_although_another_one_was_modified(
    start: Start, tmp_path: Path
) -> None:
    """The modified one is kept, listed, and the exit code is 1; both are restored on request."""
    run, sandbox = start()
    before = values(sandbox)
    header = ["id", "title", "description", "field:tags:json"]
    rows = [[seed_id(n), f"Renamed {n}", f"Described {n}", '["new"]'] for n in (1, 2)]
    write_rows(tmp_path / "x.csv", header, *rows)
    assert run("run", "x.csv").returncode == 0
    post(sandbox, "/incident/reset", {"incident_id": seed_id(1), "title": "Theirs"})
    for _ in range(2):
        undone = run("undo", "x.report.csv", "--yes")
        assert undone.returncode == 1
        assert "5 of 6 values are restored." in undone.stdout
        now = values(sandbox)
        assert now == before | {seed_id(1): before[seed_id(1)] | {"title": "Theirs"}}
        [lost] = read_csv(tmp_path / "x.not-restored.csv")
        assert [lost[name] for name in ("incident_id", "field", "it was", "it is", "why")] == [
            seed_id(1),
            "title",
            before[seed_id(1)]["title"],
            "Renamed 1",
            "it was modified since the run",
        ]
    whole = run("undo", "x.report.csv", "--yes", "--overwrite")
    assert (whole.returncode, values(sandbox)) == (0, before), whole.stdout
    assert not (tmp_path / "x.not-restored.csv").exists()


def test_what_the_api_accepts_is_restored_exactly(start: Start, tmp_path: Path) -> None:
    """What a sheet may not set as well: it was there before."""
    run, sandbox = start()
    odd = [
        "a\x07b\x1b[2J",
        "\tTab",
        "#N/A",
        "   ",
        "'=1+1",
        "one\r\ntwo",
        "x\x00y",
        "\u202eabc",
        "NaN",
    ]
    for n, text in enumerate(odd, 1):
        body = {"incident_id": seed_id(n), "title": text, "description": text}
        post(sandbox, "/incident/reset", body)
    before = values(sandbox)
    rows = [[seed_id(n), "New title", "New description"] for n in range(1, len(odd) + 1)]
    write_rows(tmp_path / "x.csv", ["id", "title", "description"], *rows)
    assert run("run", "x.csv").returncode == 0
    undone = run("undo", "x.report.csv", "--yes", "--verify")
    assert (undone.returncode, values(sandbox)) == (0, before), undone.stdout
    assert f"{2 * len(odd)} of {2 * len(odd)} values are restored." in undone.stdout


def test_a_field_that_was_rejected_is_not_reported_as_not_restored(
    start: Start, tmp_path: Path
) -> None:
    """It was never written; what was sent before it is restored."""
    run, sandbox = start({"path": "/incident/field/reset", "error": "InvalidParameter"})
    before = values(sandbox)
    header = ["id", "title", "field:affected_service", "comment"]
    # Incident 2 has no such field, so that its value could not be restored.
    write_rows(tmp_path / "x.csv", header, [seed_id(2), "Renamed", "db", "Hello"])
    assert run("run", "x.csv").returncode == 1
    undone = run("undo", "x.report.csv", "--yes")
    assert (undone.returncode, values(sandbox)) == (0, before), undone.stdout
    assert "1 of 1 value is restored." in undone.stdout
    assert "comment" not in undone.stdout
    assert not (tmp_path / "x.not-restored.csv").exists()


@pytest.mark.parametrize("options", [(), ("--no-before",)])
def test_a_run_that_wrote_nothing_has_nothing_to_undo(
    options: tuple[str, ...], start: Start, tmp_path: Path
) -> None:
    """It says so, and the exit code is 0."""
    run, sandbox = start({"path": "/incident/reset", "error": "InvalidParameter"})
    before = values(sandbox)
    write_sheet(tmp_path / "x.csv", 3)
    assert run("run", "x.csv", *options).returncode == 1
    undone = run("undo", "x.report.csv", "--yes")
    assert (undone.returncode, values(sandbox)) == (0, before), undone.stderr
    assert "The run wrote no values; nothing was sent." in undone.stdout


def test_an_undo_that_can_restore_nothing_is_not_a_success(start: Start, tmp_path: Path) -> None:
    """Every field was empty before: the exit code is 1, and the output says so."""
    run, _ = start()
    rows = [[seed_id(n), f"Impact {n}"] for n in range(1, 9)]
    write_rows(tmp_path / "x.csv", ["id", "impact"], *rows)
    assert run("run", "x.csv").returncode == 0
    undone = run("undo", "x.report.csv", "--yes")
    assert undone.returncode == 1
    assert "0 of 8 values are restored." in undone.stdout
    assert "8 of 8 values were not restored." in undone.stdout
    results = json.loads(run("undo", "x.report.csv", "--yes", "--json").stdout)
    assert (results["exit_code"], results["values"], len(results["not_restored"])) == (1, 8, 8)


def test_an_undo_on_another_server_is_refused_and_the_right_one_still_works(
    start: Start, start_sandbox: StartSandbox, command: Command, tmp_path: Path
) -> None:
    """Nothing is read or written; the error names the address."""
    run, sandbox = start()
    before = values(sandbox)
    write_sheet(tmp_path / "x.csv", 3)
    run("run", "x.csv")
    after = values(sandbox)
    other = start_sandbox("--seed-incidents", "12", *QUICK)
    for words in (("undo", "--yes"), ("verify",)):
        wrong = command(*words, "x.report.csv", "--base-url", other.url, *FAST)
        assert (wrong.returncode, other.get("/_stats")["requests"]) == (2, 0)
        assert f"is the report of a run at {sandbox.url}, not at {other.url}" in wrong.stderr
        assert f"Use --base-url {sandbox.url}" in wrong.stderr
    assert values(sandbox) == after
    assert (run("undo", "x.report.csv", "--yes").returncode, values(sandbox)) == (0, before)


def test_an_undo_that_restored_nothing_elsewhere_leaves_the_right_one_possible(
    start: Start, start_sandbox: StartSandbox, command: Command, tmp_path: Path
) -> None:
    """Without an audit the address is not known, and no incident was found there."""
    run, sandbox = start()
    before = values(sandbox)
    write_sheet(tmp_path / "x.csv", 3)
    run("run", "x.csv")
    (tmp_path / "x.audit.jsonl").unlink()
    other = start_sandbox(*QUICK)
    wrong = command("undo", "x.report.csv", "--yes", "--base-url", other.url, *FAST)
    assert wrong.returncode == 1
    assert "0 of 3 values are restored." in wrong.stdout
    assert (run("undo", "x.report.csv", "--yes").returncode, values(sandbox)) == (0, before)


def test_rows_that_an_undo_could_not_send_are_sent_by_the_same_command_again(
    start: Start, tmp_path: Path
) -> None:
    """The API rejected one of them the first time."""
    run, sandbox = start(
        {
            "path": "/incident/reset",
            "incident_id": seed_id(2),
            "arrivals": [2],
            "error": "BadRequest",
        }
    )
    before = values(sandbox)
    write_sheet(tmp_path / "x.csv", 3)
    run("run", "x.csv")
    first = run("undo", "x.report.csv", "--yes")
    assert (first.returncode, "2 of 3 values are restored." in first.stdout) == (1, True)
    [lost] = read_csv(tmp_path / "x.not-restored.csv")
    assert (lost["incident_id"], lost["why"][:12]) == (seed_id(2), "BadRequest: ")
    second = run("undo", "x.report.csv", "--yes")
    assert (second.returncode, values(sandbox)) == (0, before), second.stdout
