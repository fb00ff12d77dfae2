"""What earlier runs made of rows, from a report's lines in their order.

A row is known by its digest. That alone is not enough to say that it is done: a title that was
set to A, then to B, has to be set again if the sheet says A once more. So it is also
known who wrote each field of an incident last.

State: grows by ``add`` while a report is read, two numbers a row; read only afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bulk_reset.model import Outcome, Status

_WRITES: Final = frozenset({Status.UPDATED, Status.UNKNOWN})
_ANY_OTHER: Final = ""


class History:
    """The last word on every row of a report, and the last writer of every field."""

    def __init__(self, outcomes: Iterable[Outcome] = ()) -> None:
        self._status: dict[int, Status] = {}
        self._only_writer: dict[int, int] = {}
        self._last_writers: dict[int, dict[str, int]] = {}
        for outcome in outcomes:
            self.add(outcome)

    def __len__(self) -> int:
        return len(self._status)

    def add(self, outcome: Outcome) -> None:
        """Take in the next line."""
        digest = int(outcome.digest, 16)
        self._status[digest] = outcome.status
        if outcome.status not in _WRITES:
            return
        incident = int(outcome.incident_id, 16)
        first = self._only_writer.setdefault(incident, digest)
        writers = self._last_writers.get(incident)
        if writers is None and first != digest:
            # Its fields need no list: whatever another row did not write is still its own.
            writers = self._last_writers[incident] = {_ANY_OTHER: first}
        if writers is not None:
            writers.update(dict.fromkeys(outcome.fields, digest))

    def status(self, digest: str) -> Status | None:
        """Return what became of a row, None where it has no line."""
        return self._status.get(int(digest, 16)) if self._status else None

    def stands(self, incident_id: str, digest: str, fields: Iterable[str]) -> bool:
        """Tell whether no later line wrote these fields of the incident otherwise."""
        writers = self._last_writers.get(int(incident_id, 16))
        if writers is None:
            return True
        wanted = int(digest, 16)
        return all(writers.get(name, writers[_ANY_OTHER]) == wanted for name in fields)
