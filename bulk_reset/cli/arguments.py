"""The arguments that commands share: the same name and meaning everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bulk_reset.core.defaults import OnConflict

SheetArgument = Annotated[
    str,
    typer.Argument(
        metavar="SHEET",
        help="A .csv, .tsv, .txt or .xlsx file; - reads CSV from standard input.",
        show_default=False,
    ),
]
_READING = "Reading the sheet"
MapOption = Annotated[
    list[str],
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="Which column is which field, where the names do not tell; repeatable.",
        rich_help_panel=_READING,
    ),
]
DelimiterOption = Annotated[
    str | None,
    typer.Option(
        help="comma, semicolon, tab, pipe or one character; found by itself.",
        rich_help_panel=_READING,
    ),
]
EncodingOption = Annotated[
    str | None,
    typer.Option(help="Such as utf-8 or gb18030; found by itself.", rich_help_panel=_READING),
]
SheetNameOption = Annotated[
    str | None,
    typer.Option(
        "--sheet",
        metavar="NAME",
        help="The worksheet of a workbook; found by itself.",
        rich_help_panel=_READING,
    ),
]
HeaderRowOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="The row of the header, as Excel counts; found by itself.",
        rich_help_panel=_READING,
    ),
]
PerSecondOption = Annotated[
    int, typer.Option(metavar="N", help="The account's limit a second.", rich_help_panel="Quota")
]
PerMinuteOption = Annotated[
    int, typer.Option(metavar="N", help="The account's limit a minute.", rich_help_panel="Quota")
]
ShareOption = Annotated[
    float,
    typer.Option(
        metavar="0-1",
        help="Use this share of the limits; the rest is for others.",
        rich_help_panel="Quota",
    ),
]
AccountOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="A name for an account with several keys: runs that say it share one quota.",
        show_default="the key",
        rich_help_panel="Quota",
    ),
]
NoWaitOption = Annotated[
    bool,
    typer.Option(
        "--no-wait",
        help="End with code 4 if another run on this machine has the account.",
        rich_help_panel="Quota",
    ),
]
_ROWS = "Which rows"
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Do everything but send, and say how long it would take."),
]
SandboxOption = Annotated[
    bool,
    typer.Option(
        "--sandbox", help="Send to an emulated API inside this process; no key is needed."
    ),
]
SandboxStateOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Like --sandbox, with its incidents kept in FILE; a new one begins with 300.",
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="The report file.", show_default="NAME.report.csv beside SHEET"
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Send at most N rows; the rest stays pending.", rich_help_panel=_ROWS
    ),
]
SkipInvalidOption = Annotated[
    bool,
    typer.Option(
        "--skip-invalid",
        help="Send the valid rows although others are not.",
        rich_help_panel=_ROWS,
    ),
]
RetryFailedOption = Annotated[
    bool,
    typer.Option(
        "--retry-failed", help="Send again what failed in an earlier run.", rich_help_panel=_ROWS
    ),
]
OnConflictOption = Annotated[
    OnConflict,
    typer.Option(
        help="Rows that set one field of one incident to different values.", rich_help_panel=_ROWS
    ),
]
MaxRowsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Take a sheet with more rows for a mistake, and send nothing of it.",
        rich_help_panel=_ROWS,
    ),
]
MaxFailuresOption = Annotated[
    str | None,
    typer.Option(metavar="N|N%", help="Stop when more rows than this fail.", rich_help_panel=_ROWS),
]
_SAFETY = "Before and after"
NoBeforeOption = Annotated[
    bool,
    typer.Option(
        "--no-before",
        help="Send without a look at what stands there: no way back, no conflicts seen.",
        rich_help_panel=_SAFETY,
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Send also what somebody has changed since the sheet was pulled.",
        rich_help_panel=_SAFETY,
    ),
]
PlanOption = Annotated[
    bool,
    typer.Option("--plan", help="Show first what would change, then ask.", rich_help_panel=_SAFETY),
]
CanaryOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Send N rows first, spread over the sheet, read them back, then ask.",
        rich_help_panel=_SAFETY,
    ),
]
YesOption = Annotated[
    bool,
    typer.Option("--yes", "-y", help="Do not ask: go on if all is well.", rich_help_panel=_SAFETY),
]
VerifyOption = Annotated[
    bool,
    typer.Option(
        "--verify", help="Read back at the end what was written.", rich_help_panel=_SAFETY
    ),
]
FromPullOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILTERS",
        help="Pull SHEET first, if it is not there yet: '--since 30d --query TEST'.",
        rich_help_panel=_ROWS,
    ),
]
SetOption = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="FIELD=TEMPLATE",
        help="What is pulled gets an edit by a rule (Jinja2), the rest is left out; repeatable.",
        rich_help_panel=_ROWS,
    ),
]
_SENDING = "Sending"
AppKeyFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file with the key in it.",
        show_default="$FLASHDUTY_APP_KEY, then ~/.flashduty/config.yaml",
        rich_help_panel=_SENDING,
    ),
]
BaseUrlOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The API's address; HTTPS, or this machine.",
        show_default="https://api.flashcat.cloud",
        rich_help_panel=_SENDING,
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(metavar="N", help="Requests on their way at most.", rich_help_panel=_SENDING),
]
TimeoutOption = Annotated[
    float, typer.Option(metavar="SECONDS", help="For one request.", rich_help_panel=_SENDING)
]
AttemptsOption = Annotated[
    int, typer.Option(metavar="N", help="For one row.", rich_help_panel=_SENDING)
]
PatienceOption = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="How long an outage is waited out before the run stops.",
        rich_help_panel=_SENDING,
    ),
]
StateDirOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where the runs of jobs are kept.",
        show_default="this user's state folder",
    ),
]
_OUTPUT = "Output"
HtmlOption = Annotated[
    bool,
    typer.Option(
        "--html",
        help="Write NAME.report.html: charts, errors and every change on one page.",
        rich_help_panel=_OUTPUT,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON object on standard output; all else goes to standard error.",
        rich_help_panel=_OUTPUT,
    ),
]
LogFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Add what happens to FILE, as lines of JSON.", rich_help_panel=_OUTPUT
    ),
]
MetricsFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.prom",
        help="Write the run's numbers to FILE, for Prometheus' node exporter.",
        rich_help_panel=_OUTPUT,
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=_OUTPUT),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Log retries, and tracebacks of crashes.", rich_help_panel=_OUTPUT
    ),
]


def mapping_of(pairs: list[str]) -> dict[str, str]:
    """Return ``--map``'s pairs as a dictionary."""
    mapping = {}
    for pair in pairs:
        field, sign, column = pair.partition("=")
        if not sign or not field.strip() or not column.strip():
            raise typer.BadParameter(
                f'{pair!r}: say it like --map title="New title".', param_hint="--map"
            )
        mapping[field.strip()] = column.strip()
    return mapping
