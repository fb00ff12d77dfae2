"""What groups of options have in common: they check their values, and keep paths as ``Path``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import overload

from bulk_reset.core.argument_types import require_path
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option_name

PathLike = str | os.PathLike[str]
"""What public functions and options take as a path."""


class PathOption:
    """A field of an option group: given as ``str`` or ``Path``, kept as ``Path``."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, group: None, owner: type) -> None: ...
    @overload
    def __get__(self, group: object, owner: type) -> Path | None: ...
    def __get__(self, group: object | None, owner: type) -> Path | None:
        """Return the path; of the class the default, which dataclasses ask for."""
        return None if group is None else group.__dict__[self._name]

    def __set__(self, group: object, value: PathLike | None) -> None:
        """Keep a path; frozen dataclasses come here once, when they are made."""
        if value is not None:
            require_path(self._name, value)
            if not str(value).strip():
                raise empty_option(self._name)
        group.__dict__[self._name] = None if value is None else Path(value)


class OptionGroup:
    """Checks the values of every group that a class consists of."""

    def __post_init__(self) -> None:
        """Check all groups; raises InputError, which names the option and what it takes."""
        for group in type(self).__mro__:
            check = vars(group).get("_check")
            if check is not None:
                check(self)


def empty_option(name: str) -> InputError:
    """Return the error about an option whose value is empty."""
    return InputError(f"{option_name(name)}: is empty. Set a value, or leave it out.")
