"""``python tests/bench [PART]...``: measure, and print tables; all parts when none is named.

It takes minutes, and wants a machine with nothing else to do.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import Annotated, Final

import engine
import schedule
import sheets_table
import startup
import typer
from rich.console import Console
from rich.table import Table

_PLAIN_WIDTH: Final = 120
_IDLE_LOAD: Final = 0.5
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console() if sys.stdout.isatty() else Console(width=_PLAIN_WIDTH)


class Part(StrEnum):
    """What can be measured by itself."""

    ENGINE = "engine"
    PAGE = "page"
    QUOTA = "quota"
    SCHEDULE = "schedule"
    SHEETS = "sheets"
    STARTUP = "startup"


@app.command()
def main(
    parts: Annotated[
        list[Part] | None, typer.Argument(help="What to measure; everything when left out.")
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rows of the largest sheet. "
            f"[default: engine {engine.ROWS:,}, sheets {sheets_table.ROWS:,}, page 100,000]",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How often each side has its turn. [default: "
            f"engine {engine.ROUNDS}, sheets {sheets_table.ROUNDS}, startup {startup.ROUNDS}]",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help=f"Run, and make workbooks, of more than {sheets_table.SLOW_ROWS:,} rows."
        ),
    ] = False,
) -> None:
    """Measure bulk-reset against other ways to do the same."""
    if (load := os.getloadavg()[0]) > _IDLE_LOAD:
        say(f"The load of this machine is {load:.1f}: others use it, so figures are worth little.")
    for part in dict.fromkeys(parts or Part):
        say(f"{part}: measuring ...")
        for table in _tables(part, rows, rounds, is_full=full):
            console.print(table)
            console.print()


def say(text: str) -> None:
    """Print a line of progress."""
    console.print(text, style="dim", highlight=False)


def _tables(part: Part, rows: int | None, rounds: int | None, *, is_full: bool) -> list[Table]:
    match part:
        case Part.ENGINE:
            return engine.tables(rows or engine.ROWS, rounds or engine.ROUNDS, say)
        case Part.PAGE:
            # As the quota's: it brings the product along.
            import page  # noqa: PLC0415

            return page.tables(rows or page.ROWS, rounds or page.ROUNDS, say)
        case Part.QUOTA:
            # Imported only now: it brings the product along, and memory is measured elsewhere.
            import quota_table  # noqa: PLC0415

            return quota_table.tables()
        case Part.SCHEDULE:
            return schedule.tables(say)
        case Part.SHEETS:
            return sheets_table.tables(
                rows or sheets_table.ROWS, rounds or sheets_table.ROUNDS, say, is_full=is_full
            )
        case Part.STARTUP:
            return startup.tables(rounds or startup.ROUNDS, say)


if __name__ == "__main__":
    app()
