"""What the page of a report tells, as values, and the sentences that follow from them.

Frozen, plain data. Units: ``*_s`` seconds, ``*_at`` UTC epoch seconds, ``*_bytes`` bytes.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bulk_reset.core.defaults import PER_MINUTE, PER_SECOND
from bulk_reset.core.outcome import NOT_DONE, Status
from bulk_reset.records.summary import ReportSummary
from bulk_reset.reports.timeline import Latency, Timeline

_DEFAULT_LIMITS: Final = {1: PER_SECOND, 60: PER_MINUTE}
_ASKING: Final = {
    "base_url": "--base-url",
    "account": "--account",
    "app_key_file": "--app-key-file",
    "sandbox_state": "--sandbox-state",
}
"""Options that say whom to ask: the way back needs them again."""


@dataclass(frozen=True, slots=True)
class Requests:
    """The API's ids of requests, as the report has them."""

    distinct: int
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What a report, its before-images and its audit tell.

    Attributes:
        runs: a record of each run of the report, in order; see ``audit``.
        before: the file of before-images, empty where there is none; ``images`` is how many
            lines it has, ``lost`` how many of its values cannot be restored.
        drawn: the points of the charts; ``table`` the same times in fewer.
    """

    report: str
    report_sha256: str
    report_bytes: int
    made_at: float
    version: str
    summary: ReportSummary
    runs: tuple[dict[str, Any], ...]
    before: str
    images: int
    lost: int
    requests: Requests
    drawn: Timeline
    table: Timeline
    latency: Latency

    @property
    def last_run(self) -> dict[str, Any]:
        """What the last run said of itself; empty where nothing is known."""
        return self.runs[-1] if self.runs else {}

    @property
    def sheet(self) -> str:
        """The sheet's name, or else the report's."""
        return str(self.last_run.get("sheet") or self.report)

    @property
    def pending(self) -> int | None:
        """Rows without a line; None where nobody knows."""
        counts = self.last_run.get("counts")
        pending = counts.get("pending", 0) if isinstance(counts, dict) else None
        return pending if isinstance(pending, int) else None

    def limits(self) -> dict[int, int]:
        """Return window in seconds -> requests that the last run might start within it."""
        limits = dict(_DEFAULT_LIMITS)
        for run in self.runs:
            limits |= {window: limit for window, limit, _ in peaks_of(run) if window in limits}
        return limits

    def started(self) -> dict[int, int]:
        """Return window in seconds -> the most that a run says it started within it."""
        started: dict[int, int] = {}
        for run in self.runs:
            for window, _, most in peaks_of(run):
                started[window] = max(most, started.get(window, 0))
        return started


def peaks_of(run: dict[str, Any]) -> Iterator[tuple[int, int, int]]:
    """Yield (window in seconds, limit, most started) of a run's record."""
    for peak in run.get("peaks") or ():
        yield int(peak["window_s"]), int(peak["limit"]), int(peak["started"])


def verdict(facts: PageFacts) -> tuple[bool, str]:
    """Return whether all is done, and what became of it in a sentence."""
    counts = facts.summary.counts
    pending = facts.pending
    rows = sum(counts.values()) + (pending or 0)
    open_rows = sum(counts[status] for status in NOT_DONE) + (pending or 0)
    wrong = facts.last_run.get("not_as_written") or 0
    said = [f"{open_rows:,} of {rows:,} rows are not done."]
    if not rows:
        said = ["The report has no rows."]
    elif not open_rows:
        said = [f"All {rows:,} rows are done."]
        if pending is None:
            said = [f"All {rows:,} rows of the report are done; of others it does not tell."]
    if wrong:
        said.append(f"Read back, {wrong:,} rows were not as they were written.")
    stop = facts.last_run.get("stop")
    if isinstance(stop, dict):
        said.append(f"The last run stopped early: {str(stop.get('message', '')).rstrip('.')}.")
    return bool(rows) and not open_rows and not wrong and not stop, " ".join(said)


def way_back(facts: PageFacts) -> tuple[str, tuple[str, ...]]:
    """Return in a sentence whether there is a way back, and the commands that take it."""
    options = facts.last_run.get("options") or {}
    common_options = [
        word
        for name, option in _ASKING.items()
        if name in options
        for word in (option, str(options[name]))
    ]
    if not facts.before:
        if not any(facts.summary.counts[s] for s in (Status.UPDATED, Status.UNKNOWN)):
            return "Nothing was sent, so there is nothing to take back.", ()
        return "There is none: the run went without a look (--no-before), or the file is gone.", ()
    told = f"What stood there before is in {facts.before}, for {facts.images:,} rows."
    if facts.lost:
        told += (
            f" {facts.lost:,} values cannot be restored (they were empty, or nothing that the API "
            "takes); the rows say which."
        )
    if options.get("sandbox") and "sandbox_state" not in options:
        return f"{told} It was a rehearsal, and its sandbox is gone.", ()
    commands = tuple(
        shlex.join(["bulk-reset", verb, facts.report, *common_options])
        for verb in ("undo", "verify")
    )
    return told, commands


def moment(at: object) -> str:
    """Return a time as people read it; empty where there is none."""
    if not isinstance(at, int | float) or not at:
        return ""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def options_told(run: dict[str, Any]) -> str:
    """Return the options of a run that are not as they are by default, on a line."""
    options = run.get("options") or {}
    return ", ".join(
        name if value is True else f"{name}={value}" for name, value in options.items()
    )
