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
from sheet_zoo import TABLE, A, Make, by_hand, by_xlsxwriter, inline, inspect_sheet, put
from workbooks import change_part

from bulk_reset.core.errors import SheetError
from bulk_reset.sheets.workbooks.package import is_bomb

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


@pytest.mark.slow
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
        (67, 0.07, False),
        (68, 0.07, True),
        (700, 70, False),  # a million rows of text
        (700, 3, False),  # a million rows of nearly the same
        (700, 2.5, True),
        (2_140, 400, False),
        (2_150, 400, True),
    ],
)
def test_zip_bomb_differs_from_a_large_workbook(
    unpacked_mb: float, packed_mb: float, expected: bool
) -> None:
    """A million real rows are far below the limit."""
    assert is_bomb(int(unpacked_mb * MB), int(packed_mb * MB)) is expected


# --- Workbooks that take long ----------------------------------------------------------------

SPACES: Final = " " * MB


def more(rows: str) -> Make:
    """Make a workbook with a table and further rows."""
    return by_hand(inline(TABLE, has_places=True) + rows)


def with_merged(path: Path) -> None:
    """A hundred thousand merged ranges, each over the whole worksheet."""
    more("")(path)
    ranges = "<mergeCell ref='A1:XFD1048576'/>" * 100_000
    change_part(
        path,
        "xl/worksheets/s.xml",
        lambda xml: xml.replace(
            b"</sheetData>", f"</sheetData><mergeCells>{ranges}</mergeCells>".encode()
        ),
    )


def with_styles(path: Path) -> None:
    """As many special formats as Excel allows, and cells with the last of them."""
    more("".join(f"<row><c s='64999'><v>{n}</v></c></row>" for n in range(3_000)))(path)
    styles = "<styleSheet><cellXfs>" + "<xf numFmtId='9'/>" * 65_000 + "</cellXfs></styleSheet>"
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/styles.xml", styles)


def with_parts(path: Path) -> None:
    """Parts that are small each, and large together."""
    more("")(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for number in range(5):
            archive.writestr(f"xl/part{number}.XML", bytes(20 * MB))


def with_index(path: Path) -> None:
    """A part that names others, and is larger than all of them."""
    more("")(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/styles.xml", (os.urandom(600) + bytes(100_000)) * 700)


ATTRIBUTES: Final = " ".join(f"hidden{n}='1'" for n in range(90_000))
ARRAY: Final = "<c r='A5'><f t='array' ref='A1:XFD1048576'>1</f></c>"
SLOW: Final[dict[str, tuple[Make, str]]] = {
    # name: how it is made, part of the error; none if it is read
    "spaces after a formula": (more(f"<row><c><f>1</f>{SPACES}<v>1</v>{SPACES}</c></row>"), ""),
    "spaces in a formula": (more(f"<row><c><f>{SPACES}</f>{SPACES}</c></row>"), ""),
    "spaces in a tag": (more(f"<row{SPACES}>{SPACES}</row{SPACES}>"), ""),
    "attributes of a row": (more(f"<row {ATTRIBUTES}/>"), ""),
    "attributes of an open row": (more(f"<row {ATTRIBUTES}"), "cannot be read as a workbook"),
    "hidden rows in a text": (
        more("<row><c t='str'><v>" + "row hidden " * 100_000 + "</v></c></row>"),
        "",
    ),
    "a long comment": (more("<!--" + "x>" * MB + "-->"), ""),
    "cells without places": (
        more(f"<row>{'<c/>' * 16_000}</row><row r='1048576'><c><v>1</v></c></row>"),
        "cells up to row 1,048,576 and column 16,000. Delete the empty rows",
    ),
    "too many cells in a row": (
        more(f"<row>{'<c/>' * 20_000}</row>"),
        "cannot be read as a workbook (row 4 has more than 16,384 cells).",
    ),
    "a cell far to the right": (
        more("<row r='9000'><c r='XFD9000'><v>1</v></c></row>"),
        "cells up to row 9,000 and column 16,384. Delete the empty rows",
    ),
    "array formulas": (
        more(f"<row>{ARRAY * 100}</row>"),
        "cannot be read as a workbook (it has too many array formulas).",
    ),
    "merged ranges": (with_merged, "cannot be read as a workbook (its merged cells overlap)."),
    "formats": (with_styles, ""),
    "a bomb in parts": (with_parts, "MB expand to 100 MB, which is too much for a workbook."),
    "a bomb in an index": (with_index, "expand to 70 MB, which is too much for a workbook."),
}


@pytest.mark.parametrize(("make", "words"), SLOW.values(), ids=SLOW)
def test_workbook_that_would_take_long_is_read_or_refused(
    make: Make, words: str, tmp_path: Path
) -> None:
    """The time is linear in the size of the worksheet; a test that hangs has failed."""
    path = tmp_path / "sheet.xlsx"
    make(path)
    try:
        inspect_sheet(path)
    except SheetError as error:
        refusal = str(error)
    else:
        refusal = ""

    assert words in refusal
    assert bool(words) is bool(refusal)
