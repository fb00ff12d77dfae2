"""The time of ``--help``, compared with the smallest program with typer, and of a small check."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

from processes import measure, our_command
from rich.table import Table
from table_style import new_table
from web_table import page_server

ROUNDS: Final = 11
_ROWS: Final = 300
_BOUNDS: Final = {"bulk-reset --help": "1.20 of typer alone", f"check, {_ROWS} rows": "500 ms"}
_THREE_LINES: Final = "import typer\ndef main(name: str): typer.echo(name)\ntyper.run(main)\n"


def tables(rounds: int, log: Callable[[str], None]) -> list[Table]:
    """Start all by turns and return the tables."""
    log(f"startup: {rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        smallest, sheet = Path(folder, "smallest.py"), Path(folder, "sheet.csv")
        smallest.write_text(_THREE_LINES, encoding="utf-8")
        rows = (f"{number:024x},Title {number}\n" for number in range(_ROWS))
        sheet.write_text("incident_id,title\n" + "".join(rows), encoding="utf-8")
        commands = {
            "bulk-reset --help": our_command("--help"),
            "three lines of typer": [sys.executable, str(smallest), "--help"],
            f"check, {_ROWS} rows": our_command("check", str(sheet)),
        }
        # The first start compiles the modules and fills the disk cache.
        measured = [
            {name: measure(command).seconds for name, command in commands.items()}
            for _ in range(rounds + 1)
        ][1:]
    table = new_table(
        "Startup",
        *("command", "ms", "from", "to", "of typer alone", "bound"),
        caption=f"Medians, whole processes; rounds: {rounds}.",
    )
    for name in commands:
        seconds = [one[name] for one in measured]
        ratio = median(one[name] / one["three lines of typer"] for one in measured)
        figures = (median(seconds), min(seconds), max(seconds))
        texts = (f"{1000 * s:,.0f}" for s in figures)
        table.add_row(name, *texts, f"{ratio:.2f}", _BOUNDS.get(name, ""))
    return [table, _web_table(rounds)]


def _web_table(rounds: int) -> Table:
    """Return what it takes until the page answers, from the start of the process."""
    table = new_table(
        "Startup of the page",
        *("until", "ms", "from", "to"),
        caption=f"Medians of {rounds} starts; the goal of the first page is 1,500 ms.",
    )
    with tempfile.TemporaryDirectory() as folder:
        starts = [first_page(Path(folder), "http://127.0.0.1:9") for _ in range(rounds + 1)][1:]
    for at, name in enumerate(("the link is printed", "the first page is read")):
        figures = [one[at] for one in starts]
        values = (median(figures), min(figures), max(figures))
        table.add_row(name, *(f"{1000 * s:,.0f}" for s in values))
    return table


def first_page(folder: Path, url: str) -> tuple[float, float]:
    """Return the seconds until the link is printed, and until the first page is read."""
    begun = time.perf_counter()
    with page_server(folder, url) as page:
        return page.link_s, time.perf_counter() - begun
