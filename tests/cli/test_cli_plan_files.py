"""``plan --out``, ``plan show``, ``plan diff`` and ``run P.plan`` as commands."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from programs import seed_id, write_rows

Command = Callable[..., subprocess.CompletedProcess[str]]
SANDBOX = ("--sandbox-state", "state.json")


def test_a_plan_is_saved_shown_compared_and_run(command: Command, tmp_path: Path) -> None:
    """Each command prints the hash, and the next command that works as it is copied."""
    rows = [[seed_id(n), f"Renamed {n}"] for n in range(1, 4)]
    write_rows(tmp_path / "x.csv", ["id", "title"], *rows)
    saved = command("plan", "x.csv", "--out", "x.plan", "--expires", "7d", *SANDBOX)
    sha256 = (tmp_path / "x.plan").read_bytes()[-65:-1].decode()
    assert saved.stdout.splitlines()[-4:] == [
        "Saved plan: x.plan, expires in 7d",
        f"SHA-256 of the plan: {sha256}",
        "Nothing was sent.",
        "Next: bulk-reset run x.plan --sandbox-state state.json",
    ]
    shown = json.loads(command("plan", "show", "x.plan", "--json", key=None).stdout)
    assert (shown["plan_sha256"], shown["counts"]) == (sha256, {"update": 3})
    assert [row["fields"][0]["new"] for row in shown["plan"]] == [title for _, title in rows]
    text = command("plan", "show", "x.plan", "--html", "--xlsx", key=None)
    assert text.stdout.splitlines()[:2] == ["Plan            x.plan", f"SHA-256         {sha256}"]
    assert {"x.plan.html", "x.plan.xlsx"} <= {path.name for path in tmp_path.iterdir()}
    (tmp_path / "key").write_text("0123456789abcdef")
    for expires in ("1h", "2h"):
        name = ("--name", f"bob {expires}", "--expires", expires)
        approve = ("approve", "x.plan", "--hmac-key-file", "key", "--note", "CHG-1", *name)
        assert command(*approve, key=None).returncode == 0
    text = command("plan", "show", "x.plan", key=None)
    approvals = [line for line in text.stdout.splitlines() if line.startswith("Approval ")]
    assert [re.sub(r"\d{4}-.{5} .{5}", "TIME", line) for line in approvals] == [
        f"Approval        bob {expires} (key file), TIME UTC: CHG-1 (signature not verified; run "
        "verifies it)"
        for expires in ("1h", "2h")
    ]
    thinned = command("plan", "x.plan", "--where", "row != 3", "--out", "y.plan", *SANDBOX)
    assert thinned.returncode == 0, thinned.stderr
    diff = command("plan", "diff", "x.plan", "y.plan", key=None)
    assert diff.returncode == 1
    assert (
        diff.stdout.splitlines()[-1] == "0 rows added, 1 row removed, 0 rows changed, 2 the same."
    )
    assert command("plan", "diff", "x.plan", "x.plan", "--quiet", key=None).returncode == 0
    sent = command("run", "y.plan", "--yes", "--json", *SANDBOX)
    assert json.loads(sent.stdout)["counts"]["updated"] == 2
    assert (tmp_path / "y.plan.sandbox.report.csv").exists()


def test_wrong_plans_and_options_are_usage_errors(command: Command, tmp_path: Path) -> None:
    """Exit code 2, one line that names the place, and no traceback."""
    write_rows(tmp_path / "x.csv", ["id", "title"], [seed_id(1), "Renamed 1"])
    assert command("plan", "x.csv", "--out", "x.plan", *SANDBOX).returncode == 0
    (tmp_path / "z.plan").write_bytes((tmp_path / "x.plan").read_bytes()[:-9])
    for words, text in {
        ("plan", "show", "z.plan"): "z.plan: the plan is incomplete or was altered",
        ("plan", "show", "x.csv"): "x.csv: not a saved plan",
        ("plan", "show", "none.plan"): "none.plan: cannot be read",
        ("run", "z.plan", *SANDBOX): "z.plan: the plan is incomplete or was altered",
        ("run", "x.plan", "--overwrite", *SANDBOX): "--overwrite: x.plan is a saved plan",
        ("run", "x.plan", "--map", "title=a", *SANDBOX): "--map: x.plan is a saved plan",
        ("run", "x.csv", "--dry-run", "--where", "true", *SANDBOX): "--dry-run: reads no current",
        ("run", "x.csv", "--only-rows", "x", *SANDBOX): "--only-rows x: 'x' is not a row",
        ("plan", "x.csv", "--expires", "soon", *SANDBOX): "--expires soon: not an age",
    }.items():
        done = command(*words)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert text in done.stderr, words
