"""What every command has beside its own options: help, ``--help-all``, defaults, next commands.

A command takes defaults from the configuration file and from variables (see ``settings``), refuses
an empty text wherever it was given, and remembers its context for ``next_steps``.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, cast

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.exceptions import TyperException

from bulk_reset.cli import settings
from bulk_reset.cli.help_text import has_more_options, help_text, usage
from bulk_reset.cli.invalid_values import invalid_value
from bulk_reset.cli.value_conversion import skip_needless_conversion
from bulk_reset.core.errors import ExitCode
from bulk_reset.core.safe_text import one_line

if TYPE_CHECKING:
    from typer._click.core import Command, Context, Parameter
    from typer._click.formatting import HelpFormatter

    _Base = Command
else:
    _Base = object

_context: ContextVar[Context | None] = ContextVar("context", default=None)
_FROM_VARIABLE: Final = "ENVIRONMENT"
_FROM_FILE: Final = "DEFAULT_MAP"
"""Names of typer's sources of a value."""


def running_context() -> Context:
    """Return the context of the command that runs."""
    context = _context.get()
    assert context is not None, "no command runs"  # noqa: S101
    return context


def place_of(context: Context) -> settings.Place:
    """Return a command's table in the configuration file."""
    names: list[str] = []
    node: Context | None = context
    while node is not None and node.parent is not None:
        names[:0] = (node.info_name or "").split()
        node = node.parent
    return tuple(names)


class _OwnHelp(_Base):
    """What a command and a group have in common: their help, defaults, and remembered context."""

    def __init__(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401  (typer's)
        super().__init__(*args, **settings)
        for param in self.params:
            skip_needless_conversion(param)

    def get_help_option(self, ctx: Context) -> TyperOption | None:
        """Return ``--help``."""
        option = super().get_help_option(ctx)
        if option is not None:
            skip_needless_conversion(option)
        return option

    def get_help(self, ctx: Context) -> str:
        """Return the help as plain text."""
        return help_text(self, ctx)

    def get_usage(self, ctx: Context) -> str:
        """Return the line above a usage error."""
        return f"Usage: {usage(self, ctx)}"

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments with the user's own defaults."""
        with _safe_errors(), _defaults(self, ctx, args):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Context) -> Any:  # noqa: ANN401  (typer's)
        """Run the command, which may ask for its context."""
        token = _context.set(ctx)
        try:
            return super().invoke(ctx)
        finally:
            _context.reset(token)

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the help."""
        formatter.write(self.get_help(ctx))


class AppCommand(_OwnHelp, TyperCommand):
    """A command of this program."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the options, ``--help-all`` among them where it shows more."""
        params = super().get_params(ctx)
        return [*params, _HELP_ALL] if has_more_options(self) else params


class AppGroup(_OwnHelp, TyperGroup):
    """A group of commands of this program, or the program itself.

    A command may have a name of two words, such as ``plan show`` beside ``plan SHEET``.
    """

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments; without any, show the help where no command is the default."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            typer.echo(self.get_help(ctx), err=True)
            ctx.exit(ExitCode.INPUT)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: Context, args: list[str]
    ) -> tuple[str | None, Command | None, list[str]]:
        """Return the command that the first words name, and the other words."""
        two = " ".join(args[:2])
        if two in self.commands:
            return two, self.commands[two], args[2:]
        return super().resolve_command(ctx, args)


def _show_all(context: Context, _: Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        typer.echo(help_text(context.command, context, shows_all=True))
        context.exit()


def _help_all() -> TyperOption:
    from typer._click.decorators import help_option  # noqa: PLC0415

    holder = TyperCommand("holder")
    help_option(["--help-all"])(holder)
    option = cast("TyperOption", holder.params.pop())
    option.callback, option.help = _show_all, "Show all options and exit."
    skip_needless_conversion(option)
    return option


class _FileDefaults(dict[str, Any]):
    """The defaults of one command, read from the file when the first one is needed.

    ``--help`` needs none, so it works with a file that cannot be read.
    """

    def __init__(self, command: Command, context: Context) -> None:
        super().__init__()
        self._command, self._context = command, context
        self._is_read = False
        self.lines: dict[str, int] = {}
        self.file = settings.SettingsFile(None)

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401  (any option's)
        if not self._is_read:
            self._is_read = True
            self._read()
        return super().get(key, default)

    def _read(self) -> None:
        root = cast("TyperGroup", self._context.find_root().command)
        self.file = settings.read_settings(root)
        if not self.file.values:
            return
        place, shared = (
            place_of(self._context),
            settings.shared_keys(settings.options_by_place(root)),
        )
        for param in self._command.params:
            if not isinstance(param, TyperOption):
                continue
            key = settings.key_of(param)
            found = self.file.find(place, key, is_shared=settings.is_shared(place, key, shared))
            if found is not None:
                self[param.name] = found.value
                self.lines[param.name] = found.line


@contextmanager
def _safe_errors() -> Iterator[None]:
    """Let an argument, such as the name of a foreign file, not act in the text of an error."""
    try:
        yield
    except TyperException as error:
        error.message = one_line(error.message)
        raise


@contextmanager
def _defaults(command: Command, context: Context, args: list[str]) -> Iterator[None]:
    """Let a command take its defaults from variables and the file until the block ends."""
    place = place_of(context)
    if not context.resilient_parsing:
        _refuse_empty(command, context, args)
    defaults = _FileDefaults(command, context)
    if context.resilient_parsing or not place:
        with _named_values(context, defaults):
            yield
        return
    root = cast("TyperGroup", context.find_root().command)
    shared = _shared_by_commands(root)
    for param in command.params:
        if isinstance(param, TyperOption) and param.expose_value:
            param.envvar = settings.variables_of(place, settings.key_of(param), shared)
            settings.check_variables(param.envvar)
    context.default_map = defaults
    try:
        with _named_values(context, defaults):
            yield
    finally:
        context.default_map = None  # a group's are not those of its commands


def _shared_by_commands(root: TyperGroup) -> frozenset[str]:
    """Return the options that have a variable for all commands; none where no variable is set."""
    if not any(name.startswith(settings.PREFIX) for name in os.environ):
        return frozenset()  # does not import every command
    return settings.shared_keys(settings.options_by_place(root))


@contextmanager
def _named_values(context: Context, defaults: _FileDefaults) -> Iterator[None]:
    """Name the option, the variable, or the line of the file, that a wrong value came from.

    Raises:
        SettingError: a value was given that cannot be used.
    """
    try:
        yield
    except typer.BadParameter as error:
        param = error.param
        source = context.get_parameter_source(param.name) if param is not None else None
        if not isinstance(param, TyperOption | TyperArgument) or source is None:
            raise
        value, problem = invalid_value(param, error) or ("", error.message)
        where = _place_of_value(param, source.name, value, defaults)
        if not (where and problem):  # a missing argument has neither
            raise
        raise settings.SettingError(f"{where}: {problem}") from error


def _place_of_value(
    param: TyperOption | TyperArgument, source: str, value: str, defaults: _FileDefaults
) -> str:
    if source == _FROM_VARIABLE:
        name = next(name for name in param.envvar or () if os.environ.get(name))
        return f"{name}={value}" if value else name
    if source == _FROM_FILE:
        name = f"{param.name} = {value}" if value else param.name
        return f"{defaults.file.path}:{defaults.lines[param.name]}: {name}"
    name = param.opts[-1] if isinstance(param, TyperOption) else ""
    return f"{name} {shlex.quote(value) if value else ''}".strip()


def _refuse_empty(command: Command, context: Context, args: list[str]) -> None:
    """Refuse an empty text, which must not be replaced by a default such as the API's address.

    Raises:
        SettingError: an option or an argument is empty.
    """
    if "" not in args and not any(word.endswith("=") for word in args):
        return
    given, _, _ = command.make_parser(context).parse_args(args=list(args))
    for param in command.params:
        value = given.get(param.name)
        texts = value if isinstance(value, list | tuple) else [value]
        if "" in texts:
            name = param.opts[-1] if isinstance(param, TyperOption) else param.metavar
            what = "the argument" if isinstance(param, TyperArgument) else "the option"
            raise settings.SettingError(f"{name}: is empty. Set a value, or leave {what} out.")


_HELP_ALL: Final = _help_all()
