"""``bulk-reset report``: the summary of a report file again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from bulk_reset.cli.arguments import JsonOption, QuietOption, VerboseOption
from bulk_reset.cli.console import Output
from bulk_reset.cli.summary import show_report
from bulk_reset.errors import ExitCode
from bulk_reset.model import Status


def report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A report file.")],
    *,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Sum a report file up; it may be read while a run writes it.

    Exit code: 0 all its rows are done, 1 some failed, were rejected or are unknown, 2 it cannot
    be read.
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.summary import summarise  # noqa: PLC0415

        summary = summarise(file)
        show_report(output, summary)
        is_done = all(Status(status).is_done for status, n in summary.counts.items() if n)
        code = ExitCode.DONE if is_done else ExitCode.NOT_ALL
        output.json({**dataclasses.asdict(summary), "exit_code": int(code)})
    raise typer.Exit(code)
