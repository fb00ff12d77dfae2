"""A small report with every kind of outcome, with previous values and an audit beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from programs import seed_id

from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.records.audit import append_audit
from bulk_reset.records.previous_values import PreviousValues, PreviousValuesFile
from bulk_reset.records.report_file import Report

LINK = "https://console.example/incident/detail/"
BEGIN = 1_767_578_400.0  # 2026-01-05 02:00:00 UTC
HOSTILE = "</script><img src=x onerror=alert(1)><b>&amp;\x1b[2J\x1e\x1d\x1f\u202e"
RECORD: dict[str, Any] = {
    "version": "0.1.0",
    "user": "alice",
    "host": "build-7",
    "started_at": BEGIN - 1,
    "ended_at": BEGIN + 80,
    "sheet": "nightly.csv",
    "scope": "https://api.example",
    "options": {"base_url": "https://api.example", "retry_failed": True},
    "sheet_sha256": "ab" * 32,
    "sheet_bytes": 1_234,
    "rows": 8,
    "counts": {"updated": 3, "failed": 2, "pending": 1},
    "requests": 9,
    "throttled": 1,
    "peaks": [
        {"window_s": 1.0, "limit": 20, "started": 4},
        {"window_s": 60.0, "limit": 400, "started": 9},
    ],
    "waited_s": {"minute window": 58.5},
    "not_as_written": None,
    "stop": None,
    "exit_code": 1,
}


def digest(number: int) -> str:
    return f"a{number:023x}"


def outcome(row: int, status: Status, at: float = 0.0, took: float = 0.0, **more: Any) -> Outcome:  # noqa: ANN401
    """Return the outcome of a row that was started ``at`` seconds after the beginning."""
    is_sent = took > 0
    values = {
        "fields": ("title",),
        "digest": digest(row),
        "attempts": int(is_sent),
        "http_status": 200 * is_sent,
        "request_id": f"req-{row}" * is_sent,
        "started_at": (BEGIN + at) * is_sent,
        "finished_at": BEGIN + at + took,
    }
    return Outcome(row, seed_id(row), status, **{**values, **more})


OUTCOMES = (
    outcome(5, Status.UNKNOWN, 0.2, 30.0, attempts=5, error_code="timeout", error_message="none"),
    outcome(2, Status.UPDATED, 0.0, 0.1),
    outcome(3, Status.UPDATED, 0.5, 0.2, throttled=1),
    outcome(4, Status.FAILED, 0.9, 0.3, http_status=400, error_code="NotThere", error_message="no"),
    outcome(5, Status.UPDATED, 61.0, 0.4),
    outcome(6, Status.FAILED, 61.5, 0.5, error_code="NotThere", error_message="no <b>way</b>"),
    outcome(7, Status.UNCHANGED, 62.0),
    outcome(8, Status.CONFLICT, 62.0, error_code="changed_since", error_message=HOSTILE),
)


def previous_values(row: int, old: str, new: str, **more: Any) -> PreviousValues:  # noqa: ANN401
    """Return a row's previous title, and the title that was written."""
    values = {"link": LINK + seed_id(row), "before": {"title": old}, "wrote": {"title": new}}
    return PreviousValues(row, digest(row), seed_id(row), **{**values, **more})


PREVIOUS_VALUES = (
    previous_values(2, "CPU usage high on db-1", "CPU saturated on db-1"),
    previous_values(3, "Disk full", "Disk 满了 👍 now"),
    previous_values(4, HOSTILE, "Tame title"),
    previous_values(
        5,
        "",
        "",
        before={"title": "Memory low", "impact": ""},
        wrote={"title": "Memory low: db", "impact": "None at all"},
    ),
    previous_values(6, "a " * 99 + "old end", "a " * 99 + "new end"),
)


def write_small(folder: Path, *, has_before: bool = True, has_audit: bool = True) -> Path:
    """Write the report, and the files beside it that are wanted."""
    report = folder / "nightly.report.csv"
    with Report(report) as lines:
        for one in OUTCOMES:
            lines.write(one)
    if has_before:
        with PreviousValuesFile(folder / "nightly.before.csv") as before:
            before.append(PREVIOUS_VALUES)
    if has_audit:
        append_audit(report, RECORD)
    return report
