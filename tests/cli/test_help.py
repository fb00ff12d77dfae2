"""The help of every command: examples first, options in panels, lines that fit a terminal."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Iterator
from typing import cast

import pytest
import typer.main
from typer.core import TyperGroup, TyperOption

from bulk_reset.cli import app
from bulk_reset.cli.help_text import parse_help

Command = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT_COMMAND = cast("TyperGroup", typer.main.get_command(app))


def commands(group: TyperGroup = ROOT_COMMAND, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield every command and group with its words."""
    for name, command in group.commands.items():
        words = f"{path} {name}".strip()
        yield words, command
        if isinstance(command, TyperGroup):
            yield from commands(command, words)


PATHS = dict(commands())


@pytest.mark.parametrize("path", ["", *PATHS])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_fits_eighty_columns(path: str, option: str, command: Command) -> None:
    """Every line of a help text fits, and no placeholder of a type is shown."""
    done = command(*path.split(), option, key=None, COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    examples = done.stdout.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    long = [line for line in done.stdout.splitlines() if len(line) > 80 and line not in examples]
    assert long == []
    assert "<bool>" not in done.stdout
    assert done.stdout.index("Usage: bulk-reset") < done.stdout.index("Examples:")


@pytest.mark.parametrize("group", ["", "job", "audit"])
def test_a_group_without_a_command_shows_its_help(group: str, command: Command) -> None:
    """Line by line, as ``--help`` does."""
    done = command(*group.split(), key=None, COLUMNS="80")
    shown = command(*group.split(), "--help", key=None, COLUMNS="80")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", shown.stdout)


@pytest.mark.parametrize("path", PATHS)
def test_an_example_has_only_options_of_its_command(path: str) -> None:
    """Two or three examples can be copied: their commands and options exist."""
    examples = parse_help(getattr(PATHS[path], "help", None) or "").blocks["Examples"]
    assert 2 <= len(examples) <= 3
    for example in examples:
        words = shlex.split(example.removeprefix("source <(").removesuffix(")"))
        assert words[0] == "bulk-reset"
        found = ROOT_COMMAND
        for word in words[1:3]:
            found = found.commands[word] if word in getattr(found, "commands", {}) else found
        names = {name for param in found.params for name in (*param.opts, *param.secondary_opts)}
        assert {word for word in words if word.startswith("-")} <= names


def test_an_option_is_explained_in_under_ten_words() -> None:
    """Help texts are short; the manual has the details."""
    texts = {
        param.help or ""
        for command in PATHS.values()
        for param in command.params  # type: ignore[attr-defined]
        if isinstance(param, TyperOption)
    }
    assert {text for text in texts if not 0 < len(text.split()) < 10} == set()


def test_help_all_also_shows_the_tuning_options(command: Command) -> None:
    """The options that few users need are behind --help-all."""
    short, full = (command("run", option, key=None).stdout for option in ("--help", "--help-all"))
    assert "--workers" not in short
    assert short.splitlines()[-1] == "More options: bulk-reset run --help-all"
    assert [line for line in full.splitlines() if line.endswith(":") and line[0] != " "] == [
        "Examples:",
        "Arguments:",
        "What to send:",
        "Safety:",
        "Output:",
        "Reading the sheet:",
        "Connection:",
        "Tuning:",
        "Options:",
        "Exit codes:",
    ]
    assert "--workers N" in full


def test_the_version_has_two_options(command: Command) -> None:
    """--version and -V print the same."""
    long, short = (command(option, key=None) for option in ("--version", "-V"))
    assert long.stdout == short.stdout
    assert long.stdout.startswith("bulk-reset ")


def test_an_unknown_command_or_option_is_refused_with_a_near_match(command: Command) -> None:
    """A typing error gets the name that was meant."""
    for words, match in ((["rnu"], "Did you mean 'run'?"), (["run", "x", "--limt"], "--limit")):
        done = command(*words, key=None)
        assert (done.returncode, done.stdout) == (2, "")
        assert match in done.stderr
