"""The time of ``bulk-reset --help``, compared with the smallest program with typer."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

from processes import measure, our_command
from rich.table import Table
from table_style import new_table

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
    return [table]
