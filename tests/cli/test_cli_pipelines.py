"""``plan --exit-code``, ``check --sarif``, ``report --junit``, ``approve`` and ``audit verify``."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from programs import FAST, write_sheet

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_exit_code_of_a_plan_shows_whether_there_are_changes(
    command: Command, tmp_path: Path
) -> None:
    """5 before the run and 0 after it; without the option 0 both times, with a conflict 1."""
    state = ("--sandbox-state", "state.json", *FAST)
    done = command("pull", "it.csv", "--since", "2d", *state)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "it.csv"
    path.write_text(path.read_text("utf-8-sig").replace("CPU usage high", "CPU busy", 1), "utf-8")
    plan = ("plan", "it.csv", "--exit-code", "--json", *state)

    def exit_codes() -> tuple[int, int]:
        done = command(*plan)
        return done.returncode, json.loads(done.stdout)["exit_code"]

    assert exit_codes() == (5, 5)
    assert command("plan", "it.csv", *state).returncode == 0
    done = command("run", "it.csv", "--yes", *state)
    assert done.returncode == 0, done.stderr
    assert exit_codes() == (0, 0)


def test_check_writes_sarif_for_valid_invalid_and_unreadable_sheets(
    command: Command, tmp_path: Path
) -> None:
    """The exit code is the one without the option, and the file is always there."""
    write_sheet(tmp_path / "good.csv", 1)
    (tmp_path / "bad.csv").write_text("id,title\n69da451ef77b1b51f40e83ee,Hi\n")
    (tmp_path / "none.csv").write_text("")
    for name, code, rules in (
        ("good", 0, []),
        ("bad", 2, ["too_short"]),
        ("none", 2, ["sheet_unreadable"]),
    ):
        done = command("check", f"{name}.csv", "--sarif", f"{name}.sarif", key=None)
        assert done.returncode == code
        log = json.loads((tmp_path / f"{name}.sarif").read_text())
        assert [one["ruleId"] for one in log["runs"][0]["results"]] == rules


def test_a_run_with_a_note_has_junit_and_an_intact_audit(command: Command, tmp_path: Path) -> None:
    """The story of a pipeline: run with a reason, publish the result, verify the audit."""
    write_sheet(tmp_path / "it.csv", 2)
    log = ("--log-file", "log.jsonl")
    command("run", "it.csv", "--sandbox", "--yes", "--note", "CHG-123", *log, *FAST, key=None)
    done = command("report", "it.sandbox.report.csv", "--junit", "it.xml", key=None)
    assert done.stdout.splitlines()[-1] == "JUnit: it.xml"
    assert (tmp_path / "it.xml").read_text().count("<testcase") == 2
    assert '"note":"CHG-123"' in (tmp_path / "it.sandbox.audit.jsonl").read_text()
    started = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert started["options"]["note"] == "CHG-123"

    audit = tmp_path / "it.sandbox.audit.jsonl"
    done = command("audit", "verify", audit.name, "--json", key=None)
    result = json.loads(done.stdout)
    assert (done.returncode, result["lines"], result["problems"]) == (0, 2, [])
    done = command("audit", "verify", audit.name, "--last", result["last"], key=None)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "it.sandbox.audit.jsonl: 2 lines, no problems"

    audit.write_text(audit.read_text().replace('"sandbox"', '"sandboy"', 1))
    done = command("audit", "verify", audit.name, key=None)
    assert done.returncode == 1
    assert "altered" in done.stdout + done.stderr
    assert command("audit", "verify", "it.csv", key=None).returncode == 2


def test_approve_prints_hash_approval_and_the_next_command(
    command: Command, tmp_path: Path
) -> None:
    """The approver copies the last line to the user who runs the plan."""
    body = b"bulk-reset plan 1\nrows\n"
    digest = hashlib.sha256(body).hexdigest()
    (tmp_path / "p.plan").write_bytes(body + f"sha256 {digest}\n".encode())
    (tmp_path / "key").write_text("f" * 32)
    done = command(
        "approve", "p.plan", "--hmac-key-file", "key", "--name", "al\x1bice", "--note", "CHG-1"
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, second, *rest = done.stdout.splitlines()
    assert first == f"SHA-256 of the plan: {digest}"
    assert second.startswith("Approved by al\ufffdice (key file), 20")
    assert rest == [
        "Approval: p.plan.approval",
        "Next, as another user: bulk-reset run p.plan --hmac-key-file key --require-approval",
    ]
    own = command("run", "p.plan", "--sandbox", "--require-approval", "--hmac-key-file", "key")
    assert (own.returncode, own.stdout) == (2, "")
    assert "an own approval; another user must approve (--allow-own-approval allows" in own.stderr
    (tmp_path / "it.csv").write_text("id,title\n")
    sheet = command("run", "it.csv", "--sandbox", "--require-approval", "--hmac-key-file", "key")
    assert sheet.returncode == 2
    assert "it.csv: not a saved plan. Make one by a plan with --out" in sheet.stderr
