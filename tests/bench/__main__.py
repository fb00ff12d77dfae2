"""``python tests/bench [PART]...``: measure and print tables; all but two by default.

It takes minutes and requires an idle machine.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import Annotated, Final

import engine
import sheets_table
import startup
import typer
from rich.console import Console
from rich.table import Table

_PLAIN_WIDTH: Final = 160
_IDLE_LOAD: Final = 0.5
_LONG: Final = ("dask", "quota-shared")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console() if sys.stdout.isatty() else Console(width=_PLAIN_WIDTH)


class Part(StrEnum):
    """A part that can be measured alone."""

    CLAIMS = "claims"
    COMMENTS = "comments"
    DASK = "dask"
    ENGINE = "engine"
    PAGE = "page"
    PLANS = "plans"
    QUOTA = "quota"
    QUOTA_SHARED = "quota-shared"
    SCALING = "scaling"
    SCHEDULE = "schedule"
    SHEETS = "sheets"
    STARTUP = "startup"
    WEB = "web"


@app.command()
def main(
    parts: Annotated[
        list[Part] | None, typer.Argument(help="Parts; all but dask, quota-shared by default.")
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rows of the largest sheet. "
            f"[default: engine {engine.ROWS:,}, sheets {sheets_table.ROWS:,}, page 100,000, "
            "web 100,000, plans and scaling 1,000,000]",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rounds of measurements. [default: "
            f"engine {engine.ROUNDS}, sheets {sheets_table.ROUNDS}, "
            f"startup {startup.ROUNDS}, plans 3, web 3]",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help=f"Include runs and workbooks of more than {sheets_table.SLOW_ROWS:,} rows.",
        ),
    ] = False,
) -> None:
    """Measure bulk-reset and compare it with other clients."""
    if (load := os.getloadavg()[0]) > _IDLE_LOAD:
        log(f"The load of this machine is {load:.1f}: the results are not reliable.")
    for part in dict.fromkeys(parts or [one for one in Part if one not in _LONG]):
        log(f"{part}: measuring ...")
        for table in _tables(part, rows, rounds, is_full=full):
            console.print(table)
            console.print()


def log(text: str) -> None:
    """Print a line of progress."""
    console.print(text, style="dim", highlight=False)


def _tables(  # noqa: C901, PLR0911  (one for each part)
    part: Part, rows: int | None, rounds: int | None, *, is_full: bool
) -> list[Table]:
    match part:
        case Part.COMMENTS:
            import comments  # noqa: PLC0415  (imports bulk_reset)

            return comments.tables(rows or comments.ROWS, rounds or comments.ROUNDS, log)
        case Part.ENGINE:
            import engine_profile  # noqa: PLC0415

            found = engine.tables(rows or engine.ROWS, rounds or engine.ROUNDS, log)
            return [*found, *engine_profile.tables(rows or engine.ROWS, log)]
        case Part.PAGE:
            # Imported only now, as quota_table is.
            import page  # noqa: PLC0415

            return page.tables(rows or page.ROWS, rounds or page.ROUNDS, log)
        case Part.PLANS:
            # Imported only now, as quota_table is.
            import plans  # noqa: PLC0415

            return plans.tables(rows or plans.ROWS, rounds or plans.ROUNDS, log)
        case Part.QUOTA:
            # Imported only now: it imports bulk_reset, and the memory of this process matters.
            import quota_table  # noqa: PLC0415

            return quota_table.tables()
        case Part.QUOTA_SHARED:
            import quota_shared  # noqa: PLC0415  (imports bulk_reset)

            return quota_shared.tables(log)
        case Part.SCALING:
            import scaling  # noqa: PLC0415  (imports bulk_reset)

            return scaling.tables(rows or scaling.ROWS, log)
        case Part.SCHEDULE | Part.CLAIMS | Part.DASK:
            import schedules  # noqa: PLC0415  (imports bulk_reset)

            return schedules.tables(part, rows, log)
        case Part.SHEETS:
            return sheets_table.tables(
                rows or sheets_table.ROWS, rounds or sheets_table.ROUNDS, log, is_full=is_full
            )
        case Part.WEB:
            # Imported only now, as quota_table is.
            import web_table  # noqa: PLC0415

            return web_table.tables(rows or web_table.ROWS, rounds or web_table.ROUNDS, log)
        case Part.STARTUP:
            return startup.tables(rounds or startup.ROUNDS, log)


if __name__ == "__main__":
    app()
