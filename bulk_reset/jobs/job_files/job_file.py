"""Reading a job file: TOML with ``${NAME}`` from the environment, every error with its line.

An error shows the invalid value, except where it may be a secret: a value of the environment, an
address, and the app key wherever it was written by accident.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import stat
import tomllib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from bulk_reset.core.errors import InputError
from bulk_reset.core.toml_lines import Keys, line_of, lines_of
from bulk_reset.jobs.job_files.job import Job, JobKeyError
from bulk_reset.jobs.job_files.job_schema import Notify

Place = tuple[str | int, ...]
"""The path of a key: its tables, then the key."""

_VARIABLE: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_]\w*)(?::-([^{}]*))?\}|\$\{", re.ASCII)
_AT_LINE: Final = re.compile(r"\(at (?:line (\d+), column \d+|end of document)\)")
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_KEY_VARIABLE: Final = "FLASHDUTY_APP_KEY"
_SECRETS: Final = (_KEY_VARIABLE, "FLASHDUTY_ACCESS_TOKEN")
_KEY_NAMES: Final = frozenset(
    {"app_key", "key", "apikey", "api_key", "access_token", "token", "secret", "password"}
)
_SHORTEST_KEY: Final = 6
_LARGEST_BYTES: Final = 1 << 20
_LONGEST_SHOWN: Final = 60
_SECRET_KEYS: Final = frozenset(
    {"base_url", "webhook", "headers", "payload", "ping_start", "ping_success", "ping_failure"}
)
"""Keys whose values may be secrets in themselves."""
_FREE_TABLES: Final = frozenset({("columns",), ("set",)})
"""Tables that take any keys."""
_NOT_A_NUMBER: Final = frozenset({"int_type", "float_type", "bool_type"})
_TEXT_OF_KIND: Final = {
    "int_type": "not a whole number. Write it without quotes: {name} = 5.",
    "float_type": "not a number. Write it without quotes: {name} = 0.5.",
    "bool_type": "not true or false. Use one of them, without quotes.",
    "string_type": 'not a text. Write it in quotes: {name} = "…".',
    "list_type": 'not a list. Write it in brackets: {name} = ["…"].',
    "dict_type": "not a table. Write [{name}] above its keys.",
    "model_type": "not a table. Write [{name}] above its keys.",
    "string_too_short": "empty. Add a value, or remove the key.",
    "too_short": "empty. Add a value, or remove the key.",
    "greater_than": "too small. Use more than {gt}.",
    "greater_than_equal": "too small. Use {ge} or more.",
    "less_than_equal": "too large. Use {le} or less.",
    "finite_number": "not a finite number. Use a number like 0.5.",
}
"""pydantic's kinds of errors -> what is reported."""


@dataclass(frozen=True, slots=True)
class JobFileProblem:
    """One error of a job file.

    Attributes:
        line: 1-based; of a missing key, that of its table.
        key: ``schedule.cron``; empty for the file as a whole.
        problem: what is wrong, and how to fix it.
    """

    line: int
    key: str
    problem: str


class JobFileError(InputError):
    """An invalid job file; nothing was run.

    Attributes:
        problems: all errors, in the file's order.
    """

    topic = "jobs"

    def __init__(self, path: str, problems: Sequence[JobFileProblem]) -> None:
        self.path, self.problems = path, tuple(sorted(problems, key=lambda one: one.line))
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """Return each error as a line: where, what, and how to fix it."""
        return [
            f"{self.path}:{one.line}: {one.key + ': ' if one.key else ''}{one.problem}"
            for one in self.problems
        ]


def read_job(
    path: Path, environment: Mapping[str, str] | None = None, content: bytes | None = None
) -> Job:
    """Read and check a job file.

    Args:
        environment: values for ``${NAME}``; the process's own environment when None.
        content: of the file, where it is read already; other paths are relative to ``path``.

    Raises:
        JobFileError: the file is invalid: every error, each with its line.
        InputError: the file cannot be read.
    """
    if not _NAME.fullmatch(path.stem):
        problem = "invalid job name. Use letters, digits, '-', '_' and '.' in the file's name."
        raise JobFileError(str(path), [JobFileProblem(1, "", problem)])
    text = _text_of(path, content_of(path) if content is None else content)
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as exc:
        raise JobFileError(str(path), [_toml_problem(exc, text)]) from exc
    reading = _Reading(text, os.environ if environment is None else environment)
    filled = reading.filled(tables)
    if reading.problems:
        raise JobFileError(str(path), reading.problems)
    if "path" in filled:
        raise JobFileError(str(path), [reading.unknown(("path",))])
    try:
        return _validated(path, filled, reading)
    except ValidationError as exc:
        raise JobFileError(str(path), reading.problems_of(exc)) from None


def notify_in(path: Path, content: bytes) -> Notify | None:
    """Return the ``[notify]`` of an otherwise invalid job file; None if it has no valid one."""
    try:
        table = tomllib.loads(_text_of(path, content)).get("notify")
        reading = _Reading("", os.environ)
        filled = reading.filled(table)
        return None if table is None or reading.problems else Notify.model_validate(filled)
    except (ValueError, RecursionError, InputError):
        return None


def _validated(path: Path, filled: dict[str, Any], reading: _Reading) -> Job:
    whole = {**filled, "path": Path(os.path.abspath(path))}  # noqa: PTH100  (without .. in it)
    try:
        return Job.model_validate(whole)
    except ValidationError as exc:
        # A variable is a text; where a number is required, it is parsed as TOML.
        places = [tuple(one["loc"]) for one in exc.errors() if one["type"] in _NOT_A_NUMBER]
        places = [place for place in places if place in reading.from_environment]
        if not places:
            raise
        for place in places:
            _set(whole, place, _scalar(_get(whole, place)))
        return Job.model_validate(whole)


def content_of(path: Path) -> bytes:
    """Return the content of a job file.

    Raises:
        InputError: it cannot be read, or is no job file.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: not a file. Use a job file (.toml).")
        if status.st_size > _LARGEST_BYTES:
            raise InputError(f"{path}: too large for a job file. Use a job file, not the sheet.")
        return path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}). Use a job file.") from exc


def _text_of(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        problem = "not UTF-8. Save the file as UTF-8. If it is the sheet, name it in [source]."
        raise JobFileError(str(path), [JobFileProblem(line, "", problem)]) from exc


def _toml_problem(error: ValueError | RecursionError, text: str) -> JobFileProblem:
    found = _AT_LINE.search(str(error))
    line = int(found[1]) if found and found[1] else text.rstrip().count("\n") + 1
    what = _AT_LINE.sub("", str(error)).strip()
    if not isinstance(error, tomllib.TOMLDecodeError):
        # Python does not report where such a number or bracket is.
        line, what = 1, "a number is too long, or brackets are nested too deep"
    return JobFileProblem(
        max(1, line), "", f'not TOML: {what}. Write keys as name = "text" or name = 5.'
    )


@dataclass(slots=True)
class _Reading:
    """A job file being read: its text, and the errors found so far."""

    text: str
    environment: Mapping[str, str]
    problems: list[JobFileProblem] = field(default_factory=list)
    from_environment: set[Place] = field(default_factory=set)
    _lines: dict[Keys, int] = field(default_factory=dict)

    def filled(self, value: Any, place: Place = ()) -> Any:  # noqa: ANN401  (TOML)
        """Return a value with the environment's variables filled in."""
        if isinstance(value, dict):
            return {name: self.filled(one, (*place, name)) for name, one in value.items()}
        if isinstance(value, list):
            return [self.filled(one, (*place, at)) for at, one in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            self.from_environment.add(place)
            return _VARIABLE.sub(functools.partial(self._value, place), value)
        return value

    def _value(self, place: Place, found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        if found[0] == "$${":
            return "${"
        if name is None:
            problem = (
                "${ starts a variable. Write ${NAME} or ${NAME:-default}; write $${ for the "
                "characters themselves."
            )
        elif name in _SECRETS:
            problem = f"{name} is always read from the environment. Remove it from the file."
        elif default is not None:
            # As in a shell, a variable that is empty counts as not set.
            return self.environment.get(name) or default
        elif name in self.environment:
            return self.environment[name]
        else:
            problem = (
                f"{name} is not set in the environment. Set it, or write ${{{name}:-default}}; "
                "write $${ for the characters themselves."
            )
        found_here = self.problem(place, problem)
        if found_here.key not in {one.key for one in self.problems}:
            self.problems.append(found_here)
        return ""

    def problem(self, place: Place, problem: str) -> JobFileProblem:
        """Return an error of a key."""
        self._lines = self._lines or lines_of(self.text)
        line = line_of(self._lines, tuple(part for part in place if isinstance(part, str)))
        return JobFileProblem(line, self._without_key(_dotted(place)), self._without_key(problem))

    def _without_key(self, text: str) -> str:
        for name in _SECRETS:
            key = self.environment.get(name, "").strip()
            text = text.replace(key, "****") if len(key) >= _SHORTEST_KEY else text
        return text

    def problems_of(self, error: ValidationError) -> list[JobFileProblem]:
        """Return what pydantic found, in this program's words."""
        found: dict[tuple[int, str], JobFileProblem] = {}
        for one in error.errors(include_url=False):
            error_found = one["ctx"].get("error") if one["type"] == "value_error" else None
            if isinstance(error_found, JobKeyError):
                place = _place_of(one["loc"])
                problems = [
                    self.problem((*place, key), problem)
                    for key, problem in error_found.problems.items()
                ]
            else:
                problems = [self._problem_of(one)]
            for problem in problems:
                found.setdefault((problem.line, problem.key), problem)
        return list(found.values())

    def _problem_of(self, one: Mapping[str, Any]) -> JobFileProblem:
        place = _place_of(one["loc"])
        kind = one["type"]
        if kind == "extra_forbidden":
            return self.unknown(place)
        name = str(place[-1]) if place else ""
        if kind == "missing":
            keys = ", ".join(_keys_at(place[:-1]))
            kinds = "table" if _model_at(place) else "key"
            problem = f"this {kinds} is missing. Add it. Allowed are {keys}."
        elif kind == "literal_error":
            expected = one["ctx"]["expected"]
            problem = f"{self._shown(place, one['input'])}not an allowed value. Use {expected}."
        elif kind == "value_error":
            problem = f"{self._shown(place, one['input'])}{one['ctx']['error']}"
        else:
            text = _TEXT_OF_KIND.get(kind, "not allowed here ({kind}). Check the value.")
            text = text.format(name=name, kind=kind, **one.get("ctx", {}))
            problem = f"{self._shown(place, one['input'])}{text}"
        return self.problem(place, problem)

    def _shown(self, place: Place, value: object) -> str:
        """Return a value to show before the problem; empty if it may be a secret."""
        is_secret = place in self.from_environment or place[-1:] in {(one,) for one in _SECRET_KEYS}
        if is_secret or isinstance(value, (dict, list, BaseModel)):
            return ""
        text = self._without_key(repr(value))
        return f"{text[:_LONGEST_SHOWN]}{'…' * (len(text) > _LONGEST_SHOWN)}: "

    def unknown(self, place: Place) -> JobFileProblem:
        """Return the error of an unknown key, with the known ones."""
        name, keys = str(place[-1]), _keys_at(place[:-1])
        if name.casefold().replace("-", "_") in _KEY_NAMES:
            problem = (
                "an app key must not be in a job file, which others can read. Use app_key_file in "
                f"[api], or set {_KEY_VARIABLE}."
            )
        else:
            near = difflib.get_close_matches(name, keys, 1)
            hint = f" Did you mean {near[0]}?" if near else _elsewhere(name)
            problem = f"no such key.{hint} Allowed are {', '.join(keys)}."
        return self.problem(place, problem)


def _place_of(loc: Sequence[str | int]) -> Place:
    """Return the key that pydantic's location names.

    For a key that takes two types, pydantic adds the type to the location.
    """
    place: Place = ()
    for part in loc:
        has_keys = _model_at(place) is not None or place in _FREE_TABLES
        if isinstance(part, str) and not has_keys:
            break
        place = (*place, part)
    return place


def _dotted(place: Place) -> str:
    return ".".join(
        str(part) if not isinstance(part, str) or re.fullmatch(r"[\w-]+", part) else f'"{part}"'
        for part in place
    )


def _model_at(place: Place) -> type[BaseModel] | None:
    """Return the class of the table at a place; None if it is not a table."""
    model: type[BaseModel] | None = Job
    for part in place:
        key = model.model_fields.get(str(part)) if model is not None else None
        kinds = (key.annotation, *typing.get_args(key.annotation)) if key else ()
        tables = [one for one in kinds if isinstance(one, type) and issubclass(one, BaseModel)]
        model = tables[0] if tables else None
    return model


def _keys_at(place: Place) -> list[str]:
    model = _model_at(place)
    return [name for name in model.model_fields if name != "path"] if model is not None else []


def _elsewhere(name: str) -> str:
    """Return a hint for a key that belongs to another table."""
    for table in Job.model_fields:
        if name in _keys_at((table,)):
            return f" It belongs to [{table}]."
    return ""


def _scalar(text: str) -> Any:  # noqa: ANN401  (TOML)
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _get(table: Any, place: Place) -> Any:  # noqa: ANN401  (TOML)
    for part in place:
        table = table[part]
    return table


def _set(table: Any, place: Place, value: Any) -> None:  # noqa: ANN401  (TOML)
    _get(table, place[:-1])[place[-1]] = value
