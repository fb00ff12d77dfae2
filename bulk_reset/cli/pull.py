"""``bulk-reset pull``: incidents into a sheet to edit."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

from bulk_reset.cli import shared
from bulk_reset.cli.arguments import (
    SetOption,
)
from bulk_reset.cli.shared import CommonOptions, takes_options
from bulk_reset.cli.view import SendingView
from bulk_reset.core.errors import ExitCode

if TYPE_CHECKING:
    from bulk_reset.core.callbacks import Callbacks
    from bulk_reset.engine.options import Options

_WHICH = "Which incidents"
SinceOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Started since: 30d (m, h, w) ago, a date, or a date and time in your zone.",
        rich_help_panel=_WHICH,
    ),
]
UntilOption = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="Started until; a date is meant to its end.",
        rich_help_panel=_WHICH,
    ),
]
QueryOption = Annotated[
    str, typer.Option(metavar="TEXT", help="The API's text search.", rich_help_panel=_WHICH)
]
SeverityOption = Annotated[
    list[str],
    typer.Option(
        metavar="NAME", help="Critical, Warning, Info or Ok; repeatable.", rich_help_panel=_WHICH
    ),
]
ProgressOption = Annotated[
    list[str],
    typer.Option(
        metavar="NAME",
        help="Triggered, Processing or Closed; repeatable.",
        rich_help_panel=_WHICH,
    ),
]
ChannelOption = Annotated[
    list[str],
    typer.Option(
        metavar="NAME", help="A channel's name or number; repeatable.", rich_help_panel=_WHICH
    ),
]
TeamOption = Annotated[
    list[int],
    typer.Option(metavar="ID", help="A team's number; repeatable.", rich_help_panel=_WHICH),
]
NumOption = Annotated[
    list[str],
    typer.Option(
        metavar="NUM", help="An incident's short number; repeatable.", rich_help_panel=_WHICH
    ),
]
IdsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A text file with an id or a link on each line, instead of all these.",
        rich_help_panel=_WHICH,
    ),
]
_WHAT = "What is in the sheet"
FieldOption = Annotated[
    list[str],
    typer.Option(
        metavar="NAME",
        help="A column for a custom field; NAME:json if it holds no text; repeatable.",
        rich_help_panel=_WHAT,
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace a sheet that is there.", rich_help_panel=_WHAT)
]


@takes_options(asked=shared.common_options)
def pull(
    sheet: Annotated[
        Path, typer.Argument(metavar="SHEET", help="The .xlsx or .csv file to write.")
    ],
    *,
    since: SinceOption = None,
    until: UntilOption = "now",
    query: QueryOption = "",
    severity: SeverityOption = [],  # noqa: B006  (typer copies them)
    progress: ProgressOption = [],  # noqa: B006
    channel: ChannelOption = [],  # noqa: B006
    team: TeamOption = [],  # noqa: B006
    num: NumOption = [],  # noqa: B006
    ids: IdsOption = None,
    field: FieldOption = [],  # noqa: B006
    set: SetOption = [],  # noqa: A002, B006
    force: ForceOption = False,
    asked: CommonOptions,
) -> None:
    """Write incidents into SHEET, to edit and run.

    The sheet remembers what it was made from: a run of it sends only what was edited, and holds
    back what somebody else has changed since. Exit code: 0 done, 1 some ids do not exist, 2 it
    cannot be meant or written, 3 the API cannot be read.
    """
    output = asked.output
    view = SendingView(output)
    with output.errors():
        from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
        from bulk_reset.engine.options import Options  # noqa: PLC0415
        from bulk_reset.workflows.pull import (  # noqa: PLC0415  (brings aiohttp along)
            pull as pulled,
        )

        options = Options(**asked.options)
        wanted = _wanted(since, until, ids, query, severity, progress, channel, team, num)
        totals = pulled(
            sheet,
            wanted,
            options,
            Callbacks(on_notice=output.notice, on_looked=view.looked),
            custom=[f"field:{name}" for name in field],
            rules=set,
            overwrite=force,
        )
        code = ExitCode.NOT_ALL if totals.missing else ExitCode.DONE
        more = f", {totals.rows:,} of them changed by --set" if set else ""
        output.say(
            f"{totals.incidents:,} incidents{more}, in {totals.pages:,} requests; "
            f"times in {totals.zone}"
        )
        for one in totals.missing[:20]:
            output.say(f"no such incident: {one}")
        if len(totals.missing) > 20:  # noqa: PLR2004
            output.say(f"… and {len(totals.missing) - 20:,} more; --json lists all.")
        output.say(f"Sheet: {sheet}")
        output.say(f"Next: edit it, then: bulk-reset plan {sheet}")
        output.json({**dataclasses.asdict(totals), "exit_code": int(code)})
    raise typer.Exit(code)


def pull_first(
    sheet: str, from_pull: str | None, rules: list[str], options: Options, callbacks: Callbacks
) -> None:
    """Pull the sheet that is to be run, where that is asked for and it is not there yet.

    Args:
        from_pull: the options of ``pull``, as one text.
    """
    from bulk_reset.core.errors import InputError  # noqa: PLC0415
    from bulk_reset.workflows.pull import pull as pulled  # noqa: PLC0415

    if from_pull is None:
        if rules:
            raise InputError("--set: goes with --from-pull 'FILTERS', or with pull itself.")
        return
    if Path(sheet).exists():
        callbacks.on_notice(f"{sheet}: is there already, and gone on with; nothing is pulled")
        return
    command = typer.main.get_command(typer_of_pull())
    try:
        words = shlex.split(from_pull)
        told = command.make_context("--from-pull", [sheet, *words]).params
    except (ValueError, typer.Exit) as exc:
        raise InputError(f"--from-pull '{from_pull}': not options of pull. Mend it.") from exc
    except TyperException as exc:
        raise InputError(
            f"--from-pull '{from_pull}': {exc}. It takes the options of pull, such as "
            "'--since 30d --query TEST'."
        ) from exc
    names = ("since", "until", "ids", "query", "severity", "progress", "channel", "team", "num")
    totals = pulled(
        Path(sheet),
        _wanted(*(told[name] for name in names)),
        options,
        callbacks,
        custom=[f"field:{name}" for name in told["field"] or ()],
        rules=[*(told["set"] or ()), *rules],
    )
    callbacks.on_notice(f"{sheet}: {totals.rows:,} of {totals.incidents:,} incidents, pulled now")


def typer_of_pull() -> typer.Typer:
    """Return the command alone, whose options ``--from-pull`` takes."""
    alone = typer.Typer(add_completion=False)
    alone.command()(pull)
    return alone


def _wanted(  # noqa: PLR0917  (as the command line has them)
    since: str | None,
    until: str,
    ids: Path | None,
    query: str,
    severity: list[str],
    progress: list[str],
    channel: list[str],
    team: list[int],
    num: list[str],
) -> Any:  # noqa: ANN401  (a query, or ids)
    from bulk_reset.core.errors import InputError  # noqa: PLC0415
    from bulk_reset.workflows.incident_query import query_of  # noqa: PLC0415
    from bulk_reset.workflows.pull import read_id_file  # noqa: PLC0415

    if ids is not None:
        if since or query or severity or progress or channel or team or num:
            raise InputError("--ids: goes alone. Leave the other filters out.")
        return read_id_file(ids)
    if since is None:
        raise InputError("--since: say from when, like --since 30d; or --ids FILE.")
    return query_of(
        since,
        until,
        query=query,
        severities=tuple(severity),
        progress=tuple(progress),
        channels=tuple(channel),
        team_ids=tuple(team),
        nums=tuple(num),
    )
