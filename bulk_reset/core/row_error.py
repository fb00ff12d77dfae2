"""An invalid cell or row of a sheet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RowError:
    """One cell (or row) that breaks a rule, and how to mend it."""

    row_number: int
    column: str
    """The column as the sheet's header names it."""
    kind: str
    """A stable word for scripts: ``id_invalid``, ``too_long``, ``severity`` …"""
    value: str
    """The cell's text, cut to 60 characters."""
    problem: str
    fix: str
