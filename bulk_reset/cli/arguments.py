"""The arguments that commands share: the same name and meaning everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

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
        help="comma, semicolon, tab or one character; found by itself.", rich_help_panel=_READING
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
_OUTPUT = "Output"
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON object on standard output; all else goes to standard error.",
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
