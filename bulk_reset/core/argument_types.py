"""Checks the types of arguments that programs pass; a type checker finds most of them earlier."""

from __future__ import annotations

import os
from typing import TypeVar

from bulk_reset.core.errors import InputError

T = TypeVar("T")


Kinds = type | tuple[type, ...]


def require(name: str, value: object, kind: Kinds, expected: str, *, but_not: Kinds = ()) -> None:
    """Check the type of an argument.

    Args:
        expected: what it takes, in words: ``a path``.
        but_not: types among those that it does not take.

    Raises:
        InputError: it has another type.
    """
    if isinstance(value, but_not) or not isinstance(value, kind):
        raise InputError(f"{name}: expected {expected}, found {described(value)}.")


def require_path(name: str, value: object) -> None:
    """Check that an argument is a path; raises as ``require``."""
    require(name, value, (str, os.PathLike), "a path (str or Path)")


def or_default(name: str, value: T | None, kind: type[T]) -> T:
    """Return an argument, or a new value of its type for None; raises as ``require``."""
    if value is None:
        return kind()
    require(name, value, kind, f"{kind.__name__} or None")
    return value


def described(value: object) -> str:
    """Return the type of a value, for a message: ``a list``, ``None``."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
