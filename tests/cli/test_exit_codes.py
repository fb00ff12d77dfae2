"""Scripts decide by the exit code: each ending has one, and it follows from the totals."""

from __future__ import annotations

import pytest

from bulk_reset.core.errors import ExitCode
from bulk_reset.core.outcome import Status, Stop, StopReason
from bulk_reset.core.totals import Totals


def totals(stop: StopReason | None = None, **counts: int) -> Totals:
    by_status = {status: counts.get(status.value, 0) for status in Status}
    return Totals(
        "sheet.csv",
        sum(by_status.values()),
        by_status,
        stop=Stop(stop, "why") if stop is not None else None,
    )


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (totals(updated=3), ExitCode.DONE),
        (totals(updated=1, unchanged=1, skipped=1), ExitCode.DONE),
        (totals(updated=1, pending=2), ExitCode.DONE),
        (totals(updated=1, failed=1), ExitCode.NOT_ALL),
        (totals(updated=1, rejected=1), ExitCode.NOT_ALL),
        (totals(updated=1, unknown=1), ExitCode.NOT_ALL),
        (totals(StopReason.FATAL, pending=3), ExitCode.STOPPED),
        (totals(StopReason.OUTAGE, failed=1, pending=3), ExitCode.STOPPED),
        (totals(StopReason.MAX_FAILURES, failed=3), ExitCode.STOPPED),
        (totals(StopReason.INTERRUPTED, pending=3), ExitCode.INTERRUPTED),
        (totals(StopReason.TERMINATED, failed=1), ExitCode.TERMINATED),
        (totals(StopReason.HUNG_UP, pending=1), ExitCode.HUNG_UP),
    ],
)
def test_the_exit_code_follows_from_the_totals(ended: Totals, code: ExitCode) -> None:
    """0 only when nothing is left to worry about; an early end outranks failed rows."""
    assert ended.exit_code is code
