"""How a message names an option: as the command line, a job file or a Python program has it.

An error is raised far below the place where the option was given, so it asks here. Python names
are the default; the command line and job runs choose theirs with ``name_options_as``.

State: the style, a context variable, so a run in another thread or task does not change it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import Final


class OptionStyle(StrEnum):
    """Where the options of a run were given."""

    PYTHON = "python"
    COMMAND_LINE = "command line"
    JOB_FILE = "job file"


_style: ContextVar[OptionStyle] = ContextVar("option_style", default=OptionStyle.PYTHON)
_FLAG_OF: Final = {
    "mapping": "--map",
    "sheet_name": "--sheet",
    "timeout_s": "--timeout",
    "patience_s": "--patience",
    "before": "--no-before",
    "waits": "--no-wait",
}
"""Parameters of ``Options`` whose option has another name; all others only differ in dashes."""
_KEY_OF: Final = {
    "mapping": "columns",
    "sheet_name": "source.worksheet",
    "delimiter": "source.delimiter",
    "encoding": "source.encoding",
    "header_row": "source.header_row",
    "max_rows": "limits.max_rows",
    "max_failures": "limits.max_failures",
    "timeout_s": "api.timeout",
    "patience_s": "api.patience",
    "app_key_file": "api.app_key_file",
    "base_url": "api.base_url",
    "account": "api.account",
    "share": "api.share",
    "per_second": "api.per_second",
    "per_minute": "api.per_minute",
    "attempts": "api.attempts",
    "sandbox": "api.sandbox",
    "sandbox_state": "api.sandbox_state",
}
"""Keys of a job file outside its table ``run``."""
_RUN_KEYS: Final = frozenset(
    {"on_conflict", "skip_invalid", "overwrite", "before", "canary", "verify"}
)
"""Keys of a job file in its table ``run``. All other options are only on the command line."""
_JOB_FLAG_OF: Final = {"report": "--state-dir"}
"""Options that decide for a job what another option decides for ``run``: where files go."""


@contextmanager
def name_options_as(style: OptionStyle) -> Iterator[None]:
    """Name options in this style until the block ends."""
    token = _style.set(style)
    try:
        yield
    finally:
        _style.reset(token)


def option_name(name: str) -> str:
    """Return how an option is called where it was given: ``skip_invalid``, ``--skip-invalid``."""
    match _style.get():
        case OptionStyle.COMMAND_LINE:
            return _flag(name)
        case OptionStyle.JOB_FILE if name in _RUN_KEYS:
            return f"run.{name}"
        case OptionStyle.JOB_FILE:
            return _KEY_OF.get(name) or _JOB_FLAG_OF.get(name) or _flag(name)
        case OptionStyle.PYTHON:
            return name


def option(name: str, value: object = True) -> str:
    """Return an option with its value, as it is to be typed.

    Args:
        name: the parameter of ``Options``.
        value: True or False for a flag.
    """
    called = option_name(name)
    if called.startswith("--"):
        return called if isinstance(value, bool) else f"{called} {shlex.quote(str(value))}"
    match _style.get():
        case OptionStyle.JOB_FILE:
            shown = str(value).lower() if isinstance(value, bool) else _as_toml(value)
            return f"{called} = {shown}"
        case _:
            return f"{called}={value!r}"


def _flag(name: str) -> str:
    return _FLAG_OF.get(name, f"--{name.replace('_', '-')}")


def _as_toml(value: object) -> str:
    return f"{value}" if isinstance(value, int | float) else f'"{value}"'
