"""The options that say how a sheet is read, with one meaning in every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

READING: Final = "Reading the sheet"

MapOption = Annotated[
    list[str],
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="Read FIELD from COLUMN; repeatable.",
        show_default="auto-detected by name",
        rich_help_panel=READING,
    ),
]
DelimiterOption = Annotated[
    str | None,
    typer.Option(
        metavar="CHAR",
        help="comma, semicolon, tab, pipe or one character.",
        show_default="auto-detected",
        rich_help_panel=READING,
    ),
]
EncodingOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The encoding, such as utf-8 or gb18030.",
        show_default="auto-detected",
        rich_help_panel=READING,
    ),
]
SheetNameOption = Annotated[
    str | None,
    typer.Option(
        "--sheet",
        metavar="NAME",
        help="The worksheet of a workbook.",
        show_default="auto-detected",
        rich_help_panel=READING,
    ),
]
HeaderRowOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="The row of the header, as Excel counts.",
        show_default="auto-detected",
        rich_help_panel=READING,
    ),
]
CorrectionsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Corrected cells, as the web page writes them.",
        rich_help_panel=READING,
    ),
]

NumbersSinceOption = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="Short numbers: of incidents started since.",
        rich_help_panel=READING,
    ),
]

ProfileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.toml",
        help="Read SHEET by this profile.",
        show_default="NAME.profile.toml beside SHEET",
        rich_help_panel=READING,
    ),
]
RulesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.toml",
        help="Check cells by your own rules too.",
        show_default="[rules] of the profile",
        rich_help_panel=READING,
    ),
]


def mapping_of(pairs: list[str]) -> dict[str, str]:
    """Return the pairs of ``--map`` as a dictionary."""
    mapping = {}
    for pair in pairs:
        field, sign, column = pair.partition("=")
        if not sign or not field.strip() or not column.strip():
            raise typer.BadParameter(
                f'{pair!r} is not FIELD=COLUMN. Use for example --map title="New title".',
                param_hint="--map",
            )
        mapping[field.strip()] = column.strip()
    return mapping
