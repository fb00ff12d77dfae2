"""``bulk-reset replace``: search and replace over incidents, without a spreadsheet."""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bulk_reset.cli.arguments import WHAT
from bulk_reset.cli.console import Output
from bulk_reset.cli.pull import (
    ChannelOption,
    IdsOption,
    NumOption,
    ProgressOption,
    QueryOption,
    SeverityOption,
    SinceOption,
    TeamOption,
    UntilOption,
)
from bulk_reset.cli.run import run
from bulk_reset.cli.shared import OptionValues, takes_options

_OF_SHEETS: Final = frozenset(
    {"sheet", "from_pull", "set", "map", "delimiter", "encoding", "sheet_name", "header_row"}
    | {"corrections", "profile", "on_conflict", "max_rows", "numbers_since"}
)
"""Parameters of ``run`` about a sheet that a user made."""
_RUN: Final = inspect.signature(run, eval_str=True).parameters
_Text = Annotated[str | None, typer.Argument(show_default=False)]


def _filters(
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
) -> str:
    """Return the options of ``pull`` as one text."""
    words: list[str] = []
    once = {"since": since, "until": until if until != "now" else None, "query": query, "ids": ids}
    for name, value in once.items():
        words += [f"--{name}", str(value)] if value else []
    several: dict[str, list[Any]] = {"severity": severity, "progress": progress}
    several |= {"channel": channel, "team": team, "num": num}
    for name, values in several.items():
        words += [word for value in values for word in (f"--{name}", str(value))]
    return shlex.join(words)


def _run_options(**values: Any) -> OptionValues:  # noqa: ANN401  (any option's)
    """Return the options of a run."""
    return values


_run_options.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [one for name, one in _RUN.items() if name not in _OF_SHEETS]
)


@takes_options(filters=_filters, options=_run_options)
def replace(
    old: _Text = None,
    new: _Text = None,
    *,
    fields: Annotated[
        str,
        typer.Option(
            "--in", metavar="FIELDS", help="Search in these fields.", rich_help_panel=WHAT
        ),
    ] = "title,description",
    whole_word: Annotated[
        bool, typer.Option("--whole-word", help="Whole words only.", rich_help_panel=WHAT)
    ] = False,
    glossary: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv", help="Replace many texts: lines OLD,NEW.", rich_help_panel=WHAT
        ),
    ] = None,
    filters: str,
    options: OptionValues,
) -> None:
    """Replace OLD by NEW in the texts of incidents, within the quota.

    It pulls the incidents into a sheet with the edits, and runs that: the same command again
    resumes, and the run can be undone.

    Examples:
        bulk-reset replace 'CPU usage' 'CPU saturated' --since 30d --plan
        bulk-reset replace db-1 db-01 --in title --whole-word --since 7d --canary 5
        bulk-reset replace --glossary terms.csv --since 90d --verify

    Exit codes:
        0  all rows are done
        1  some rows failed or are unconfirmed
        2  nothing was sent: a text, an option or the key is wrong
        3  the run stopped early, or was not confirmed
    """
    output = Output(is_json=options["json"], is_quiet=options["quiet"], verbose=options["verbose"])
    with output.errors():
        from bulk_reset.core.errors import InputError  # noqa: PLC0415
        from bulk_reset.workflows.replacements import (  # noqa: PLC0415  (rarely needed)
            read_glossary,
            replacement_rules,
            replacement_sheet,
        )

        if glossary is None and (old is None or new is None):
            raise InputError("replace: needs two texts. Give OLD and NEW, or use --glossary FILE.")
        if glossary is not None and old is not None:
            raise InputError("--glossary: has the texts. Remove it, or remove OLD and NEW.")
        if not filters:
            raise InputError("replace: no incidents selected. Use for example --since 30d.")
        texts = read_glossary(glossary) if glossary is not None else {old or "": new or ""}
        rules = replacement_rules(texts, fields.split(","), whole_word=whole_word)
        first = glossary.stem if glossary is not None else old or ""
        sheet = replacement_sheet(rules, filters, first)
    others = {name: _RUN[name].default for name in _OF_SHEETS}
    run(**{**others, **options, "sheet": str(sheet), "from_pull": filters, "set": rules})
