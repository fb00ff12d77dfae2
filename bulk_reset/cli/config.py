"""``bulk-reset config``: which defaults come from the file, from variables and from the program."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import typer

from bulk_reset.cli import settings
from bulk_reset.cli.app_command import running_context
from bulk_reset.cli.arguments import JsonOption
from bulk_reset.cli.console import Output, new_table, print_text

if TYPE_CHECKING:
    from typer.core import TyperGroup, TyperOption


class Origin(NamedTuple):
    """The default of one option of one command, and where it comes from."""

    command: str
    option: str
    value: str
    source: str
    """A line of the file, a variable, or ``default``."""


def config(
    *,
    path: Annotated[
        bool, typer.Option("--path", help="Print the path of the file and exit.")
    ] = False,
    all_: Annotated[bool, typer.Option("--all", help="Also show unchanged defaults.")] = False,
    json: JsonOption = False,
) -> None:
    """Show the defaults of options that are set in the configuration file or by variables.

    The command line wins, then a variable (BULK_RESET_RUN_CANARY, or BULK_RESET_BASE_URL for all
    commands), then the file: a table for each command, and [common] for options that several
    commands share. The APP key is not set here; see bulk-reset docs key.

    Examples:
        bulk-reset config
        bulk-reset config --all
        bulk-reset config --path
    """
    output = Output(is_json=json)
    with output.errors():
        root = cast("TyperGroup", running_context().find_root().command)
        where = settings.config_path()
        if path:
            print_text(str(where or ""))
            return
        file = settings.read_settings(root)
        origins = [one for one in _origins(root, file) if all_ or one.source != "default"]
        unknown = _unknown_variables(root)
        exists = where is not None and where.is_file()
        output.line(f"File: {where}{'' if exists else ' (does not exist)'}")
        _show(origins, output)
        for name in unknown:
            output.notice(f"{name}: is not the variable of an option and has no effect")
        output.json(
            {
                "path": str(where or ""),
                "options": [one._asdict() for one in origins],
                "unknown_variables": unknown,
                "exit_code": 0,
            }
        )


def _show(origins: list[Origin], output: Output) -> None:
    if not origins:
        output.line("All options have their defaults.")
        return
    table = new_table("command", "option", "value", "from")
    for one in origins:
        table.add_row(*one)
    output.table(table)


def _origins(root: TyperGroup, file: settings.SettingsFile) -> Iterator[Origin]:
    places = settings.options_by_place(root)
    shared = settings.shared_keys(places)
    for place, options in places.items():
        for key, param in options.items():
            names = settings.variables_of(place, key, shared)
            settings.check_variables(names)
            variable = next((name for name in names if name in os.environ), None)
            found = file.find(place, key, is_shared=settings.is_shared(place, key, shared))
            if variable is not None:
                value, source = os.environ[variable], variable
            elif found is not None:
                value, source = _text(found.value), f"{file.path}:{found.line}"
            else:
                value, source = _default(param), "default"
            yield Origin(" ".join(place), f"--{key}", value, source)


def _default(param: TyperOption) -> str:
    return param.show_default if isinstance(param.show_default, str) else _text(param.default)


def _text(value: Any) -> str:  # noqa: ANN401  (any option's)
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value.value if isinstance(value, Enum) else value)


def _unknown_variables(root: TyperGroup) -> list[str]:
    places = settings.options_by_place(root)
    shared = settings.shared_keys(places)
    known = {
        name
        for place, options in places.items()
        for key in options
        for name in settings.variables_of(place, key, shared)
    }
    return sorted(
        name for name in os.environ if name.startswith(settings.PREFIX) and name not in known
    )
