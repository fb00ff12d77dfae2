"""``plan``: what a run of a sheet will do, by reading its incidents; nothing is sent.

Rows are planned one by one as their incidents are read, a hundred at a time, so a plan of any
length takes little memory.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

from bulk_reset.core.argument_types import or_default, require_path
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.change import Change
from bulk_reset.core.custom_fields import COMMENT_FIELD, text_of
from bulk_reset.core.fields import MAX_IDS, SEVERITY_FIELD
from bulk_reset.core.file_hash import hash_file
from bulk_reset.core.json_codec import loads
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.pinning import newly_pinned, pinning_text
from bulk_reset.core.plan import FieldPlan, PlanTotals, RowPlan
from bulk_reset.engine.comment_groups import GROUPED, SharedRequests
from bulk_reset.engine.comparison import Comparison, Verdict, unexpected_values
from bulk_reset.engine.connection import lock_account
from bulk_reset.engine.current_values import CurrentValues, Read
from bulk_reset.engine.event_loop import in_new_loop
from bulk_reset.engine.incident_reader import open_incident_reader
from bulk_reset.engine.options import Options, PathLike
from bulk_reset.engine.work_source import WorkSource
from bulk_reset.quota.windows import ideal_s
from bulk_reset.records.previous_index import LastWritten
from bulk_reset.records.previous_values import BEFORE
from bulk_reset.records.report_reader import beside
from bulk_reset.records.restorability import why_not_restorable
from bulk_reset.reports.saved_plan_file import SavedPlanFile
from bulk_reset.workflows.conditions import Conditions
from bulk_reset.workflows.run_session import RunSession, open_run
from bulk_reset.workflows.saved_plans import EXPIRES_S, header_for
from bulk_reset.workflows.sheet_opening import SheetLike

DONE_BEFORE: Final = "done before"
BEYOND_LIMIT: Final = "beyond the limit"
LEFT_OUT: Final = "left out"
_CRITICAL: Final = "Critical"


def plan(  # noqa: PLR0913  (its options)
    sheet: SheetLike,
    options: Options | None = None,
    callbacks: Callbacks | None = None,
    add: Callable[[RowPlan], None] = lambda _: None,
    *,
    out: PathLike | None = None,
    expires_s: float = EXPIRES_S,
) -> PlanTotals:
    """Return what a run of a sheet will do.

    Args:
        add: called with each row that is left to send or is rejected, in the sheet's order.
        out: save the plan in this file, to be run later.
        expires_s: the saved plan is refused after so many seconds.

    Raises:
        InputError: as for a run.
        RunError: the incidents could not be read.
    """
    options = or_default("options", options, Options)
    callbacks = or_default("callbacks", callbacks, Callbacks)
    with open_run(sheet, options, callbacks) as session, contextlib.ExitStack() as stack:
        file = None
        if out is not None:
            file = stack.enter_context(_saved_plan(session, out, expires_s))
        planned = plan_rows(session, _adding_to(file, add) if file is not None else add)
        totals = planned.totals
        if planned.pinned:
            callbacks.on_notice(pinning_text("will be pinned", planned.pinned))
        if file is None:
            return totals
        file.finish(totals)
        return replace(totals, plan_sha256=file.sha256)


def _saved_plan(session: RunSession, out: PathLike, expires_s: float) -> SavedPlanFile:
    table = session.table
    require_path("out", out)
    path = Path(out)
    header = header_for(table, session.connection, session.options, expires_s)
    return SavedPlanFile(path, header, table.path)


def _adding_to(file: SavedPlanFile, add: Callable[[RowPlan], None]) -> Callable[[RowPlan], None]:
    def add_to_both(row: RowPlan) -> None:
        file.add(row)
        add(row)

    return add_to_both


class Planned(NamedTuple):
    """What a run will do.

    Attributes:
        left_out: the rows that are not selected by their current values.
        critical: rows to update whose incident is Critical, or will be.
        pinned: field -> incidents in which it will be pinned.
    """

    totals: PlanTotals
    left_out: set[int]
    critical: int
    pinned: Counter[str]


def plan_rows(session: RunSession, add: Callable[[RowPlan], None]) -> Planned:
    """Read the incidents of what is left to send; return what a run will do."""
    options, callbacks = session.options, session.callbacks
    work = session.work()
    # The limit is of selected rows, and which these are is known later.
    limit, work.limit = work.limit, None
    written = LastWritten(beside(session.path, BEFORE) if session.path else None)
    current_values = CurrentValues(
        None, options.overwrite, work.sheet_check.repeated_ids, written=written
    )
    planning = _Planning(work, current_values, add, Conditions.of(options), limit)
    with lock_account(session.connection, options, session.table.label, callbacks) as connection:

        async def read() -> int:
            async with open_incident_reader(connection, options) as reader:
                current_values.authors = reader.authors()
                await planning.run(reader.incidents, callbacks.on_incidents_read)
                return reader.limiter.requests

        reads = in_new_loop(read)
    counts = planning.counts + Counter(
        {
            DONE_BEFORE: work.resumed.total(),
            BEYOND_LIMIT: planning.beyond_limit,
            LEFT_OUT: work.unselected + len(planning.left_out),
            Status.SKIPPED.value: work.settled[Status.SKIPPED],
            Status.REJECTED.value: work.settled[Status.REJECTED],
        }
    )
    counts[Verdict.UNCHANGED.value] += work.settled[Status.UNCHANGED]
    requests = planning.requests - planning.shared.saved
    totals = PlanTotals(
        sheet=session.table.label,
        made_at=time.time(),
        rows=work.sheet_check.rows,
        counts={name: rows for name, rows in counts.items() if rows},
        fields=dict(planning.fields),
        lost=planning.lost,
        requests=requests,
        not_edited=work.settled[Status.UNCHANGED],
        estimate_s=ideal_s(requests + reads, options.windows()),
        sha256=hash_file(path).sha256 if (path := session.table.path) else "",
        version=version("bulk-reset"),
    )
    return Planned(totals, planning.left_out, planning.critical, planning.pinned)


class _Planning:
    """Compares the rows of a work source with their incidents, and counts."""

    def __init__(
        self,
        work: WorkSource,
        current_values: CurrentValues,
        add: Callable[[RowPlan], None],
        conditions: Conditions,
        limit: int | None,
    ) -> None:
        self._work, self._current_values, self._add = work, current_values, add
        self._conditions, self._limit = conditions, limit
        self._selected = self.beyond_limit = 0
        self.left_out: set[int] = set()
        self.critical = 0
        self.pinned: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.fields: Counter[str] = Counter()
        self.lost = self.requests = 0
        self.shared = SharedRequests()
        self._rejected: deque[RowPlan] = deque()

    async def run(self, read: Read, on_read: Callable[[int, int], None]) -> None:
        waiting: list[Change] = []
        for changes, outcomes in self._work.batches():
            waiting += changes
            self._rejected += [
                _rejected_row(outcome) for outcome in outcomes if outcome.status is Status.REJECTED
            ]
            while len(waiting) >= MAX_IDS:
                some, waiting = waiting[:MAX_IDS], waiting[MAX_IDS:]
                await self._compare(some, read)
            self._add_rejected(before=waiting[0].row_number if waiting else None)
            on_read(self._work.rows, self._work.sheet_check.rows)
        await self._compare(waiting, read)
        self._add_rejected()

    async def _compare(self, changes: list[Change], read: Read) -> None:
        if self._is_full():
            self.beyond_limit += len(changes)
            return
        comparisons = await self._current_values.comparisons(changes, read)
        for change, comparison in zip(changes, comparisons, strict=True):
            authors = await self._current_values.changed_by(comparison)
            self._add_row(change, comparison, authors)

    def _add_row(self, change: Change, comparison: Comparison, authors: str = "") -> None:
        incident, wanted = comparison.incident, comparison.wanted
        number = change.row_number
        if incident is not None and not self._conditions.selects(number, incident, wanted):
            self.left_out.add(number)
            return
        if self._limit is not None and self._selected >= self._limit:
            self.beyond_limit += 1
            return
        self._selected += 1
        row = _row_plan(change, comparison)
        if authors:
            row = row._replace(reason="; ".join(filter(None, (row.reason, authors))))
        self.counts[row.verdict] += 1
        if comparison.verdict is Verdict.UPDATE:
            self.critical += _is_critical(comparison)
            self.pinned.update(newly_pinned(comparison.wanted, incident or {}))
            self.fields.update(field.field for field in row.fields)
            self.lost += sum(1 for field in row.fields if field.lost)
            self.requests += bool(comparison.change.body) + len(comparison.change.rest)
            for part in comparison.change.rest:
                if part.field in GROUPED:
                    # The body begins with the incident's id, which has one length.
                    self.shared.add(part.field, part.body.partition(b"]")[2])
        self._add_rejected(before=row.row_number)
        self._add(row)

    def _is_full(self) -> bool:
        """Return whether all further rows are beyond the limit, or not selected, unread."""
        return not self._conditions and self._limit is not None and self._selected >= self._limit

    def _add_rejected(self, before: int | None = None) -> None:
        """Add the rejected rows that come before a row of the sheet; None: all of them."""
        while self._rejected and (before is None or self._rejected[0].row_number < before):
            self._add(self._rejected.popleft())


def _is_critical(comparison: Comparison) -> bool:
    """Return whether an incident is Critical, or will be."""
    old = comparison.incident.get(SEVERITY_FIELD) if comparison.incident is not None else None
    return _CRITICAL in (old, comparison.wanted.get(SEVERITY_FIELD))


def _rejected_row(outcome: Outcome) -> RowPlan:
    reason = f"{outcome.error_code}: {outcome.error_message}".removeprefix(": ")
    return RowPlan(outcome.row_number, outcome.incident_id, "rejected", (), reason=reason)


def _row_plan(change: Change, comparison: Comparison) -> RowPlan:
    origins = change.origins or {}
    fields = [
        FieldPlan(
            name,
            text_of(name, comparison.before[name]),
            text_of(name, wanted),
            _expected_text(name, comparison),
            why_not_restorable(name, comparison.before[name], wanted),
            comparison.before[name],
            wanted,
            origins.get(name, ""),
        )
        for name, wanted in comparison.wanted.items()
    ]
    if comparison.verdict is Verdict.UPDATE and COMMENT_FIELD in comparison.change.fields:
        text = loads(change.rest[-1].body)[COMMENT_FIELD]
        lost = "a comment cannot be undone"
        fields.append(
            FieldPlan(COMMENT_FIELD, "", text, None, lost, "", text, origins.get(COMMENT_FIELD, ""))
        )
    return RowPlan(
        change.row_number,
        change.incident_id,
        comparison.verdict.value,
        tuple(fields),
        comparison.link,
        "; ".join(unexpected_values(comparison)),
        change.expected or {},
    )


def _expected_text(name: str, comparison: Comparison) -> str | None:
    """Return the value that a field had when it was pulled, or should have, if it has another."""
    if name in comparison.conflicts:
        return text_of(name, comparison.conflicts[name])
    return comparison.unexpected.get(name)
