"""What is wrong with the value of an option, in the words of this program instead of pydantic's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typer.core import TyperArgument, TyperOption

    Param = TyperOption | TyperArgument

_EXAMPLE = 10
_BOUNDS = {
    "greater_than_equal": ("ge", "must be {} or more."),
    "less_than_equal": ("le", "must be {} or less."),
}


def invalid_value(param: Param, error: Exception) -> tuple[str, str] | None:
    """Return a value that cannot be used, and what is wrong with it and how to fix it.

    Args:
        error: the one of the conversion.

    Returns: None where the error is not one of a conversion by pydantic.
    """
    from pydantic import ValidationError  # noqa: PLC0415  (imported already if it is one)

    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return None
    found: Mapping[str, Any] = cause.errors()[0]
    return str(found["input"]), _problem(param, found)


def _problem(param: Param, found: Mapping[str, Any]) -> str:
    kind, choices = found["type"], param.type_descriptor.choices
    if choices is not None:
        *most, last = (str(getattr(one, "value", one)) for one in choices)
        return f"not one of its values. Use {', '.join(most)} or {last}."
    if kind in _BOUNDS:
        name, text = _BOUNDS[kind]
        return text.format(_plain(found["ctx"][name]))
    example = _plain(param.default if isinstance(param.default, int | float) else _EXAMPLE)
    if kind.startswith("int_"):
        return f"not a whole number. Use for example {example}."
    if kind.startswith("float_"):
        return f"not a number. Use for example {example}."
    if kind.startswith("bool_"):
        return "neither true nor false. Use true or false."
    return str(found["msg"]).removeprefix("Value error, ")


def _plain(number: float) -> str:
    """Return a number as it may be typed: ``1000000``, not ``1e+06``."""
    return str(int(number) if number == int(number) else number)
