"""Custom fields and comments: a row is done when all its requests are, and says which failed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import FAST, SandboxProcess, read_csv, seed_id
from test_cli_round_trip import statuses, values, write_rows

Command = Callable[..., subprocess.CompletedProcess[str]]
StartSandbox = Callable[..., SandboxProcess]
QUICK = ("--per-second", "5000", "--per-minute", "300000", "--latency", "0")
HEADER = ["incident_id", "title", "field:affected_service", "field:tags:json", "comment"]
ROWS = 12


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    """Every row sets everything: four requests a row."""
    rows = [
        [seed_id(n), f"Renamed {n}", f"service {n}", json.dumps(["seeded", n]), f"Retagged {n}"]
        for n in range(1, ROWS + 1)
    ]
    return write_rows(tmp_path / "incidents.csv", HEADER, *rows)


def start(start_sandbox: StartSandbox, folder: Path, *rules: dict[str, Any]) -> SandboxProcess:
    faults = folder / "faults.json"
    faults.write_text(json.dumps(rules))
    return start_sandbox("--seed-incidents", str(ROWS), "--faults", str(faults), *QUICK)


def row_of(folder: Path, number: int) -> dict[str, str]:
    return {line["row"]: line for line in read_csv(folder / "incidents.report.csv")}[str(number)]


def test_a_row_sets_fields_of_all_kinds(
    command: Command, start_sandbox: StartSandbox, sheet: Path, tmp_path: Path
) -> None:
    """One row, four requests, one line in the report; undone but for what cannot be."""
    sandbox = start(start_sandbox, tmp_path)
    before = values(sandbox)
    done = command("run", sheet, "--base-url", sandbox.url, "--verify", *FAST)
    assert done.returncode == 0, done.stderr
    assert "'comment' will be added as comments, which cannot be undone" in done.stderr
    for n, incident in enumerate(values(sandbox).values(), 1):
        assert (incident["title"], incident["comments"]) == (f"Renamed {n}", [f"Retagged {n}"])
        assert incident["fields"] == {"affected_service": f"service {n}", "tags": ["seeded", n]}
    line = row_of(tmp_path, 2)
    assert (line["status"], line["attempts"]) == ("updated", "4")
    assert line["fields"] == "title field:affected_service field:tags comment"
    assert sandbox.get("/_stats")["requests"] == 4 * ROWS + 3  # with the types of the fields
    again = command("run", sheet, "--base-url", sandbox.url, *FAST)
    assert (again.returncode, sandbox.get("/_stats")["comments"]) == (0, ROWS)

    undone = command("undo", "incidents.report.csv", "--yes", "--base-url", sandbox.url, *FAST)
    assert undone.returncode == 1, undone.stderr
    assert "12 comments remain: a comment cannot be removed" in undone.stdout
    lost = read_csv(tmp_path / "incidents.not-restored.csv")
    had_none = {one for one in before if "affected_service" not in before[one]["fields"]}
    assert {(line["incident_id"], line["field"]) for line in lost} == {
        (one, "field:affected_service") for one in had_none
    }
    for one, incident in values(sandbox).items():
        del incident["comments"]
        if one in had_none:
            assert incident["fields"].pop("affected_service").startswith("service ")
        assert incident == before[one]


def test_the_time_counts_all_requests_of_a_row(
    command: Command, sheet: Path, tmp_path: Path
) -> None:
    """Four a row; and one for the same comment on two rows."""
    results = json.loads(command("check", sheet, "--json").stdout)
    assert (results["rows"], results["to_send"]) == (ROWS, 4 * ROWS)
    header = ["incident_id", "title", "comment"]
    rows = [
        [seed_id(1), "", "Hello"],
        [seed_id(2), "Renamed", "Hello"],
        [seed_id(3), "Renamed", ""],
    ]
    write_rows(tmp_path / "few.csv", header, *rows)
    results = json.loads(command("check", "few.csv", "--json").stdout)
    assert (results["rows"], results["to_send"]) == (3, 3)


def test_a_field_that_needs_no_change_costs_no_request(
    command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """Of several parts, only those that differ are sent."""
    sandbox = start(start_sandbox, tmp_path)
    header = ["incident_id", "title", "field:tags:json"]
    title = sandbox.get("/_incidents")[seed_id(1)]["title"]
    write_rows(
        tmp_path / "incidents.csv",
        header,
        [seed_id(1), title, '["new"]'],
        [seed_id(2), "Renamed", '["seeded"]'],
        [seed_id(3), "", ' [ "seeded" ] '],
    )
    done = command("run", "incidents.csv", "--base-url", sandbox.url, *FAST)
    assert done.returncode == 0, done.stderr
    assert [row_of(tmp_path, n)["fields"] for n in (2, 3, 4)] == ["field:tags", "title", ""]
    assert statuses(tmp_path / "incidents.report.csv") == {"updated": 2, "unchanged": 1}
    assert sandbox.get("/_stats")["requests"] == 4  # with the types of the fields


def test_the_part_that_failed_is_named_and_what_comes_after_is_not_sent(
    command: Command, start_sandbox: StartSandbox, sheet: Path, tmp_path: Path
) -> None:
    """A comment is added after the fields, and only once when the row is sent again."""
    rule = {"path": "/incident/field/reset", "incident_id": seed_id(4), "error": "InvalidParameter"}
    sandbox = start(start_sandbox, tmp_path, {**rule, "times": 1})
    arguments = ("run", sheet, "--base-url", sandbox.url, *FAST)
    first = command(*arguments)
    assert first.returncode == 1
    line = row_of(tmp_path, 5)
    assert (line["status"], line["error_code"]) == ("failed", "InvalidParameter")
    assert line["error_message"].startswith("field:affected_service: ")
    assert line["error_message"].endswith("; updated: title")
    assert "comments" not in values(sandbox)[seed_id(4)]
    again = command(*arguments, "--retry-failed")
    assert again.returncode == 0, again.stderr
    assert values(sandbox)[seed_id(4)]["comments"] == ["Retagged 4"]
    assert sandbox.get("/_stats")["comments"] == ROWS


def comments_of(sandbox: SandboxProcess) -> list[list[str]]:
    return [incident.get("comments", []) for incident in values(sandbox).values()]


EACH_ONCE = [[f"Retagged {n}"] for n in range(1, ROWS + 1)]


def test_a_comment_whose_response_is_lost_is_found_in_the_timeline(
    command: Command, start_sandbox: StartSandbox, sheet: Path, tmp_path: Path
) -> None:
    """It was added, so the row is updated and not sent again."""
    sandbox = start(
        start_sandbox, tmp_path, {"path": "/incident/comment", "requests": [3], "reset": "after"}
    )
    done = command("run", sheet, "--base-url", sandbox.url, *FAST)
    assert (done.returncode, comments_of(sandbox)) == (0, EACH_ONCE), done.stdout
    [found] = [one for one in read_csv(tmp_path / "incidents.report.csv") if one["error_message"]]
    assert found["status"] == "updated"
    assert found["error_message"].endswith("; found in the timeline: the comment was added")


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("again", ["incidents.failed.csv", "incidents.csv", "no-before"])
def test_a_comment_in_doubt_is_looked_up_before_it_is_sent_again(
    when: str,
    again: str,
    command: Command,
    start_sandbox: StartSandbox,
    sheet: Path,
    tmp_path: Path,
) -> None:
    """By the command that is printed (the failed rows), and by --retry-failed."""
    sandbox = start(
        start_sandbox,
        tmp_path,
        {"path": "/incident/comment", "requests": [3], "reset": when},
        {"path": "/incident/feed", "error": "AccessDenied", "times": 1},
    )
    reading = ["--no-before"] if again == "no-before" else []
    connect = ("--base-url", sandbox.url, *FAST, *reading)
    first = command("run", sheet, *connect)
    assert (first.returncode, "incidents.failed.csv" in first.stdout) == (1, True)
    [line] = [
        one for one in read_csv(tmp_path / "incidents.report.csv") if one["status"] != "updated"
    ]
    assert (line["status"], line["error_code"]) == ("failed", "comment_in_doubt")
    assert "see the incident" in line["error_message"]
    # The same command leaves it alone.
    assert command("run", sheet, *connect).returncode == 1
    assert sum(map(len, comments_of(sandbox))) == ROWS - (when == "before")
    if again == "incidents.failed.csv":
        second = command("run", again, *connect)
    else:
        second = command("run", "incidents.csv", "--retry-failed", *connect)
    assert (second.returncode, comments_of(sandbox)) == (0, EACH_ONCE), second.stdout


def test_a_run_that_was_killed_does_not_add_its_comments_again(
    command: Command, start_sandbox: StartSandbox, sheet: Path, tmp_path: Path
) -> None:
    """Their rows have no line in the report; the previous values show that they were sent."""
    sandbox = start(start_sandbox, tmp_path)
    connect = ("--base-url", sandbox.url, *FAST)
    assert command("run", sheet, *connect).returncode == 0
    report = tmp_path / "incidents.report.csv"
    report.write_bytes(b"".join(report.read_bytes().splitlines(keepends=True)[:5]))
    assert command("run", sheet, *connect).returncode == 0
    assert (statuses(report), comments_of(sandbox)) == ({"updated": ROWS}, EACH_ONCE)


def test_a_failed_row_whose_comment_stays_in_doubt_is_looked_up_every_time(
    command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """Failed rows of failed rows, saved by a spreadsheet: since when is not forgotten."""
    sandbox = start(
        start_sandbox,
        tmp_path,
        {"path": "/incident/comment", "reset": "after", "times": 1},
        {"path": "/incident/feed", "error": "InvalidParameter", "times": 2},
    )
    connect = ("--base-url", sandbox.url, *FAST)
    write_rows(tmp_path / "x.csv", ["incident_id", "comment"], [seed_id(1), "Hello"])
    assert command("run", "x.csv", *connect).returncode == 1
    assert command("run", "x.failed.csv", *connect).returncode == 1
    [row] = read_csv(tmp_path / "x.failed.failed.csv")
    assert row["bulk-reset comment sent"].endswith("Z")
    row["bulk-reset comment sent"] = row["bulk-reset comment sent"][:19].replace("T", " ")
    write_rows(tmp_path / "y.csv", list(row), list(row.values()))
    third = command("run", "y.csv", *connect)
    assert (third.returncode, values(sandbox)[seed_id(1)]["comments"]) == (0, ["Hello"])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_custom_field_whose_answer_is_lost_is_sent_again(
    when: str, command: Command, start_sandbox: StartSandbox, sheet: Path, tmp_path: Path
) -> None:
    """Setting a value twice is setting it once."""
    rule = {"path": "/incident/field/reset", "requests": [5], "reset": when}
    sandbox = start(start_sandbox, tmp_path, rule)
    done = command("run", sheet, "--base-url", sandbox.url, "--verify", *FAST)
    assert done.returncode == 0, done.stdout
    assert statuses(tmp_path / "incidents.report.csv") == {"updated": ROWS}


def test_a_field_that_stays_lost_is_read_back(
    command: Command, start_sandbox: StartSandbox, sheet: Path, tmp_path: Path
) -> None:
    """After the last attempt the incident is read; the comment is added all the same."""
    rule = {"path": "/incident/field/reset", "incident_id": seed_id(4), "reset": "after"}
    sandbox = start(start_sandbox, tmp_path, {**rule, "times": 2})
    arguments = ("run", sheet, "--base-url", sandbox.url, "--attempts", "1", *FAST)
    done = command(*arguments)
    assert done.returncode == 0, done.stdout
    assert row_of(tmp_path, 5)["status"] == "updated"
    assert values(sandbox)[seed_id(4)]["comments"] == ["Retagged 4"]


def test_a_stop_between_parts_leaves_the_row_pending(
    command: Command, start_sandbox: StartSandbox, sheet: Path, tmp_path: Path
) -> None:
    """Half a row is not done; the same command again does the other half."""
    rule = {"path": "/incident/field/reset", "error": "Unauthorized", "times": 12}
    sandbox = start(start_sandbox, tmp_path, rule)
    arguments = ("run", sheet, "--base-url", sandbox.url, *FAST)
    first = command(*arguments)
    assert (first.returncode, read_csv(tmp_path / "incidents.report.csv")) == (3, [])
    assert f"{ROWS} rows are pending" in first.stderr
    # How many rejections a run takes depends on how many requests are in flight.
    codes = []
    while codes[-1:] != [0] and len(codes) < 12:
        codes.append(command(*arguments).returncode)
    assert codes == [3] * (len(codes) - 1) + [0]
    assert statuses(tmp_path / "incidents.report.csv") == {"updated": ROWS}
    assert sandbox.get("/_stats")["comments"] == ROWS


@pytest.mark.parametrize(
    ("header", "cells", "message"),
    [
        (["field:tags:json"], ["[1"], "not valid JSON"),
        (["field:tags:json"], ["null"], "null cannot be set"),
        (["comment"], ["x" * 1_025], "the maximum is 1,024"),
        (["field:owner"], ["  "], "contains only spaces"),
        (["field:owner"], ["#REF!"], "the formula failed with #REF!"),
    ],
)
def test_an_invalid_custom_field_is_found_before_anything_is_sent(
    header: list[str], cells: list[str], message: str, command: Command, tmp_path: Path
) -> None:
    """As of any other field."""
    rows = [[seed_id(1), *cells]]
    write_rows(tmp_path / "incidents.csv", ["incident_id", *header], *rows)
    done = command("check", "incidents.csv", "--json")
    [row_error] = json.loads(done.stdout)["row_errors"]
    assert (done.returncode, message in row_error["problem"] + row_error["fix"]) == (2, True), (
        row_error
    )


def test_one_field_has_one_column(command: Command, tmp_path: Path) -> None:
    """Text and JSON for the same field contradict each other."""
    header = ["incident_id", "field:tags", "Field: tags :JSON"]
    write_rows(tmp_path / "incidents.csv", header, [seed_id(1), "a", '"b"'])
    done = command("check", "incidents.csv")
    assert (done.returncode, "set the same field" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("name", ["50% of it", 'a, b; "=c"', "团队 名称"])
def test_a_field_of_any_name_survives_a_round_trip(
    name: str, command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """Pulled, edited, resumed, undone: the API's name is always that; conflicts are seen."""
    sandbox = start(start_sandbox, tmp_path)
    field = f"field:{name}"
    connect = ("--base-url", sandbox.url, *FAST)
    write_rows(tmp_path / "first.csv", ["incident_id", field], *[[seed_id(n), "A"] for n in (1, 2)])
    command("run", "first.csv", *connect)
    assert command("pull", "x.csv", "--since", "30d", "--field", name, *connect).returncode == 0
    rows = read_csv(tmp_path / "x.csv")
    rows[0][field] = rows[1][field] = "B"
    write_rows(tmp_path / "x.csv", list(rows[0]), *(list(cells.values()) for cells in rows))
    write_rows(tmp_path / "other.csv", ["incident_id", field], [seed_id(2), "C"])
    command("run", "other.csv", *connect)
    for _ in range(2):
        done = command("run", "x.csv", *connect)
        assert done.returncode == 1, done.stderr
    assert statuses(tmp_path / "x.report.csv") == {"unchanged": 10, "updated": 1, "conflict": 2}
    found = [incident["fields"].get(name) for incident in values(sandbox).values()]
    assert found == ["B", "C", *[None] * 10]
    undone = command("undo", "x.report.csv", "--yes", *connect)
    assert undone.returncode == 0, undone.stdout
    assert values(sandbox)[seed_id(1)]["fields"][name] == "A"
