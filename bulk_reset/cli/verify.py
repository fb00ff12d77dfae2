"""``bulk-reset verify``: read back what a run wrote, and compare."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from bulk_reset.cli import shared
from bulk_reset.cli.shared import CommonOptions, takes_options
from bulk_reset.cli.summary import show_verification
from bulk_reset.cli.view import SendingView
from bulk_reset.core.errors import ExitCode


@takes_options(asked=shared.common_options)
def verify(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A report file.")],
    *,
    asked: CommonOptions,
) -> None:
    """Read back what the rows of REPORT wrote, a hundred incidents a request, and compare.

    Rows whose outcome was unknown are settled, with a line more in the report. Exit code: 0 all
    is as it was written, 1 something is not, 2 it cannot be known, 3 the API cannot be read.
    """
    output = asked.output
    view = SendingView(output)
    with output.errors():
        from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
        from bulk_reset.engine.options import Options  # noqa: PLC0415
        from bulk_reset.workflows.verify import (  # noqa: PLC0415  (brings aiohttp along)
            verify as read_back,
        )

        options = Options(**asked.options)
        verification = read_back(
            report, options, Callbacks(on_notice=output.notice, on_looked=view.looked)
        )
        code = ExitCode.DONE if verification.is_right else ExitCode.NOT_ALL
        show_verification(output, verification)
        output.json({**dataclasses.asdict(verification), "exit_code": int(code)})
    raise typer.Exit(code)
