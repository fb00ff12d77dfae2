"""``bulk-reset template``: write an empty workbook to fill in."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from bulk_reset.cli.console import Output


def template(
    path: Annotated[Path, typer.Argument(help="Where to write the workbook.")] = Path(
        "incidents.xlsx"
    ),
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that is already there.")
    ] = False,
) -> None:
    """Write an empty Excel workbook to fill in: drop-downs, length checks, instructions."""
    # Imported here, so that the other commands and --help don't wait for XlsxWriter.
    from bulk_reset.sheets.template import write_template  # noqa: PLC0415

    with Output().errors():
        write_template(path, overwrite=force)
    typer.echo(f"Wrote {path}: fill in its first sheet; the second one says how.")
    typer.echo(f"Next: bulk-reset check {shlex.quote(str(path))}")
