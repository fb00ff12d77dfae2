"""A summary of a report file: counts, errors by code, peaks of the quota, waits.

It is made from the report's lines, never from a run's own state. Only the groups of errors are
shared with a run, so that both are the same.

Units: ``*_s`` seconds, ``*_at`` UTC epoch seconds.
"""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.custom_fields import COMMENT_FIELD
from bulk_reset.core.option_names import option
from bulk_reset.core.outcome import NOT_EDITED, ErrorGroup, Outcome, Status
from bulk_reset.core.safe_text import escape_formula
from bulk_reset.records.history import code_of
from bulk_reset.records.report_block import Block, different
from bulk_reset.records.report_index import ReportIndex

Times = npt.NDArray[np.float64]
_SHORTEST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 300.0
_ADVICE: Final = {
    "ResourceNotFound": "Check the id: this account has no such incident.",
    "InvalidParameter": "Change the value that the message names, then run the failed rows.",
    "changed_since": "Check the incident. Then use {overwrite}, or make a saved plan again.",
    "not_applied": "Compare the incident with the sheet, then use {retry_failed}.",
    "comment_in_doubt": "Check whether the incident has the comment.",
    "EntityTooLarge": "Shorten the texts of the row.",
    **dict.fromkeys(
        ("InternalError", "ServiceUnavailable", "timeout", "connection_lost"),
        "Error of the API. Run again with {retry_failed}.",
    ),
}
_GROUPED: Final = frozenset({ACTION_FIELD, COMMENT_FIELD})
_ADVICE_UNKNOWN: Final = "Run again. The row may be applied; sending it twice changes nothing."
_ADVICE_UNREADABLE: Final = "Not an answer of the API. Check the proxy, then use {retry_failed}."
_ADVICE_OTHER: Final = ""
"""The message of an invalid row has its fix; of other codes of the API, nothing is known."""


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """A summary of a report file; the last line of each row counts.

    Attributes:
        requests: the sum over the lines of attempts and of answers with HTTP 429.
        throttled: answers with HTTP 429 among them (the quota was exceeded).
        first_at: when the first attempt started; 0 if nothing was sent.
        most_started: seconds -> the most requests started within that time. Of a row that was
            sent several times, only the last start is known.
        waits, waited_s: how often no request was started for more than one second and up to five
            minutes (longer pauses are between two runs), and for how long in total.
    """

    path: str
    lines: int
    counts: dict[Status, int]
    requests: int
    throttled: int
    first_at: float
    last_at: float
    most_started: dict[int, int]
    waits: int
    waited_s: float
    errors: tuple[ErrorGroup, ...]
    not_edited: int = 0
    """Rows in which nothing was edited since the pull; part of ``counts``, as ``unchanged``."""


class ErrorGroups:
    """Rows that are not done, grouped by error code, with the first as the example."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, Status], tuple[int, Outcome]] = {}

    def add(self, outcome: Outcome, count: int = 1) -> None:
        """Add an outcome, if its row is not done, or this many that end as it does."""
        if outcome.status.is_done:
            return
        key = (outcome.error_code, outcome.status)
        rows, example = self._groups.get(key, (0, outcome))
        self._groups[key] = (rows + count, example)

    def groups(self) -> tuple[ErrorGroup, ...]:
        """Return the groups, the largest first."""
        return tuple(
            ErrorGroup(
                escape_formula(code),
                status,
                rows,
                example.row_number,
                escape_formula(example.error_message),
            )
            for (code, status), (rows, example) in sorted(
                self._groups.items(), key=lambda item: -item[1][0]
            )
        )


def advice_on(group: ErrorGroup) -> str:
    """Return what to do about the rows of a group."""
    advice = _ADVICE.get(group.code, _ADVICE_OTHER)
    if group.status is Status.UNKNOWN:
        advice = _ADVICE_UNKNOWN
    elif group.code.startswith("HTTP "):
        advice = _ADVICE_UNREADABLE
    return advice.format(overwrite=option("overwrite"), retry_failed=option("retry_failed"))


@dataclass(frozen=True, slots=True)
class ReportTimes:
    """When the requests of a report started and its rows ended, and the ids of the requests.

    Attributes:
        starts, finishes: times of requests and of results, in the report's order; ``codes`` are
            the statuses of the latter (``code_of``).
        elapsed_s: duration of each last attempt.
        request_ids: distinct ids; ``first_id`` and ``last_id`` in the report's order.
    """

    starts: Times
    finishes: Times
    codes: npt.NDArray[np.uint8]
    elapsed_s: Times
    request_ids: int
    first_id: str
    last_id: str


def summarise(path: str | os.PathLike[str]) -> ReportSummary:
    """Summarise a report; see ``read_report`` for what it raises."""
    with ReportIndex(path) as index:
        return read_summary(index)[0]


def read_summary(index: ReportIndex) -> tuple[ReportSummary, ReportTimes]:
    """Read all lines of a report, once: its summary, and the times of all lines."""
    tally, times_tally = _Tally(index), _TimesTally()
    for block in index.blocks():
        tally.add(block)
        times_tally.add(block)
    times = times_tally.times()
    started_at = np.sort(times.starts)
    gaps_s = np.diff(started_at)
    waits_s = gaps_s[(gaps_s > _SHORTEST_WAIT_S) & (gaps_s <= _LONGEST_WAIT_S)]
    summary = ReportSummary(
        str(index.path),
        len(index),
        tally.counts,
        tally.requests,
        tally.throttled,
        float(started_at[0]) if len(started_at) else 0.0,
        float(times.finishes.max(initial=0.0)),
        {seconds: _most_within(seconds, started_at) for seconds in (1, 60)},
        len(waits_s),
        round(float(waits_s.sum()), 3),
        tally.groups.groups(),
        tally.not_edited,
    )
    return summary, times


class _Tally:
    """Counts the requests of all lines, and rows by their last line."""

    def __init__(self, index: ReportIndex) -> None:
        self.counts = dict.fromkeys(Status, 0)
        del self.counts[Status.PENDING]
        self.groups = ErrorGroups()
        self.requests = self.throttled = self.not_edited = 0
        self._index, self._is_last = index, index.is_last()
        self._lines, self._latest_id = 0, b""

    def add(self, block: Block) -> None:
        """Add the next lines."""
        for ending, count in zip(block.endings, np.bincount(block.ending_of).tolist(), strict=True):
            self.requests += count * (ending.attempts + ending.throttled)
            self.throttled += count * ending.throttled
        self.requests -= self._shared(block)
        first, self._lines = self._lines, self._lines + len(block.ending_of)
        rows = np.flatnonzero(self._is_last[first : self._lines])
        heads = [
            (one.status, one.error_code, one.error_message == NOT_EDITED) for one in block.endings
        ]
        _, kind_of = different([heads[number] for number in block.ending_of[rows].tolist()])
        _, places, counts = np.unique(kind_of, return_index=True, return_counts=True)
        examples = self._index.at((first + rows[places]).tolist())
        for outcome, count in zip(examples, counts.tolist(), strict=True):
            self.counts[outcome.status] += count
            self.groups.add(outcome, count)
            self.not_edited += count * (
                outcome.status.is_done and outcome.error_message == NOT_EDITED
            )

    def _shared(self, block: Block) -> int:
        """Return how many lines are of a request that was counted already.

        The rows of one request, for an action or a comment, follow each other.
        """
        is_grouped = np.array([not _GROUPED.isdisjoint(one.fields) for one in block.endings])
        earlier = [self._latest_id, *block.request_ids]
        self._latest_id = earlier[-1]
        pairs = zip(block.request_ids, earlier, is_grouped[block.ending_of].tolist(), strict=False)
        return sum(one == before != b"" and is_so for one, before, is_so in pairs)


class _TimesTally:
    """Collects the times of lines, in arrays."""

    def __init__(self) -> None:
        self._starts, self._finishes, self._elapsed_s = array("d"), array("d"), array("d")
        self._codes, self._ids = array("B"), array("q")
        self._first_id = self._last_id = ""

    def add(self, block: Block) -> None:
        """Add the next lines."""
        starts, finishes = block.starts, block.finishes
        has_start, has_finish = starts > 0, finishes > 0
        is_sent = np.array([one.attempts > 0 for one in block.endings])[block.ending_of]
        codes = np.array([code_of(one.status) for one in block.endings], np.uint8)
        elapsed_s = np.maximum(finishes - starts, 0.0)[is_sent & has_start & has_finish]
        self._starts.frombytes(starts[has_start].tobytes())
        self._finishes.frombytes(finishes[has_finish].tobytes())
        self._codes.frombytes(codes[block.ending_of][has_finish].tobytes())
        self._elapsed_s.frombytes(elapsed_s.tobytes())
        if ids := list(filter(None, block.request_ids)):
            self._ids.extend(map(hash, ids))
            self._first_id = self._first_id or ids[0].decode()
            self._last_id = ids[-1].decode()

    def times(self) -> ReportTimes:
        """Return the times of all lines."""
        return ReportTimes(
            # The arrays themselves, not copies.
            np.frombuffer(self._starts, np.float64) if self._starts else np.empty(0),
            np.frombuffer(self._finishes, np.float64) if self._finishes else np.empty(0),
            np.frombuffer(self._codes, np.uint8) if self._codes else np.empty(0, np.uint8),
            np.frombuffer(self._elapsed_s, np.float64) if self._elapsed_s else np.empty(0),
            len(np.unique(np.array(self._ids, np.int64))),
            self._first_id,
            self._last_id,
        )


def started_within(seconds: int, starts: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return for each of these sorted times how many are within the seconds that end with it."""
    # Times are written in milliseconds; half a millisecond covers the rounding of floats.
    firsts = np.searchsorted(starts, starts - seconds + 0.0005, side="right")
    return np.arange(1, len(starts) + 1) - firsts


def _most_within(seconds: int, starts: npt.NDArray[np.float64]) -> int:
    """Return the most of these sorted times within this many seconds."""
    return int(started_within(seconds, starts).max()) if len(starts) else 0
