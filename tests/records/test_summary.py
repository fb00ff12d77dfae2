"""The summary that is made from a report file alone."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report_file import AT, FAILED, REJECTED, THREE, UPDATED, write

from bulk_reset.core.outcome import NOT_EDITED, ErrorGroup, Outcome, Status
from bulk_reset.records import report_index
from bulk_reset.records.history import code_of
from bulk_reset.records.report_index import ReportIndex
from bulk_reset.records.report_reader import read_report
from bulk_reset.records.summary import ReportSummary, read_summary, summarise


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


LINES = st.lists(
    st.builds(
        Outcome,
        row_number=st.integers(2, 5),
        incident_id=st.just("69da451e0000000000000001"),
        status=st.sampled_from([one for one in Status if one is not Status.PENDING]),
        fields=st.sampled_from([("title",), ("title", "comment"), ("action",)]),
        digest=st.sampled_from([f"{n:024x}" for n in range(5)]),
        attempts=st.integers(0, 2),
        error_code=st.sampled_from(["", "timeout", 'In"valid']),
        error_message=st.sampled_from(["", NOT_EDITED, "a, b", "满了"]),
        request_id=st.sampled_from(["", "req-1", "req-2"]),
        started_at=st.sampled_from([0.0, AT, AT + 0.25, AT + 90]),
        finished_at=st.sampled_from([0.0, AT + 0.125, AT + 91]),
        throttled=st.integers(0, 1),
    ),
    max_size=12,
)


def counted_one_by_one(lines: list[Outcome]) -> dict[str, Any]:
    """Return what a summary has, by the definitions of its attributes."""
    last = {line.digest: n for n, line in enumerate(lines)}
    rows = [line for n, line in enumerate(lines) if last[line.digest] == n]
    not_done = [row for row in rows if not row.status.is_done]
    groups: dict[tuple[str, Status], list[Outcome]] = {}
    for row in not_done:
        groups.setdefault((row.error_code, row.status), []).append(row)
    shared = sum(
        one.request_id == next_.request_id != ""
        and {"action", "comment"} & set(next_.fields) != set()
        for one, next_ in pairwise(lines)
    )
    ids = [line.request_id for line in lines if line.request_id]
    timed = [line for line in lines if line.attempts and line.started_at and line.finished_at]
    return {
        "counts": {
            status: sum(row.status is status for row in rows)
            for status in Status
            if status is not Status.PENDING
        },
        "requests": sum(line.attempts + line.throttled for line in lines) - shared,
        "throttled": sum(line.throttled for line in lines),
        "first_at": min((line.started_at for line in lines if line.started_at), default=0.0),
        "last_at": max((line.finished_at for line in lines), default=0.0),
        "errors": tuple(
            ErrorGroup(code, status, len(some), some[0].row_number, some[0].error_message)
            for (code, status), some in sorted(groups.items(), key=lambda item: -len(item[1]))
        ),
        "not_edited": sum(row.status.is_done and row.error_message == NOT_EDITED for row in rows),
        "ids": (len(set(ids)), ids[0] if ids else "", ids[-1] if ids else ""),
        "finishes": [line.finished_at for line in lines if line.finished_at],
        "codes": [code_of(line.status) for line in lines if line.finished_at],
        "elapsed_s": [max(0.0, line.finished_at - line.started_at) for line in timed],
    }


@given(LINES)
def test_a_summary_of_many_lines_is_what_counting_one_by_one_gives(
    tmp_path_factory: pytest.TempPathFactory, outcomes: list[Outcome]
) -> None:
    """Rows sent again, errors of all kinds, and requests that several rows share."""
    path = tmp_path_factory.mktemp("report") / "x.report.csv"
    write(path, *outcomes)
    expected = counted_one_by_one(list(read_report(path)))
    with ReportIndex(path) as index, patch.object(report_index, "_BLOCK_BYTES", 3_200):
        summary, times = read_summary(index)
    found = {name: getattr(summary, name, None) for name in expected} | {
        "ids": (times.request_ids, times.first_id, times.last_id),
        "finishes": times.finishes.tolist(),
        "codes": times.codes.tolist(),
        "elapsed_s": times.elapsed_s.tolist(),
    }
    assert found == expected
