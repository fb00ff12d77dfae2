"""What a run of a sheet would do, found out by reading, with nothing sent.

Rows are told one by one as their incidents are read, a hundred at a time, so that a plan of
any length takes little memory.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from typing import Final

from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.change import Change
from bulk_reset.core.custom_fields import COMMENT_FIELD, text_of
from bulk_reset.core.file_hash import fingerprint_of
from bulk_reset.core.json_codec import loads
from bulk_reset.core.outcome import Status
from bulk_reset.core.plan import FieldPlan, PlanTotals, RowPlan
from bulk_reset.engine.comparison import Judgement, Verdict
from bulk_reset.engine.connection import held, in_new_loop
from bulk_reset.engine.current_values import Look, Read
from bulk_reset.engine.incident_reader import open_reader
from bulk_reset.engine.options import Options
from bulk_reset.engine.readback import MAX_IDS
from bulk_reset.engine.work_source import Feed
from bulk_reset.quota.limiter import ideal_s
from bulk_reset.records.previous_values import Written, why_lost
from bulk_reset.records.report_reader import beside
from bulk_reset.workflows.run import opened_run
from bulk_reset.workflows.sheet_opening import SheetLike
from bulk_reset.workflows.verify import BEFORE

DONE_BEFORE: Final = "done before"
HELD_BACK: Final = "held back"


def plan(
    sheet: SheetLike,
    options: Options | None = None,
    callbacks: Callbacks | None = None,
    add: Callable[[RowPlan], None] = lambda _: None,
) -> PlanTotals:
    """Find out what a run of a sheet would do.

    Args:
        add: called for each row that is left to do, in the sheet's order.

    Raises:
        InputError: as a run would.
        RunError: the incidents cannot be read.
    """
    options, callbacks = options or Options(), callbacks or Callbacks()
    with opened_run(sheet, options, callbacks) as opened:
        feed = opened.planned_feed()
        written = Written(beside(opened.path, BEFORE) if opened.path else None)
        look = Look(None, options.overwrite, feed.survey.repeated_ids, written=written)
        planning = _Planning(feed, look, add)
        with held(opened.reached, options, opened.table.label, callbacks) as reached:

            async def read() -> int:
                async with open_reader(reached, options) as reader:
                    await planning.run(reader.incidents, callbacks.on_looked)
                    return reader.quota.requests

            reads = in_new_loop(read)
    counts = planning.counts + Counter(
        {
            DONE_BEFORE: feed.resumed.total(),
            HELD_BACK: feed.held_back,
            Status.SKIPPED.value: feed.settled[Status.SKIPPED],
            Status.REJECTED.value: feed.settled[Status.REJECTED],
        }
    )
    counts[Verdict.UNCHANGED.value] += feed.settled[Status.UNCHANGED]
    return PlanTotals(
        sheet=opened.table.label,
        made_at=time.time(),
        rows=feed.survey.rows,
        counts={name: rows for name, rows in counts.items() if rows},
        fields=dict(planning.fields),
        lost=planning.lost,
        requests=planning.requests,
        estimate_s=ideal_s(planning.requests + reads, options.windows()),
        sha256=fingerprint_of(path).sha256 if (path := opened.table.path) else "",
        version=version("bulk-reset"),
    )


class _Planning:
    """Judges the rows of a feed, and counts."""

    def __init__(self, feed: Feed, look: Look, add: Callable[[RowPlan], None]) -> None:
        self._feed, self._look, self._add = feed, look, add
        self.counts: Counter[str] = Counter()
        self.fields: Counter[str] = Counter()
        self.lost = self.requests = 0

    async def run(self, read: Read, on_looked: Callable[[int, int], None]) -> None:
        waiting: list[Change] = []
        for changes, _ in self._feed.batches():
            waiting += changes
            while len(waiting) >= MAX_IDS:
                some, waiting = waiting[:MAX_IDS], waiting[MAX_IDS:]
                await self._judge(some, read)
            on_looked(self._feed.rows, self._feed.survey.rows)
        await self._judge(waiting, read)

    async def _judge(self, changes: list[Change], read: Read) -> None:
        judgements = await self._look.judged(changes, read)
        for change, judgement in zip(changes, judgements, strict=True):
            self._take(change, judgement)

    def _take(self, change: Change, judgement: Judgement) -> None:
        row = _row_plan(change, judgement)
        self.counts[row.verdict] += 1
        if judgement.verdict is Verdict.UPDATE:
            self.fields.update(field.field for field in row.fields)
            self.lost += sum(1 for field in row.fields if field.lost)
            self.requests += bool(judgement.change.body) + len(judgement.change.rest)
        self._add(row)


def _row_plan(change: Change, judgement: Judgement) -> RowPlan:
    fields = [
        FieldPlan(
            name,
            text_of(name, judgement.before[name]),
            text_of(name, wanted),
            text_of(name, judgement.conflicts[name]) if name in judgement.conflicts else None,
            why_lost(name, judgement.before[name]),
        )
        for name, wanted in judgement.wanted.items()
    ]
    if judgement.verdict is Verdict.UPDATE and COMMENT_FIELD in judgement.change.fields:
        text = loads(change.rest[-1].body)[COMMENT_FIELD]
        fields.append(FieldPlan(COMMENT_FIELD, "", text, None, "a comment cannot be taken back"))
    return RowPlan(
        change.row_number,
        change.incident_id,
        judgement.verdict.value,
        tuple(fields),
        judgement.link,
    )
