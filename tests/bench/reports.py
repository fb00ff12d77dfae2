"""Reports of any size with previous values and every status, to write pages from.

They are written by the package's own writers, as by a run at the quota.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sheets import HEADER, rows

from bulk_reset.core.change import Change
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.records.audit import append_audit
from bulk_reset.records.previous_values import PreviousValues, PreviousValuesFile
from bulk_reset.records.report_file import Report
from bulk_reset.records.report_reader import beside

_LINK: Final = "https://console.example/incident/detail/"
_STARTED_AT: Final = 1_767_578_400.0
_IN_A_MINUTE: Final = 1_000
_IN_A_SECOND: Final = 50
_BLOCK: Final = 1_000


def write_report(
    folder: Path,
    count: int,
    *,
    seed: int = 0,
    scope: str = "https://api.example",
    is_done: bool = False,
) -> Path:
    """Write a report of this many rows of 7 columns; 1 of 50 was not updated.

    Args:
        scope: of the digests: the API's address.
        is_done: all rows were updated.
    """
    report = folder / "nightly.report.csv"
    with Report(report) as lines, PreviousValuesFile(beside(report, "before.csv")) as before:
        ended = _ended(count, scope, is_done=is_done)
        while block := list(itertools.islice(ended, _BLOCK)):
            before.append(image for _, image in block if image is not None)
            for outcome, _ in block:
                lines.write(outcome)
            lines.flush()
    append_audit(report, _record(count, seed, scope))
    return report


def _ended(
    count: int, scope: str, *, is_done: bool
) -> Iterator[tuple[Outcome, PreviousValues | None]]:
    for n, cells in enumerate(rows(count)):
        incident_id, *texts = cells
        values = dict(zip(HEADER[1:], texts, strict=True))
        change = Change.of(n + 2, incident_id, values, scope=scope)
        started_at = _STARTED_AT + n // _IN_A_MINUTE * 60 + n % _IN_A_MINUTE / _IN_A_SECOND
        # Some hundred milliseconds, and a slow request now and then.
        took_s = 0.06 + n * 7919 % 1000 / 8000 + (n % 97 == 0) * (n % 5)
        status, code, message = (Status.UPDATED, "", "") if is_done else _end(n)
        is_sent = status in {Status.UPDATED, Status.FAILED, Status.UNKNOWN}
        outcome = Outcome(
            *(change.row_number, incident_id, status, change.fields, change.digest),
            attempts=(1 + (status is Status.UNKNOWN) * 4) * is_sent,
            http_status={Status.UPDATED: 200, Status.FAILED: 400}.get(status, 0),
            error_code=code,
            error_message=message,
            request_id=f"req{n:029x}" if is_sent else "",
            started_at=started_at if is_sent else 0.0,
            finished_at=started_at + took_s,
            throttled=int(n % 1999 == 0),
        )
        # A run sends, and keeps, the fields that differ.
        was = {name: _earlier(text) for name, text in values.items() if _earlier(text) != text}
        wrote = {name: values[name] for name in was}
        link = _LINK + incident_id
        image = PreviousValues(change.row_number, change.digest, incident_id, link, was, wrote)
        yield outcome, image if is_sent else None


def _earlier(text: str) -> str:
    return (
        text.replace("alarm", "alert")
        .replace("queue", "backlog")
        .replace("were late", "were delayed")
    )


def _end(n: int) -> tuple[Status, str, str]:
    if n % 200 == 57:
        return Status.FAILED, "ResourceNotFound", "Incident does not exist"
    if n % 500 == 123:
        return Status.FAILED, "InvalidParameter", "title: contains a word that is <not> allowed"
    if n % 400 == 199:
        return Status.CONFLICT, "changed_since", "title: modified since the pull"
    if n % 1000 == 777:
        return Status.UNKNOWN, "timeout", "no answer within 30 s"
    return (Status.UNCHANGED if n % 25 == 3 else Status.UPDATED), "", ""


def _record(count: int, seed: int, scope: str) -> dict[str, object]:
    return {
        "version": "0.1.0",
        "started_at": _STARTED_AT - 2,
        "ended_at": _STARTED_AT + count * 0.06,
        "sheet": "nightly.csv",
        "scope": scope,
        "options": {"retry_failed": True, "base_url": scope},
        "sheet_sha256": f"{seed:064x}",
        "sheet_bytes": 300 * count,
        "rows": count,
        "counts": {"updated": count, "pending": 0},
        "requests": count,
        "throttled": 0,
        "peaks": [
            {"window_s": 1.0, "limit": _IN_A_SECOND, "started": _IN_A_SECOND},
            {"window_s": 60.0, "limit": _IN_A_MINUTE, "started": _IN_A_MINUTE},
        ],
        "waited_s": {"the minute window": round(count * 0.04, 1)},
        "stop": None,
        "exit_code": 1,
        "made_at": time.time(),
    }
