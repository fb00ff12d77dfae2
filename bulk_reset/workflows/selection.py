"""Selects the rows of a run by their current values, and refuses too much change before sending.

All incidents are read once for it, a hundred a request, and again right before they are sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulk_reset.core.counting import counted
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option, option_name
from bulk_reset.workflows.run_session import RunSession

if TYPE_CHECKING:
    from bulk_reset.workflows.plan import Planned


def select_rows(session: RunSession) -> None:
    """Leave out the rows that an expression does not select; nothing is read where there is none.

    Raises:
        InputError: an expression failed, or more will change than is allowed; nothing was sent.
    """
    options = session.options
    if options.dry_run or not options.reads_first():
        return
    session.work()  # Counts the rows.
    if not options.reads_first(base_rows(session)):
        return
    from bulk_reset.workflows.plan import plan_rows  # noqa: PLC0415  (imports xlsxwriter)

    planned = plan_rows(session, lambda _: None)
    _refuse_too_much(session, planned)
    session.left_out.numbers |= planned.left_out


def _refuse_too_much(session: RunSession, planned: Planned) -> None:
    options, label = session.options, session.table.label
    rows, changing = base_rows(session), planned.totals.counts.get("update", 0)
    if changing > options.change_limit(rows):
        raise InputError(
            f"{label}: {changing:,} of {counted(rows, 'row')} will change, more than "
            f"{option('max_change', options.max_change)} allows; nothing was sent. Check the plan, "
            f"or use a higher {option_name('max_change')}."
        )
    if options.max_critical is not None and planned.critical > options.max_critical:
        raise InputError(
            f"{label}: {counted(planned.critical, 'Critical incident')} will change, more than "
            f"{option('max_critical', options.max_critical)} allows; nothing was sent. Check the "
            f"plan, or use a higher {option_name('max_critical')}."
        )


def base_rows(session: RunSession) -> int:
    """Return the rows that a share is of: of the sheet, or of the one that a plan is of."""
    plan = session.table.plan
    if plan is not None and plan.footer is not None:
        return plan.footer.rows
    return session.sheet_rows
