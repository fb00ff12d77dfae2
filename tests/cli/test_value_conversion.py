"""Options that skip typer's conversion have the values that typer's conversion gives them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import pytest
import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

from bulk_reset.cli import app
from bulk_reset.cli.app_command import AppCommand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer._click.core import Command, Context

TEXTS = (
    "",
    " ",
    "0",
    "-1",
    "7",
    "007",
    "+7",
    "7 ",
    "7.0",
    "1_000",
    "\uff17",
    "123456789012345",
    "1234567890123456789012",
    "1e3",
    "text",
    "é漢",
    "a=b",
    "/",
    "no/such/file",
    "ERROR",
    "error",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    7,
    2.5,
    *TEXTS,
    (),
    [],
    ["a", "b"],
    ("a", "b"),
    ["a", 1],
    [""],
    Path("a"),
    b"bytes",
    object,
)


def params(command: Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Command, Any]]:
    for param in command.params:
        if isinstance(param, TyperOption | TyperArgument):
            yield " ".join((*path, param.name)), command, param
    if isinstance(command, TyperGroup):
        for name, below in command.commands.items():
            yield from params(below, (*path, name))


EVERY = {
    # Commands share most of their options.
    (param.name, param.help, repr(param.default)): one
    for one in params(typer.main.get_command(app))
    for param in one[2:]
}.values()


def result(convert: Any, context: Context, value: Any) -> tuple[str, Any]:  # noqa: ANN401
    """Return the value with its type, or the error."""
    try:
        found = convert(context, value)
    except Exception as error:  # noqa: BLE001  (whatever it is, both have it)
        return type(error).__name__, str(error)
    return type(found).__name__, found


@pytest.mark.parametrize(
    ("command", "param"), [one[1:] for one in EVERY], ids=[one[0] for one in EVERY]
)
def test_every_option_has_the_value_of_typer(command: Command, param: Any) -> None:  # noqa: ANN401
    """Values, defaults, wrong ones and those of the configuration file, with their errors."""
    context = command.make_context("x", [], resilient_parsing=True)
    typers = type(param).process_value
    for value in (*VALUES, param.default):
        ours = result(param.process_value, context, value)
        assert ours == result(lambda *both: typers(param, *both), context, value), value


def test_an_option_with_other_rules_is_converted(tmp_path: Path) -> None:
    """A path that must exist, be a folder, or be readable is checked by typer."""
    file = tmp_path / "file"
    file.touch()
    alone = typer.Typer(add_completion=False)

    @alone.command(cls=AppCommand)
    def main(
        exists: Annotated[Path, typer.Option(exists=True)],
        folder: Annotated[Path, typer.Option(file_okay=False)],
        resolved: Annotated[Path, typer.Option(resolve_path=True)],
    ) -> None:
        """Do nothing."""

    command = cast("AppCommand", typer.main.get_command(alone))
    context = command.make_context("x", [], resilient_parsing=True)
    by_name = {param.name: param for param in command.params}
    for name, value in (("exists", str(tmp_path / "none")), ("folder", str(file))):
        with pytest.raises(typer.BadParameter, match=r"does not exist|is a file"):
            by_name[name].process_value(context, value)
    assert by_name["resolved"].process_value(context, f"{tmp_path}/a/..") == tmp_path
