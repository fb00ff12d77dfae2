"""``bulk-reset pull``: write incidents into a sheet to edit."""

from __future__ import annotations

import dataclasses
import itertools
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.exceptions import TyperException

from bulk_reset.cli import next_steps, shared
from bulk_reset.cli.app_command import AppCommand
from bulk_reset.cli.arguments import SetOption
from bulk_reset.cli.console import Output
from bulk_reset.cli.pull_memory import PullMemory, forget_pull, refuse_other_file
from bulk_reset.cli.shared import CommonOptions, address_of, takes_options
from bulk_reset.cli.view import ProgressView
from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.counting import counted
from bulk_reset.core.errors import ExitCode

if TYPE_CHECKING:
    from bulk_reset.core.callbacks import Callbacks
    from bulk_reset.engine.options import Options
    from bulk_reset.workflows.pull import PullTotals

_REPORT: Final = ".report.csv"
_SHOWN_MISSING: Final = 20
_WHICH = "Which incidents"
SinceOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Started since: 30d, 12h or a date.",
        rich_help_panel=_WHICH,
    ),
]
UntilOption = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="Started until; a date includes that day.",
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
        metavar="NAME", help="A channel's name or ID; repeatable.", rich_help_panel=_WHICH
    ),
]
TeamOption = Annotated[
    list[int],
    typer.Option(metavar="ID", help="A team's ID; repeatable.", rich_help_panel=_WHICH),
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
        help="A text file of incident IDs or links.",
        rich_help_panel=_WHICH,
    ),
]
_SHEET = "The sheet"
FieldOption = Annotated[
    list[str],
    typer.Option(
        metavar="NAME",
        help="Add a custom field; NAME:json if not text; repeatable.",
        rich_help_panel=_SHEET,
    ),
]
ActionOption = Annotated[
    bool,
    typer.Option(
        "--action", help="Add the column action: ack, resolve, reopen.", rich_help_panel=_SHEET
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace an existing sheet.", rich_help_panel=_SHEET)
]


@takes_options(common=shared.common_options)
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
    action: ActionOption = False,
    set: SetOption = [],  # noqa: A002, B006
    force: ForceOption = False,
    common: CommonOptions,
) -> None:
    """Write incidents into SHEET, to edit and run.

    A run of the sheet sends only the cells that were edited, and skips incidents that were
    modified since the pull.

    Examples:
        bulk-reset pull incidents.xlsx --since 30d --query TEST
        bulk-reset pull incidents.csv --ids ids.txt --field tags:json
        bulk-reset pull incidents.xlsx --since 7d --set 'title={{ title | upper }}'

    Exit codes:
        0  all incidents are in the sheet
        1  some IDs do not exist
        2  the filters, the key or the file cannot be used
        3  the API cannot be read
    """
    output = common.output
    view = ProgressView(output)
    with output.errors():
        from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
        from bulk_reset.engine.options import Options  # noqa: PLC0415
        from bulk_reset.workflows.pull import (  # noqa: PLC0415  (imports aiohttp)
            pull as pulled,
        )

        options = Options(**common.options)
        wanted = _wanted(since, until, ids, query, severity, progress, channel, team, num)
        callbacks = Callbacks(on_notice=output.notice, on_incidents_read=view.incidents_read)
        with view.waiting_for(address_of(options)):
            totals = pulled(
                sheet,
                wanted,
                options,
                callbacks,
                custom=_further(field, has_action=action),
                rules=set,
                overwrite=force,
            )
        forget_pull(sheet)
        code = ExitCode.NOT_ALL if totals.missing else ExitCode.DONE
        report = _own_report(sheet, options) if totals.rows else None
        _show(totals, output, sheet, report, has_rules=bool(set))
        output.json({**dataclasses.asdict(totals), "exit_code": int(code)})
    raise typer.Exit(code)


def _further(fields: Iterable[str], *, has_action: bool) -> list[str]:
    """Return the columns beside the standard ones."""
    return [*(f"field:{name}" for name in fields), *([ACTION_FIELD] if has_action else [])]


def _own_report(sheet: Path, options: Options) -> Path | None:
    """Return the report for the run of a sheet that was pulled again; None for the usual one.

    With the report of the earlier pull, an undo would restore the values from before both runs,
    and the report of a run that was undone is refused.
    """
    from bulk_reset.workflows.sheet_opening import report_path  # noqa: PLC0415

    usual = report_path(sheet, options)
    if usual is None or not usual.exists():
        return None
    name = usual.name.removesuffix(_REPORT)
    others = (usual.with_name(f"{name}-{number}{_REPORT}") for number in itertools.count(2))
    return next(path for path in others if not path.exists())


def _show(
    totals: PullTotals, output: Output, sheet: Path, report: Path | None, *, has_rules: bool
) -> None:
    edited = f", {totals.rows:,} of them edited by --set" if has_rules else ""
    output.line(
        f"{counted(totals.incidents, 'incident')}{edited}, "
        f"read with {counted(totals.pages, 'request')}; times in {totals.zone}"
    )
    for one in totals.missing[:_SHOWN_MISSING]:
        output.line(f"no such incident: {one}")
    more = len(totals.missing) - _SHOWN_MISSING
    if more > 0:
        output.line(f"… and {more:,} more; --json lists all.")
    output.line(f"Sheet: {sheet}")
    if not totals.rows:
        output.line("No incident matches the filters. Pull again with others.")
        return
    if report is not None:
        output.line("An earlier pull was run with this name. This one gets a report of its own.")
    output.line(f"Next: edit the sheet, then: {next_steps.plan_of(sheet, report)}")


def pull_first(
    sheet: str, from_pull: str | None, rules: list[str], options: Options, callbacks: Callbacks
) -> None:
    """Pull the sheet of a run or a plan, if ``--from-pull`` is set and there is none yet.

    Args:
        from_pull: the options of ``pull``, as one text.
    """
    from bulk_reset.core.errors import InputError  # noqa: PLC0415

    if from_pull is None:
        if rules:
            raise InputError(
                "--set: requires --from-pull. Use --from-pull 'FILTERS', or use --set with pull."
            )
        return
    from bulk_reset.workflows.pull import pull as pulled  # noqa: PLC0415  (imports aiohttp)

    memory = PullMemory(from_pull, tuple(rules))
    if Path(sheet).exists():
        memory.refuse_other(Path(sheet))
        callbacks.on_notice(f"{sheet}: exists; reusing it, nothing is pulled")
        return
    refuse_other_file(Path(sheet))
    command = typer.main.get_command(typer_of_pull())
    try:
        words = shlex.split(from_pull)
        values = command.make_context("--from-pull", [sheet, *words]).params
    except (ValueError, typer.Exit) as exc:
        raise InputError(
            f"--from-pull '{from_pull}': not options of pull. Use for example '--since 30d'."
        ) from exc
    except (TyperException, InputError) as exc:
        why = str(exc).removesuffix(".")
        raise InputError(
            f"--from-pull '{from_pull}': {why}. Use options of pull, such as "
            "'--since 30d --query TEST'."
        ) from exc
    names = ("since", "until", "ids", "query", "severity", "progress", "channel", "team", "num")
    totals = pulled(
        Path(sheet),
        _wanted(*(values[name] for name in names)),
        options,
        callbacks,
        custom=_further(values["field"] or (), has_action=bool(values["action"])),
        rules=[*(values["set"] or ()), *rules],
    )
    memory.write(Path(sheet))
    callbacks.on_notice(
        f"{sheet}: pulled {totals.rows:,} of {counted(totals.incidents, 'incident')}"
    )


def typer_of_pull() -> typer.Typer:
    """Return ``pull`` alone, for the options of ``--from-pull``."""
    alone = typer.Typer(add_completion=False)
    alone.command(cls=AppCommand)(pull)
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
    from bulk_reset.workflows.id_file import read_id_file  # noqa: PLC0415
    from bulk_reset.workflows.incident_query import query_of  # noqa: PLC0415

    if ids is not None:
        if since or query or severity or progress or channel or team or num:
            raise InputError("--ids: cannot be combined with other filters. Remove them.")
        return read_id_file(ids)
    if since is None:
        raise InputError("--since: is missing. Use for example --since 30d, or --ids FILE.")
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
