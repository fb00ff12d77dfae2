"""Starting is quick: nothing heavy is imported before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import clean_environment

HEAVY = ("asyncio", "pandas", "numpy", "aiohttp", "aiolimiter", "stamina", "yaml", "xlsxwriter")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["check", "--help"],
        ["sandbox", "--help"],
        ["run", "--no-such-option"],
        ["run", "sheet.csv", "--workers", "many"],
    ],
)
def test_help_and_usage_errors_import_nothing_heavy(arguments: list[str]) -> None:
    """Nobody waits for pandas to read a help text."""
    program = (
        "import sys, atexit\n"
        f"sys.argv = ['bulk-reset', *{arguments!r}]\n"
        f"atexit.register(lambda: print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules]))\n"
        "from bulk_reset.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stdout + done.stderr


def test_a_usage_error_exits_with_2() -> None:
    """A slip on the command line sends nothing, and scripts can tell."""
    done = subprocess.run(
        [sys.executable, "-m", "bulk_reset", "run"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Missing argument 'SHEET'" in done.stderr
