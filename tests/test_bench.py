"""The bench works, on next to nothing: what it says of speed is nobody's promise here."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "bench"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the bench as ``make bench`` does; what it started ends with it."""
    command = [sys.executable, str(BENCH), *arguments]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        process_group=0,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=60)
        except BaseException:
            # Its clients and its server are in its group, and nobody else is.
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("engine", "--rows", "200", "--rounds", "1"),
            ["bare", "bulk-reset", "bulk-reset --no-before", "bare-lean", "requests", "cookbook"],
        ),
        (
            ("sheets", "--rows", "200", "--rounds", "1"),
            ["check, CSV", "pandas.read_csv", "run", "resume, all done", "check, XLSX"],
        ),
        (("startup", "--rounds", "1"), ["bulk-reset --help", "three lines of typer"]),
    ],
)
def test_each_part_measures_all_it_names(arguments: tuple[str, ...], expected: list[str]) -> None:
    """A developer who asks for one part gets its table, with a line for everything measured."""
    done = bench(*arguments)

    assert (done.returncode, done.stderr) == (0, "")
    first_cells = [re.split(r"\s{2,}", line.strip())[0] for line in done.stdout.splitlines()]
    lines = [cell for cell in first_cells if cell in expected]
    assert lines == expected, done.stdout


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_is_made_and_looked_at() -> None:
    """Time, memory and size of the making; first paint, filters and memory in the browser."""
    done = bench("page", "--rows", "200", "--rounds", "1")

    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [len(line) for line in lines if line[:1] == ["200"]] == [5, 6], done.stdout


def test_an_unknown_part_is_refused_with_those_there_are() -> None:
    """A slip on the command line measures nothing and says what could be measured."""
    done = bench("speed")

    assert (done.returncode, done.stdout) == (2, "")
    said = " ".join(done.stderr.replace("│", " ").split())
    parts = "'engine', 'page', 'quota', 'schedule', 'sheets', 'startup'"
    assert f"'speed' is not one of {parts}" in said
