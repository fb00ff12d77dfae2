"""``verify --audit``: the provider's log has the requests of a run, or the row is named."""

from __future__ import annotations

import asyncio
import csv
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from programs import KEY, QUICK, SandboxProcess, seed_id, write_sheet

from bulk_reset import InputError, Options, run, verify
from bulk_reset.api.log_entries import LoggedRequest, LogPage
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.totals import LogCheck, LogFinding
from bulk_reset.engine.incident_reader import IncidentReader
from bulk_reset.workflows.provider_log import check_log

NOW = time.time()
DAY_S = 86_400


@dataclass
class Log:
    """A log in pages; the cursor is the number of the next page."""

    pages: Sequence[Sequence[LoggedRequest]]
    is_endless: bool = False
    queries: list[Mapping[str, Any]] = field(default_factory=list)

    async def log_page(self, query: Mapping[str, Any]) -> LogPage:
        """Return a page."""
        self.queries.append(dict(query))
        number = int(query.get("search_after_ctx") or 0)
        cursor = str(number + 1) if number + 1 < len(self.pages) else ""
        if self.is_endless:
            cursor = str(number)
        return LogPage(tuple(self.pages[number]), cursor)


def row(
    number: int, *, status: Status = Status.UPDATED, age_s: float = 60, request_id: str = ""
) -> Outcome:
    at = NOW - age_s
    made = Outcome(number, seed_id(number), status, ("title",), f"a{number:023x}")
    return made._replace(request_id=request_id or f"r-{number}", started_at=at, finished_at=at + 1)


def logged(number: int, *ids: int, body: str = "") -> LoggedRequest:
    return LoggedRequest(
        f"r-{number}", body or json.dumps({"incident_ids": [seed_id(one) for one in ids]})
    )


def check(log: Log, *rows: Outcome) -> LogCheck:
    return asyncio.run(check_log(rows, cast("IncidentReader", log)))


def test_each_row_is_found_missing_or_different() -> None:
    """A request of many incidents is the request of each of its rows; a body may be cut."""
    log = Log([[logged(2, 2, 3)], [logged(4, 5), logged(6, body='{"incident_id": "69')]])
    rows = [row(2), row(3, request_id="r-2"), row(4), row(6), row(7), row(8, status=Status.FAILED)]
    assert check(log, *rows) == LogCheck(
        6,
        (
            LogFinding(4, seed_id(4), "r-4", "the logged request is for another incident"),
            LogFinding(7, seed_id(7), "r-7", "the log does not have the request"),
        ),
    )
    assert [one.get("search_after_ctx") for one in log.queries] == [None, "1"]
    first = log.queries[0]
    assert (first["limit"], first["is_write"]) == (99, True)
    assert first["start_time"] < NOW - 60 < first["end_time"] <= NOW + DAY_S


def test_the_search_ends_when_all_requests_are_found() -> None:
    """Further pages are not read."""
    log = Log([[logged(2, 2)], [logged(3, 3)], [logged(4, 4)]])
    assert check(log, row(2)) == LogCheck(1)
    assert len(log.queries) == 1


def test_what_the_log_cannot_have_is_unknown() -> None:
    """Rows of more than 90 days ago, and rows whose answer had no request id."""
    log = Log([[logged(2, 2)]])
    rows = [row(2), row(3, age_s=91 * DAY_S), row(4)._replace(request_id="")]
    unchanged = row(5, status=Status.UNCHANGED)._replace(started_at=0.0)
    assert check(log, *rows, unchanged) == LogCheck(1, (), 2)
    assert check(Log([]), rows[1]) == LogCheck(0, (), 1)


def test_a_log_that_repeats_a_page_is_not_read_for_ever() -> None:
    """Rows that were not found by then are unknown, not missing."""
    log = Log([[logged(2, 2)]], is_endless=True)
    assert check(log, row(2), row(3)) == LogCheck(1, (), 1)
    assert len(log.queries) <= 2


@pytest.fixture
def options(
    start_sandbox: Callable[..., SandboxProcess], monkeypatch: pytest.MonkeyPatch
) -> Options:
    """Options of a sandbox that continues, with its log."""
    sandbox = start_sandbox("--seed-incidents", "150", *QUICK)
    monkeypatch.setenv("FLASHDUTY_APP_KEY", KEY)
    return Options(base_url=sandbox.url, per_second=5000, per_minute=300_000)


def test_a_run_is_confirmed_by_the_log_of_the_sandbox(options: Options, tmp_path: Path) -> None:
    """150 requests are two pages of the log; a report that claims another request is found out."""
    report = run(write_sheet(tmp_path / "x.csv", 150), options).report
    found = verify(report, options, audit=True)
    assert (found.log, found.is_right) == (LogCheck(150), True)

    with Path(report).open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    text = Path(report).read_text(encoding="utf-8")
    claimed = lines[0]["request_id"]
    Path(report).write_text(text.replace(claimed, "SANDBOX9999999999999999999"), encoding="utf-8")
    found = verify(report, options, audit=True)
    assert found.log is not None
    assert [(one.row_number, one.problem) for one in found.log.findings] == [
        (int(lines[0]["row"]), "the log does not have the request")
    ]
    assert not found.is_right


def test_a_sandbox_without_a_log_is_refused(tmp_path: Path) -> None:
    """The sandbox of a command ends with it."""
    options = Options(sandbox_state=tmp_path / "s.json", per_second=5000, per_minute=300_000)
    report = run(write_sheet(tmp_path / "x.csv", 2), options).report
    with pytest.raises(InputError, match=r"has no log. Remove this option\.$"):
        verify(report, options, audit=True)
