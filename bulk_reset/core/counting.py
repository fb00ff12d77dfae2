"""Numbers with their nouns, and durations."""

from __future__ import annotations

from typing import Final

_EXACT_BELOW_S: Final = 9.95
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 request``, ``1,000 requests``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return seconds for people: ``6.2 s``, ``42 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if seconds < _EXACT_BELOW_S:
        return f"{seconds:.1f} s"
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02} s"
    return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02} min"
