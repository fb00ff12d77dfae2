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
from bulk_reset.records.report_index import ReportIndex, each

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

    def add(self, outcome: Outcome) -> None:
        """Add an outcome, if its row is not done."""
        if outcome.status.is_done:
            return
        key = (outcome.error_code, outcome.status)
        rows, example = self._groups.get(key, (0, outcome))
        self._groups[key] = (rows + 1, example)

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
    tally = _TimesTally()
    counts, groups = dict.fromkeys(Status, 0), ErrorGroups()
    requests = throttled = not_edited = 0
    latest = ""
    for is_last, outcome in zip(each(index.is_last()), index.outcomes(), strict=True):
        tally.add(outcome)
        # The rows of one request, for an action or a comment, follow each other.
        is_shared = outcome.request_id == latest != "" and not _GROUPED.isdisjoint(outcome.fields)
        latest = outcome.request_id
        requests += outcome.attempts + outcome.throttled - is_shared
        throttled += outcome.throttled
        if is_last:
            counts[outcome.status] += 1
            groups.add(outcome)
            not_edited += outcome.status.is_done and outcome.error_message == NOT_EDITED
    del counts[Status.PENDING]
    times = tally.times()
    started_at = np.sort(times.starts)
    gaps_s = np.diff(started_at)
    waits_s = gaps_s[(gaps_s > _SHORTEST_WAIT_S) & (gaps_s <= _LONGEST_WAIT_S)]
    summary = ReportSummary(
        str(index.path),
        len(index),
        counts,
        requests,
        throttled,
        float(started_at[0]) if len(started_at) else 0.0,
        float(times.finishes.max(initial=0.0)),
        {seconds: _most_within(seconds, started_at) for seconds in (1, 60)},
        len(waits_s),
        round(float(waits_s.sum()), 3),
        groups.groups(),
        not_edited,
    )
    return summary, times


class _TimesTally:
    """Collects the times of lines, in arrays."""

    def __init__(self) -> None:
        self._starts, self._finishes, self._elapsed_s = array("d"), array("d"), array("d")
        self._codes, self._ids = array("B"), array("q")
        self._first_id = self._last_id = ""

    def add(self, outcome: Outcome) -> None:
        """Add a line."""
        started_at, finished_at = outcome.started_at, outcome.finished_at
        if started_at:
            self._starts.append(started_at)
        if finished_at:
            self._finishes.append(finished_at)
            self._codes.append(code_of(outcome.status))
        if outcome.attempts and started_at and finished_at:
            self._elapsed_s.append(max(0.0, finished_at - started_at))
        if outcome.request_id:
            self._ids.append(hash(outcome.request_id))
            self._first_id = self._first_id or outcome.request_id
            self._last_id = outcome.request_id

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
