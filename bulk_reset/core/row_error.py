"""An invalid cell or row of a sheet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RowError:
    """One invalid cell or row, and how to fix it."""

    row_number: int
    column: str
    """The column's name in the sheet's header."""
    kind: str
    """A stable code for scripts: ``id_invalid``, ``too_long``, ``severity`` …"""
    value: str
    """The cell's text, cut to 60 characters."""
    problem: str
    fix: str


def kinds_of(row_errors: Iterable[RowError]) -> dict[str, list[RowError]]:
    """Return kind -> its errors, the most frequent kind first."""
    found: dict[str, list[RowError]] = {}
    for one in row_errors:
        found.setdefault(one.kind, []).append(one)
    return dict(sorted(found.items(), key=lambda pair: -len(pair[1])))
