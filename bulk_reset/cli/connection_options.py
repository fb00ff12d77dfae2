"""The options that say where rows are sent, and how fast, with one meaning in every command.

``TUNING`` is shown by ``--help-all`` alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from bulk_reset.core.defaults import Priority

CONNECTION: Final = "Connection"
TUNING: Final = "Tuning"

AccessTokenFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The file that contains an access token.",
        show_default="$FLASHDUTY_ACCESS_TOKEN",
        rich_help_panel=CONNECTION,
    ),
]
AppKeyFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The file that contains the APP key.",
        show_default="$FLASHDUTY_APP_KEY, then ~/.flashduty/config.yaml",
        rich_help_panel=CONNECTION,
    ),
]
BaseUrlOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The address of the API; HTTPS, or this machine.",
        show_default="https://api.flashcat.cloud",
        rich_help_panel=CONNECTION,
    ),
]
AccountOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Runs with the same name share one quota.",
        show_default="the key",
        rich_help_panel=CONNECTION,
    ),
]
ExclusiveOption = Annotated[
    bool,
    typer.Option(
        "--exclusive",
        help="Send only while no other run uses the account.",
        rich_help_panel=CONNECTION,
    ),
]
QuotaStoreOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Share the quota through Redis or Valkey.",
        show_default="this machine",
        rich_help_panel=CONNECTION,
    ),
]
NoWaitOption = Annotated[
    bool,
    typer.Option(
        "--no-wait",
        help="Exit with code 4 if the account is used.",
        rich_help_panel=CONNECTION,
    ),
]

# --- Tuning ----------------------------------------------------------------------------------

WorkersOption = Annotated[
    int,
    typer.Option(metavar="N", help="Maximum concurrent requests.", rich_help_panel=TUNING),
]
TimeoutOption = Annotated[
    float,
    typer.Option(metavar="SECONDS", help="Time limit of one request.", rich_help_panel=TUNING),
]
AttemptsOption = Annotated[
    int, typer.Option(metavar="N", help="Attempts for one row.", rich_help_panel=TUNING)
]
PatienceOption = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="How long to wait during an outage.",
        rich_help_panel=TUNING,
    ),
]
PerSecondOption = Annotated[
    int,
    typer.Option(
        metavar="N", help="The account's limit of requests per second.", rich_help_panel=TUNING
    ),
]
PerMinuteOption = Annotated[
    int,
    typer.Option(
        metavar="N", help="The account's limit of requests per minute.", rich_help_panel=TUNING
    ),
]
PriorityOption = Annotated[
    Priority,
    typer.Option(help="The share beside other runs.", rich_help_panel=TUNING),
]
ShareOption = Annotated[
    float,
    typer.Option(
        metavar="0-1",
        help="The share of both limits to use.",
        rich_help_panel=TUNING,
    ),
]
