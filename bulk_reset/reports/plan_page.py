"""``NAME.plan.html``: the plan as a page for a change ticket, one self-contained file."""

from __future__ import annotations

from typing import Final

from bulk_reset.core.plan import MEANING_OF, PlanTotals, RowPlan, counts, facts
from bulk_reset.core.safe_text import is_link, shown
from bulk_reset.reports.html_page import Design, render
from bulk_reset.reports.own_files import is_page
from bulk_reset.reports.plan_file import PlanFile
from bulk_reset.reports.row_list import ListRow, RowList, field_change

_DESIGN: Final = Design(
    "plan.html.j2",
    styles=("base.css", "rows.css"),
    scripts=(
        "words.js",
        "rows.js",
    ),
)
_VERDICTS: Final = ("update", "conflict", "missing", "rejected", "unchanged")
"""What a row of the list can be, in the order of the filters."""


class PlanPage(PlanFile):
    """The plan as one web page; see ``PlanFile``."""

    _rows: RowList
    _verdicts: set[str]

    def add(self, row: RowPlan) -> None:
        """Write a row; see ``PlanFile.add``."""
        with self._writing():
            self._rows.add(list_row(row))
        self._verdicts.add(row.verdict)

    def finish(self, totals: PlanTotals) -> None:
        """Write the page; see ``PlanFile.finish``."""
        shown_verdicts = [name for name in _VERDICTS if name in self._verdicts]
        checked = [name for name in shown_verdicts if name != "unchanged"] or shown_verdicts
        pieces = render(
            _DESIGN,
            sheet=totals.sheet,
            statuses={name: MEANING_OF[name] for name in _VERDICTS},
            rows=self._rows,
            plan_table=facts(totals),
            counts=list(counts(totals)),
            fields=totals.fields,
            shown=shown_verdicts,
            checked=checked,
        )
        with self._writing():
            for piece in pieces:
                self._fresh.file.write(piece.encode())
            self._fresh.keep()

    _is_own = staticmethod(is_page)

    def _begin(self) -> None:
        self._verdicts = set()
        self._rows = RowList().__enter__()

    def _end(self) -> None:
        self._rows.__exit__(None, None, None)


def list_row(row: RowPlan) -> ListRow:
    """Return a row as the page lists it."""
    return ListRow(
        str(row.row_number),
        shown(row.incident_id),
        error_message=shown(row.reason),
        fields=tuple(
            field_change(field.field, field.old, field.new, field.was, field.lost)
            for field in row.fields
        ),
        status=_VERDICTS.index(row.verdict),
        link=row.link if is_link(row.link) else "",
        note=shown(
            " · ".join(f"{field.field}: {field.remark}" for field in row.fields if field.remark)
        ),
    )
