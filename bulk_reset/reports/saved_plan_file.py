"""``P.plan``: the plan as a file that can be shown, approved and run; see ``core.saved_plan``."""

from __future__ import annotations

from pathlib import Path

from bulk_reset.core.plan import PlanTotals, RowPlan
from bulk_reset.core.plan_writer import PlanWriter, row_line
from bulk_reset.core.saved_plan import PlanFooter, PlanHeader, is_saved_plan
from bulk_reset.reports.plan_file import PlanFile


class SavedPlanFile(PlanFile):
    """The plan as a file to run; see ``PlanFile``.

    Attributes:
        sha256: the plan's hash, after ``finish``.
    """

    _writer: PlanWriter

    def __init__(self, path: Path, header: PlanHeader, like: Path | None = None) -> None:
        super().__init__(path, like)
        self._header = header
        self.sha256 = ""

    def add(self, row: RowPlan) -> None:
        """Write a row; see ``PlanFile.add``."""
        fields = [
            (one.field, one.old_value, one.new_value, one.was, one.lost) for one in row.fields
        ]
        line = row_line(
            row.row_number,
            row.incident_id,
            row.verdict,
            fields,
            row.link,
            row.reason,
            row.expected,
        )
        if self._writer.add_line(line):
            with self._writing():
                self._writer.flush()

    def finish(self, totals: PlanTotals) -> None:
        """Write the totals and the hash; see ``PlanFile.finish``."""
        footer = PlanFooter(
            lines=self._writer.lines,
            rows=totals.rows,
            counts=totals.counts,
            fields=totals.fields,
            lost=totals.lost,
            requests=totals.requests,
            estimate_s=totals.estimate_s,
            not_edited=totals.not_edited,
        )
        with self._writing():
            self._writer.finish(footer)
            self._fresh.keep()
        self.sha256 = self._writer.sha256

    _is_own = staticmethod(is_saved_plan)

    def _begin(self) -> None:
        self._writer = PlanWriter(self._fresh.file, self._header)

    def _end(self) -> None:
        """Nothing but the file is open."""
