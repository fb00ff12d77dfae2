"""The help of a command as plain text: summary, usage, examples, options by panel, exit codes.

typer's own help loads rich with its Markdown parser, which takes longer than all the rest of
``--help``; this needs neither.
"""

from __future__ import annotations

import inspect
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

from bulk_reset.cli.arguments import OUTPUT, SAFETY, WHAT
from bulk_reset.cli.connection_options import CONNECTION, TUNING
from bulk_reset.cli.sheet_options import READING
from bulk_reset.cli.streams import has_colour

if TYPE_CHECKING:
    from typer._click.core import Command, Context

_HIDDEN_PANELS: Final = frozenset({TUNING})
_PANELS: Final = ("Options", WHAT, SAFETY, OUTPUT, READING, CONNECTION, TUNING)
"""The order in which panels are shown; panels of one command come before ``OUTPUT``."""
_WIDEST: Final = 100
_NARROWEST: Final = 40
_WIDEST_TERM: Final = 28


class Help(NamedTuple):
    """The parts of a command's docstring.

    Attributes:
        summary: the first paragraph.
        description: the other paragraphs.
        blocks: title -> lines that keep their layout, such as ``Examples``.
    """

    summary: str
    description: list[str]
    blocks: dict[str, list[str]]


def parse_help(text: str) -> Help:
    """Split a docstring into its parts; a block is a line that ends with ``:``, then indented."""
    paragraphs, blocks = [], {}
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        first, _, rest = paragraph.partition("\n")
        if first.endswith(":") and rest.startswith(" "):
            blocks[first.removesuffix(":")] = textwrap.dedent(rest).splitlines()
        else:
            paragraphs.append(" ".join(paragraph.split()))
    return Help(paragraphs[0] if paragraphs else "", paragraphs[1:], blocks)


def has_more_options(command: Command) -> bool:
    """Return whether ``--help-all`` shows more than ``--help``."""
    return any(
        getattr(param, "rich_help_panel", None) in _HIDDEN_PANELS for param in command.params
    )


def help_text(command: Command, context: Context, *, shows_all: bool = False) -> str:
    """Return the help of a command, as wide as the terminal."""
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))
    return "\n".join(_lines(command, context, width, shows_all=shows_all))


def _lines(command: Command, context: Context, width: int, *, shows_all: bool) -> Iterator[str]:
    parts = parse_help(command.help or "")
    yield from textwrap.wrap(parts.summary, width)
    yield ""
    yield f"{_heading('Usage:')} {usage(command, context)}"
    for paragraph in parts.description:
        yield ""
        yield from textwrap.wrap(paragraph, width)
    blocks = dict(parts.blocks)
    if (examples := blocks.pop("Examples", None)) is not None:
        yield from _block("Examples", examples)
    if isinstance(command, TyperGroup):
        for title, rows in _command_panels(command, context):
            yield from _table(title, rows, width)
    for title, rows in _option_panels(command, context, shows_all=shows_all):
        yield from _table(title, rows, width)
    for title, lines in blocks.items():
        yield from _block(title, lines)
    if not shows_all and has_more_options(command):
        yield ""
        yield f"More options: {context.command_path} --help-all"


def usage(command: Command, context: Context) -> str:
    """Return the usage line: ``bulk-reset run [OPTIONS] SHEET``."""
    names = [
        _argument_name(param) if param.required else f"[{_argument_name(param)}]"
        for param in command.params
        if isinstance(param, TyperArgument)
    ]
    ends = ["COMMAND"] if isinstance(command, TyperGroup) else names
    if isinstance(command, TyperGroup) and command.invoke_without_command:
        ends = ["[COMMAND]"]
    return " ".join([context.command_path, "[OPTIONS]", *ends])


def _argument_name(param: TyperArgument) -> str:
    return param.metavar or param.name.upper()


def _command_panels(
    group: TyperGroup, context: Context
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    panels: dict[str, list[tuple[str, str]]] = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            panel = getattr(command, "rich_help_panel", None) or "Commands"
            panels.setdefault(panel, []).append((name, parse_help(command.help or "").summary))
    yield from panels.items()


def _option_panels(
    command: Command, context: Context, *, shows_all: bool
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    arguments = [
        (_argument_name(param), _described(param))
        for param in command.params
        if isinstance(param, TyperArgument) and param.help
    ]
    if arguments:
        yield "Arguments", arguments
    panels: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(context):
        if isinstance(param, TyperOption) and not param.hidden:
            panel = param.rich_help_panel or "Options"
            panels.setdefault(panel, []).append((_option_name(param), _described(param)))
    own = [name for name in panels if name not in _PANELS]
    for name in (*own, *_PANELS[1:], _PANELS[0]):
        if name in panels and (shows_all or name not in _HIDDEN_PANELS):
            yield name, panels[name]


def _option_name(param: TyperOption) -> str:
    short = next((name for name in param.opts if not name.startswith("--")), "")
    long = next((name for name in param.opts if name.startswith("--")), "")
    name = f"{short}, {long}" if short else f"    {long}"
    return name if param.is_flag else f"{name} {param.metavar or 'VALUE'}"


def _described(param: TyperOption | TyperArgument) -> str:
    default = _default(param)
    return f"{param.help or ''} [default: {default}]" if default else param.help or ""


def _default(param: TyperOption | TyperArgument) -> str:
    if isinstance(param.show_default, str):
        return param.show_default
    value: Any = param.default
    if not param.show_default or value is None or value is False or value in ("", [], ()):
        return ""
    if isinstance(value, Enum):
        return str(value.value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _heading(text: str) -> str:
    return typer.style(text, bold=True) if has_colour(sys.stdout) else text


def _block(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield ""
    yield _heading(f"{title}:")
    yield from (f"  {line}".rstrip() for line in lines)


def _table(title: str, rows: list[tuple[str, str]], width: int) -> Iterator[str]:
    yield ""
    yield _heading(f"{title}:")
    column = min(_WIDEST_TERM, max(len(term) for term, _ in rows)) + 4
    for term, text in rows:
        wrapped = textwrap.wrap(text, width - column, break_on_hyphens=False) or [""]
        if len(term) > column - 4:
            yield f"  {term}"
        else:
            yield f"  {term:<{column - 2}}{wrapped.pop(0)}".rstrip()
        yield from (f"{'':<{column}}{line}" for line in wrapped)
