"""TOML files that users write about their sheets, and their errors with lines."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from bulk_reset.core.errors import InputError
from bulk_reset.core.input_file import open_input
from bulk_reset.core.safe_text import one_line
from bulk_reset.core.toml_lines import line_of, lines_of

_MAX_BYTES: Final = 1 << 20
_AT_LINE: Final = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")

Keys = tuple[str, ...]
"""The names of the tables, then the key; none for the file as a whole."""
Lines = Mapping[Keys, int]
"""The 1-based line of each key; none for tables that were made in Python."""


class Problem(NamedTuple):
    """An error of a file.

    Attributes:
        text: what is wrong, and how to fix it.
    """

    keys: Keys
    text: str


class TomlFileError(InputError):
    """An invalid file, or one that does not fit the sheet; nothing was sent.

    Attributes:
        path: the file.
        problems: all errors, in the file's order.
    """

    topic = "sheets"

    def __init__(self, path: object, lines: Lines, problems: Iterable[Problem]) -> None:
        self.path = str(path)
        line_by_problem = {
            one: line_of(lines, one.keys) if one.keys else lines.get((), 1)
            for one in dict.fromkeys(problems)
        }
        self.problems = tuple(sorted(line_by_problem, key=lambda one: line_by_problem[one]))
        self._lines = []
        for one in self.problems:
            where = f"{self.path}:{line_by_problem[one]}" if lines else self.path
            self._lines.append(": ".join(filter(None, (where, dotted(one.keys), one.text))))
        super().__init__("\n".join(self._lines))

    def lines(self) -> list[str]:
        """Return each error as a line: where, what, and how to fix it."""
        return list(self._lines)


class TomlFile(NamedTuple):
    """The tables of a file, and the lines of their keys."""

    tables: dict[str, Any]
    lines: Lines


def read_toml(path: Path, kind: str) -> TomlFile:
    """Read a file.

    Args:
        kind: what it is, for errors: ``profile``.

    Raises:
        TomlFileError: it is no TOML.
        InputError: it cannot be read.
    """
    try:
        with open_input(path) as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}). Use a {kind}.") from exc
    if len(content) > _MAX_BYTES:
        raise InputError(f"{path}: too large for a {kind}. Use a {kind}, not the sheet.")
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
        return TomlFile(tomllib.loads(text), lines_of(text))
    except UnicodeDecodeError as exc:
        problem = Problem((), "not UTF-8. Save the file as UTF-8.")
        raise TomlFileError(path, {(): 1}, [problem]) from exc
    except (ValueError, RecursionError) as exc:
        found = _AT_LINE.search(str(exc))
        line = int(found[1]) if found and found[1] else content.count(b"\n") + 1
        what = _AT_LINE.sub("", one_line(str(exc))).rstrip(".")
        fix = 'Write keys as name = "text", and names that are not ASCII letters in quotes.'
        problem = Problem((), f"not TOML: {what}. {fix}")
        raise TomlFileError(path, {(): line}, [problem]) from exc


def dotted(keys: Keys) -> str:
    """Return the path of a key as TOML writes it."""
    return ".".join(one if _BARE_KEY.fullmatch(one) else quoted(one) for one in keys)


def quoted(text: str) -> str:
    """Return a text as TOML writes it."""
    # As in JSON, except for DEL, which TOML escapes too.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
