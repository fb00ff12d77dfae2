"""``bulk-reset template``: write an empty workbook to fill in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bulk_reset.cli import next_steps
from bulk_reset.cli.console import Output


def template(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The workbook to write.")] = Path(
        "incidents.xlsx"
    ),
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write an empty Excel workbook to fill in, with drop-downs and length checks.

    Examples:
        bulk-reset template
        bulk-reset template postmortems.xlsx --force
    """
    # Imported here, so that the other commands and --help do not wait for XlsxWriter.
    from bulk_reset.sheets.template import write_template  # noqa: PLC0415

    output = Output()
    with output.errors():
        write_template(path, overwrite=force)
    output.line(f"Wrote {path}. Fill in the first sheet; the second sheet has instructions.")
    output.line(f"Next: {next_steps.other_command('check', path, keeps=())}")
