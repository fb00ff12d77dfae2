"""A summary of a report file: counts, errors by code, peaks of the quota, waits.

It is made from the report's lines, never from a run's own state. Only the groups of errors are
shared with a run, so that both are the same.

Units: ``*_s`` seconds, ``*_at`` UTC epoch seconds.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.custom_fields import COMMENT_FIELD
from bulk_reset.core.option_names import option
from bulk_reset.core.outcome import NOT_EDITED, ErrorGroup, Outcome, Status
from bulk_reset.core.safe_text import escape_formula
from bulk_reset.records.history import History
from bulk_reset.records.report_reader import read_report

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


def summarise(path: str | os.PathLike[str]) -> ReportSummary:
    """Summarise a report; see ``read_report`` for what it raises."""
    starts, finishes = array("d"), array("d", [0.0])
    not_done: dict[str, Outcome] = {}
    not_edited: set[int] = set()
    lines = requests = throttled = 0
    latest = ""

    def counted_outcomes() -> Iterator[Outcome]:
        nonlocal lines, requests, throttled, latest
        for outcome in read_report(path):
            lines += 1
            # The rows of one request, for an action or a comment, follow each other.
            grouped = len({ACTION_FIELD, COMMENT_FIELD}.intersection(outcome.fields))
            is_shared = bool(outcome.request_id) and outcome.request_id == latest
            latest = outcome.request_id
            requests += outcome.attempts + outcome.throttled - grouped * is_shared
            throttled += outcome.throttled
            if outcome.started_at:
                starts.append(outcome.started_at)
            finishes[0] = max(finishes[0], outcome.finished_at)
            not_done.pop(outcome.digest, None)
            if not outcome.status.is_done:
                not_done[outcome.digest] = outcome
            elif outcome.error_message == NOT_EDITED:
                not_edited.add(hash(outcome.digest))
            yield outcome

    counts = History.of(counted_outcomes()).counts()
    groups = ErrorGroups()
    for outcome in not_done.values():
        groups.add(outcome)
    started_at = np.sort(np.frombuffer(starts, np.float64))
    gaps_s = np.diff(started_at)
    waits_s = gaps_s[(gaps_s > _SHORTEST_WAIT_S) & (gaps_s <= _LONGEST_WAIT_S)]
    return ReportSummary(
        str(path),
        lines,
        {status: counts[status] for status in Status if status is not Status.PENDING},
        requests,
        throttled,
        float(started_at[0]) if len(started_at) else 0.0,
        finishes[0],
        {seconds: _most_within(seconds, started_at) for seconds in (1, 60)},
        len(waits_s),
        round(float(waits_s.sum()), 3),
        groups.groups(),
        len(not_edited),
    )


def started_within(seconds: int, starts: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return for each of these sorted times how many are within the seconds that end with it."""
    # Times are written in milliseconds; half a millisecond covers the rounding of floats.
    firsts = np.searchsorted(starts, starts - seconds + 0.0005, side="right")
    return np.arange(1, len(starts) + 1) - firsts


def _most_within(seconds: int, starts: npt.NDArray[np.float64]) -> int:
    """Return the most of these sorted times within this many seconds."""
    return int(started_within(seconds, starts).max()) if len(starts) else 0
