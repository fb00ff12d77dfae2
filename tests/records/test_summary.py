"""The summary that is made from a report file alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_report_file import AT, FAILED, REJECTED, THREE, UPDATED, write

from bulk_reset.core.outcome import ErrorGroup, Outcome, Status
from bulk_reset.records.summary import ReportSummary, summarise


def counts(**of: int) -> dict[Status, int]:
    return {status: of.get(status.value, 0) for status in Status if status != Status.PENDING}


def test_a_summary_counts_the_last_line_of_each_row(tmp_path: Path) -> None:
    """A row that was sent again is one row; all its attempts are requests."""
    unknown = FAILED._replace(status=Status.UNKNOWN, error_code="timeout", digest="e" * 24)
    late = FAILED._replace(digest="f" * 24, row_number=9, finished_at=AT + 60, throttled=3)
    path = tmp_path / "incidents.report.csv"
    write(path, unknown, *THREE, late, unknown._replace(status=Status.UPDATED, error_code=""))
    errors = (
        ErrorGroup("InvalidParameter", Status.FAILED, 2, 3, '标题 "x, y" 太短'),
        ErrorGroup("id_invalid", Status.REJECTED, 1, 4, ""),
    )
    assert summarise(path) == ReportSummary(
        str(path),
        6,
        counts(updated=2, failed=2, rejected=1),
        requests=12,
        throttled=3,
        first_at=AT,
        last_at=AT + 60,
        most_started={1: 5, 60: 5},
        waits=0,
        waited_s=0.0,
        errors=errors,
    )


@pytest.mark.parametrize(
    ("outcomes", "last_at"), [((), 0.0), ((REJECTED._replace(finished_at=AT),), AT)]
)
def test_a_summary_of_a_report_without_a_request_has_no_first_time(
    outcomes: tuple[Outcome, ...], last_at: float, tmp_path: Path
) -> None:
    """Where nothing was sent, no time is made up."""
    path = tmp_path / "incidents.report.csv"
    write(path, *outcomes)
    errors = tuple(ErrorGroup("id_invalid", Status.REJECTED, 1, 4, "") for _ in outcomes)
    assert summarise(path) == ReportSummary(
        str(path),
        len(outcomes),
        counts(rejected=len(outcomes)),
        requests=0,
        throttled=0,
        first_at=0.0,
        last_at=last_at,
        most_started={1: 0, 60: 0},
        waits=0,
        waited_s=0.0,
        errors=errors,
    )


@pytest.mark.parametrize(
    ("starts", "most", "waits"),
    [
        ([0, 0.5, 0.999, 1.0], {1: 3, 60: 4}, (0, 0.0)),
        ([0, 0.001, 1.0, 1.001], {1: 2, 60: 4}, (0, 0.0)),
        ([5, 0, 59.999, 60], {1: 2, 60: 3}, (2, 59.999)),
        ([0, 2, 400, 402.5], {1: 1, 60: 2}, (2, 4.5)),
    ],
)
def test_a_summary_proves_the_quota_from_the_lines_alone(
    starts: list[float], most: dict[int, int], waits: tuple[int, float], tmp_path: Path
) -> None:
    """The most that started in any second and minute, and how long nothing could start."""
    lines = [
        UPDATED._replace(digest=f"{number:024x}", started_at=AT + start)
        for number, start in enumerate(starts)
    ]
    path = tmp_path / "incidents.report.csv"
    write(path, *lines)
    found = summarise(path)
    assert (found.most_started, (found.waits, found.waited_s)) == (most, waits)
