"""Outcomes of a run: written to the report, counted, and added up in the end.

State: the counts; they belong to the event loop that sends.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Final

from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import InternalError
from bulk_reset.core.outcome import ErrorGroup, Outcome, Status
from bulk_reset.engine.work_source import WorkSource
from bulk_reset.records.report_file import Report
from bulk_reset.records.summary import ErrorGroups

_FLUSH_S: Final = 0.005


class OutcomeRecorder:
    """Records each outcome once.

    Args:
        report: where outcomes are written; without one they are kept in ``outcomes``.

    Attributes:
        counts: all recorded rows, by status.
        sent: those of them that were handed out to be sent, by status.
        not_sent: how many of them were invalid, duplicates or unedited.
    """

    def __init__(self, report: Report | None, callbacks: Callbacks) -> None:
        self.report, self._callbacks = report, callbacks
        self.outcomes: list[Outcome] = []
        self.counts: Counter[Status] = Counter()
        self.sent: Counter[Status] = Counter()
        self.not_sent = 0
        self._groups = ErrorGroups()
        self._has_lines = asyncio.Event()

    def record_sent(self, outcome: Outcome) -> None:
        """Record the outcome of a row that was handed out to be sent."""
        self._record(outcome)
        self.sent[outcome.status] += 1

    def record_not_sent(self, outcomes: Iterable[Outcome], finished_at: float) -> None:
        """Record rows whose outcome is known without a request."""
        for outcome in outcomes:
            self._record(outcome._replace(finished_at=finished_at))
            self.not_sent += 1

    def _record(self, outcome: Outcome) -> None:
        if self.report is not None:
            self.report.write(outcome)
            self._has_lines.set()
        else:
            self.outcomes.append(outcome)
        self.counts[outcome.status] += 1
        if not outcome.status.is_done:
            self._groups.add(outcome)
            self._callbacks.on_failure(outcome)

    async def write_lines(self) -> None:
        """Hand lines over to the system, all lines of a few milliseconds together; never ends."""
        while True:
            await self._has_lines.wait()
            await asyncio.sleep(_FLUSH_S)
            self._has_lines.clear()
            if self.report is not None:
                self.report.flush()

    def errors(self) -> tuple[ErrorGroup, ...]:
        """Return the rows that are not done, grouped by error code."""
        return self._groups.groups()

    def final_counts(self, work: WorkSource, *, has_stopped: bool) -> Counter[Status]:
        """Return all rows of the sheet by status, and check that the totals match.

        Raises:
            InternalError: they do not match, so the report cannot be trusted.
        """
        recorded = self.report.written if self.report is not None else self.counts
        counts = work.resumed + recorded
        # A batch that was being read when the run was stopped is neither sent nor recorded.
        unread, unanswered = work.sheet_check.rows - work.rows, work.sent - self.sent.total()
        unrecorded = work.settled.total() - self.not_sent
        counts[Status.PENDING] = unread + unanswered + unrecorded + work.unsent
        counts[Status.PENDING] += work.unselected
        is_matching = (
            counts.total() == work.sheet_check.rows
            and recorded.total() == self.sent.total() + self.not_sent
            and (has_stopped or unread == unanswered == unrecorded == 0)
        )
        if not is_matching:
            raise InternalError(
                f"{work.sheet.label}: totals do not match: {dict(counts)} of "
                f"{work.sheet_check.rows} rows. This is a bug in bulk-reset; please report it."
            )
        return counts
