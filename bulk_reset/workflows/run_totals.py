"""Totals that are not counted while rows are sent: of a dry run, and after a verification."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from bulk_reset.core.outcome import ErrorGroup, Status
from bulk_reset.core.totals import StatusCounts, Totals, Verification
from bulk_reset.engine.options import Options
from bulk_reset.engine.work_source import WorkSource
from bulk_reset.quota.windows import ideal_s


def with_verification(
    totals: Totals, verification: Verification, errors: tuple[ErrorGroup, ...]
) -> Totals:
    """Return totals in which rows that were read back have the result of that.

    Args:
        errors: of the rows that were not applied.
    """
    counts = Counter(totals.counts)
    for status, rows in verification.settled.items():
        counts[Status.UNKNOWN] -= rows
        counts[status] += rows
    counts[Status.UPDATED] -= verification.not_applied
    counts[Status.FAILED] += verification.not_applied
    return replace(
        totals,
        counts=StatusCounts((status, counts[status]) for status in Status),
        errors=(*totals.errors, *errors),
        verification=verification,
    )


def dry_totals(work: WorkSource, options: Options) -> Totals:
    """Return the totals of a run that sends nothing; all rows that it would send are pending."""
    counts = work.resumed + work.settled
    counts[Status.PENDING] = work.sent + work.unsent + work.unselected
    return Totals(
        sheet=work.sheet.label,
        rows=work.sheet_check.rows,
        counts=StatusCounts((status, counts[status]) for status in Status),
        done_before=work.resumed.total(),
        beyond_limit=work.unsent,
        left_out=work.unselected,
        not_edited=min(work.sheet_check.untouched, work.settled[Status.UNCHANGED]),
        blank_rows=work.sheet_check.blank_rows,
        requests=work.sent,
        elapsed_s=ideal_s(work.sent, options.windows()),
        is_dry_run=True,
        row_errors=work.sheet_check.row_errors,
    )
