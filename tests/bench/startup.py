"""The time of ``bulk-reset --help``, compared with the smallest program with typer."""

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
_THREE_LINES: Final = "import typer\ndef main(name: str): typer.echo(name)\ntyper.run(main)\n"


def tables(rounds: int, log: Callable[[str], None]) -> list[Table]:
    """Start both by turns and return one table."""
    log(f"startup: {rounds} pairs")
    ways: dict[str, list[float]] = {"bulk-reset --help": [], "three lines of typer": []}
    with tempfile.TemporaryDirectory() as folder:
        smallest = Path(folder, "smallest.py")
        smallest.write_text(_THREE_LINES, encoding="utf-8")
        commands = (our_command("--help"), [sys.executable, str(smallest), "--help"])
        for command in commands:
            # The first start compiles the modules and fills the disk cache.
            measure(command)
        for _ in range(rounds):
            for seconds, command in zip(ways.values(), commands, strict=True):
                seconds.append(measure(command).seconds)
    table = new_table(
        "Startup",
        *("command", "ms", "from", "to", "of typer alone"),
        caption=f"Medians, whole processes; pairs: {rounds}.",
    )
    smallest_s = ways["three lines of typer"]
    for name, seconds in ways.items():
        ratio = median(a / b for a, b in zip(seconds, smallest_s, strict=True))
        figures = (median(seconds), min(seconds), max(seconds))
        table.add_row(name, *(f"{1000 * s:,.0f}" for s in figures), f"{ratio:.2f}")
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
