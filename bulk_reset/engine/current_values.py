"""Current values: incidents are read right before their rows are sent, and compared with them.

One more request for a hundred rows. The values are on the disk before any of those rows is sent.
A few seconds pass between reading and sending (up to a minute where the minute window is used
up). The API has no compare-and-set, so a change that another user makes in between is lost.

State: what this run has set of incidents that stand on several rows: later rows are compared
with that, because the values that were read are about to be changed.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bulk_reset.core.change import Change
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.pinning import newly_pinned
from bulk_reset.engine.change_authors import ChangeAuthors
from bulk_reset.engine.comparison import Comparison, Verdict, compare, outcome_unless_sent
from bulk_reset.engine.readback import Incident
from bulk_reset.records.history import History
from bulk_reset.records.previous_index import LastWritten
from bulk_reset.records.previous_values import PreviousValues, PreviousValuesFile
from bulk_reset.records.written_fields import not_applied_fields, unwritten_fields

Read = Callable[[Sequence[str]], Awaitable[Mapping[str, Incident]]]
"""Takes up to 100 ids, returns id -> incident for those that exist; raises RequestError."""


@dataclass(slots=True)
class CurrentValues:
    """Compares rows with their incidents and keeps the previous values.

    Attributes:
        file: where previous values are kept; None to keep nothing.
        overwrites: whether values that were modified since the pull are overwritten.
        repeated_ids: the incidents that stand on several rows.
        sent_before: digests of rows that an earlier run has sent, or was about to send.
        written: the values that earlier runs wrote last.
        history: the results of earlier runs.
        authors: finds who made the change of a conflict; None to not look.
        pinned: field -> incidents in which it was set, and was not pinned before; see ``count``.
    """

    file: PreviousValuesFile | None
    overwrites: bool = False
    repeated_ids: Collection[str] = frozenset()
    sent_before: Container[str] = frozenset()
    written: LastWritten = field(default_factory=LastWritten)
    history: History = field(default_factory=History)
    authors: ChangeAuthors | None = None
    pinned: Counter[str] = field(default_factory=Counter)
    _unpinned: dict[int, list[str]] = field(default_factory=dict)
    """Number of a row that is sent -> fields that get pinned when it is written."""
    _own: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def compare(
        self, changes: Sequence[Change], read: Read, most: int | None = None
    ) -> tuple[list[Change], list[Outcome]]:
        """Read the incidents of up to 100 rows, and keep the values that will be overwritten.

        Args:
            most: up to so many rows are sent; those after the last of them have no outcome.

        Returns: what is left to send, and the outcomes of the rows that are not sent.

        Raises:
            RequestError: the incidents could not be read.
            RunError: the previous values could not be written; none of the rows may be sent.
        """
        comparisons = await self.comparisons(changes, read)
        if most is not None:
            comparisons = _up_to(most, comparisons)
        to_send = [one for one in comparisons if one.verdict is Verdict.UPDATE]
        if self.file is not None and to_send:
            await asyncio.to_thread(self.file.append, [_previous_values(one) for one in to_send])
        for one in to_send:
            if names := newly_pinned(one.wanted, one.incident or {}):
                self._unpinned[one.change.row_number] = names
        now = time.time()
        outcomes = []
        for change, comparison in zip(changes, comparisons, strict=False):
            outcome = outcome_unless_sent(comparison, now)
            if outcome is not None:
                outcome = await self._with_authors(outcome, comparison)
                outcomes.append(self._if_sent_before(change, outcome))
        return [one.change for one in to_send], outcomes

    def count(self, outcome: Outcome) -> None:
        """Count the fields that the row of an outcome has pinned."""
        names = self._unpinned.pop(outcome.row_number, None)
        if not names or outcome.status is Status.UNKNOWN:
            return
        if outcome.status is not Status.UPDATED:
            unwritten = unwritten_fields(outcome) | not_applied_fields(outcome)
            names = [name for name in names if name not in unwritten]
        for name in names:  # faster than to update the counter
            self.pinned[name] += 1

    async def _with_authors(self, outcome: Outcome, comparison: Comparison) -> Outcome:
        """Return the outcome of a conflict with who made the change."""
        authors = await self.changed_by(comparison)
        if not authors:
            return outcome
        return outcome._replace(error_message=f"{outcome.error_message}; {authors}")

    async def changed_by(self, comparison: Comparison) -> str:
        """Return who made the changes of a conflict; empty if that is not known."""
        fields = list(dict.fromkeys([*comparison.conflicts, *comparison.unexpected]))
        if self.authors is None or comparison.verdict is not Verdict.CONFLICT or not fields:
            return ""
        return await self.authors.describe(comparison.change.incident_id, fields)

    def _if_sent_before(self, change: Change, outcome: Outcome) -> Outcome:
        """Mark a row as updated that has no report line because the run that sent it was killed."""
        if outcome.status is not Status.UNCHANGED or change.digest not in self.sent_before:
            return outcome
        if self.history.is_done(change.digest):
            return outcome  # It was overwritten since, and set back by another user.
        text = "sent by an earlier run that ended before the API answered; read back: applied"
        return outcome._replace(status=Status.UPDATED, fields=change.fields, error_message=text)

    async def comparisons(self, changes: Sequence[Change], read: Read) -> list[Comparison]:
        """Compare up to 100 rows with their incidents; raises RequestError."""
        ids = list(dict.fromkeys(change.incident_id for change in changes))
        incidents = await read(ids) if ids else {}
        return [self._compare_one(change, incidents) for change in changes]

    def _compare_one(self, change: Change, incidents: Mapping[str, Incident]) -> Comparison:
        is_repeated = change.incident_id in self.repeated_ids
        own = self._own.get(change.incident_id) if is_repeated else None
        incident = incidents.get(change.incident_id)
        is_last_written = partial(self.written.is_last, change.incident_id)
        comparison = compare(
            change, incident, overwrites=self.overwrites, own=own, is_last_written=is_last_written
        )
        if is_repeated and comparison.verdict is Verdict.UPDATE:
            self._own.setdefault(change.incident_id, {}).update(comparison.wanted)
        return comparison


def _up_to(most: int, comparisons: list[Comparison]) -> list[Comparison]:
    """Return the comparisons up to the last row that may be sent."""
    places = [n for n, one in enumerate(comparisons) if one.verdict is Verdict.UPDATE]
    return comparisons[: places[most - 1] + 1] if 0 < most <= len(places) else comparisons


def _previous_values(comparison: Comparison) -> PreviousValues:
    change = comparison.change
    return PreviousValues(
        change.row_number,
        change.digest,
        change.incident_id,
        comparison.link,
        comparison.before,
        comparison.wanted,
    )
