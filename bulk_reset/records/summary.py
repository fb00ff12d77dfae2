"""What a report file alone tells: counts, errors by code, the quota's proof, the waits.

It is made from the report's lines, never from a run's own state; only the groups of errors
are shared with a run, so that both say the same.

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

from bulk_reset.core.outcome import ErrorGroup, Outcome, Status
from bulk_reset.core.safe_text import escape_formula
from bulk_reset.records.history import History
from bulk_reset.records.report_reader import read_report

_SHORTEST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 300.0
_ADVICE: Final = {
    "ResourceNotFound": "check the id: no such incident in this account",
    "InvalidParameter": "mend the row: the message says what is wrong",
    "changed_since": "look at it; --overwrite sends it anyway",
    "comment_in_doubt": "look at the incident: is the comment there?",
    "EntityTooLarge": "shorten the texts of the row",
    **dict.fromkeys(
        ("InternalError", "ServiceUnavailable", "timeout", "connection_lost"),
        "the API's trouble: run again with --retry-failed",
    ),
}
_ADVICE_UNKNOWN: Final = "run again: it may have been applied, sending it twice changes nothing"
_ADVICE_UNREADABLE: Final = "not the API's answer: look at what is between, then --retry-failed"


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """What a report file alone tells: the last line of each row counts.

    Attributes:
        requests: how many the lines tell of: attempts, and answers over the quota.
        throttled: those of them that were over the quota (HTTP 429).
        first_at: when the first attempt was started; 0 where nothing was sent.
        most_started: seconds -> the most requests that were started within so many. Of a
            row that was sent several times, only the last time is known.
        waits, waited_s: how often nothing was started for more than a second (and at most
            five minutes: what is longer lies between two runs), and for how long in all.
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


class ErrorGroups:
    """Rows that ended badly, grouped by error code, with the first as the example."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, Status], tuple[int, Outcome]] = {}

    def add(self, outcome: Outcome) -> None:
        """Take an outcome in, if it is a bad one."""
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
    """Return what to do about rows that ended so."""
    if group.status is Status.UNKNOWN:
        return _ADVICE_UNKNOWN
    if group.code.startswith("HTTP "):
        return _ADVICE_UNREADABLE
    return _ADVICE.get(group.code, "mend the row")


def summarise(path: str | os.PathLike[str]) -> ReportSummary:
    """Sum a report up; see ``read_report`` for what it raises."""
    starts, finishes = array("d"), array("d", [0.0])
    not_done: dict[str, Outcome] = {}
    lines = requests = throttled = 0

    def noted() -> Iterator[Outcome]:
        nonlocal lines, requests, throttled
        for outcome in read_report(path):
            lines += 1
            requests += outcome.attempts + outcome.throttled
            throttled += outcome.throttled
            if outcome.started_at:
                starts.append(outcome.started_at)
            finishes[0] = max(finishes[0], outcome.finished_at)
            not_done.pop(outcome.digest, None)
            if not outcome.status.is_done:
                not_done[outcome.digest] = outcome
            yield outcome

    counts = History.of(noted()).counts()
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
    )


def started_within(seconds: int, starts: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return for each of these sorted times how many lie in the seconds that end with it."""
    # To the millisecond, as they are written; half of one is for the rounding of floats.
    firsts = np.searchsorted(starts, starts - seconds + 0.0005, side="right")
    return np.arange(1, len(starts) + 1) - firsts


def _most_within(seconds: int, starts: npt.NDArray[np.float64]) -> int:
    """Return the most of these sorted times that lie within so many seconds."""
    return int(started_within(seconds, starts).max()) if len(starts) else 0
