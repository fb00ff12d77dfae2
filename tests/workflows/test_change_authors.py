"""A conflict names who made the change, when, and from which value; look-ups never fail a run."""

from __future__ import annotations

import asyncio
import csv
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from programs import KEY, QUICK, SandboxProcess, seed_id

from bulk_reset import Options, plan, pull, run
from bulk_reset.api.log_entries import Entry
from bulk_reset.core.errors import FatalError, RequestError, TransientError
from bulk_reset.core.plan import RowPlan
from bulk_reset.engine.change_authors import MOST_CONFLICTS, ChangeAuthors

ID = "69da451e{:016x}"
AT = 1_796_000_000.0


@dataclass
class Account:
    """Timelines with fixed entries, people, and the errors that requests meet."""

    entries: Sequence[Entry] = ()
    names: dict[int, str] = field(default_factory=dict)
    feed_error: RequestError | None = None
    people_error: RequestError | None = None
    requests: list[tuple[str, object]] = field(default_factory=list)

    async def latest_entries(self, incident_id: str, types: Sequence[str]) -> Sequence[Entry]:
        """Return the entries of these types."""
        self.requests.append((incident_id, tuple(types)))
        if self.feed_error is not None:
            raise self.feed_error
        return [one for one in self.entries if one.type in types]

    async def people(self, person_ids: Sequence[int]) -> dict[int, str]:
        """Return the names that are known."""
        self.requests.append(("people", tuple(person_ids)))
        if self.people_error is not None:
            raise self.people_error
        return {one: self.names[one] for one in person_ids if one in self.names}


async def once(send: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401  (its answer)
    return await send()


def describe(account: Account, *fields: str, times: int = 1) -> list[str]:
    authors = ChangeAuthors(account, once)

    async def all_times() -> list[str]:
        return [await authors.describe(ID.format(n), fields) for n in range(times)]

    return asyncio.run(all_times())


def test_the_latest_change_of_each_field_counts() -> None:
    """The timeline may be in any order, and has entries of other fields."""
    account = Account(
        [
            Entry("i_r_title", {"from": "A", "to": "B"}, 7, AT),
            Entry("i_r_title", {"from": "B", "to": "C"}, 8, AT + 60),
            Entry("i_r_field", {"field_name": "team", "to": "dba"}, 0, AT),
            Entry("i_r_field", {"field_name": "tier", "to": 1}, 7, AT + 99),
            Entry("i_rslv", {"from": "console"}, 9, AT + 1),
        ],
        {7: "Ana", 8: "值班\x1b[31m员"},
    )
    [text] = describe(account, "title", "field:team", "action")
    assert text == (
        "title changed by 值班\ufffd[31m员 at 2026-11-30 00:54:20 UTC, from 'B'; "
        "field:team changed by the system at 2026-11-30 00:53:20 UTC; "
        "action changed by person 9 at 2026-11-30 00:53:21 UTC"
    )
    assert [path for path, _ in account.requests] == [ID.format(0), "people"]


def test_names_are_read_once_and_conflicts_are_bounded() -> None:
    """One request a conflict, up to a number of them."""
    account = Account([Entry("i_r_title", {}, 7, AT)], {7: "Ana"})
    texts = describe(account, "title", times=MOST_CONFLICTS + 5)
    assert [bool(text) for text in texts] == [True] * MOST_CONFLICTS + [False] * 5
    assert len(account.requests) == MOST_CONFLICTS + 1


@pytest.mark.parametrize(
    "account",
    [
        Account(feed_error=FatalError("no", code="AccessDenied", http_status=403)),
        Account(
            [Entry("i_r_title", {}, 7, AT)],
            people_error=TransientError("oops", code="InternalError", http_status=500),
        ),
    ],
)
def test_a_look_up_that_fails_is_the_last_one(account: Account) -> None:
    """The conflict is reported without its author."""
    assert describe(account, "title", times=3) == ["", "", ""]
    assert len({path for path, _ in account.requests if path != "people"}) == 1


def test_a_run_and_a_plan_name_who_changed_the_incident(
    start_sandbox: Callable[..., SandboxProcess], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The timeline has the change of another client."""
    sandbox = start_sandbox("--seed-incidents", "5", *QUICK)
    monkeypatch.setenv("FLASHDUTY_APP_KEY", KEY)
    options = Options(base_url=sandbox.url, per_second=5000, per_minute=300_000)
    sheet, other = tmp_path / "x.csv", tmp_path / "other.csv"
    pull(sheet, [seed_id(1), seed_id(2)], options, rules=["title={{ title }}!"])
    other.write_text(f"id,title\n{seed_id(1)},Changed by hand\n", encoding="utf-8")
    run(other, options)

    rows: list[RowPlan] = []
    plan(sheet, options, None, rows.append)
    changed = (
        r"title changed by Sandbox user at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, "
        "from 'CPU usage high - host-00001'"
    )
    assert [row.verdict for row in rows] == ["conflict", "update"]
    assert re.fullmatch(changed, rows[0].reason)

    totals = run(sheet, options)
    with Path(totals.report).open(encoding="utf-8-sig", newline="") as file:
        messages = {row["status"]: row["error_message"] for row in csv.DictReader(file)}
    assert messages["updated"] == ""
    assert re.fullmatch(
        "title: 'CPU usage high - host-00001' when pulled, 'Changed by hand' now, "
        f"'CPU usage high - host-00001!' in the sheet; {changed}",
        messages["conflict"],
    )
