"""``verify --audit``: what the provider's own log has of the requests of a run.

The log is read for the time of the run, up to 99 entries a page, until every request of the report
is found. A row's line has the id of its last request, so that one is looked for.

Units: ``*_at`` UTC epoch seconds. Source: the Flashduty Open API's ``AuditSearchRequest``: it
keeps 90 days, a search covers up to 90 days, and a body may be cut at 10 KB.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from bulk_reset.core.json_codec import loads
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.totals import LogCheck, LogFinding
from bulk_reset.engine.incident_reader import IncidentReader

_KEPT_S: Final = 90 * 24 * 3600
_PAGE: Final = 99
_SLACK_S: Final = 600
"""The clocks of this machine and of the provider may differ by so much."""
_MOST_PAGES: Final = 500
_WRITTEN: Final = (Status.UPDATED, Status.FAILED, Status.UNKNOWN)


async def check_log(outcomes: Iterable[Outcome], reader: IncidentReader) -> LogCheck:
    """Return what the provider's log has of the requests of some rows.

    Raises:
        RunError: the log could not be read.
    """
    sent = [one for one in outcomes if one.status in _WRITTEN and one.started_at]
    oldest_at = time.time() - _KEPT_S
    rows = [one for one in sent if one.request_id and one.started_at >= oldest_at]
    if not rows:
        return LogCheck(rows=0, unknown=len(sent))
    bodies, is_whole = await _bodies({one.request_id for one in rows}, _window(rows), reader)
    findings = tuple(
        LogFinding(one.row_number, one.incident_id, one.request_id, problem)
        for one in rows
        if (problem := _problem(one, bodies, is_whole=is_whole))
    )
    unread = sum(not is_whole and one.request_id not in bodies for one in rows)
    return LogCheck(len(rows) - unread, findings, len(sent) - len(rows) + unread)


def _window(rows: Sequence[Outcome]) -> tuple[int, int]:
    start = min(one.started_at for one in rows) - _SLACK_S
    end = max(one.finished_at or one.started_at for one in rows) + _SLACK_S
    start = max(start, end - _KEPT_S + 1)
    return int(start), int(end) + 1


async def _bodies(
    wanted: set[str], window: tuple[int, int], reader: IncidentReader
) -> tuple[dict[str, str], bool]:
    """Return the bodies of these requests, and whether the log was read until all were found."""
    found: dict[str, str] = {}
    query: dict[str, Any] = {"start_time": window[0], "end_time": window[1]}
    query |= {"limit": _PAGE, "is_write": True}
    for _ in range(_MOST_PAGES):
        page = await reader.log_page(query)
        found |= {one.request_id: one.body for one in page.requests if one.request_id in wanted}
        if len(found) == len(wanted) or not page.cursor or not page.requests:
            return found, True
        if page.cursor == query.get("search_after_ctx"):
            break
        query["search_after_ctx"] = page.cursor
    return found, False


def _problem(outcome: Outcome, bodies: Mapping[str, str], *, is_whole: bool) -> str:
    """Return how the log differs from a row of the report; empty if it does not."""
    body = bodies.get(outcome.request_id)
    if body is None:
        is_missing = is_whole and outcome.status is Status.UPDATED
        return "the log does not have the request" if is_missing else ""
    try:
        values = loads(body.encode())
    except (ValueError, RecursionError):
        return ""  # It was cut.
    ids = values.get("incident_ids") or [values.get("incident_id")] if values else []
    if outcome.incident_id in [str(one).lower() for one in ids]:
        return ""
    return "the logged request is for another incident"
