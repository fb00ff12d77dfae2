"""An invalid cell or row of a sheet."""

from __future__ import annotations

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
