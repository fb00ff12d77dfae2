"""``bulk-reset docs``: the manual that is installed with the program; and ``bulk-reset help``."""

from __future__ import annotations

import difflib
import re
import sys
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer
from typer.core import TyperGroup

from bulk_reset.cli.app_command import running_context
from bulk_reset.cli.console import Output, print_text
from bulk_reset.cli.help_text import help_text
from bulk_reset.cli.next_steps import command_line
from bulk_reset.cli.settings import options_by_place
from bulk_reset.cli.streams import is_terminal
from bulk_reset.core.errors import InputError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from typer._click.core import Context

_SUFFIX: Final = ".md"
_WIDEST: Final = 90


def docs(
    topic: Annotated[
        str | None,
        typer.Argument(metavar="TOPIC", help="A page of the manual.", show_default=False),
    ] = None,
) -> None:
    """Show a page of the manual, or the list of pages.

    Examples:
        bulk-reset docs
        bulk-reset docs sheets
        bulk-reset docs jobs | less
    """
    output = Output()
    with output.errors():
        if topic is None:
            _list_topics(output)
        else:
            _show_page(topic)


def help_(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND|TOPIC", help="A command, or a page of the manual.", show_default=False
        ),
    ] = None,
) -> None:
    """Show the help of a command, or a page of the manual.

    Examples:
        bulk-reset help run
        bulk-reset help job check
        bulk-reset help sheets
    """
    output = Output()
    root = running_context().find_root()
    with output.errors():
        found = _find_command(root, words or [])
        if found is not None:
            print_text(help_text(found.command, found))
        elif words is not None and len(words) == 1 and words[0] in topics():
            _show_page(words[0])
        else:
            commands = options_by_place(cast("TyperGroup", root.command))
            names = [*map(" ".join, commands), *topics()]
            raise _unknown(" ".join(words or []), names, "command or page")


def topics() -> dict[str, str]:
    """Return the pages of the manual: topic -> title."""
    pages = [page for page in _folder().iterdir() if page.name.endswith(_SUFFIX)]
    return {
        page.name.removesuffix(_SUFFIX): _title(page)
        for page in sorted(pages, key=lambda page: page.name)
    }


def _folder() -> Traversable:
    return resources.files("bulk_reset") / "manual"


def _title(page: Traversable) -> str:
    found = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else page.name


def _list_topics(output: Output) -> None:
    pages = topics()
    width = max(map(len, pages), default=0) + 2
    output.line("Pages of the manual:")
    for name, title in pages.items():
        output.line(f"  {name:<{width}}{title}")
    output.line()
    output.line(f"Show one: {command_line('docs', 'TOPIC')}")


def _show_page(topic: str) -> None:
    """Print a page: formatted and in a pager on a terminal, as Markdown elsewhere.

    Raises:
        InputError: there is no such page.
    """
    pages = topics()
    if topic not in pages:
        raise _unknown(topic, list(pages), "page")
    text = (_folder() / f"{topic}{_SUFFIX}").read_text(encoding="utf-8")
    if not is_terminal(sys.stdout):
        print_text(text.rstrip("\n"))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.markdown import Markdown  # noqa: PLC0415

    console = Console()
    console.width = min(console.width, _WIDEST)
    with console.pager(styles=console.is_terminal):
        console.print(Markdown(text, hyperlinks=False))


def _find_command(root: Context, words: list[str]) -> Context | None:
    context = root
    left = list(words)
    while left:
        command = context.command
        names = [" ".join(left[:2]), left[0]]
        commands = command.commands if isinstance(command, TyperGroup) else {}
        name = next((name for name in names if name in commands), None)
        if name is None:
            return None
        del left[: len(name.split())]
        context = context.__class__(commands[name], info_name=name, parent=context)
    return context


class UnknownPageError(InputError):
    """There is no such page or command; the message has the names that exist."""

    topic = ""


def _unknown(word: str, names: list[str], what: str) -> UnknownPageError:
    near = difflib.get_close_matches(word, names, 3)
    fix = f"Use {' or '.join(near)}." if near else f"Use one of {', '.join(sorted(set(names)))}."
    return UnknownPageError(f"{word}: no such {what}. {fix}")
