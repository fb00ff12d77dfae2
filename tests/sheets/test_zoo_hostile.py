"""Files made to fill the memory, given to the real command: an error, and little memory used.

The system reports the peak memory of a process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest
from programs import clean_environment
from sheet_zoo import TABLE, A, Make, by_xlsxwriter, put

from bulk_reset.sheets.workbook_xml import is_bomb

MB: Final = 1_000_000
HEADER: Final = f"id,title\n{A},Disk full\n".encode()


LAUNCH: Final = """
import atexit, pathlib, sys
from bulk_reset.cli import main

def print_peak():
    text = pathlib.Path("/proc/self/status").read_text()
    print("kB used:", text.split("VmHWM:")[1].split()[0], file=sys.stderr)

atexit.register(print_peak)
sys.exit(main())
"""
"""The command, which prints its peak memory at the end (on Linux)."""


def check(path: Path) -> tuple[int, str, float]:
    """Run ``check``; return its exit code, its output and its peak memory (in MB)."""
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, "check", str(path)],
        env=clean_environment(COLUMNS="500"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    output, _, peak_kb = (done.stdout + done.stderr).partition("kB used: ")
    return done.returncode, output, int(peak_kb) / 1000


def repeated(content: bytes, size: int, start: bytes = HEADER) -> Make:
    """Make a text file of a size, a block at a time."""

    def make(path: Path) -> None:
        block = content * (MB // len(content))
        with path.open("wb") as file:
            file.write(start)
            for _ in range(size // MB):
                file.write(block)

    return make


def bomb(path: Path) -> None:
    """A workbook whose one text is 300 MB of zeros in 300 kB."""
    by_xlsxwriter(lambda _, ws: put(ws, TABLE))(path)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/more.xml", "w") as member,
    ):
        for _ in range(300):
            member.write(b"0" * MB)


def far(path: Path) -> None:
    by_xlsxwriter(lambda _, ws: (put(ws, TABLE), ws.write("XFD1048576", "stray")))(path)


def fifo(path: Path) -> None:
    os.mkfifo(path)


HOSTILE: Final[dict[str, tuple[str, Make, str, int]]] = {
    # name: extension, how it is made, part of the error, maximum memory in MB
    "a pipe without a writer": ("csv", fifo, "To read a pipe, use - as the file name.", 150),
    "a cell of 200 MB": (
        *("csv", repeated(b"x", 200 * MB, HEADER + A.encode() + b",")),
        *("row 3 has a cell of more than 4,194,304 characters.", 220),
    ),
    "a header of 200 MB": (
        *("csv", repeated(b"x", 200 * MB, b"id,title,")),
        *("row 1 has a cell of more than 4,194,304 characters.", 220),
    ),
    "a quote that is never closed, 400 MB": (
        *("csv", repeated(b"another line\n", 400 * MB, HEADER + A.encode() + b',"')),
        *("row 3 has a cell of more than 4,194,304 characters. If a double quote", 550),
    ),
    "a bomb": ("xlsx", bomb, "MB expand to 300 MB, which is too much for a workbook.", 150),
    "a cell in the far corner": ("xlsx", far, "cells up to row 1,048,576 and column", 150),
}


@pytest.mark.parametrize(("ending", "make", "words", "most_mb"), HOSTILE.values(), ids=HOSTILE)
def test_file_that_would_fill_the_memory_is_an_error(
    ending: str, make: Make, words: str, most_mb: int, tmp_path: Path
) -> None:
    """The command ends with code 2 and one line, and uses little memory."""
    path = tmp_path / f"sheet.{ending}"
    make(path)
    code, output, peak_mb = check(path)
    path.unlink()

    assert (code, words in output, "Traceback" in output) == (2, True, False), output
    assert peak_mb < most_mb


@pytest.mark.parametrize(
    ("unpacked_mb", "packed_mb", "expected"),
    [
        (1, 0.001, False),  # small ones may have any compression
        (268, 0.3, False),
        (269, 0.3, True),
        (700, 70, False),  # a million rows of text
        (700, 3, False),  # a million rows of nearly the same
        (700, 2.5, True),
        (4_290, 400, False),
        (4_300, 400, True),
    ],
)
def test_zip_bomb_differs_from_a_large_workbook(
    unpacked_mb: float, packed_mb: float, expected: bool
) -> None:
    """A million real rows are far below the limit."""
    assert is_bomb(int(unpacked_mb * MB), int(packed_mb * MB)) is expected
