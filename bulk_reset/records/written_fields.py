"""Which fields of a row were not written, from its line in the report.

A row is sent in requests: its standard fields together, then each custom field, then the comment.
The first that fails is the last one sent, and the line's message begins with its fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from bulk_reset.core.fields import SETTABLE_FIELDS
from bulk_reset.core.outcome import Outcome, Status

NOT_APPLIED: Final = "not_applied"
"""The error code of a row that the API confirmed and that has other values when it is read back."""
_NOT_APPLIED: Final = "read back: not applied ("
_NAMED: Final = re.compile(rf"{re.escape(_NOT_APPLIED)}([^()]*)\)")


def read_back_text(not_applied: Sequence[str]) -> str:
    """Return the end of the message of a row that was read back."""
    if not not_applied:
        return "read back: applied"
    return f"{_NOT_APPLIED}{', '.join(not_applied)})"


def not_applied_fields(outcome: Outcome) -> frozenset[str]:
    """Return the fields of a failed row that did not have its values when it was read back.

    The request may have been applied later.
    """
    found = _NAMED.findall(outcome.error_message) if outcome.status is Status.FAILED else []
    names = frozenset(found[-1].split(", ")) if found else frozenset[str]()
    return names.intersection(outcome.fields)


def unwritten_fields(outcome: Outcome) -> frozenset[str]:
    """Return the fields of a row that its last request certainly did not write."""
    if outcome.status in (Status.UPDATED, Status.UNKNOWN):
        return frozenset()
    if outcome.status is not Status.FAILED:
        return frozenset(outcome.fields)
    is_read_back = bool(not_applied_fields(outcome))
    requests = list(_requests(outcome.fields))
    if len(requests) == 1 and requests[0][0] in SETTABLE_FIELDS:
        return frozenset() if is_read_back else frozenset(outcome.fields)
    for place, fields in enumerate(requests):
        if outcome.error_message.startswith(f"{', '.join(fields)}: "):
            return frozenset(name for later in requests[place + is_read_back :] for name in later)
    return frozenset() if outcome.attempts else frozenset(outcome.fields)


def _requests(fields: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the fields of each request of a row, in their order."""
    plain = tuple(name for name in fields if name in SETTABLE_FIELDS)
    if plain:
        yield plain
    yield from ((name,) for name in fields if name not in SETTABLE_FIELDS)
