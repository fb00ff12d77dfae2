"""Times become series of bounded length, counted exactly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_reset.core.outcome import Status
from bulk_reset.records.history import code_of
from bulk_reset.reports.chart_data import Latency, Span, Timeline, find_latency, find_timeline

NO_TIMES = np.empty(0, np.float64)
NO_CODES = np.empty(0, np.uint8)


def codes(*statuses: Status) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.array([code_of(status) for status in statuses], np.uint8)


def test_requests_are_counted_in_sliding_windows() -> None:
    """The most in any second is found across the border of two bins; the most in any minute too."""
    starts = np.array([10.7, 10.2, 10.9, 11.1, 11.15, 13.0])
    found = find_timeline(starts, NO_TIMES, NO_CODES, 100)

    assert found == Timeline(1, (Span(10, 4),), {1: [3, 5, 2, 1], 60: [3, 5, 5, 6]}, {})


def test_rows_are_counted_by_status() -> None:
    """In each bin, for each status that rows have, and for no other."""
    finishes = np.array([100.1, 100.2, 102.9])
    found = find_timeline(
        NO_TIMES, finishes, codes(Status.UPDATED, Status.FAILED, Status.UPDATED), 100
    )
    assert found.finished == {Status.UPDATED: [1, 0, 1], Status.FAILED: [1, 0, 0]}


def test_a_long_pause_is_left_out() -> None:
    """Two runs a day apart are two spans, and each bin has its own time."""
    starts = np.array([1_000.0, 1_001.5, 90_000.2])
    found = find_timeline(starts, NO_TIMES, NO_CODES, 100)

    assert found.spans == (Span(1_000, 2), Span(90_000, 1))
    assert found.bins_at() == [1_000, 1_001, 90_000]
    assert found.most_started[1] == [1, 1, 1]


def test_a_report_without_times_has_no_bins() -> None:
    """No bins, no percentiles, no error."""
    assert find_timeline(NO_TIMES, NO_TIMES, NO_CODES, 10) == Timeline(1, (), {1: [], 60: []}, {})
    assert find_latency(NO_TIMES) == Latency(0, {}, ())


@given(st.lists(st.floats(0, 1e8), min_size=1, max_size=60), st.integers(20, 200))
def test_the_number_of_bins_is_limited(times: list[float], most: int) -> None:
    """For any times, the number of points is limited and no row is missing."""
    finishes = np.array(times)
    found = find_timeline(finishes, finishes, codes(*[Status.UPDATED] * len(times)), most)

    assert len(found.bins_at()) == len(found.most_started[60]) <= most
    assert sum(found.finished[Status.UPDATED]) == len(times)
    assert max(found.most_started[1]) >= 1


def test_percentiles_are_measured_values() -> None:
    """By the nearest rank: of a hundred, the 95th is p95."""
    found = find_latency(np.arange(1, 101) / 1000)

    assert found.count == 100
    assert found.percentiles_ms == {50: 50.0, 90: 90.0, 95: 95.0, 99: 99.0, 100: 100.0}


@pytest.mark.parametrize("elapsed_s", [[0.0], [0.1, 0.1049, 0.15, 0.6], [0.0004, 9_999.0]])
def test_each_attempt_is_in_one_bar(elapsed_s: list[float]) -> None:
    """The bars have no gaps between them and hold all attempts."""
    slots = find_latency(np.array(elapsed_s)).histogram

    assert sum(n for _, _, n in slots) == len(elapsed_s)
    assert all(one[1] == other[0] for one, other in pairwise(slots))
    assert min(slots[0][2], slots[-1][2]) >= 1
