"""The line of each key of a TOML file.

Neither the standard library's TOML parser nor tomlkit reports lines of keys. The standard
library also parses single statements, so they are passed to it one by one, each as soon as it is
complete.
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
    """Return the first line of each key and each table, 1-based.

    Args:
        text: valid TOML.
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
            values = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # the statement has more lines
        is_header = statement.lstrip().startswith("[")
        keys = list(_keys_in(values))
        for one in keys:
            found.setdefault(one if is_header else table + one, begins_at)
        if is_header:
            table = keys[-1]
        begins_at, statement = number + 1, ""
    return found


def line_of(lines: Mapping[Keys, int], keys: Keys) -> int:
    """Return the line of a key; of a missing key, that of its table."""
    for count in range(len(keys), 0, -1):
        if keys[:count] in lines:
            return lines[keys[:count]]
    return 1


def _keys_in(values: Any) -> Iterator[Keys]:  # noqa: ANN401  (TOML)
    if isinstance(values, list):
        for one in values:
            yield from _keys_in(one)
    elif isinstance(values, dict):
        for name, value in values.items():
            yield (name,)
            for more in _keys_in(value):
                yield (name, *more)
