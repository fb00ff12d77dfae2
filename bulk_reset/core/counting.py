"""Numbers with their nouns."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 request``, ``1,000 requests``.

    Args:
        plural: the noun's plural, if it is not formed by ``s``.
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
