"""What the page of a report shows, as values, and the sentences that follow from them.

Frozen, plain data. Units: ``*_s`` seconds, ``*_at`` UTC epoch seconds, ``*_bytes`` bytes.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bulk_reset.core.counting import counted, duration
from bulk_reset.core.defaults import PER_MINUTE, PER_SECOND
from bulk_reset.core.option_names import OptionStyle, name_options_as, option_name
from bulk_reset.core.outcome import MEANING_OF, NOT_DONE, ErrorGroup, Status
from bulk_reset.records.approvals import text_of
from bulk_reset.records.summary import ReportSummary, ReportTimes, advice_on
from bulk_reset.reports.chart_data import Latency, Timeline
from bulk_reset.reports.html_page import milliseconds, utc

MAX_GROUPS: Final = 100
"""Kinds of errors that the page lists; a server may invent one for each row."""
_DEFAULT_LIMITS: Final = {1: PER_SECOND, 60: PER_MINUTE}
_CONNECTION_OPTIONS: Final = {
    "base_url": "--base-url",
    "account": "--account",
    "app_key_file": "--app-key-file",
    "sandbox_state": "--sandbox-state",
}
"""Options that name the API or the sandbox: undo and verify need them again."""
_STACK_ORDER: Final = (*NOT_DONE, Status.SKIPPED, Status.UNCHANGED, Status.UPDATED)
"""How statuses are stacked in a chart: those that need attention are at the bottom."""


@dataclass(frozen=True, slots=True)
class Badge:
    """A short fact at the top of the page; ``kind`` is its class in the stylesheet."""

    text: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """What a report, its previous values and its audit contain.

    Attributes:
        runs: the audit's record of each run, in order; see ``audit``.
        before: the file of previous values, empty without one; ``before_rows`` is how many rows
            it has, ``not_restorable`` how many of its values cannot be restored.
        drawn: the points of the charts; ``table`` has the same times in fewer.
    """

    report: str
    report_sha256: str
    report_bytes: int
    made_at: float
    version: str
    summary: ReportSummary
    runs: tuple[dict[str, Any], ...]
    before: str
    before_rows: int
    not_restorable: int
    times: ReportTimes
    drawn: Timeline
    table: Timeline
    latency: Latency

    @property
    def last_run(self) -> dict[str, Any]:
        """The audit's record of the last run; empty without one."""
        return self.runs[-1] if self.runs else {}

    @property
    def sheet(self) -> str:
        """The sheet's name, or else the report's."""
        return str(self.last_run.get("sheet") or self.report)

    @property
    def pending(self) -> int | None:
        """Rows without a line; None where the number is not known."""
        counts = self.last_run.get("counts")
        pending = counts.get("pending", 0) if isinstance(counts, dict) else None
        return pending if isinstance(pending, int) else None

    @property
    def counts(self) -> dict[Status, int]:
        """Rows by status, in the order of reading; statuses without rows are left out."""
        counts = {**self.summary.counts, Status.PENDING: self.pending or 0}
        return {status: counts[status] for status in MEANING_OF if counts.get(status)}

    @property
    def errors(self) -> tuple[ErrorGroup, ...]:
        """The kinds of errors that the page lists, the most frequent first."""
        return self.summary.errors[:MAX_GROUPS]

    @property
    def limits(self) -> dict[int, int]:
        """Window in seconds -> the most requests that the runs could start within it."""
        limits = dict(_DEFAULT_LIMITS)
        for run in self.runs:
            limits |= {window: limit for window, limit, _ in _peaks_of(run) if window in limits}
        return limits

    @property
    def counted_by_runs(self) -> dict[int, int]:
        """Window in seconds -> the most requests within it by the runs' own count."""
        started: dict[int, int] = {}
        for run in self.runs:
            for window, _, most in _peaks_of(run):
                started[window] = max(most, started.get(window, 0))
        return started

    @property
    def waited_s(self) -> Counter[str]:
        """Cause -> seconds that the runs waited for it."""
        waited_s: Counter[str] = Counter()
        for run in self.runs:
            waited_s.update(run.get("waited_s") or {})
        return waited_s


def _peaks_of(run: Mapping[str, Any]) -> Iterator[tuple[int, int, int]]:
    """Yield (window in seconds, limit, most started) of a run's record."""
    for peak in run.get("peaks") or ():
        yield int(peak["window_s"]), int(peak["limit"]), int(peak["started"])


def verdict(facts: ReportFacts) -> tuple[bool, str]:
    """Return whether all rows are done and well, and the result in a sentence."""
    rows = sum(facts.counts.values())
    not_done = sum(facts.counts.get(status, 0) for status in (*NOT_DONE, Status.PENDING))
    wrong = facts.last_run.get("not_as_written") or 0
    is_or_are = "is" if not_done == 1 else "are"
    sentences = [f"{not_done:,} of {counted(rows, 'row')} {is_or_are} not done."]
    if not rows:
        sentences = ["The report has no rows."]
    elif not not_done:
        all_rows = "1 row" if rows == 1 else f"All {rows:,} rows"
        is_or_are = "is" if rows == 1 else "are"
        sentences = [f"{all_rows} {is_or_are} done."]
        if facts.pending is None:
            sentences = [
                f"{all_rows} of the report {is_or_are} done; the number of pending rows is unknown."
            ]
    if wrong:
        differ = "differs" if wrong == 1 else "differ"
        sentences.append(
            f"Verification failed: {counted(wrong, 'row')} {differ} from what was written."
        )
    stop = facts.last_run.get("stop")
    if isinstance(stop, dict):
        reason = str(stop.get("message", "")).rstrip(".")
        sentences.append(f"The last run stopped early: {reason}.")
    return bool(rows) and not not_done and not wrong and not stop, " ".join(sentences)


def badges(facts: ReportFacts) -> Iterator[Badge]:
    """Yield where the last run sent its rows, how long it took, and whether it was verified."""
    run = facts.last_run
    if not run:
        return
    yield Badge("Sandbox", "sandbox") if _is_sandbox(run) else Badge("API", "api")
    started_at, ended_at = run.get("started_at"), run.get("ended_at")
    if isinstance(started_at, int | float) and isinstance(ended_at, int | float):
        yield Badge(f"Duration {duration(max(0.0, ended_at - started_at))}")
    wrong = run.get("not_as_written")
    if wrong is None:
        yield Badge("Not verified")
    elif wrong:
        yield Badge(f"Verification failed: {counted(wrong, 'row')}", "bad")
    else:
        yield Badge("Verified", "good")


def _is_sandbox(run: Mapping[str, Any]) -> bool:
    options = run.get("options") or {}
    return bool(options.get("sandbox") or options.get("sandbox_state"))


def undo_of(facts: ReportFacts) -> tuple[str, dict[str, str]]:
    """Return whether the run can be undone, in a sentence, and the commands by their purpose."""
    options = facts.last_run.get("options") or {}
    if not facts.before:
        if not any(facts.counts.get(status) for status in (Status.UPDATED, Status.UNKNOWN)):
            return "Nothing was sent, so there is nothing to undo.", {}
        return (
            "Not available: the run used --no-before, or the file of previous values was deleted.",
            {},
        )
    text = f"The previous values of {counted(facts.before_rows, 'row')} are in {facts.before}."
    if facts.not_restorable:
        text += (
            f" {counted(facts.not_restorable, 'value')} cannot be restored (empty before, or not "
            "accepted by the API); they are marked under Changes."
        )
    if options.get("sandbox") and "sandbox_state" not in options:
        return f"{text} It was a sandbox run, and its sandbox no longer exists.", {}
    connection = [
        word
        for name, option in _CONNECTION_OPTIONS.items()
        if name in options
        for word in (option, str(options[name]))
    ]
    return text, {
        purpose: shlex.join(["bulk-reset", verb, facts.report, *connection])
        for purpose, verb in (("To undo", "undo"), ("To verify", "verify"))
    }


def errors_table(facts: ReportFacts) -> list[dict[str, Any]]:
    """Return the kinds of errors, each with an example and what to do."""
    return [
        {
            "code": group.code or "no code",
            "status": group.status,
            "rows": group.rows,
            "row_number": group.row_number,
            "message": group.message,
            "advice": advice_on(group),
        }
        for group in facts.errors
    ]


def report_table(facts: ReportFacts) -> dict[str, str]:
    """Return the facts about the report file, name -> text."""
    return _filled(
        {
            "Report": facts.report,
            "SHA-256 of the report": f"{facts.report_sha256} ({facts.report_bytes:,} bytes)",
            "Request ids": f"{facts.times.request_ids:,}",
            "First request id": facts.times.first_id,
            "Last request id": facts.times.last_id,
            "Page created": f"{utc(facts.made_at)} by bulk-reset {facts.version}",
        }
    )


def run_table(run: Mapping[str, Any]) -> dict[str, str]:
    """Return the audit of one run, name -> text."""
    stop, counts, size = run.get("stop"), run.get("counts") or {}, run.get("sheet_bytes")
    sha256 = run.get("sheet_sha256") or "not known (no file)"
    return _filled(
        {
            "Started": utc(run.get("started_at")),
            "Ended": utc(run.get("ended_at")),
            "Note": str(run.get("note") or ""),
            "Approved by": "; ".join(map(text_of, run.get("approvals") or ())),
            "User": str(run.get("user", "")),
            "Host": str(run.get("host", "")),
            "Program": f"bulk-reset {run.get('version', '')}",
            "Sheet": str(run.get("sheet", "")),
            "SHA-256 of the sheet": str(sha256)
            + (f" ({size:,} bytes)" if isinstance(size, int) else ""),
            "Sent to": str(run.get("scope", "")),
            "Rows": ", ".join(f"{n:,} {name}" for name, n in counts.items()),
            "Requests": f"{run.get('requests') or 0:,}, of which "
            f"{run.get('throttled') or 0:,} over the quota",
            "Stopped early": str(stop.get("message", "")) if isinstance(stop, dict) else "",
            "Exit code": str(run.get("exit_code", "")),
        }
    )


def _filled(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}


def options_table(run: Mapping[str, Any]) -> dict[str, str]:
    """Return the options of a run that are not at their default: option -> value."""
    with name_options_as(OptionStyle.COMMAND_LINE):
        return {
            option: _value_text(option, value)
            for name, value in (run.get("options") or {}).items()
            for option in [option_name(name)]
        }


def _value_text(option: str, value: object) -> str:
    if isinstance(value, bool):
        # The parameter ``before=False`` is the option ``--no-before``.
        return "yes" if value is not option.startswith("--no-") else "no"
    return str(value)


def time_head(facts: ReportFacts) -> list[str]:
    """Return the header of the table of times."""
    return ["begins, UTC", "in any 1 s", "in any 60 s", *facts.table.finished]


def time_lines(facts: ReportFacts) -> Iterator[list[str]]:
    """Yield the lines of the table of times."""
    columns = [
        *(facts.table.most_started[window] for window in (1, 60)),
        *facts.table.finished.values(),
    ]
    for place, at in enumerate(facts.table.bins_at()):
        yield [utc(at).removesuffix(" UTC"), *(f"{values[place]:,}" for values in columns)]


def latency_lines(facts: ReportFacts) -> Iterator[list[str]]:
    """Yield the histogram of latencies as lines of a table."""
    for low, high, attempts in facts.latency.histogram:
        yield [milliseconds(low), milliseconds(high), f"{attempts:,}"]


def quota_lines(facts: ReportFacts) -> Iterator[list[str]]:
    """Yield for each window of the quota: its limit, and the most requests within it."""
    by_runs = facts.counted_by_runs
    for window, limit in facts.limits.items():
        yield [
            f"in any {window} s",
            f"{limit:,}",
            f"{facts.summary.most_started.get(window, 0):,}",
            f"{by_runs[window]:,}" if window in by_runs else "not known",
        ]


def charts_of(facts: ReportFacts) -> dict[str, Any]:
    """Return what the script draws."""
    drawn = facts.drawn
    return {
        "bin": drawn.bin_s,
        "spans": [[span.begins_at, span.bins] for span in drawn.spans],
        "limits": facts.limits,
        "most": drawn.most_started,
        "finished": {
            status: drawn.finished[status] for status in _STACK_ORDER if status in drawn.finished
        },
        "histogram": [
            [low, high if high < math.inf else None, n] for low, high, n in facts.latency.histogram
        ],
    }
