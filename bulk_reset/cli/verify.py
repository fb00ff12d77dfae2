"""``bulk-reset verify``: read back what a run wrote, and compare."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from bulk_reset.cli import shared
from bulk_reset.cli.shared import CommonOptions, address_of, takes_options
from bulk_reset.cli.summary import show_verification
from bulk_reset.cli.view import ProgressView
from bulk_reset.core.errors import ExitCode


@takes_options(common=shared.common_options)
def verify(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A report file.")],
    *,
    audit: Annotated[
        bool, typer.Option("--audit", help="Also compare with the provider's audit log.")
    ] = False,
    common: CommonOptions,
) -> None:
    """Read back what the run of REPORT wrote, and compare.

    Rows with an unconfirmed result are confirmed, with one more line in the report.

    Examples:
        bulk-reset verify incidents.report.csv
        bulk-reset verify incidents.report.csv --audit

    Exit codes:
        0  all values are as the run wrote them
        1  some values differ
        2  the report or the previous values are missing
        3  the API cannot be read
    """
    output = common.output
    view = ProgressView(output)
    with output.errors():
        from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
        from bulk_reset.engine.options import Options  # noqa: PLC0415
        from bulk_reset.workflows.verify import (  # noqa: PLC0415  (imports aiohttp)
            verify as read_back,
        )

        options = Options(**common.options)
        callbacks = Callbacks(on_notice=output.notice, on_incidents_read=view.incidents_read)
        with view.waiting_for(address_of(options)):
            verification = read_back(report, options, callbacks, audit=audit)
        code = ExitCode.DONE if verification.is_right else ExitCode.NOT_ALL
        show_verification(output, verification)
        output.json({**dataclasses.asdict(verification), "exit_code": int(code)})
    raise typer.Exit(code)
