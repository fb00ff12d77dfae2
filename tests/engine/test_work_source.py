"""Which rows of a sheet are sent, the first time and after a resume."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd
import pytest

from bulk_reset.core.change import Change
from bulk_reset.core.defaults import OnConflict
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.engine.work_source import WorkSource
from bulk_reset.records.history import History
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.sheet_check import check_rows

A: Final = "a" * 24
B: Final = "b" * 24
HEADER = ["incident_id", "title", "impact"]
GOOD = [(f"{number:024x}", f"title {number}", "") for number in range(5)]
Row = tuple[str, str, str]
Done = History


def fed(
    rows: list[Row],
    done: Done | None = None,
    policy: OnConflict = OnConflict.ERROR,
    scope: str = "",
    **options: Any,  # noqa: ANN401  (of the work source)
) -> tuple[WorkSource, list[Change], list[Outcome]]:
    """Return the work source after one pass, its changes to send and its outcomes to record."""
    changes: list[Change] = []
    outcomes: list[Outcome] = []
    with open_sheet(pd.DataFrame(rows, columns=HEADER)) as sheet:
        work = WorkSource(sheet, check_rows(sheet, policy), scope, done or History(), **options)
        for batch, settled in work.batches():
            changes += batch
            outcomes += settled
    parts = work.resumed.total() + work.settled.total() + work.sent + work.unsent
    assert (work.rows, work.rows) == (len(rows), parts)
    assert (work.sent, work.settled.total()) == (len(changes), len(outcomes))
    return work, changes, outcomes


def done_as(
    rows: list[Row], *statuses: Status, policy: OnConflict = OnConflict.ERROR, scope: str = ""
) -> Done:
    """Return the history of an earlier run of these rows, in their order."""
    _, changes, outcomes = fed(rows, policy=policy, scope=scope)
    items = sorted([*changes, *outcomes], key=lambda item: item.row_number)
    return History.of(
        Outcome(item.row_number, item.incident_id, status, item.fields, item.digest)
        for item, status in zip(items, statuses, strict=True)
    )


def numbers(items: list[Change] | list[Outcome]) -> list[int]:
    return [item.row_number for item in items]


MIXED = [(A, "one", ""), ("x", "abc", ""), (A, "one", ""), (B, "one", ""), (B, "two", "")]


def test_every_row_is_sent_or_settled_once() -> None:
    """Valid rows are sent; invalid rows, duplicates and conflicts need no request."""
    work, changes, outcomes = fed(MIXED)

    assert numbers(changes) == [2]
    assert [(o.row_number, o.status) for o in outcomes] == [
        (3, Status.REJECTED),
        (4, Status.SKIPPED),
        (5, Status.REJECTED),
        (6, Status.REJECTED),
    ]
    assert work.settled == {Status.REJECTED: 3, Status.SKIPPED: 1}


def test_rows_are_handed_out_a_thousand_at_a_time_in_order() -> None:
    """A large sheet is never in memory as a whole, and its order is kept."""
    rows = [(f"{number:024x}", "abc", "") for number in range(2_500)]
    with open_sheet(pd.DataFrame(rows, columns=HEADER)) as sheet:
        work = WorkSource(sheet, check_rows(sheet), "")
        batches = [numbers(changes) for changes, _ in work.batches()]

    assert [len(batch) for batch in batches] == [1000, 1000, 500]
    assert [number for batch in batches for number in batch] == list(range(2, 2_502))


def test_counting_hands_out_nothing_and_counts_the_same() -> None:
    """A plan counts as the run does."""
    with open_sheet(pd.DataFrame(MIXED, columns=HEADER)) as sheet:
        plan = WorkSource(sheet, check_rows(sheet), "")
        plan.count()

    assert (plan.rows, plan.sent, plan.settled.total()) == (5, 1, 4)


@pytest.mark.parametrize("retries_failed", [False, True])
def test_resume_sends_what_is_not_final(retries_failed: bool) -> None:
    """Done rows are not sent again, unknown rows always, failed rows if requested."""
    statuses = (Status.UPDATED, Status.UNCHANGED, Status.FAILED, Status.UNKNOWN)
    done = done_as(GOOD[:4], *statuses)
    work, changes, _ = fed(GOOD, done, retries_failed=retries_failed)
    resumed = {Status.UPDATED: 1, Status.UNCHANGED: 1}

    assert numbers(changes) == ([4, 5, 6] if retries_failed else [5, 6])
    assert work.resumed == (resumed if retries_failed else resumed | {Status.FAILED: 1})


def test_row_that_moved_is_the_same_row() -> None:
    """Sorting the sheet, or writing an id in capitals, sends nothing again."""
    done = done_as(GOOD, *[Status.UPDATED] * 5)
    moved = [(incident_id.upper(), title, "") for incident_id, title, _ in reversed(GOOD)]

    assert (fed(moved, done)[1], fed(moved, done)[0].resumed) == ([], {Status.UPDATED: 5})


def test_row_whose_text_changed_is_a_new_one() -> None:
    """A fixed row is sent; the others are not."""
    done = done_as(GOOD, *[Status.UPDATED, Status.FAILED, *[Status.UPDATED] * 3])
    rows = [*GOOD[:1], (GOOD[1][0], "fixed", ""), (GOOD[2][0], "title 2", "new"), *GOOD[3:]]

    assert numbers(fed(rows, done)[1]) == [3, 4]


def test_report_of_another_api_does_not_count() -> None:
    """Rows that a rehearsal sent are not done."""
    done = done_as(GOOD, *[Status.UPDATED] * 5, scope="sandbox")

    assert len(fed(GOOD, done, scope="https://api.example")[1]) == 5


def test_settled_rows_are_recorded_once() -> None:
    """Rejected and skipped rows have their lines already; a fixed one is sent."""
    statuses = (Status.UPDATED, Status.REJECTED, Status.SKIPPED, Status.REJECTED, Status.REJECTED)
    done = done_as(MIXED, *statuses)
    work, changes, outcomes = fed(MIXED, done)
    fixed = fed([*MIXED[:4], (B, "one", "two")], done)

    assert (changes, outcomes) == ([], [])
    assert work.resumed == {Status.UPDATED: 1, Status.REJECTED: 3, Status.SKIPPED: 1}
    assert numbers(fixed[1]) == [5, 6]


def test_row_skipped_for_another_that_is_gone_is_sent() -> None:
    """A skipped row was never sent, so it is sent when its duplicate is gone."""
    rows = [(A, "one", ""), (A, "two", "")]
    done = done_as(rows, Status.SKIPPED, Status.UPDATED, policy=OnConflict.LAST)

    assert numbers(fed(rows, done, OnConflict.LAST)[1]) == []
    assert numbers(fed(rows[:1], done, OnConflict.LAST)[1]) == [2]


def test_rows_beyond_the_limit_stay_pending() -> None:
    """A limit of N sends N rows; the others are pending, and done rows do not count."""
    done = done_as(GOOD[:2], Status.UPDATED, Status.UPDATED)
    sent = {limit: fed(GOOD, done, limit=limit) for limit in (0, 1, 3, 9)}

    assert {n: (numbers(changes), work.unsent) for n, (work, changes, _) in sent.items()} == {
        0: ([], 3),
        1: ([4], 2),
        3: ([4, 5, 6], 0),
        9: ([4, 5, 6], 0),
    }


def test_a_limit_does_not_affect_rows_that_need_no_sending() -> None:
    """Invalid rows are recorded even where nothing is sent."""
    work, changes, outcomes = fed(MIXED, limit=0)

    assert (changes, numbers(outcomes), work.unsent) == ([], [3, 4, 5, 6], 1)


CHAIN = [(A, "one", ""), (B, "one", ""), (A, "two", ""), (A, "three", "")]


@pytest.mark.parametrize(
    ("statuses", "sent"),
    [
        ((Status.UPDATED, Status.UPDATED, Status.UPDATED, Status.UPDATED), []),
        ((Status.UNKNOWN, Status.UPDATED, Status.UPDATED, Status.UPDATED), [2, 4, 5]),
        ((Status.FAILED, Status.UPDATED, Status.UPDATED, Status.UPDATED), [2, 4, 5]),
        ((Status.UPDATED, Status.UPDATED, Status.UNKNOWN, Status.UPDATED), [4, 5]),
        ((Status.UPDATED, Status.UNKNOWN, Status.UPDATED, Status.UPDATED), [3]),
        ((Status.UPDATED, Status.UPDATED, Status.UPDATED, Status.UNKNOWN), [5]),
    ],
)
def test_rows_after_one_that_is_sent_again_follow_it(
    statuses: tuple[Status, ...], sent: list[int]
) -> None:
    """Rows that overwrite each other are all sent again, so the last one still wins."""
    done = done_as(CHAIN, *statuses, policy=OnConflict.IN_ORDER)

    assert numbers(fed(CHAIN, done, OnConflict.IN_ORDER, retries_failed=True)[1]) == sent


def test_rows_of_other_fields_are_not_sent_again_with_each_other() -> None:
    """Only rows that overwrite each other depend on each other."""
    rows = [(A, "one", ""), (A, "", "two")]
    done = done_as(rows, Status.UNKNOWN, Status.UPDATED)

    assert numbers(fed(rows, done)[1]) == [2]
