"""The commands that are suggested next: complete, quoted, and right as they are copied.

They are made of what the running command was given, on the command line, by a variable or by the
configuration file, and of what the suggested command accepts.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from typer.core import TyperArgument, TyperGroup, TyperOption

from bulk_reset.cli.app_command import running_context
from bulk_reset.cli.settings import key_of

if TYPE_CHECKING:
    from typer._click.core import Command, Context

    from bulk_reset.core.errors import BulkResetError

PROGRAM: Final = "bulk-reset"
_NOTHING: Final[Mapping[str, str]] = {}
_GIVEN: Final = frozenset({"COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP"})
OUTPUTS: Final = frozenset(
    {
        *("json", "quiet", "verbose", "html", "xlsx", "log-file", "metrics-file"),
        *("sarif", "junit", "exit-code", "save-profile"),
    }
)
"""Options that say how a result is shown, which another command does not need."""
CONNECTION: Final = frozenset(
    {
        "sandbox",
        "sandbox-state",
        "access-token-file",
        "app-key-file",
        "base-url",
        "account",
        "quota-store",
        "exclusive",
        "priority",
        "no-wait",
        "timeout",
        "attempts",
        "patience",
        "per-second",
        "per-minute",
        "share",
    }
)
"""Options that say where requests go and how fast."""
_PLACES: Final = frozenset({"state-dir"})
_OF_ONE_FILE: Final = frozenset(
    {
        "report",
        "sheet",
        "delimiter",
        "encoding",
        "header-row",
        "corrections",
        "numbers-since",
        "profile",
        "limit",
        "skip-invalid",
        "retry-failed",
        "max-rows",
        "from-pull",
        "set",
        "plan",
        "dry-run",
        "require-approval",
        "allowed-signers",
        "hmac-key-file",
        "allow-own-approval",
    }
)
"""Options of a run that do not suit the file of its failed rows, which is a plain CSV file."""


def same_command(*, without: Collection[str] = (), plus: Mapping[str, str] = _NOTHING) -> str:
    """Return the running command again.

    Args:
        without: options, as keys without dashes before them, to leave out.
        plus: options to add where they were not given: key -> value, empty for a flag.
    """
    context = running_context()
    path = context.command_path.split()[1:]
    arguments = [
        str(context.params[param.name])
        for param in context.command.params
        if isinstance(param, TyperArgument) and context.params[param.name] is not None
    ]
    return _joined(path, arguments, _given(context), without, plus)


def other_command(
    name: str,
    *arguments: object,
    keeps: Collection[str] | None = None,
    without: Collection[str] = (),
    plus: Mapping[str, str] = _NOTHING,
) -> str:
    """Return another command with the options of the running one that it accepts.

    Args:
        name: ``undo``, ``runs clean``.
        keeps: options to carry over; all that the other command accepts when None.
    """
    context = running_context()
    path = name.split()
    command = _command(cast("TyperGroup", context.find_root().command), name)
    accepted = _keys(command)
    options = {
        key: words
        for key, words in _given(context).items()
        if key in accepted and (keeps is None or key in keeps)
    }
    return _joined(path, [str(one) for one in arguments], options, without, plus)


def _command(group: TyperGroup, name: str) -> Command:
    """Return a command of a group by its name; the name of one command may have two words."""
    if name in group.commands:
        return group.commands[name]
    first, _, rest = name.partition(" ")
    return _command(cast("TyperGroup", group.commands[first]), rest)


def command_line(*words: object) -> str:
    """Return a command that needs no option of the running one."""
    return shlex.join([PROGRAM, *map(str, words)])


def plan_of(sheet: object, report: object = None) -> str:
    """Return the plan of a sheet that was just pulled.

    Args:
        report: another one than the usual.
    """
    plus = {"report": str(report)} if report is not None else {}
    return other_command("plan", sheet, keeps=CONNECTION, plus=plus)


def run_of(sheet: object) -> str:
    """Return the run of a sheet that was just checked or planned."""
    return other_command("run", sheet, without={*OUTPUTS, "from-pull", "set"})


def run_of_plan(plan: object) -> str:
    """Return the run of a plan that was just saved."""
    return other_command("run", plan, keeps=CONNECTION)


def run_of_failed_rows(failed: object) -> str:
    """Return the run of the file with the failed rows of the run that just ended."""
    # The columns of such a file have the names of fields, where a profile was used.
    without = {"map"} if _has_profile() else set()
    return other_command("run", failed, without={*OUTPUTS, *_OF_ONE_FILE, *without})


def _has_profile() -> bool:
    from bulk_reset.sheets.profile import find_profile  # noqa: PLC0415  (imports pandas)

    params = running_context().params
    return bool(params.get("profile") or find_profile(Path(str(params.get("sheet")))))


def verify_of(report: object) -> str:
    """Return the verification of the run that just ended; empty as ``undo_of``."""
    return _of_report("verify", report)


def undo_of(report: object) -> str:
    """Return the undo of the run that just ended; empty where its incidents are gone.

    The incidents of ``--sandbox`` exist only as long as the command.
    """
    return _of_report("undo", report)


def _of_report(name: str, report: object) -> str:
    options = _given(running_context())
    if "sandbox" in options and "sandbox-state" not in options:
        return ""
    return other_command(name, report, keeps=CONNECTION)


def plan_as_page(sheet: object) -> str:
    """Return how to get all rows of a plan of which the first are shown."""
    without = {*OUTPUTS, "from-pull", "set"}  # the sheet is there now
    command = other_command("plan", sheet, without=without, plus={"html": ""})
    return f"To show all: {command}"


def steps_of(error: BulkResetError) -> list[str]:
    """Return what to do about an error: lines with a complete command."""
    lines = []
    for step in error.next_steps:
        keeps = {*CONNECTION, *_PLACES}
        if "sandbox-state" in step.options:
            keeps -= {"sandbox", "sandbox-state", "base-url", "account"}
            keeps -= {"app-key-file", "access-token-file"}
        command = other_command(step.name, *step.arguments, keeps=keeps, plus=step.options)
        lines.append(f"{step.purpose}: {command}")
    return lines


def accepts(key: str) -> bool:
    """Return whether the running command has an option."""
    return key in _keys(running_context().command)


def _keys(command: Command) -> frozenset[str]:
    return frozenset(key_of(param) for param in command.params if isinstance(param, TyperOption))


def _given(context: Context) -> dict[str, list[str]]:
    """Return key -> words of each option that was given, in the order of the command's options."""
    given: dict[str, list[str]] = {}
    for param in context.command.params:
        source = context.get_parameter_source(param.name)
        if isinstance(param, TyperOption) and source is not None and source.name in _GIVEN:
            words = list(_words(param, context.params.get(param.name)))
            if words:
                given[key_of(param)] = words
    return given


def _words(param: TyperOption, value: Any) -> Iterator[str]:  # noqa: ANN401  (any option's)
    name = f"--{key_of(param)}"
    if isinstance(value, bool):
        if value:
            yield name
        return
    for one in value if isinstance(value, list | tuple) else [value]:
        if one is not None:
            yield name
            yield _text(one)


def _text(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _joined(
    path: list[str],
    arguments: list[str],
    options: dict[str, list[str]],
    without: Collection[str],
    plus: Mapping[str, str],
) -> str:
    kept = {key: words for key, words in options.items() if key not in without}
    more = {
        key: [f"--{key}", *([value] if value else [])]
        for key, value in plus.items()
        if key not in kept
    }
    flat = [word for words in (kept | more).values() for word in words]
    # A sheet whose name begins with a dash would be read as an option.
    is_dashed = any(word.startswith("-") and word != "-" for word in arguments)
    rest = [*flat, "--", *arguments] if is_dashed else [*arguments, *flat]
    return command_line(*path, *rest)
