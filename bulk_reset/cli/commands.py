"""The commands of the program; the module of a command is imported when it is needed.

A command needs one module of twenty, so it starts in two thirds of the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import typer

from bulk_reset.cli.app_command import AppCommand, AppGroup

if TYPE_CHECKING:
    from typer._click.core import Command
    from typer.core import TyperCommand, TyperGroup

_INCIDENTS, _JOBS, _MORE = "Incidents", "Jobs", "More"


class _Place(NamedTuple):
    """Where a command is.

    Attributes:
        panel: the title above it in the help of the program.
        module: its module in this package.
        name: its function, or its group.
    """

    panel: str
    module: str
    name: str


_PLACES: Final = {
    "pull": _Place(_INCIDENTS, "pull", "pull"),
    "check": _Place(_INCIDENTS, "check", "check"),
    "plan": _Place(_INCIDENTS, "plan", "plan"),
    "plan show": _Place(_INCIDENTS, "plan_show", "show"),
    "plan diff": _Place(_INCIDENTS, "plan_show", "diff"),
    "approve": _Place(_INCIDENTS, "approve", "approve"),
    "run": _Place(_INCIDENTS, "run", "run"),
    "replace": _Place(_INCIDENTS, "replace", "replace"),
    "verify": _Place(_INCIDENTS, "verify", "verify"),
    "undo": _Place(_INCIDENTS, "undo", "undo"),
    "report": _Place(_INCIDENTS, "report", "report"),
    "template": _Place(_INCIDENTS, "template", "template"),
    "web": _Place(_INCIDENTS, "web", "web"),
    "audit": _Place(_INCIDENTS, "audit", "audit"),
    "schedule": _Place(_JOBS, "schedule", "schedule"),
    "job": _Place(_JOBS, "job", "job"),
    "runs": _Place(_JOBS, "runs", "runs"),
    "account": _Place(_MORE, "account", "account"),
    "sandbox": _Place(_MORE, "sandbox", "sandbox"),
    "config": _Place(_MORE, "config", "config"),
    "docs": _Place(_MORE, "docs", "docs"),
    "completion": _Place(_MORE, "completion", "completion"),
    "help": _Place(_MORE, "docs", "help_"),
}
"""In the order of the help. A command may have a name of two words."""


class ProgramGroup(AppGroup):
    """The program itself."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  (typer's)
        super().__init__(**settings)
        self.commands = _Commands()  # type: ignore[assignment]  # a command is never added


class _Commands(Mapping[str, "Command"]):
    """Every command by its name, built when it is first asked for."""

    def __init__(self) -> None:
        self._built: dict[str, Command] = {}

    def __getitem__(self, name: str) -> Command:
        if name not in self._built:
            self._built[name] = _build(name, _PLACES[name])
        return self._built[name]

    def __contains__(self, name: object) -> bool:
        return name in _PLACES

    def __iter__(self) -> Iterator[str]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)


def _build(name: str, place: _Place) -> Command:
    found = getattr(import_module(f"bulk_reset.cli.{place.module}"), place.name)
    if not isinstance(found, typer.Typer):
        alone = typer.Typer(add_completion=False)
        alone.command(name, cls=AppCommand)(found)
        found = alone
    command = cast("TyperCommand | TyperGroup", typer.main.get_command(found))
    command.rich_help_panel = place.panel
    return command
