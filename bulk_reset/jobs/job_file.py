"""Reading a job file: TOML with ``${NAME}`` from the environment, every mistake by its line.

What a mistake is about is shown, but for what may be a secret: a value of the environment, an
address, and the key itself wherever it was written by mistake.
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
from bulk_reset.jobs.job import Job, JobKeyError
from bulk_reset.jobs.toml_lines import Keys, line_of, lines_of

Place = tuple[str | int, ...]
"""Where a key stands: the tables, then the key."""

_VARIABLE: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_]\w*)(?::-([^{}]*))?\}|\$\{", re.ASCII)
_AT_LINE: Final = re.compile(r"\(at (?:line (\d+), column \d+|end of document)\)")
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_KEY_VARIABLE: Final = "FLASHDUTY_APP_KEY"
_KEY_NAMES: Final = frozenset(
    {"app_key", "key", "apikey", "api_key", "token", "secret", "password"}
)
_SHORTEST_KEY: Final = 6
_LARGEST_BYTES: Final = 1 << 20
_LONGEST_SHOWN: Final = 60
_UNSHOWN: Final = frozenset({"base_url", "webhook"})
"""Keys whose values may be secrets in themselves."""
_OF_ANY_KEYS: Final = frozenset({("columns",), ("set",)})
_NO_NUMBER: Final = frozenset({"int_type", "float_type", "bool_type"})
_NOT: Final = {
    "int_type": "not a whole number. Write it without quotes: {name} = 5.",
    "float_type": "not a number. Write it without quotes: {name} = 0.5.",
    "bool_type": "neither true nor false. Write one of them, without quotes.",
    "string_type": 'not a text. Write it in quotes: {name} = "…".',
    "list_type": 'not a list. Write it in brackets: {name} = ["…"].',
    "dict_type": "not a table. Write [{name}] above its keys.",
    "model_type": "not a table. Write [{name}] above its keys.",
    "string_too_short": "empty. Write something, or leave the key out.",
    "too_short": "empty. Write something, or leave the key out.",
    "greater_than": "too small. It has to be more than {gt}.",
    "greater_than_equal": "too small. It has to be {ge} or more.",
    "less_than_equal": "too large. It has to be {le} or less.",
    "finite_number": "not a number that can be meant.",
}


@dataclass(frozen=True, slots=True)
class JobFileProblem:
    """One mistake of a job file.

    Attributes:
        line: 1-based; where a key is missing, that of its table.
        key: ``schedule.cron``; empty for the file as a whole.
        problem: what is wrong, and what to write.
    """

    line: int
    key: str
    problem: str


class JobFileError(InputError):
    """A job file that cannot be meant; nothing was run.

    Attributes:
        mistakes: all of them, in the file's order.
    """

    def __init__(self, path: str, mistakes: Sequence[JobFileProblem]) -> None:
        self.path, self.mistakes = path, tuple(sorted(mistakes, key=lambda one: one.line))
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """Return each mistake as a line: where, what, and what to do."""
        return [
            f"{self.path}:{one.line}: {one.key + ': ' if one.key else ''}{one.problem}"
            for one in self.mistakes
        ]


def read_job(path: Path, environment: Mapping[str, str] | None = None) -> Job:
    """Read and check a job file.

    Args:
        environment: what ``${NAME}`` is taken from; the process's own when None.

    Raises:
        JobError: it cannot be meant: every mistake, each with its line.
        InputError: it cannot be read.
    """
    if not _NAME.fullmatch(path.stem):
        raise JobFileError(
            str(path),
            [
                JobFileProblem(
                    1, "", "its name is the job's. Use letters, digits, '-', '_' and '.'."
                )
            ],
        )
    text = _text_of(path)
    try:
        told = tomllib.loads(text)
    except (ValueError, RecursionError) as exc:
        raise JobFileError(str(path), [_no_toml(exc, text)]) from exc
    reading = _Reading(text, os.environ if environment is None else environment)
    filled = reading.filled(told)
    if reading.mistakes:
        raise JobFileError(str(path), reading.mistakes)
    if "path" in filled:
        raise JobFileError(str(path), [reading.unknown(("path",))])
    try:
        return _checked(path, filled, reading)
    except ValidationError as exc:
        raise JobFileError(str(path), reading.mistakes_of(exc)) from None


def _checked(path: Path, filled: dict[str, Any], reading: _Reading) -> Job:
    whole = {**filled, "path": Path(os.path.abspath(path))}  # noqa: PTH100  (without .. in it)
    try:
        return Job.model_validate(whole)
    except ValidationError as exc:
        # A variable is a text; where a number is meant, it is read as the file would.
        places = [tuple(one["loc"]) for one in exc.errors() if one["type"] in _NO_NUMBER]
        places = [place for place in places if place in reading.from_environment]
        if not places:
            raise
        for place in places:
            _set(whole, place, _scalar(_get(whole, place)))
        return Job.model_validate(whole)


def _text_of(path: Path) -> str:
    try:
        told = path.stat()
        if not stat.S_ISREG(told.st_mode):
            raise InputError(f"{path}: not a file. Say a job file (.toml).")
        if told.st_size > _LARGEST_BYTES:
            raise InputError(f"{path}: too large for a job file. Is it the sheet?")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}). Say a job file.") from exc
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        problem = "not UTF-8. Save the job file as UTF-8; if it is the sheet, name it in [source]."
        raise JobFileError(str(path), [JobFileProblem(line, "", problem)]) from exc


def _no_toml(error: ValueError | RecursionError, text: str) -> JobFileProblem:
    found = _AT_LINE.search(str(error))
    line = int(found[1]) if found and found[1] else text.rstrip().count("\n") + 1
    what = _AT_LINE.sub("", str(error)).strip()
    if not isinstance(error, tomllib.TOMLDecodeError):
        # Of what it cannot hold it does not say where it stands.
        line, what = 1, "a number too long, or brackets too deep, for anything that can be meant"
    return JobFileProblem(
        max(1, line), "", f'not TOML: {what}. A key is written like name = "text" or name = 5.'
    )


@dataclass(slots=True)
class _Reading:
    """A job file being read: its text, and what was found wrong."""

    text: str
    environment: Mapping[str, str]
    mistakes: list[JobFileProblem] = field(default_factory=list)
    from_environment: set[Place] = field(default_factory=set)
    _lines: dict[Keys, int] = field(default_factory=dict)

    def filled(self, told: Any, place: Place = ()) -> Any:  # noqa: ANN401  (TOML)
        """Return what the file says with the environment's values in it."""
        if isinstance(told, dict):
            return {name: self.filled(one, (*place, name)) for name, one in told.items()}
        if isinstance(told, list):
            return [self.filled(one, (*place, at)) for at, one in enumerate(told)]
        if isinstance(told, str) and "${" in told:
            self.from_environment.add(place)
            return _VARIABLE.sub(functools.partial(self._value, place), told)
        return told

    def _value(self, place: Place, found: re.Match[str]) -> str:
        name, spare = found[1], found[2]
        if found[0] == "$${":
            return "${"
        if name is None:
            problem = (
                "${ begins a value of the environment. Write ${NAME} or ${NAME:-what else}; for "
                "the characters themselves write $${."
            )
        elif name == _KEY_VARIABLE:
            problem = f"the key is read from {name} by itself. Leave it out of the file."
        elif spare is not None:
            # As in a shell, what is set to nothing is not set.
            return self.environment.get(name) or spare
        elif name in self.environment:
            return self.environment[name]
        else:
            problem = (
                f"the environment has no {name}. Set it, or write ${{{name}:-what else}}; "
                "for the characters themselves write $${."
            )
        mistake = self.mistake(place, problem)
        if mistake.key not in {one.key for one in self.mistakes}:
            self.mistakes.append(mistake)
        return ""

    def mistake(self, place: Place, problem: str) -> JobFileProblem:
        """Return a mistake of a key."""
        self._lines = self._lines or lines_of(self.text)
        line = line_of(self._lines, tuple(part for part in place if isinstance(part, str)))
        return JobFileProblem(line, self._without_key(_spelled(place)), self._without_key(problem))

    def _without_key(self, text: str) -> str:
        key = self.environment.get(_KEY_VARIABLE, "").strip()
        return text.replace(key, "****") if len(key) >= _SHORTEST_KEY else text

    def mistakes_of(self, error: ValidationError) -> list[JobFileProblem]:
        """Return what pydantic found, in this program's words."""
        found: dict[tuple[int, str], JobFileProblem] = {}
        for one in error.errors(include_url=False):
            mistake = self._mistake_of(one)
            found.setdefault((mistake.line, mistake.key), mistake)
        return list(found.values())

    def _mistake_of(self, one: Mapping[str, Any]) -> JobFileProblem:
        place = _place_of(one["loc"])
        kind = one["type"]
        if kind == "extra_forbidden":
            return self.unknown(place)
        name = str(place[-1]) if place else ""
        if kind == "missing":
            keys = ", ".join(_keys_at(place[:-1]))
            kinds = "table" if _model_at(place) else "key"
            problem = f"this {kinds} is missing. Write it; there may be {keys}."
        elif kind == "literal_error":
            expected = one["ctx"]["expected"]
            problem = f"{self._shown(place, one['input'])}none of these. Write one of {expected}."
        elif kind == "value_error":
            error = one["ctx"]["error"]
            problem = str(error)
            place = (*place, error.key) if isinstance(error, JobKeyError) else place
            problem = f"{self._shown(place, one['input'])}{problem}"
        else:
            text = _NOT.get(kind, "not what can stand here ({kind}).")
            text = text.format(name=name, kind=kind, **one.get("ctx", {}))
            problem = f"{self._shown(place, one['input'])}{text}"
        return self.mistake(place, problem)

    def _shown(self, place: Place, value: object) -> str:
        """Return a value as it may be shown before what is wrong with it; empty where not."""
        is_secret = place in self.from_environment or place[-1:] in {(one,) for one in _UNSHOWN}
        if is_secret or isinstance(value, (dict, list, BaseModel)):
            return ""
        text = self._without_key(repr(value))
        return f"{text[:_LONGEST_SHOWN]}{'…' * (len(text) > _LONGEST_SHOWN)}: "

    def unknown(self, place: Place) -> JobFileProblem:
        """Return the mistake of a key that is not known, with those that are."""
        name, keys = str(place[-1]), _keys_at(place[:-1])
        if name.casefold().replace("-", "_") in _KEY_NAMES:
            problem = (
                "a key has no place in a job file, which others read. Write app_key_file in [api], "
                f"or set {_KEY_VARIABLE}."
            )
        else:
            near = difflib.get_close_matches(name, keys, 1)
            hint = f" Did you mean {near[0]}?" if near else _elsewhere(name)
            problem = f"no such key.{hint} There may be {', '.join(keys)}."
        return self.mistake(place, problem)


def _place_of(loc: Sequence[str | int]) -> Place:
    """Return where a mistake stands.

    A key that may be of two types is told of once a type, and the type stands behind it.
    """
    place: Place = ()
    for part in loc:
        has_keys = _model_at(place) is not None or place in _OF_ANY_KEYS
        if isinstance(part, str) and not has_keys:
            break
        place = (*place, part)
    return place


def _spelled(place: Place) -> str:
    return ".".join(
        str(part) if not isinstance(part, str) or re.fullmatch(r"[\w-]+", part) else f'"{part}"'
        for part in place
    )


def _model_at(place: Place) -> type[BaseModel] | None:
    """Return the class of the table at a place, None where there is none."""
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
    """Return where a key stands that was written into another table."""
    for table in Job.model_fields:
        if name in _keys_at((table,)):
            return f" It belongs into [{table}]."
    return ""


def _scalar(text: str) -> Any:  # noqa: ANN401  (TOML)
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _get(told: Any, place: Place) -> Any:  # noqa: ANN401  (TOML)
    for part in place:
        told = told[part]
    return told


def _set(told: Any, place: Place, value: Any) -> None:  # noqa: ANN401  (TOML)
    _get(told, place[:-1])[place[-1]] = value
