"""``bulk-reset completion``: the script that lets a shell complete commands and options."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated, Final

import typer

from bulk_reset.cli.next_steps import PROGRAM

_VARIABLE: Final = f"_{PROGRAM}_COMPLETE".replace("-", "_").upper()
"""Set by the scripts when a shell asks for completions."""


class Shell(StrEnum):
    """The shells that have a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[
        Shell, typer.Argument(metavar="bash|zsh|fish", help="The shell.", show_default=False)
    ],
) -> None:
    """Print the completion script of a shell.

    Examples:
        bulk-reset completion bash > ~/.local/share/bash-completion/completions/bulk-reset
        bulk-reset completion fish > ~/.config/fish/completions/bulk-reset.fish
        source <(bulk-reset completion zsh)
    """
    # typer has no public function for it.
    from typer._completion_shared import get_completion_script  # noqa: PLC0415

    script = get_completion_script(prog_name=PROGRAM, complete_var=_VARIABLE, shell=shell.value)
    typer.echo(script)


def prepare() -> None:
    """Let typer answer a shell that asks for completions; nothing to do for a command."""
    if _VARIABLE in os.environ:
        from typer._completion_classes import completion_init  # noqa: PLC0415

        completion_init()
