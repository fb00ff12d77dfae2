"""``NAME.report.html``: the page of a report, made from the files beside it alone.

For checking a nightly run, and for a change ticket. Nothing is read from the
API, so the page can be made at any time, also while a run still writes the report.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from bulk_reset.core.argument_types import require_path
from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.custom_fields import text_of
from bulk_reset.core.fields import SETTABLE_FIELDS
from bulk_reset.core.file_hash import hash_file
from bulk_reset.core.outcome import MEANING_OF, Outcome, Status, meaning_of
from bulk_reset.core.safe_text import escape_formula, is_link, shown
from bulk_reset.records.audit import read_audit
from bulk_reset.records.line_reader import pieces
from bulk_reset.records.previous_index import PreviousIndex
from bulk_reset.records.previous_values import PreviousValues
from bulk_reset.records.report_index import ReportIndex
from bulk_reset.records.report_reader import beside
from bulk_reset.records.restorability import why_not_restorable
from bulk_reset.records.summary import ReportSummary, ReportTimes, read_summary
from bulk_reset.reports import report_facts
from bulk_reset.reports.chart_data import Latency, Timeline, find_latency, find_timeline
from bulk_reset.reports.html_page import Design, render
from bulk_reset.reports.own_files import is_page, refuse_other
from bulk_reset.reports.report_facts import ReportFacts
from bulk_reset.reports.row_list import FieldChange, ListRow, RowList, field_change

PAGE: Final = "report.html"
_DESIGN: Final = Design(
    "report.html.j2",
    styles=("uPlot.min.css", "base.css", "rows.css", "report.css"),
    scripts=("high_resolution.js", "uPlot.iife.min.js", "words.js", "rows.js", "charts.js"),
)
_BEFORE: Final = "before.csv"
_STATUSES: Final = {str(status): MEANING_OF[status] for status in Status}
_PLACE_OF: Final = {status: place for place, status in enumerate(Status)}
_STANDARD: Final = frozenset(SETTABLE_FIELDS)
_MAX_POINTS: Final = 600
_MAX_LINES: Final = 60
"""Of a chart, and of the table beside it."""


class _Charts(NamedTuple):
    """See ``ReportFacts``."""

    drawn: Timeline
    table: Timeline
    latency: Latency


def write_page(report: str | os.PathLike[str]) -> Path:
    """Write the page of a report; it may be made while a run writes the report.

    Returns: the page, ``NAME.report.html`` beside the report; an older one is replaced.

    Raises:
        InputError: there is no report, its previous values cannot be read, or the page cannot be
            written; an older page is unchanged.
    """
    require_path("report", report)
    with ReportIndex(report) as index:
        return write_page_of(index, *read_summary(index))


def write_page_of(index: ReportIndex, summary: ReportSummary, times: ReportTimes) -> Path:
    """Write the page of a report that was read already; see ``write_page``."""
    report = index.path
    target = beside(report, PAGE)
    refuse_other(target, is_page, "page")
    # Sorting times takes memory, so it ends before the previous values are indexed.
    charts = _charts_of(times)
    with (
        PreviousIndex(beside(report, _BEFORE), has_incidents=False) as before,
        atomic_file(target, like=report) as file,
        RowList() as rows,
    ):
        not_restorable = 0
        for row, values in _rows(index, before, summary):
            rows.add(row)
            not_restorable += len(values["lost"])
        # A run that was killed has sent rows without a line.
        for some in pieces(before.by_digest.first()):
            digests = before.digests[some]
            for lines in before.of_rows(digests[~index.by_digest.has(digests)]):
                not_restorable += len(values_of_row(lines)["lost"])
        facts = _facts(report, summary, times, charts, before, not_restorable)
        for piece in _pieces(facts, rows):
            file.write(piece.encode())
    return target


def _charts_of(times: ReportTimes) -> _Charts:
    columns = times.starts, times.finishes, times.codes
    return _Charts(
        find_timeline(*columns, _MAX_POINTS),
        find_timeline(*columns, _MAX_LINES),
        find_latency(times.elapsed_s),
    )


def _facts(  # noqa: PLR0913, PLR0917  (all that a page is made of)
    report: Path,
    summary: ReportSummary,
    times: ReportTimes,
    charts: _Charts,
    before: PreviousIndex,
    not_restorable: int,
) -> ReportFacts:
    sha256, size_bytes = hash_file(report)
    return ReportFacts(
        report=str(report),
        report_sha256=sha256,
        report_bytes=size_bytes,
        made_at=time.time(),
        version=version("bulk-reset"),
        summary=summary,
        runs=tuple(read_audit(report)),
        before=str(before.path) if len(before) else "",
        before_rows=len(before.by_digest),
        not_restorable=not_restorable,
        times=times,
        drawn=charts.drawn,
        table=charts.table,
        latency=charts.latency,
    )


def _pieces(facts: ReportFacts, rows: RowList) -> Iterator[str]:
    is_done, sentence = report_facts.verdict(facts)
    undo, undo_commands = report_facts.undo_of(facts)
    return render(
        _DESIGN,
        sheet=facts.sheet,
        statuses=_STATUSES,
        rows=rows,
        facts=facts,
        meanings={
            status: meaning_of(status, rows, facts.summary.not_edited)
            for status, rows in facts.counts.items()
        },
        is_done=is_done,
        verdict=sentence,
        badges=list(report_facts.badges(facts)),
        errors=report_facts.errors_table(facts),
        undo=undo,
        undo_commands=undo_commands,
        report_table=report_facts.report_table(facts),
        runs=[(report_facts.run_table(run), report_facts.options_table(run)) for run in facts.runs],
        time_head=report_facts.time_head(facts),
        time_lines=report_facts.time_lines(facts),
        latency_lines=report_facts.latency_lines(facts),
        quota_lines=report_facts.quota_lines(facts),
        charts=report_facts.charts_of(facts),
    )


def _rows(
    index: ReportIndex, before: PreviousIndex, summary: ReportSummary
) -> Iterator[tuple[ListRow, dict[str, Any]]]:
    """Yield each row with its result and changes, and its values, in the sheet's order."""
    groups = {
        (group.code, group.status): str(place)
        for place, group in enumerate(summary.errors[: report_facts.MAX_GROUPS])
    }
    for outcome, found in _lines(index, before):
        code = outcome.error_code and escape_formula(outcome.error_code)
        group = groups.get((code, outcome.status), "")
        values = values_of_row(found)
        yield list_row(outcome, group, values), values


def _lines(
    index: ReportIndex, before: PreviousIndex
) -> Iterator[tuple[Outcome, list[PreviousValues]]]:
    for some in pieces(index.lines_in_order()):
        yield from zip(index.at(some.tolist()), before.of_rows(index.digests[some]), strict=True)


def values_of_row(lines: Sequence[PreviousValues]) -> dict[str, Any]:
    """Return what a row replaced and wrote, from its previous values in their order.

    Returns: its ``link``, the values ``before``, those it ``wrote``, and why some are ``lost``.
    """
    before: dict[str, Any] = {}
    wrote: dict[str, Any] = {}
    lost: dict[str, str] = {}
    for line in lines:
        # A field that the first attempt updated is not in the line of the second one.
        before |= line.before
        wrote |= line.wrote
        for name, old in line.before.items():
            if why := why_not_restorable(name, old, line.wrote[name]):
                lost[name] = why
    link = lines[-1].link if lines else ""
    return {"link": link, "before": before, "wrote": wrote, "lost": lost}


def list_row(outcome: Outcome, group: str, values: dict[str, Any]) -> ListRow:
    """Return a row as the page lists it.

    Args:
        group: see ``ListRow``.
        values: see ``values_of_row``.
    """
    old, new, lost = values["before"], values["wrote"], values["lost"]
    return ListRow(
        str(outcome.row_number),
        shown(outcome.incident_id),
        shown(outcome.error_code),
        shown(outcome.error_message),
        shown(outcome.request_id),
        shown(" ".join([name for name in outcome.fields if name not in old])),
        _changes(old, [new[name] for name in old], lost),
        _PLACE_OF[outcome.status],
        group,
        values["link"] if is_link(values["link"]) else "",
        _note(outcome),
    )


def _changes(old: dict[str, Any], new: list[Any], lost: dict[str, str]) -> tuple[FieldChange, ...]:
    if not lost and _are_shown(old, new):
        return tuple(map(FieldChange, old, old.values(), new))
    return tuple(
        field_change(
            name, text_of(name, before), text_of(name, after), not_restorable=lost.get(name, "")
        )
        for (name, before), after in zip(old.items(), new, strict=True)
    )


def _are_shown(old: dict[str, Any], new: list[Any]) -> bool:
    """Return whether ``shown`` changes none of these texts; together, they are checked faster."""
    try:
        texts = "".join([*old.values(), *new])
    except TypeError:  # a number, a list or no value
        return False
    return texts.isprintable() and old.keys() <= _STANDARD


def _note(outcome: Outcome) -> str:
    sent = outcome.attempts + outcome.throttled
    notes = [] if sent <= 1 else [f"sent {sent} times"]
    if outcome.http_status:
        notes.append(f"HTTP {outcome.http_status}")
    if outcome.started_at:
        # To the millisecond, as the report has it.
        at, after_ms = divmod(round(outcome.started_at * 1000), 1000)
        elapsed_ms = round((outcome.finished_at - outcome.started_at) * 1000)
        notes.append(f"started {_second(at)}.{after_ms:03} UTC, took {elapsed_ms:,} ms")
    return " · ".join(notes)


@lru_cache(maxsize=64)
def _second(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
