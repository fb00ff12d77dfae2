"""Which fields of a row were not written, from its line in the report.

A row is sent in requests: its standard fields together, then each custom field, then the comment.
The first that fails is the last one sent, and the line's message begins with its fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bulk_reset.core.fields import SETTABLE_FIELDS
from bulk_reset.core.outcome import Outcome, Status

NOT_APPLIED: Final = "not_applied"
"""The error code of a row that the API confirmed and that has other values when it is read back."""
_NAMED: Final = "not applied ("


def not_applied_text(fields: list[str]) -> str:
    """Return the message of a row of which some fields were not applied."""
    return f"read back: {_NAMED}{', '.join(fields)})"


def unwritten_fields(outcome: Outcome) -> frozenset[str]:
    """Return the fields of a row that its last request did not write."""
    if outcome.status in (Status.UPDATED, Status.UNKNOWN):
        return frozenset()
    if outcome.status is not Status.FAILED:
        return frozenset(outcome.fields)
    if outcome.error_code == NOT_APPLIED:
        named = outcome.error_message.rpartition(_NAMED)[2].removesuffix(")").split(", ")
        return frozenset(named).intersection(outcome.fields)
    requests = list(_requests(outcome.fields))
    if len(requests) == 1 and requests[0][0] in SETTABLE_FIELDS:
        return frozenset(outcome.fields)
    for place, fields in enumerate(requests):
        if outcome.error_message.startswith(f"{', '.join(fields)}: "):
            return frozenset(name for later in requests[place:] for name in later)
    return frozenset() if outcome.attempts else frozenset(outcome.fields)


def _requests(fields: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the fields of each request of a row, in their order."""
    plain = tuple(name for name in fields if name in SETTABLE_FIELDS)
    if plain:
        yield plain
    yield from ((name,) for name in fields if name not in SETTABLE_FIELDS)
