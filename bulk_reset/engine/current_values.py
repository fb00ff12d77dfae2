"""The look at incidents right before their rows are sent: what is left to do, and the way back.

A hundred rows cost one request more. What stands there is on the disk before any of them is
sent. Between the look and the sending lie a few seconds (a minute, where the minute window is
used up): the API has no compare-and-set, so a change that somebody makes in between is lost.

State: what this run has set of incidents that stand on several rows, whose later rows would
be judged by what is about to be changed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bulk_reset.core.change import Change
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.engine.comparison import Comparison, Verdict, compare, outcome_unless_sent
from bulk_reset.engine.readback import Incident
from bulk_reset.records.previous_values import LastWritten, PreviousValues, PreviousValuesFile

Read = Callable[[Sequence[str]], Awaitable[Mapping[str, Incident]]]
"""Gives id -> incident for at most 100 ids, those that exist."""


@dataclass(slots=True)
class CurrentValues:
    """Looks at incidents and keeps what stands there.

    Attributes:
        before: where that is kept; None to keep nothing.
        overwrites: whether what somebody has changed since the sheet was made is written over.
        repeated_ids: the incidents that stand on several rows.
        sent_before: digests of rows that an earlier run has sent, or was about to.
        written: what earlier runs wrote last.
    """

    before: PreviousValuesFile | None
    overwrites: bool = False
    repeated_ids: Collection[str] = frozenset()
    sent_before: Container[str] = frozenset()
    written: LastWritten = field(default_factory=LastWritten)
    _own: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def at(self, changes: Sequence[Change], read: Read) -> tuple[list[Change], list[Outcome]]:
        """Look at the incidents of at most 100 rows.

        Returns: what is left to send, and the outcomes of the rows that need no sending.

        Raises:
            RequestError: they could not be read.
            RunError: what stands there could not be kept; nothing of it may be sent.
        """
        comparisons = await self.compared(changes, read)
        to_send = [one for one in comparisons if one.verdict is Verdict.UPDATE]
        if self.before is not None and to_send:
            await asyncio.to_thread(self.before.append, [_image(one) for one in to_send])
        now = time.time()
        outcomes = []
        for change, one in zip(changes, comparisons, strict=True):
            outcome = outcome_unless_sent(one, now)
            if outcome is not None:
                outcomes.append(self._as_sent_before(change, outcome))
        return [one.change for one in to_send], outcomes

    def _as_sent_before(self, change: Change, outcome: Outcome) -> Outcome:
        """Call a row updated that has no line because the run was killed that updated it."""
        if outcome.status is not Status.UNCHANGED or change.digest not in self.sent_before:
            return outcome
        text = "sent by an earlier run, which was ended before it was told; read back: applied"
        return outcome._replace(status=Status.UPDATED, fields=change.fields, error_message=text)

    async def compared(self, changes: Sequence[Change], read: Read) -> list[Comparison]:
        """Judge at most 100 rows by their incidents as they are now; raises RequestError."""
        ids = list(dict.fromkeys(change.incident_id for change in changes))
        incidents = await read(ids) if ids else {}
        return [self._compare(change, incidents) for change in changes]

    def _compare(self, change: Change, incidents: Mapping[str, Incident]) -> Comparison:
        is_repeated = change.incident_id in self.repeated_ids
        own = self._own.get(change.incident_id) if is_repeated else None
        incident = incidents.get(change.incident_id)
        is_last_written = partial(self.written.is_last, change.incident_id)
        found = compare(
            change, incident, overwrites=self.overwrites, own=own, is_last_written=is_last_written
        )
        if is_repeated and found.verdict is Verdict.UPDATE:
            self._own.setdefault(change.incident_id, {}).update(found.wanted)
        return found


def _image(comparison: Comparison) -> PreviousValues:
    change = comparison.change
    return PreviousValues(
        change.row_number,
        change.digest,
        change.incident_id,
        comparison.link,
        comparison.before,
        comparison.wanted,
    )
