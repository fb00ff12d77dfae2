"""On which line of a TOML file each of its keys is written.

The TOML reader of the standard library does not tell. It reads single statements as well as
whole files, though, so they are given to it one by one, each as soon as it is whole.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

Keys = tuple[str, ...]
"""The names of the tables, then the key."""

_ENDS: Final = ("]", "}", '"""', "'''")
"""One of these is on the last line of a statement that has several."""


def lines_of(text: str) -> dict[Keys, int]:
    """Return where each key, and each table, is written first: 1-based.

    Args:
        text: of a file that can be read as TOML.
    """
    found: dict[Keys, int] = {}
    table: Keys = ()
    begins_at, statement = 1, ""
    for number, line in enumerate(text.split("\n"), 1):
        is_first = not statement
        statement += f"{line}\n"
        if not is_first and not any(end in line for end in _ENDS):
            continue
        try:
            told = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # it goes on in the next line
        is_header = statement.lstrip().startswith("[")
        keys = list(_keys_in(told))
        for one in keys:
            found.setdefault(one if is_header else table + one, begins_at)
        if is_header:
            table = keys[-1]
        begins_at, statement = number + 1, ""
    return found


def line_of(lines: Mapping[Keys, int], keys: Keys) -> int:
    """Return the line of a key; where it is missing, that of its table."""
    for count in range(len(keys), 0, -1):
        if keys[:count] in lines:
            return lines[keys[:count]]
    return 1


def _keys_in(told: Any) -> Iterator[Keys]:  # noqa: ANN401  (TOML)
    if isinstance(told, list):
        for one in told:
            yield from _keys_in(one)
    elif isinstance(told, dict):
        for name, value in told.items():
            yield (name,)
            for more in _keys_in(value):
                yield (name, *more)
