"""``bulk-reset report``: the summary of a report file."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from bulk_reset.cli import shared
from bulk_reset.cli.arguments import OUTPUT, HtmlOption, JsonOption, QuietOption, VerboseOption
from bulk_reset.cli.console import Output
from bulk_reset.cli.shared import OptionValues, takes_options
from bulk_reset.cli.summary import show_report
from bulk_reset.core.errors import ExitCode
from bulk_reset.core.outcome import Status

XlsxOption = Annotated[
    bool,
    typer.Option(
        "--xlsx",
        help="Write NAME.answer.xlsx: the sheet with results.",
        rich_help_panel=OUTPUT,
    ),
]
OfOption = Annotated[
    Path | None,
    typer.Option(
        metavar="SHEET",
        help="The sheet of the report, for --xlsx.",
        show_default="NAME.xlsx or NAME.csv",
        rich_help_panel=OUTPUT,
    ),
]
JunitOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write the rows as JUnit XML, for CI.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]


@takes_options(read=shared.reading)
def report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A report file.")],
    *,
    html: HtmlOption = False,
    xlsx: XlsxOption = False,
    of: OfOption = None,
    junit: JunitOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    read: OptionValues,
) -> None:
    """Summarize a report file, also while a run writes it.

    Examples:
        bulk-reset report incidents.report.csv
        bulk-reset report incidents.report.csv --html --xlsx
        bulk-reset report incidents.report.csv --junit incidents.xml

    Exit codes:
        0  all rows of the report are done
        1  some rows failed, are invalid or unconfirmed
        2  the report cannot be read
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors(), contextlib.ExitStack() as stack:
        from bulk_reset.records.report_index import ReportIndex  # noqa: PLC0415
        from bulk_reset.records.summary import read_summary  # noqa: PLC0415

        index = stack.enter_context(ReportIndex(file))
        summary, times = read_summary(index)
        show_report(output, summary)
        is_done = all(Status(status).is_done for status, n in summary.counts.items() if n)
        code = ExitCode.DONE if is_done else ExitCode.NOT_ALL
        if xlsx:
            from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
            from bulk_reset.engine.options import Options  # noqa: PLC0415
            from bulk_reset.workflows.answer import answer  # noqa: PLC0415  (imports pandas)

            options = Options(**read)
            path = answer(file, of, options, Callbacks(on_notice=output.notice))
            output.line(f"Answer: {path}")
        if junit is not None:
            from bulk_reset.reports.junit_file import write_junit  # noqa: PLC0415  (rarely needed)

            write_junit(junit, file)
            output.line(f"JUnit: {junit}")
        page = ""
        if html:
            from bulk_reset.reports.report_page import (  # noqa: PLC0415  (rarely wanted)
                write_page_of,
            )

            page = str(write_page_of(index, summary, times))
            output.line(f"Page: {page}")
        output.json({**dataclasses.asdict(summary), "page": page, "exit_code": int(code)})
    raise typer.Exit(code)
