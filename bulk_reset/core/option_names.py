"""How a message names an option: as on the command line, in a job file or in Python.

An error is raised far below the place where the option was set, so it asks this module. Python
names are the default; the command line and job runs select theirs with ``name_options_as``.

State: the style, a context variable, so a run in another thread or task does not change it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum, StrEnum
from typing import Final


class OptionStyle(StrEnum):
    """Where the options of a run were set."""

    PYTHON = "python"
    COMMAND_LINE = "command line"
    JOB_FILE = "job file"


_style: ContextVar[OptionStyle] = ContextVar("option_style", default=OptionStyle.PYTHON)
_FLAG_OF: Final = {
    "mapping": "--map",
    "sheet_name": "--sheet",
    "only_fields": "--only-field",
    "timeout_s": "--timeout",
    "patience_s": "--patience",
    "before": "--no-before",
    "waits": "--no-wait",
}
"""Options of the command line whose name differs in more than dashes."""
_PARAMETER_OF: Final = {"force": "overwrite", "of": "sheet"}
"""Options whose Python parameter has another name: ``overwrite`` of ``pull`` is ``--force``."""
_KEY_OF: Final = {
    "mapping": "columns",
    "sheet_name": "source.worksheet",
    "delimiter": "source.delimiter",
    "encoding": "source.encoding",
    "header_row": "source.header_row",
    "profile": "source.profile",
    "rules": "source.rules",
    "max_rows": "limits.max_rows",
    "max_failures": "limits.max_failures",
    "max_change": "limits.max_change",
    "max_critical": "limits.max_critical",
    "timeout_s": "api.timeout",
    "patience_s": "api.patience",
    "app_key_file": "api.app_key_file",
    "base_url": "api.base_url",
    "account": "api.account",
    "share": "api.share",
    "priority": "api.priority",
    "quota_store": "api.quota_store",
    "per_second": "api.per_second",
    "per_minute": "api.per_minute",
    "attempts": "api.attempts",
    "sandbox": "api.sandbox",
    "sandbox_state": "api.sandbox_state",
    "metrics_file": "report.metrics_file",
}
"""Keys of a job file outside its table ``run``."""
_RUN_KEYS: Final = frozenset(
    {
        *("on_conflict", "skip_invalid", "overwrite", "before", "canary", "verify"),
        *(
            "mute_reply",
            "note",
            "approved_by",
            "allowed_signers",
            "hmac_key_file",
            "allow_own_approval",
        ),
    }
)
"""Keys of a job file in its table ``run``. All other options are only on the command line."""
_JOB_FLAG_OF: Final = {"report": "--state-dir"}
"""Options that decide for a job what another option decides for ``run``: where files go."""
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


@contextmanager
def name_options_as(style: OptionStyle) -> Iterator[None]:
    """Name options in this style until the block ends."""
    token = _style.set(style)
    try:
        yield
    finally:
        _style.reset(token)


def option_name(name: str) -> str:
    """Return the name of an option in the style in use: ``skip_invalid``, ``--skip-invalid``."""
    match _style.get():
        case OptionStyle.COMMAND_LINE:
            return _flag(name)
        case OptionStyle.JOB_FILE if name in _RUN_KEYS:
            return f"run.{name}"
        case OptionStyle.JOB_FILE:
            return _KEY_OF.get(name) or _JOB_FLAG_OF.get(name) or _flag(name)
        case OptionStyle.PYTHON:
            return _PARAMETER_OF.get(name, name)


def option(name: str, value: object = True) -> str:
    """Return an option with its value, ready to copy.

    Args:
        name: the parameter of ``Options``, or ``force``.
        value: True or False for a flag; field -> column name for ``mapping``.
    """
    called = option_name(name)
    if isinstance(value, Mapping):
        return _mapping(called, value)
    if called.startswith("--"):
        return called if isinstance(value, bool) else f"{called} {shlex.quote(str(value))}"
    match _style.get():
        case OptionStyle.JOB_FILE:
            return f"{called} = {_as_toml(value)}"
        case _:
            return f"{called}={_as_python(value)}"


def command(name: str, arguments: Iterable[str], options: Mapping[str, str]) -> str:
    """Return how to call a function of the package, or the command of the same name.

    ``undo('x.report.csv')`` in Python, ``bulk-reset undo x.report.csv`` elsewhere.

    Args:
        options: key of the command line -> value: ``{"sandbox-state": "x.json"}``.
    """
    if _style.get() is OptionStyle.PYTHON:
        values = ", ".join(f"{key.replace('-', '_')}={one!r}" for key, one in options.items())
        called = [*map(repr, arguments), *([f"Options({values})"] if values else [])]
        return f"{name}({', '.join(called)})"
    words = [word for key, one in options.items() for word in (f"--{key}", one)]
    return shlex.join(["bulk-reset", *name.split(), *arguments, *words])


def _mapping(called: str, mapping: Mapping[str, str]) -> str:
    match _style.get():
        case OptionStyle.COMMAND_LINE:
            pairs = (f"{shlex.quote(key)}={shlex.quote(name)}" for key, name in mapping.items())
            return " ".join(f"{called} {pair}" for pair in pairs)
        case OptionStyle.JOB_FILE:
            return ", ".join(
                f"{called}.{key if _BARE_KEY.fullmatch(key) else _as_toml(key)} = {_as_toml(name)}"
                for key, name in mapping.items()
            )
        case OptionStyle.PYTHON:
            return f"{called}={dict(mapping)!r}"


def _as_python(value: object) -> str:
    # The repr of an Enum's member is not valid Python.
    return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)


def _flag(name: str) -> str:
    return _FLAG_OF.get(name, f"--{name.replace('_', '-')}")


def _as_toml(value: object) -> str:
    # Booleans, numbers and strings are written as in JSON.
    return json.dumps(value if isinstance(value, int | float) else str(value), ensure_ascii=False)
