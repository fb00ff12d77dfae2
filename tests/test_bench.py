"""The benchmarks work, with few rows. Their results are not checked."""

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
    """Run the benchmarks as ``make bench`` does; all of their processes end with them."""
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
            stdout, stderr = process.communicate(timeout=110)
        except BaseException:
            # Only its clients and its server are in its process group.
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
        (
            ("comments", "--rows", "200", "--rounds", "1"),
            ["equal comments", "different comments"],
        ),
        (("startup", "--rounds", "1"), ["bulk-reset --help", "three lines of typer"]),
        (
            ("plans", "--rows", "200", "--rounds", "1"),
            ["check of the sheet", "make and write them", "apply: run --dry-run"],
        ),
        (
            ("scaling", "--rows", "100"),
            [
                *(
                    "check",
                    "run, all rows done",
                    "the same again",
                    "plan",
                    "report",
                    "report --html",
                ),
                *("report --xlsx", "verify", "undo, up to the question"),
            ],
        ),
        (
            ("web", "--rows", "100", "--rounds", "1"),
            ["upload", "plan, first page", "memory of the server, MB", "none", "difference"],
        ),
    ],
)
def test_a_part_has_a_line_for_everything_it_measures(
    arguments: tuple[str, ...], expected: list[str]
) -> None:
    """One part prints its table, with a line for everything that it measures."""
    done = bench(*arguments)

    assert (done.returncode, done.stderr) == (0, "")
    first_cells = [re.split(r"\s{2,}", line.strip())[0] for line in done.stdout.splitlines()]
    lines = [cell for cell in first_cells if cell in expected]
    assert lines == expected, done.stdout


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_part_measures_writing_and_opening() -> None:
    """Time, memory and size of writing; first paint, filters and memory in the browser."""
    done = bench("page", "--rows", "200", "--rounds", "1")

    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [len(line) for line in lines if line[:1] == ["200"]] == [5, 6], done.stdout


def test_an_unknown_part_is_refused_with_the_list_of_parts() -> None:
    """A wrong name measures nothing, and the error lists all parts."""
    done = bench("speed")

    assert (done.returncode, done.stdout) == (2, "")
    error = " ".join(done.stderr.replace("│", " ").split())
    names = (
        "claims comments dask engine page plans quota quota-shared scaling schedule sheets startup "
        "web"
    )
    parts = ", ".join(f"'{name}'" for name in names.split())
    assert f"'speed' is not one of {parts}" in error
