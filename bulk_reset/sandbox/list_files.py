"""Reads the files that a user writes for the sandbox: JSON lists of objects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bulk_reset.sandbox.rules import kind_of

if TYPE_CHECKING:
    from pathlib import Path


def read_list(path: Path, what: str) -> list[Any]:
    """Return the list in a file.

    Args:
        what: the list is of, in the plural.

    Raises:
        ValueError: it cannot be read, or is no list; the message has the fix.
    """
    if path.exists() and not path.is_file():  # reading a pipe waits for another program
        raise ValueError(f"{path}: not a regular file. Give a file of {what}.")
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as exc:
        raise ValueError(f"{path}: cannot be read ({exc.strerror}).") from exc
    except json.JSONDecodeError as exc:
        raise ValueError(f"{path}: line {exc.lineno}: not JSON ({exc.msg}).") from exc
    except UnicodeDecodeError as exc:
        raise ValueError(f"{path}: not UTF-8. Save it as UTF-8.") from exc
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"{path}: a number is too long, or it is nested too deep.") from exc
    if not isinstance(found, list):
        raise ValueError(f"{path}: found {kind_of(found)}. Give a list of {what}: [{{...}}, ...].")  # noqa: TRY004 - a file's content, not a caller's type
    return found
