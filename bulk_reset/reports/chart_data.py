"""The data of a report's charts: requests within the quota's windows, rows by result, latency.

The number of points does not grow with the report. Long pauses, for example between two runs of
one report, are left out: a chart shows *spans* of time, one after the other. Pure: arrays in,
values out.

Units: ``*_at`` UTC epoch seconds, ``*_s`` seconds, ``*_ms`` milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from bulk_reset.core.outcome import Status
from bulk_reset.records.history import code_of
from bulk_reset.records.summary import started_within

WINDOWS_S: Final = (1, 60)
"""The quota's windows."""
_BINS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 86_400)
_PAUSES_S: Final = (300.0, 3_600.0, 86_400.0, math.inf)
"""Pauses longer than this are left out; the first value that gives few enough spans is used."""
_MOST_SPANS: Final = 12
_PERCENTS: Final = (50, 90, 95, 99)
_STEPS: Final = (1, 1.5, 2, 3, 4, 5, 7)
_EDGES_MS: Final = tuple(step * 10**power for power in range(6) for step in _STEPS)
Times = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Span:
    """A time without a long pause: its first bin begins at ``begins_at``."""

    begins_at: int
    bins: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """Requests and results over time, bin by bin, the spans one after the other.

    Attributes:
        bin_s: the length of a bin.
        most_started: window in seconds -> the most requests started within a window that ends in
            the bin.
        finished: status -> rows that got it in the bin; statuses without rows are left out.
    """

    bin_s: int
    spans: tuple[Span, ...]
    most_started: dict[int, list[int]]
    finished: dict[Status, list[int]]

    def bins_at(self) -> list[int]:
        """Return when each bin begins."""
        return [
            span.begins_at + place * self.bin_s for span in self.spans for place in range(span.bins)
        ]


@dataclass(frozen=True, slots=True)
class Latency:
    """Durations of last attempts, from their start until the result was known.

    Attributes:
        count: of attempts.
        percentiles_ms: percent -> duration that this share of attempts did not exceed; 100 is the
            maximum.
        histogram: (from, below, attempts), in milliseconds, in order and without gaps.
    """

    count: int
    percentiles_ms: dict[int, float]
    histogram: tuple[tuple[float, float, int], ...]


def find_timeline(
    starts: Times, finishes: Times, codes: npt.NDArray[np.uint8], most_bins: int
) -> Timeline:
    """Return requests and results over time.

    Args:
        starts: times of requests, in any order.
        finishes: times of results, in any order; ``codes`` are their statuses (``code_of``).
        most_bins: the limit of bins.
    """
    starts = np.sort(starts)
    times = np.concatenate([starts, finishes])
    times.sort()  # in place: a report may have millions
    bin_s, spans = _spans(times, most_bins)
    edges_at = np.array(
        [span.begins_at + place * bin_s for span in spans for place in range(span.bins)], np.float64
    )
    bins = len(edges_at)
    most_started = {}
    for window_s in WINDOWS_S:
        # The window that ends where the bin begins; then the windows that end inside it.
        ends = np.searchsorted(starts, edges_at, side="right")
        begins = np.searchsorted(starts, edges_at - window_s, side="right")
        most = (ends - begins).astype(np.int64)
        places = np.searchsorted(edges_at, starts, side="right") - 1
        np.maximum.at(most, places, started_within(window_s, starts))
        most_started[window_s] = most.tolist()
    places = np.searchsorted(edges_at, finishes, side="right") - 1
    finished = {}
    for status in Status:
        counts = np.bincount(places[codes == code_of(status)], minlength=bins)
        if counts.any():
            finished[status] = counts.tolist()
    return Timeline(bin_s, spans, most_started, finished)


def _spans(times: Times, most_bins: int) -> tuple[int, tuple[Span, ...]]:
    """Cut sorted times at long pauses, and choose the shortest bins within the limit."""
    if not len(times):
        return 1, ()
    stretches = []
    for pause_s in _PAUSES_S:
        cuts = np.flatnonzero(np.diff(times) > pause_s) + 1
        stretches = np.split(times, cuts)
        if len(stretches) <= _MOST_SPANS:
            break
    bounds = [(float(stretch[0]), float(stretch[-1])) for stretch in stretches]
    for bin_s in _BINS_S:
        spans = _spans_of(bounds, bin_s)
        if sum(span.bins for span in spans) <= most_bins:
            return bin_s, spans
    bin_s = math.ceil((bounds[-1][1] - bounds[0][0]) / max(1, most_bins - 1))
    return bin_s, _spans_of([(bounds[0][0], bounds[-1][1])], bin_s)


def _spans_of(bounds: Sequence[tuple[float, float]], bin_s: int) -> tuple[Span, ...]:
    spans = []
    for first, last in bounds:
        begins_at = math.floor(first / bin_s) * bin_s
        spans.append(Span(begins_at, math.floor((last - begins_at) / bin_s) + 1))
    return tuple(spans)


def find_latency(elapsed_s: Times) -> Latency:
    """Return the distribution of the durations of attempts."""
    # To the millisecond, as a report has it.
    elapsed_ms = np.sort(np.round(elapsed_s * 1000))
    count = len(elapsed_ms)
    if not count:
        return Latency(0, {}, ())
    places = [math.ceil(count * percent / 100) - 1 for percent in _PERCENTS]
    percentiles = dict(zip(_PERCENTS, elapsed_ms[places].tolist(), strict=True))
    percentiles[100] = float(elapsed_ms[-1])
    edges = np.array([0.0, *_EDGES_MS, math.inf])
    first = int(np.searchsorted(edges, elapsed_ms[0], side="right")) - 1
    last = int(np.searchsorted(edges, elapsed_ms[-1], side="right"))
    kept = edges[first : last + 1]
    borders = np.searchsorted(elapsed_ms, kept, side="left").tolist()
    return Latency(
        count,
        percentiles,
        tuple(
            (float(low), float(high), end - start)
            for (low, high), (start, end) in zip(pairwise(kept), pairwise(borders), strict=True)
        ),
    )
