"""On a terminal a run asks before it sends; progress is one line, and waiting is explained."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import FAST, KEY, QUICK, SandboxProcess, clean_environment, write_sheet
from terminal import rest_of, seen_on_a_terminal, terminal

Command = Callable[..., "subprocess.CompletedProcess[str]"]
StartSandbox = Callable[..., SandboxProcess]
PROGRAM = (sys.executable, "-m", "bulk_reset")


def asked(arguments: list[str], typed: bytes, folder: Path) -> tuple[int, str]:
    """Run a command on a terminal and answer its question; return its exit code and output."""
    with terminal(100) as (ours, theirs):
        process = subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=folder,
            env={**clean_environment(FLASHDUTY_APP_KEY=KEY), "COLUMNS": "", "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        seen = b""
        while b"Continue? [y/N]: " not in seen:
            seen += os.read(ours, 1 << 16)
        os.write(ours, typed)
        seen += rest_of(ours)
        return process.wait(timeout=60), seen.decode()


@pytest.mark.parametrize(("typed", "code", "applied"), [(b"y\n", 0, 3), (b"\n", 3, 0)])
def test_a_run_on_a_terminal_asks_first(
    typed: bytes, code: int, applied: int, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """It shows the rows, the time, the address and where the key is from, never the key."""
    sandbox = start_sandbox("--seed-incidents", "3", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 3)
    ended, seen = asked(["run", "incidents.csv", "--base-url", sandbox.url, *FAST], typed, tmp_path)
    assert (ended, sandbox.get("/_stats")["applied"]) == (code, applied)
    lines = seen.splitlines()
    assert lines[:5] == [
        "incidents.csv: read as UTF-8, comma-separated",
        "Rows to update  3 of 3 rows",
        "Time needed     at least 0.0 s",
        f"Address         {sandbox.url}",
        "Account         the key from $FLASHDUTY_APP_KEY",
    ]
    assert seen.count("read as UTF-8") == 1
    assert KEY not in seen
    if code:
        assert lines[-1] == "Cancelled; nothing was sent. Use --yes to skip this question."
        assert [path.name for path in tmp_path.iterdir()] == ["incidents.csv"]


@pytest.mark.parametrize("more", [["--yes"], ["--dry-run"]])
def test_a_run_that_is_confirmed_or_sends_nothing_does_not_ask(
    more: list[str], tmp_path: Path
) -> None:
    """--yes skips the question, and a dry run has none."""
    write_sheet(tmp_path / "incidents.csv", 3)
    words = ["run", "incidents.csv", "--sandbox", *FAST, *more]
    code, seen = seen_on_a_terminal(words, tmp_path, TERM="xterm")
    assert (code, "Continue?" in seen) == (0, False)


def test_a_repeated_run_with_nothing_left_does_not_ask(tmp_path: Path) -> None:
    """There is nothing to confirm."""
    write_sheet(tmp_path / "incidents.csv", 3)
    words = ["run", "incidents.csv", "--sandbox-state", "s.json", *FAST]
    assert seen_on_a_terminal([*words, "--yes"], tmp_path, TERM="xterm")[0] == 0
    code, seen = seen_on_a_terminal(words, tmp_path, TERM="xterm")
    assert (code, "Continue?" in seen) == (0, False)
    assert "No row needed to be sent." in seen


def test_the_question_names_the_sandbox(tmp_path: Path) -> None:
    """A user sees that nothing is sent to the API."""
    write_sheet(tmp_path / "incidents.csv", 3)
    words = ["run", "incidents.csv", "--sandbox-state", "s.json", "--limit", "2", *FAST]
    code, seen = asked(words, b"n\n", tmp_path)
    assert code == 3
    assert "Rows to update  2 of 3 rows (1 beyond --limit)" in seen
    assert "Address         Sandbox (s.json)" in seen


def test_progress_writes_no_escape_codes_as_text(tmp_path: Path) -> None:
    """Sending and reading back share one live line."""
    write_sheet(tmp_path / "incidents.csv", 801)
    words = ["run", "incidents.csv", "--sandbox", *FAST, "--verify", "--yes"]
    code, seen = seen_on_a_terminal(words, tmp_path, TERM="xterm-256color")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert (code, "[K" in shown, "\x1b" in shown) == (0, False, False)
    assert "801 rows read back in 9 requests: all verified" in shown


@pytest.mark.parametrize("words", [["plan", "incidents.csv"], ["undo", "incidents.report.csv"]])
def test_a_command_that_waits_for_the_api_prints_so(
    words: list[str], command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """Within seconds the user knows what the command waits for."""
    sandbox = start_sandbox("--seed-incidents", "3", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 3)
    assert command("run", "incidents.csv", "--base-url", sandbox.url, *FAST).returncode == 0
    # Without an audit, another address is not refused.
    (tmp_path / "incidents.audit.jsonl").unlink()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    more = ["--report", "fresh.report.csv"] if words[0] == "plan" else []
    process = subprocess.Popen(
        [*PROGRAM, *words, *more, "--base-url", url],
        cwd=tmp_path,
        env=clean_environment(FLASHDUTY_APP_KEY=KEY),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    started_at = time.monotonic()
    expected = f"Waiting for the API at {url}. Press Ctrl-C to stop.\n"
    lines = []
    while expected not in lines and time.monotonic() - started_at < 30:
        lines.append(process.stderr.readline())
    process.kill()
    process.communicate(timeout=30)
    assert lines[-1] == expected
