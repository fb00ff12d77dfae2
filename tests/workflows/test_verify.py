"""Rows that a verification cannot settle stay unknown, and are reported."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from programs import FAST, QUICK, Begin, read_csv, seed_id, statuses, write_rows
from test_undo import Command, Start, StartSandbox
from test_undo import start as start  # noqa: PLC0414  (a fixture)

LOST = {"path": "/incident/reset", "times": 1, "reset": "after"}
UNREAD = {"path": "/incident/list-by-ids", "requests": [2], "html": 502}


def test_a_row_whose_comment_was_not_sent_is_not_settled(start: Start, tmp_path: Path) -> None:
    """Its title was applied, its comment was not: the row is sent again."""
    run, sandbox = start(LOST, UNREAD)
    write_rows(tmp_path / "x.csv", ["id", "title", "comment"], [seed_id(5), "Renamed", "Hello"])
    run("run", "x.csv", "--attempts", "1")
    verified = run("verify", "x.report.csv")
    assert (verified.returncode, statuses(tmp_path / "x.report.csv")) == (1, {"unknown": 1})
    assert "1 row remains unconfirmed. Run the sheet again to send the rest." in verified.stdout
    assert run("run", "x.csv").returncode == 0
    assert sandbox.get("/_stats")["comments"] == 1


def test_an_unknown_row_that_a_later_row_overwrote_is_not_settled(
    start: Start, tmp_path: Path
) -> None:
    """The current value is the later row's, so the earlier row stays unknown."""
    run, _ = start(LOST, UNREAD)
    rows = [[seed_id(5), title] for title in ("First", "Second")]
    write_rows(tmp_path / "x.csv", ["id", "title"], *rows)
    run("run", "x.csv", "--attempts", "1", "--on-conflict", "in-order")
    assert statuses(tmp_path / "x.report.csv") == {"unknown": 1, "updated": 1}
    verified = run("verify", "x.report.csv", "--json")
    results = json.loads(verified.stdout)
    assert (verified.returncode, results["settled"], results["unsettled"]) == (1, {}, 1)


def test_a_comment_in_doubt_is_not_added_again(
    begin: Begin, command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """A second Ctrl-C while it is in flight: the row is reported as failed and not sent again."""
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps([{"path": "/incident/comment", "hang": True, "times": 1}]))
    sandbox = start_sandbox("--seed-incidents", "5", "--faults", str(faults), *QUICK)
    write_rows(tmp_path / "x.csv", ["id", "comment"], [seed_id(5), "Hello"])
    process = begin("run", "x.csv", "--base-url", sandbox.url, *FAST)
    while sandbox.get("/_stats")["requests"] < 2:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)
    [line] = read_csv(tmp_path / "x.report.csv")
    assert (line["status"], line["error_code"]) == ("failed", "comment_in_doubt")
    again = command("run", "x.csv", "--base-url", sandbox.url, *FAST)
    assert (again.returncode, len(read_csv(tmp_path / "x.report.csv"))) == (1, 1)
