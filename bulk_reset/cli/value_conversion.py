"""Values that typer's conversion returns as they are skip it.

typer converts every value with pydantic, the defaults too; its import takes a third of the time of
``check`` of a small sheet.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from typer.core import TyperArgument, TyperOption

if TYPE_CHECKING:
    from typer._click.core import Context, Parameter

_CONVERT: Final = object()
_WHOLE_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,14}")


def skip_needless_conversion(param: Parameter) -> None:
    """Let an option or an argument convert only values that differ afterwards, or are invalid."""
    if not isinstance(param, TyperOption | TyperArgument) or "process_value" in vars(param):
        return
    convert = param.process_value

    def process_value(context: Context, value: Any) -> Any:  # noqa: ANN401  (any option's)
        found = _without_conversion(param, value)
        if found is _CONVERT:
            return convert(context, value)
        return param.callback(context, param, found) if param.callback else found

    param.process_value = process_value  # type: ignore[method-assign,assignment]


def _without_conversion(param: TyperOption | TyperArgument, value: Any) -> Any:  # noqa: ANN401
    """Return what typer's conversion will return, or ``_CONVERT`` where that is not known."""
    annotation = param.type_descriptor.annotation
    if value is None and not param.required:
        return () if param.multiple or param.nargs == -1 else None
    if value is param.default and type(value) in (annotation, list):
        return value
    if annotation == list[str] and isinstance(value, list | tuple) and value:
        return list(value) if {type(one) for one in value} == {str} else _CONVERT
    return _of_text(param, annotation, value) if type(value) is str else _CONVERT


def _of_text(param: TyperOption | TyperArgument, annotation: object, value: str) -> object:
    """Return the value of a text; see ``_without_conversion``."""
    if annotation is str:
        return value
    if annotation is Path:
        return Path(value) if _is_any_path(param, value) else _CONVERT
    rules = param.type_descriptor.parameter_info
    is_plain = rules.min is None and rules.max is None and _WHOLE_NUMBER.fullmatch(value)
    if is_plain and annotation in {int, float}:
        return int(value) if annotation is int else float(value)
    return _CONVERT


def _is_any_path(param: TyperOption | TyperArgument, value: str) -> bool:
    """Return whether the only rule of a path is that its file can be read if it exists."""
    rules = param.type_descriptor.parameter_info
    if rules.exists or rules.writable or rules.resolve_path or rules.path_type is not None:
        return False
    if not (rules.file_okay and rules.dir_okay and rules.readable) or "\0" in value:
        return False
    return os.access(value, os.R_OK) or not os.path.exists(value)  # noqa: PTH110  (also "")
