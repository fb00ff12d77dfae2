"""Conflicts, canary, verify and undo, compared with the values of the server."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import json
import os
import pty
import select
import subprocess
import sys
import termios
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
    clean_environment,
    read_csv,
    seed_id,
    statuses,
    values,
    write_rows,
    write_sheet,
)

Command = Callable[..., subprocess.CompletedProcess[str]]
StartSandbox = Callable[..., SandboxProcess]


@pytest.fixture
def sandbox(start_sandbox: StartSandbox) -> SandboxProcess:
    return start_sandbox("--seed-incidents", "60", *QUICK)


@pytest.fixture
def run(command: Command, sandbox: SandboxProcess) -> Command:
    """Give a command against the sandbox."""
    return lambda *words, **more: command(*words, "--base-url", sandbox.url, *FAST, **more)


def test_rows_that_need_no_change_are_not_sent(
    run: Command, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """A sheet whose values are already set costs one request for a hundred rows."""
    write_sheet(tmp_path / "one.csv", 60)
    write_sheet(tmp_path / "two.csv", 60)
    run("run", "one.csv")
    requests = sandbox.get("/_stats")["requests"]
    done = run("run", "two.csv")
    assert done.returncode == 0
    assert statuses(tmp_path / "two.report.csv") == {"unchanged": 60}
    assert sandbox.get("/_stats")["requests"] == requests + 1
    assert read_csv(tmp_path / "two.before.csv") == []


def test_an_undo_restores_every_value(
    run: Command, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """Sent, verified, undone: the values are those from before; and the undo can be undone."""
    before = values(sandbox)
    write_sheet(tmp_path / "incidents.csv", 60)
    sent = run("run", "incidents.csv", "--verify")
    assert (
        sent.returncode,
        "60 rows read back in 1 request: all verified" in sent.stdout,
    ) == (
        0,
        True,
    )
    after = values(sandbox)
    assert after != before
    undone = run("undo", "incidents.report.csv", "--yes", "--verify")
    assert undone.returncode == 0, undone.stderr
    assert values(sandbox) == before
    assert (
        f"To undo: bulk-reset undo incidents.undo.report.csv --base-url {sandbox.url}"
        in undone.stdout
    )
    again = run("undo", "incidents.report.csv", "--yes")
    assert (again.returncode, values(sandbox)) == (0, before)
    forth = run("undo", "incidents.undo.report.csv", "--yes")
    assert (forth.returncode, values(sandbox)) == (0, after)


def test_a_run_that_was_undone_does_not_count_as_done(
    run: Command, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """The same sheet again after an undo is refused, and not reported as done."""
    before = values(sandbox)
    write_sheet(tmp_path / "incidents.csv", 5)
    run("run", "incidents.csv")
    after = values(sandbox)
    run("undo", "incidents.report.csv", "--yes")
    for command in (("run",), ("plan",)):
        again = run(*command, "incidents.csv")
        assert (again.returncode, "its run was undone (see " in again.stderr) == (2, True), (
            again.stderr
        )
    assert values(sandbox) == before
    run("undo", "incidents.undo.report.csv", "--yes")
    assert (run("run", "incidents.csv").returncode, values(sandbox)) == (0, after)
    second = run("undo", "incidents.report.csv", "--yes")
    assert (second.returncode, values(sandbox)) == (0, before)
    third = run("undo", "incidents.undo-2.report.csv", "--yes")
    assert (third.returncode, values(sandbox)) == (0, after)
    fourth = run("undo", "incidents.undo-2.undo.report.csv", "--yes")
    assert (fourth.returncode, values(sandbox)) == (0, before)
    fresh = run("run", "incidents.csv", "--report", "again.report.csv")
    assert (fresh.returncode, values(sandbox)) == (0, after)


def test_without_confirmation_nothing_is_undone(
    run: Command, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """Without a terminal to ask on, the answer is no."""
    write_sheet(tmp_path / "incidents.csv", 5)
    run("run", "incidents.csv")
    after = values(sandbox)
    undone = run("undo", "incidents.report.csv", stdin="")
    assert (undone.returncode, values(sandbox)) == (3, after)
    assert undone.stderr.endswith("Cancelled; nothing was sent. Use --yes to skip this question.\n")


def test_an_undo_does_not_change_what_was_modified_since(
    run: Command, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """Only values that still are as the run wrote them are restored; the others are reported."""
    before = values(sandbox)
    write_sheet(tmp_path / "incidents.csv", 10)
    write_sheet(tmp_path / "other.csv", 3, title="Another title")
    run("run", "incidents.csv")
    run("run", "other.csv")
    undone = run("undo", "incidents.report.csv", "--yes")
    assert undone.returncode == 1
    assert statuses(tmp_path / "incidents.undo.report.csv") == {"updated": 7, "conflict": 3}
    titles = [sandbox.get("/_incidents")[seed_id(n)]["title"] for n in range(1, 11)]
    assert titles[:3] == [f"Another title {n}" for n in range(1, 4)]
    assert titles[3:] == [before[seed_id(n)]["title"] for n in range(4, 11)]


def test_what_was_empty_is_listed_and_the_rest_restored(
    run: Command, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """Every value is restored or listed: here a third of the values were empty."""
    rows = [
        [seed_id(n), f"New title {n}", f"New description {n}", f"New impact {n}"]
        for n in range(1, 61)
    ]
    header = ["incident_id", "title", "description", "impact"]
    write_rows(tmp_path / "incidents.csv", header, *rows)
    before = values(sandbox)
    run("run", "incidents.csv")
    undone = run("undo", "incidents.report.csv", "--yes", "--json")
    results = json.loads(undone.stdout)
    lost = read_csv(tmp_path / "incidents.not-restored.csv")
    restored = read_csv(tmp_path / "incidents.undo.report.csv")
    assert (undone.returncode, len(lost), len(results["not_restored"])) == (1, 60, 60)
    assert {(line["field"], line["it was"]) for line in lost} == {("impact", "")}
    assert {line["why"] for line in lost} == {"it was empty, and the API cannot empty a field"}
    assert all(line["link"].endswith(line["incident_id"]) for line in lost)
    assert sum(len(line["fields"].split()) for line in restored) + len(lost) == 180
    now = values(sandbox)
    for n in range(1, 61):
        assert now[seed_id(n)] == before[seed_id(n)] | {"impact": f"New impact {n}"}


def pulled(path: Path, incidents: dict[str, dict[str, Any]], title: str) -> Path:
    """Write a sheet as it is pulled, with every title edited."""
    rows = [
        [one, title.format(n), incident["description"], incident["title"], incident["description"]]
        for n, (one, incident) in enumerate(incidents.items(), 1)
    ]
    header = ["Incident ID", "Title", "Description"]
    header += ["bulk-reset was title", "bulk-reset was description"]
    return write_rows(path, header, *rows)


def test_incidents_modified_by_another_client_are_skipped_and_restored(
    run: Command, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """50 of 60 were edited between pull and run: none is overwritten without --overwrite."""
    pulled(tmp_path / "month.csv", sandbox.get("/_incidents"), "Edited {}")
    write_sheet(tmp_path / "other.csv", 50, title="Another title")
    run("run", "other.csv")
    theirs = values(sandbox)
    hold_account = run("run", "month.csv")
    assert hold_account.returncode == 1
    assert statuses(tmp_path / "month.report.csv") == {"conflict": 50, "updated": 10}
    for n in range(1, 51):
        assert values(sandbox)[seed_id(n)] == theirs[seed_id(n)]
    assert "modified since the pull; skipped" in hold_account.stdout
    again = run("run", "month.csv", "--retry-failed", "--overwrite")
    assert again.returncode == 0, again.stderr
    titles = {incident["title"] for incident in values(sandbox).values()}
    assert titles == {f"Edited {n}" for n in range(1, 61)}
    undone = run("undo", "month.report.csv", "--yes")
    assert (undone.returncode, values(sandbox)) == (0, theirs)


def test_cells_without_an_edit_are_not_changed(
    run: Command, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """A sheet of all values sends one title, whatever was changed elsewhere meanwhile."""
    incidents = sandbox.get("/_incidents")
    path = pulled(tmp_path / "month.csv", incidents, "{}")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    for number, cells in enumerate(rows[1:], 1):
        cells[1] = "Edited title" if number == 7 else cells[3]
    write_rows(path, *rows)
    header = ["incident_id", "description"]
    write_rows(tmp_path / "other.csv", header, [seed_id(7), "Another's description"])
    run("run", "other.csv")
    stats = sandbox.get("/_stats")
    done = run("run", "month.csv")
    assert done.returncode == 0, done.stderr
    assert statuses(tmp_path / "month.report.csv") == {"updated": 1, "unchanged": 59}
    assert sandbox.get("/_stats")["requests"] == stats["requests"] + 2
    seventh = values(sandbox)[seed_id(7)]
    assert (seventh["title"], seventh["description"]) == (
        "Edited title",
        "Another's description",
    )
    assert seventh["title"] != incidents[seed_id(7)]["title"]


def test_a_verification_lists_the_values_that_differ(
    run: Command, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """A hundred incidents a request; exit 1 where one differs, 0 where none does."""
    write_sheet(tmp_path / "incidents.csv", 60)
    run("run", "incidents.csv")
    right = run("verify", "incidents.report.csv")
    write_sheet(tmp_path / "other.csv", 2, title="Another title")
    run("run", "other.csv")
    stats = sandbox.get("/_stats")["requests"]
    wrong = run("verify", "incidents.report.csv", "--json")
    results = json.loads(wrong.stdout)
    assert (right.returncode, wrong.returncode) == (0, 1)
    assert sandbox.get("/_stats")["requests"] == stats + 1
    assert [
        (m["row_number"], m["field"], m["wanted"], m["found"]) for m in results["mismatches"]
    ] == [
        (2, "title", "Renamed service 1", "Another title 1"),
        (3, "title", "Renamed service 2", "Another title 2"),
    ]


def test_a_run_without_previous_values_cannot_be_verified_or_undone(
    run: Command, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """The error names the option that disabled both."""
    del sandbox
    write_sheet(tmp_path / "incidents.csv", 3)
    run("run", "incidents.csv", "--no-before")
    for words in (("verify",), ("undo", "--yes")):
        done = run(words[0], "incidents.report.csv", *words[1:])
        assert (done.returncode, "--no-before" in done.stderr) == (2, True)


@pytest.mark.parametrize("applies", [True, False])
def test_a_verification_confirms_unknown_rows(
    applies: bool, start_sandbox: StartSandbox, command: Command, tmp_path: Path
) -> None:
    """A row whose response was lost, and the read-back too, becomes updated or failed."""
    rules: list[dict[str, Any]] = [
        {"path": "/incident/reset", "times": 1, "reset": "after" if applies else "before"},
        {"path": "/incident/list-by-ids", "requests": [2], "html": 502},
    ]
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps(rules))
    sandbox = start_sandbox("--seed-incidents", "1", "--faults", str(faults), *QUICK)
    write_sheet(tmp_path / "incidents.csv", 1)
    arguments = ("--base-url", sandbox.url, *FAST)
    command("run", "incidents.csv", "--attempts", "1", *arguments)
    assert statuses(tmp_path / "incidents.report.csv") == {"unknown": 1}
    done = command("verify", "incidents.report.csv", *arguments)
    assert done.returncode == (0 if applies else 1), done.stdout
    status = "updated" if applies else "failed"
    assert f"1 unconfirmed row now confirmed as {status}" in done.stdout
    assert statuses(tmp_path / "incidents.report.csv") == {"unknown": 1, status: 1}
    assert command("report", "incidents.report.csv").returncode == (0 if applies else 1)


def test_a_canary_is_spread_verified_and_confirmed(
    run: Command, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """Without a terminal it stops with exit code 3; with --yes it continues."""
    write_sheet(tmp_path / "incidents.csv", 60)
    first = run("run", "incidents.csv", "--canary", "4", stdin="")
    assert first.returncode == 3, first.stderr
    assert "Canary passed: 4 rows sent and verified. 56 rows remain." in first.stderr
    rows = sorted(int(line["row"]) for line in read_csv(tmp_path / "incidents.report.csv"))
    assert rows == [2, 21, 41, 61]
    second = run("run", "incidents.csv", "--canary", "4", "--yes")
    assert second.returncode == 0, second.stderr
    assert statuses(tmp_path / "incidents.report.csv") == {"updated": 60}
    assert sandbox.get("/_stats")["applied"] == 60


@pytest.mark.parametrize(
    ("typed", "code", "applied"),
    [(b"y\n", 0, 20), (b"n\n", 3, 4), (b"\x04", 3, 4), (b"\x03", 130, 4)],
)
def test_on_a_terminal_the_canary_asks(
    typed: bytes, code: int, applied: int, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """Yes continues; no, nothing and Ctrl-C leave the rest pending."""
    write_sheet(tmp_path / "incidents.csv", 20)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "bulk_reset", "run", "incidents.csv", "--canary", "4"),
            *("--base-url", sandbox.url, *FAST),
        ],
        cwd=tmp_path,
        env=clean_environment(FLASHDUTY_APP_KEY=KEY),
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  (no threads here)
    )
    os.close(theirs)
    shown = b""
    while b"Continue? [y/N]" not in shown and select.select([ours], [], [], 60)[0]:
        shown += os.read(ours, 1_000)
    os.write(ours, b"y\n")
    shown = b""
    while b"Continue? [y/N]" not in shown and select.select([ours], [], [], 60)[0]:
        shown += os.read(ours, 1_000)
    assert b"Canary passed: 4 rows sent and verified. 16 rows remain. Continue? [y/N]" in shown
    # A Ctrl-C in the instant before Python reads a line is handled when a line comes.
    for _ in range(20):
        with contextlib.suppress(OSError):  # the other side has gone
            os.write(ours, typed)
            while select.select([ours], [], [], 2)[0]:
                os.read(ours, 1_000)
        if process.poll() is not None:
            break
    os.close(ours)
    assert (process.wait(timeout=30), sandbox.get("/_stats")["applied"]) == (code, applied)


def test_a_canary_reports_rows_that_needed_no_change(run: Command, tmp_path: Path) -> None:
    """Rows that needed no change prove nothing."""
    write_sheet(tmp_path / "one.csv", 6)
    write_sheet(tmp_path / "two.csv", 8)
    run("run", "one.csv")
    done = run("run", "two.csv", "--canary", "3", "--yes")
    results = "Canary passed: 1 row sent and verified; 2 rows needed no change. 5 rows remain."
    assert (done.returncode, results in done.stderr) == (0, True), done.stderr


def test_a_canary_passes_or_fails_by_its_own_rows(run: Command, tmp_path: Path) -> None:
    """Rows that are invalid, or failed in an earlier run, do not count."""
    rows = [[seed_id(n), f"Renamed {n}"] for n in range(1, 21)]
    rows += [[seed_id(99), "No such incident"], [seed_id(1), "No"]]
    write_rows(tmp_path / "incidents.csv", ["incident_id", "title"], *rows)
    done = run("run", "incidents.csv", "--canary", "2", "--skip-invalid", "--yes")
    assert done.returncode == 3, done.stderr  # the last row that can be sent is one of the two
    done = run("run", "incidents.csv", "--canary", "2", "--skip-invalid", "--yes")
    assert (done.returncode, "Canary passed: 2 rows sent" in done.stderr) == (1, True)
    assert statuses(tmp_path / "incidents.report.csv") == {
        "updated": 20,
        "failed": 1,
        "rejected": 1,
    }


def test_a_canary_that_failed_stops_the_run(run: Command, tmp_path: Path) -> None:
    """--yes continues only where everything matches."""
    write_sheet(tmp_path / "incidents.csv", 61)
    done = run("run", "incidents.csv", "--canary", "2", "--yes")
    assert done.returncode == 3
    assert (
        "stopped: Canary failed: 1 of 2 rows not updated (first: row 62, ResourceNotFound). "
        "59 rows are pending.\n"
    ) in done.stderr
    assert (
        "Compare the rows in incidents.failed.csv with their incidents before you run again.\n"
    ) in done.stdout
    assert len(read_csv(tmp_path / "incidents.report.csv")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("what", ["run", "undo"])
def test_every_row_sent_before_a_kill_can_be_undone(
    what: str, begin: Begin, command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """After repeated kill -9, there are previous values for every row that was sent."""
    sandbox = start_sandbox("--seed-incidents", "600", *FAST)
    before = values(sandbox)
    write_sheet(tmp_path / "incidents.csv", 600)
    arguments = ("--base-url", sandbox.url, "--quiet", *FAST)
    words = {"run": ("run", "incidents.csv"), "undo": ("undo", "incidents.report.csv", "--yes")}
    report = {"run": "incidents.report.csv", "undo": "incidents.undo.report.csv"}[what]
    if what == "undo":
        assert command("run", "incidents.csv", *arguments).returncode == 0
    for part in (100, 250, 400):
        process = begin(*words[what], *arguments)
        path = tmp_path / report
        while not path.exists() or path.read_bytes().count(b"\n") < part:
            assert process.poll() is None
        process.kill()
        process.wait()
        touched = {one for one, now in values(sandbox).items() if now != before[one]}
        images = {line["incident_id"] for line in read_csv(tmp_path / "incidents.before.csv")}
        assert touched <= images
    done = command(*words[what], *arguments)
    assert done.returncode == 0, done.stderr
    assert statuses(tmp_path / report) == {"updated": 600}
    if what == "run":
        assert len({incident["title"] for incident in values(sandbox).values()}) == 600
        undone = command("undo", "incidents.report.csv", "--yes", *arguments)
        assert undone.returncode == 0, undone.stderr
    assert values(sandbox) == before


@pytest.mark.slow
def test_reading_five_thousand_incidents_costs_two_percent_of_the_requests(
    command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """4,000 of 5,000 are edited: the others cost nothing, reading costs up to 2 %."""
    sandbox = start_sandbox("--seed-incidents", "5000", "--seed-step", "1300", *QUICK)
    arguments = ("--base-url", sandbox.url, *FAST)
    done = command("pull", "months.csv", "--since", "80d", "--json", *arguments)
    results = json.loads(done.stdout)
    assert (results["incidents"], results["windows"]) == (5_000, 3)
    rows = read_csv(tmp_path / "months.csv")
    for number, cells in enumerate(rows):
        if number % 5:
            cells["Title"] = f"Edited {number}"
    write_rows(tmp_path / "months.csv", list(rows[0]), *(list(cells.values()) for cells in rows))
    before = sandbox.get("/_stats")
    done = command("run", "months.csv", "--verify", *arguments)
    assert done.returncode == 0, done.stderr
    assert statuses(tmp_path / "months.report.csv") == {"updated": 4_000, "unchanged": 1_000}
    after = sandbox.get("/_stats")
    assert after["applied"] == 4_000
    assert after["requests"] - before["requests"] <= 4_000 * 1.02
    assert f"{after['applied']:,} rows read back in 40 requests" in done.stdout


def test_a_sandbox_keeps_its_incidents_between_commands(command: Command, tmp_path: Path) -> None:
    """Its incidents are in a file; another file is not changed, and reported."""
    state = ("--sandbox-state", "state.json", *FAST)
    command("pull", "month.csv", "--since", "30d", *state)
    rows = read_csv(tmp_path / "month.csv")
    write_sheet(tmp_path / "incidents.csv", 3)
    assert command("run", "incidents.csv", *state).returncode == 0
    command("pull", "again.csv", "--since", "30d", *state)
    again = read_csv(tmp_path / "again.csv")
    assert [row["Title"] for row in again[:3]] == [f"Renamed service {n}" for n in (1, 2, 3)]
    assert (len(rows), again[3:]) == (300, rows[3:])
    (tmp_path / "other.json").write_text("[1]")
    refused = command("plan", "incidents.csv", "--sandbox-state", "other.json", *FAST)
    assert (refused.returncode, "--sandbox-state other.json: found a list" in refused.stderr) == (
        2,
        True,
    ), refused.stderr
    assert (tmp_path / "other.json").read_text() == "[1]"
    lost = command("plan", "incidents.csv", "--sandbox-state", "missing/state.json", *FAST)
    assert (lost.returncode, "missing/state.json: cannot be written" in lost.stderr) == (2, True)


def test_a_workbook_that_is_edited_again_is_no_conflict_with_itself(
    run: Command, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """What an earlier run of the sheet wrote is no conflict; an edit by another client is one."""
    before = values(sandbox)
    path = pulled(tmp_path / "month.csv", dict(list(before.items())[:3]), "First {}")
    assert run("run", "month.csv").returncode == 0
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("First 1", "Second 1").replace("First 2", "Second 2"))
    write_sheet(tmp_path / "other.csv", 1, title="Another title")
    run("run", "other.csv")
    planned = json.loads(run("plan", "month.csv", "--json").stdout)
    assert planned["counts"] == {"update": 1, "conflict": 1, "done before": 1}
    done = run("run", "month.csv")
    assert (done.returncode, statuses(tmp_path / "month.report.csv")) == (
        1,
        {"updated": 4, "conflict": 1},
    )
    titles = [values(sandbox)[seed_id(n)]["title"] for n in (1, 2)]
    assert titles == ["Another title 1", "Second 2"]
    undone = run("undo", "month.report.csv", "--yes")
    assert undone.returncode == 1, undone.stdout
    assert values(sandbox)[seed_id(2)] == before[seed_id(2)]
