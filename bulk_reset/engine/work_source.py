"""The work source: rows of a sheet in; changes to send and outcomes to record out.

Each row, in the sheet's order, becomes a change to send, an outcome that needs no sending, or
nothing where an earlier run has finished it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from bulk_reset.core.change import Change
from bulk_reset.core.custom_fields import COMMENT_FIELD
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.records.history import History, status_of
from bulk_reset.sheets.sheet import CHUNK_ROWS, Sheet
from bulk_reset.sheets.sheet_check import DecidedChunk, SheetCheck
from bulk_reset.sheets.validation import CheckedChunk, check_chunk

_BATCH_ROWS: Final = 1_000
_UNFINISHED: Final = (Status.FAILED, Status.UNKNOWN)
"""The results of rows that were sent, and whose comment may have been added."""


@dataclass(slots=True)
class WorkSource:
    """One pass over a sheet.

    Attributes:
        history: the results of earlier runs; not needed if all rows are known to be done.
        limit: up to so many changes are sent; the others stay pending.
        chosen: which of the changes are sent, counted from 0; None for all.
        sent_before: digests of rows that an earlier run has sent, or was about to send.
        left_out: the rows that were not selected; they stay pending.
        first_sent_at: when the first of them may have been sent.
        rows: how many rows were read so far; always the sum of the last five below.
        known: how many of them have a line in the report.
        resumed: rows with a final result of an earlier run, by status.
        settled: rows whose outcome needed no sending, by status.
        sent: changes handed out.
        unsent: changes beyond the limit, or not chosen.
        unselected: rows that were not selected.
    """

    sheet: Sheet
    sheet_check: SheetCheck
    scope: str
    history: History = field(default_factory=History)
    retries_failed: bool = False
    limit: int | None = None
    chosen: Collection[int] | None = None
    sent_before: Container[str] = frozenset()
    left_out: Container[int] = frozenset()
    first_sent_at: float = 0.0
    rows: int = 0
    known: int = 0
    resumed: Counter[Status] = field(default_factory=Counter)
    settled: Counter[Status] = field(default_factory=Counter)
    sent: int = 0
    unsent: int = 0
    unselected: int = 0
    _sent_again: set[str] = field(default_factory=set)

    def batches(self) -> Iterator[tuple[list[Change], list[Outcome]]]:
        """Yield changes to send and outcomes to record, 1,000 rows at a time."""
        for checked in checked_chunks(self.sheet, _BATCH_ROWS):
            yield self.add(checked)

    def count(self) -> None:
        """Count the rows without handing them out; a first run need not read the sheet for it."""
        if len(self.history) or self.left_out:
            for checked in checked_chunks(self.sheet):
                self.add(checked)
            return
        statuses = Counter(decision.status for decision in self.sheet_check.decisions.values())
        rejected = len({row_error.row_number for row_error in self.sheet_check.row_errors})
        self.settled = +Counter(
            {
                Status.REJECTED: rejected,
                Status.SKIPPED: statuses[Status.SKIPPED],
                Status.UNCHANGED: self.sheet_check.untouched,
            }
        )
        self.rows = self.sheet_check.rows
        to_send = self.rows - self.settled.total()
        self.sent = to_send if self.limit is None else min(self.limit, to_send)
        self.unsent = to_send - self.sent

    def add(self, checked: CheckedChunk) -> tuple[list[Change], list[Outcome]]:
        """Take a chunk's rows; return those to send and those to record."""
        decided = DecidedChunk(checked, self.sheet_check, self.scope)
        self.rows += len(checked)
        changes: list[Change] = []
        outcomes: list[Outcome] = []
        if not len(self.history):
            for item in decided.items():
                self._sort(item, None, changes, outcomes)
            return changes, outcomes
        codes = self.history.codes([decided.joined_digests])
        counts = self.history.counts_if_all_sent(codes)
        if counts is not None and decided.is_all_plain:
            self.known += len(checked)
            self.resumed.update(counts)
            return changes, outcomes
        for item, code in zip(decided.items(), codes.tolist(), strict=True):
            self._sort(item, status_of(code), changes, outcomes)
        return changes, outcomes

    def _sort(
        self,
        item: Change | Outcome,
        before: Status | None,
        changes: list[Change],
        outcomes: list[Outcome],
    ) -> None:
        self.known += before is not None
        if before is not None and self._is_final(item, before):
            self.resumed[before] += 1
        elif item.row_number in self.left_out:
            self.unselected += 1
        elif isinstance(item, Outcome):
            self.settled[item.status] += 1
            outcomes.append(item)
        elif self._is_unsent():
            self.unsent += 1
        else:
            self.sent += 1
            changes.append(self._with_doubt(item, before))
            if item.incident_id in self.sheet_check.contested_ids:
                self._sent_again.add(item.incident_id)

    def _with_doubt(self, change: Change, before: Status | None) -> Change:
        """Return the change with the time since when an earlier run may have added its comment."""
        if not change.rest or change.rest[-1].field != COMMENT_FIELD or change.comment_since:
            return change
        was_sent = before in _UNFINISHED or (
            (before is None or not before.is_done) and change.digest in self.sent_before
        )
        # The row was edited since, and its comment may be the same. Of several rows of an incident
        # in one sheet, each adds its own.
        is_edited = change.incident_id not in self.sheet_check.repeated_ids
        if was_sent or (is_edited and self.history.may_have_comment(change.incident_id)):
            return change._replace(comment_since=self.first_sent_at)
        return change

    def _is_unsent(self) -> bool:
        if self.chosen is not None and self.sent + self.unsent not in self.chosen:
            return True
        return self.limit is not None and self.sent >= self.limit

    def _is_final(self, item: Change | Outcome, before: Status) -> bool:
        """Return whether the result of an earlier run is final."""
        if isinstance(item, Outcome):
            return before.is_done or before is item.status
        if item.incident_id in self._sent_again:
            # An earlier row of the incident is sent again and overwrites what this one set.
            return False
        if before is Status.SKIPPED:
            # It was a duplicate of another row, which is no longer there.
            return False
        if before.is_done:
            decision = self.sheet_check.decisions.get(item.row_number)
            lasting = set(item.fields) - (decision.overwritten if decision else frozenset())
            return self.history.is_current(item.incident_id, item.digest, lasting)
        return before is Status.FAILED and not self.retries_failed


def checked_chunks(sheet: Sheet, chunk_rows: int = CHUNK_ROWS) -> Iterator[CheckedChunk]:
    """Read and check a sheet, chunk by chunk."""
    for chunk in sheet.chunks(chunk_rows):
        yield check_chunk(chunk, sheet.columns)


def outcomes_by_row(
    sheet: Sheet, sheet_check: SheetCheck, scope: str, outcomes: Iterable[Outcome]
) -> dict[int, Outcome | None]:
    """Return row_number -> outcome (None: pending), for every row but blank ones."""
    last = {bytes.fromhex(outcome.digest): outcome for outcome in outcomes}
    return {
        number: last.get(digest)
        for checked in checked_chunks(sheet)
        for number, digest in zip(
            checked.numbers, DecidedChunk(checked, sheet_check, scope).digests, strict=True
        )
    }
