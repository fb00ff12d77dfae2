"""Defaults of options from a file and from variables, and where each came from.

The file is ``~/.config/bulk-reset/config.toml`` (``XDG_CONFIG_HOME``). A table is a command
(``[run]``, ``[job.run]``); ``[common]`` is for options that several commands share. A key is the
name of an option: ``base_url = "…"`` is ``--base-url``. Variables are named in the same way:
``BULK_RESET_RUN_CANARY`` for one command, ``BULK_RESET_BASE_URL`` for all that share the option.
The command line wins, then a variable, then the file; within each, the command before ``common``.

The key itself is never here: see ``bulk_reset.api.credentials``.
"""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from typer.core import TyperGroup, TyperOption

from bulk_reset.core.errors import InputError
from bulk_reset.core.input_file import open_input

if TYPE_CHECKING:
    from typer._click.core import Command

COMMON: Final = "common"
PREFIX: Final = "BULK_RESET_"
_NOT_SHARED: Final = frozenset({"sandbox"})
"""The quota of the emulated API is not that of an account: it shares no option."""
Place = tuple[str, ...]
"""The table of a command: ``("run",)``, ``("job", "run")``, or ``("common",)``."""


class SettingError(InputError):
    """A variable or a line of the configuration file cannot be used; nothing was sent."""

    topic = "options"


@dataclass(frozen=True, slots=True)
class Setting:
    """A value of the configuration file, and the line that it is on."""

    value: Any
    line: int


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The configuration file.

    Attributes:
        path: where it is; None where the user has no home.
        values: table -> key, with dashes -> its value.
    """

    path: Path | None
    values: Mapping[Place, Mapping[str, Setting]] = field(default_factory=dict)

    def find(self, place: Place, key: str, *, is_shared: bool) -> Setting | None:
        """Return the value of a command's option; None where the file has none."""
        found = self.values.get(place, {}).get(key)
        return found or (self.values.get((COMMON,), {}).get(key) if is_shared else None)


def config_path() -> Path | None:
    """Return where the configuration file is, or None for a user without a home."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.environ.get("APPDATA")
    try:
        folder = Path(base) if base else Path.home() / ".config"
    except RuntimeError:
        return None
    return folder / "bulk-reset" / "config.toml"


def key_of(param: TyperOption) -> str:
    """Return the name of an option as a key: the long name without its dashes before it."""
    return next(name for name in param.opts if name.startswith("--")).removeprefix("--")


def options_by_place(root: TyperGroup) -> dict[Place, dict[str, TyperOption]]:
    """Return the options of every command: table -> key -> option."""
    return dict(_walk(root, ()))


def _walk(group: TyperGroup, place: Place) -> Iterator[tuple[Place, dict[str, TyperOption]]]:
    for name, command in group.commands.items():
        below = (*place, *name.split())
        yield below, _options_of(command)
        if isinstance(command, TyperGroup):
            yield from _walk(command, below)


def _options_of(command: Command) -> dict[str, TyperOption]:
    return {
        key_of(param): param
        for param in command.params
        if isinstance(param, TyperOption) and param.expose_value
    }


def shared_keys(places: Mapping[Place, Mapping[str, TyperOption]]) -> frozenset[str]:
    """Return the keys of ``[common]``: those of options that several commands have."""
    counts = Counter(
        (key, param.help)
        for place, options in places.items()
        if place[0] not in _NOT_SHARED
        for key, param in options.items()
    )
    return frozenset(key for (key, _), commands in counts.items() if commands > 1)


def is_shared(place: Place, key: str, shared: frozenset[str]) -> bool:
    """Return whether an option of a command takes its default from ``[common]``, too."""
    return key in shared and place[0] not in _NOT_SHARED


def variables_of(place: Place, key: str, shared: frozenset[str]) -> list[str]:
    """Return the variables of an option, the first that is set wins."""
    name = key.replace("-", "_").upper()
    own = "_".join(place).replace("-", "_").upper()
    names = [f"{PREFIX}{own}_{name}"]
    return [*names, f"{PREFIX}{name}"] if is_shared(place, key, shared) else names


def check_variables(names: list[str]) -> None:
    """Refuse a variable that is set to nothing.

    Raises:
        SettingError: an empty address must not be replaced by the default address.
    """
    for name in names:
        if os.environ.get(name) == "":
            raise SettingError(f"{name}: is empty. Set a value, or unset the variable.")


def read_settings(root: TyperGroup) -> SettingsFile:
    """Read the configuration file; without one there are no values.

    Raises:
        SettingError: it cannot be read, or has a table or key that no command has.
    """
    path = config_path()
    if path is None or not path.exists():
        return SettingsFile(path)
    import tomllib  # noqa: PLC0415  (few users have the file)

    from bulk_reset.core.toml_lines import line_of, lines_of  # noqa: PLC0415

    try:
        with open_input(path) as file:
            text = file.read().decode("utf-8-sig")
        tables = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise SettingError(f"{path}: {why}. Fix the file, or move it away.") from exc
    places = options_by_place(root)
    keys = {place: frozenset(options) for place, options in places.items()}
    keys[COMMON,] = shared_keys(places)
    lines = lines_of(text)
    values: dict[Place, dict[str, Setting]] = {}
    for names, value in _leaves(tables):
        place, key = names[:-1], names[-1].replace("_", "-")
        line = line_of(lines, names)
        where = f"{path}:{line}"
        if place not in keys:
            raise SettingError(f"{where}: {_unknown_table(names, keys)}")
        if value == {}:
            continue
        if key not in keys[place]:
            raise SettingError(f"{where}: {_unknown_key(names[-1], place, keys[place])}")
        if value in ("", []):
            raise SettingError(f"{where}: {names[-1]} is empty. Set a value, or remove the line.")
        values.setdefault(place, {})[key] = Setting(value, line)
    return SettingsFile(path, values)


def _leaves(table: Mapping[str, Any], place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Yield each value with its table and key; for an empty table, an empty one."""
    for name, value in table.items():
        if not isinstance(value, dict):
            yield (*place, name), value
        elif value:
            yield from _leaves(value, (*place, name))
        else:
            yield (*place, name, ""), {}


def _unknown_table(names: Place, keys: Mapping[Place, frozenset[str]]) -> str:
    tables = sorted(".".join(place) for place in keys)
    table = ".".join(names[:-1])
    if not table:
        return f"{names[-1]} is in no table. Put it under [common] or the name of a command."
    near = difflib.get_close_matches(table, tables, 1)
    return f"[{table}] is not a command. " + (
        f"Use [{near[0]}]." if near else f"Use one of {', '.join(tables)}."
    )


def _unknown_key(name: str, place: Place, keys: frozenset[str]) -> str:
    table = ".".join(place)
    names = sorted(key.replace("-", "_") for key in keys)
    near = difflib.get_close_matches(name.replace("-", "_"), names, 1)
    return f"{name} is not an option of [{table}]. " + (
        f"Use {near[0]}." if near else f"Use one of {', '.join(names)}."
    )
