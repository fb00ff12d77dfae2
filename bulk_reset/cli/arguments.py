"""What is sent, how carefully, and what is written: options with one meaning in every command.

A panel groups options by what people decide.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from bulk_reset.core.defaults import OnConflict

WHAT: Final = "What to send"
SAFETY: Final = "Safety"
OUTPUT: Final = "Output"

SheetArgument = Annotated[
    str,
    typer.Argument(
        metavar="SHEET",
        help="A .csv, .tsv, .xlsx or .ods file, an address or a saved plan; - is CSV on stdin.",
        show_default=False,
    ),
]

# --- What to send ----------------------------------------------------------------------------

LimitOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Send up to N rows; the others stay pending.", rich_help_panel=WHAT
    ),
]
SkipInvalidOption = Annotated[
    bool,
    typer.Option(
        "--skip-invalid",
        help="Send the valid rows although others are invalid.",
        rich_help_panel=WHAT,
    ),
]
RetryFailedOption = Annotated[
    bool,
    typer.Option(
        "--retry-failed",
        help="Also send rows that failed in earlier runs.",
        rich_help_panel=WHAT,
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Also update incidents that were modified since the pull.",
        rich_help_panel=WHAT,
    ),
]
OnConflictOption = Annotated[
    OnConflict,
    typer.Option(
        metavar="error|last|in-order",
        help="What to do with contradicting rows.",
        rich_help_panel=WHAT,
    ),
]
FromPullOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILTERS",
        help="Pull SHEET first, with options such as '--since 30d'.",
        rich_help_panel=WHAT,
    ),
]
SetOption = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="FIELD=TEMPLATE",
        help="Edit the pulled incidents by a Jinja2 rule; repeatable.",
        rich_help_panel=WHAT,
    ),
]

OnlyRowsOption = Annotated[
    str | None,
    typer.Option(metavar="ROWS", help="Only these rows, such as 2-40,77.", rich_help_panel=WHAT),
]
OnlyFieldOption = Annotated[
    list[str],
    typer.Option(
        "--only-field", metavar="FIELD", help="Only this field; repeatable.", rich_help_panel=WHAT
    ),
]
WhereOption = Annotated[
    str | None,
    typer.Option(
        metavar="EXPRESSION",
        help="Only rows for which this holds: old, new, row.",
        rich_help_panel=WHAT,
    ),
]
ExcludeWhereOption = Annotated[
    str | None,
    typer.Option(
        metavar="EXPRESSION", help="Leave out rows for which this holds.", rich_help_panel=WHAT
    ),
]

OnlyUnpinnedOption = Annotated[
    bool,
    typer.Option(
        "--only-unpinned", help="Leave out fields edited by hand before.", rich_help_panel=WHAT
    ),
]

# --- Safety ----------------------------------------------------------------------------------

DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Send nothing; show how long a run will take.", rich_help_panel=SAFETY
    ),
]
PlanOption = Annotated[
    bool,
    typer.Option("--plan", help="Show old and new values, then ask.", rich_help_panel=SAFETY),
]
CanaryOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Send and verify N rows first, then ask.",
        rich_help_panel=SAFETY,
    ),
]
VerifyOption = Annotated[
    bool,
    typer.Option("--verify", help="Read back what was written.", rich_help_panel=SAFETY),
]
YesOption = Annotated[
    bool,
    typer.Option("--yes", "-y", help="Do not ask for confirmation.", rich_help_panel=SAFETY),
]
MaxRowsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Send nothing if the sheet has more rows.",
        rich_help_panel=SAFETY,
    ),
]
MaxFailuresOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|N%", help="Stop when more rows than this fail.", rich_help_panel=SAFETY
    ),
]
MaxChangeOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|N%", help="Send nothing if more rows will change.", rich_help_panel=SAFETY
    ),
]
MaxCriticalOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Send nothing if more Critical incidents will change.",
        rich_help_panel=SAFETY,
    ),
]
NoBeforeOption = Annotated[
    bool,
    typer.Option(
        "--no-before",
        help="Disable undo, verify and conflict detection.",
        rich_help_panel=SAFETY,
    ),
]
MuteReplyOption = Annotated[
    bool,
    typer.Option(
        "--mute-reply",
        help="Do not call webhooks for comments.",
        rich_help_panel=SAFETY,
    ),
]
SandboxOption = Annotated[
    bool,
    typer.Option(
        "--sandbox",
        help="Send to an emulated API instead; needs no key.",
        rich_help_panel=SAFETY,
    ),
]
SandboxStateOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Like --sandbox, with its incidents kept in FILE.",
        rich_help_panel=SAFETY,
    ),
]

ExpiresOption = Annotated[
    str,
    typer.Option(metavar="AGE", help="How long the saved plan can be run.", rich_help_panel=SAFETY),
]

# --- Output ----------------------------------------------------------------------------------

ReportOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The report file.",
        show_default="NAME.report.csv beside SHEET",
        rich_help_panel=OUTPUT,
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.plan", help="Save the plan, to show, approve and run.", rich_help_panel=OUTPUT
    ),
]
HtmlOption = Annotated[
    bool,
    typer.Option(
        "--html",
        help="Write NAME.report.html: charts, errors and every change.",
        rich_help_panel=OUTPUT,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON object on standard output.",
        rich_help_panel=OUTPUT,
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=OUTPUT),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Log retries and tracebacks on standard error.",
        rich_help_panel=OUTPUT,
    ),
]
LogFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Append events to FILE, as lines of JSON.", rich_help_panel=OUTPUT
    ),
]
MetricsFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.prom",
        help="Write metrics for the Prometheus node exporter.",
        rich_help_panel=OUTPUT,
    ),
]
StateDirOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="The folder of job runs.",
        show_default="the user's state folder",
        rich_help_panel=OUTPUT,
    ),
]
