"""A report as JUnit XML, which CI systems show as tests: a row is a test case.

Source: the schema of Jenkins' xUnit plugin (junit-10.xsd), which GitLab and GitHub actions read;
``file`` and ``line`` are as pytest writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from bulk_reset.core.outcome import NOT_DONE, Outcome, Status
from bulk_reset.core.safe_text import one_line, without_invalid
from bulk_reset.records.audit import read_audit
from bulk_reset.records.report_index import ReportIndex
from bulk_reset.reports.own_files import own_file

_START: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="bulk-reset"'


def write_junit(path: Path, report: Path) -> None:
    """Write a report as JUnit XML; an older file of this program is replaced.

    Raises:
        InputError: there is no report, the file was not made by this program, or it cannot be
            written.
    """
    with ReportIndex(report) as index:
        runs = read_audit(report)
        sheet = str(runs[-1].get("sheet") or report) if runs else str(report)
        with own_file(path, _is_own, "JUnit file", like=report) as file:
            for piece in _pieces(index, sheet):
                file.write(piece.encode())


def _is_own(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_START)) == _START


def _pieces(index: ReportIndex, sheet: str) -> Iterator[str]:
    counts = dict.fromkeys(("failures", "errors", "skipped"), 0)
    tests = elapsed_s = 0.0
    started_at = min((o.started_at for o in index.outcomes() if o.started_at), default=0.0)
    for outcome in index.rows_in_order():
        tests += 1
        elapsed_s += _elapsed_s(outcome)
        if (kind := _kind_of(outcome)) is not None:
            counts[_COUNT_OF[kind]] += 1
    totals = {"tests": f"{tests:.0f}", **counts, "time": f"{elapsed_s:.3f}"}
    timestamp = datetime.fromtimestamp(started_at, UTC).isoformat(timespec="seconds")
    yield f"{_START.decode()}{_attributes(totals)}>\n"
    yield f"<testsuite{_attributes({'name': sheet, **totals, 'timestamp': timestamp})}>\n"
    for outcome in index.rows_in_order():
        yield _case(outcome, sheet)
    yield "</testsuite>\n</testsuites>\n"


_COUNT_OF: Final = {"failure": "failures", "error": "errors", "skipped": "skipped"}


def _kind_of(outcome: Outcome) -> str | None:
    """Return the element of a row's result; None for a row that is done."""
    if outcome.status is Status.UNKNOWN:
        return "error"
    if outcome.status in NOT_DONE:
        return "failure"
    return "skipped" if outcome.status is Status.SKIPPED else None


def _case(outcome: Outcome, sheet: str) -> str:
    name = f"row {outcome.row_number}: {outcome.incident_id or 'no id'}"
    case = _attributes(
        {
            "classname": sheet,
            "name": name,
            "file": sheet,
            "line": outcome.row_number,
            "time": f"{_elapsed_s(outcome):.3f}",
        }
    )
    kind = _kind_of(outcome)
    if kind is None:
        return f"<testcase{case}/>\n"
    message = outcome.error_message or outcome.status.value
    more = {"message": message} | (
        {} if kind == "skipped" else {"type": outcome.error_code or outcome.status.value}
    )
    text = f"{sheet}:{outcome.row_number}: {message}"
    if outcome.request_id:
        text += f" (request {outcome.request_id})"
    body = f"<{kind}{_attributes(more)}>{escape(_clean(text))}</{kind}>"
    return f"<testcase{case}>{body}</testcase>\n"


def _elapsed_s(outcome: Outcome) -> float:
    if not (outcome.started_at and outcome.finished_at):
        return 0.0
    return max(0.0, outcome.finished_at - outcome.started_at)


def _attributes(values: Mapping[str, object]) -> str:
    return "".join(f" {name}={quoteattr(_clean(str(value)))}" for name, value in values.items())


def _clean(text: str) -> str:
    """Return a text that XML can have, on one line."""
    return without_invalid(one_line(text))
