"""Several rows of one incident: duplicates, different fields, conflicts."""

from __future__ import annotations

import json
from typing import Final

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_reset.core.change import Change, Digests, separated
from bulk_reset.core.defaults import OnConflict
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.row_error import RowError
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.sheet_check import DecidedChunk, SheetCheck, check_rows
from bulk_reset.sheets.validation import check_chunk

A: Final = "a" * 24
B: Final = "b" * 24
HEADER = ["incident_id", "title", "impact"]
Row = tuple[str, str, str]
Item = Change | Outcome


def checked_rows(
    *rows: Row, policy: OnConflict = OnConflict.ERROR
) -> tuple[SheetCheck, list[Item]]:
    with open_sheet(pd.DataFrame(list(rows), columns=HEADER)) as sheet:
        sheet_check = check_rows(sheet, policy)
        items = [
            item
            for chunk in sheet.chunks()
            for item in DecidedChunk(check_chunk(chunk, sheet.columns), sheet_check, "").items()
        ]
    return sheet_check, items


def sent(items: list[Item]) -> dict[int, dict[str, str]]:
    """Return row_number -> the fields that are sent."""
    bodies = {item.row_number: json.loads(item.body) for item in items if isinstance(item, Change)}
    return {
        row: {k: v for k, v in body.items() if k != "incident_id"} for row, body in bodies.items()
    }


def not_sent(items: list[Item]) -> dict[int, tuple[Status, str, str]]:
    return {
        item.row_number: (item.status, item.error_code, item.error_message)
        for item in items
        if isinstance(item, Outcome)
    }


def test_duplicates_are_sent_once() -> None:
    """Identical rows cost one request; the first one is sent."""
    sheet_check, items = checked_rows(
        (A, "one", ""), (B, "one", ""), (A, "one", ""), (A.upper(), "one", "")
    )
    skipped = (Status.SKIPPED, "", "duplicate of row 2")

    assert (sent(items), not_sent(items)) == (
        {2: {"title": "one"}, 3: {"title": "one"}},
        {4: skipped, 5: skipped},
    )
    assert (sheet_check.rows, sheet_check.row_errors, sheet_check.repeated_ids) == (4, (), {A})


def test_rows_that_set_different_fields_are_all_sent() -> None:
    """One incident may be in several rows; their order is kept."""
    sheet_check, items = checked_rows(
        (A, "one", ""), (f" {A.upper()}", "", "two"), (B, "", "three")
    )

    assert (sent(items), not_sent(items)) == (
        {2: {"title": "one"}, 3: {"impact": "two"}, 4: {"impact": "three"}},
        {},
    )
    assert (sheet_check.repeated_ids, sheet_check.contested_ids) == ({A}, frozenset())


def test_rows_with_the_same_value_are_not_in_conflict() -> None:
    """The same value twice, and another field besides, is valid."""
    sheet_check, items = checked_rows((A, "one", ""), (A, "one", "two"))

    assert (len(sent(items)), sheet_check.row_errors, sheet_check.contested_ids) == (
        2,
        (),
        frozenset(),
    )


def test_conflict_makes_every_row_in_it_invalid() -> None:
    """Which of two titles is meant is not guessed; both rows are reported, the others sent."""
    rows = ((A, "one", ""), (A, "", "x y"), (A, "two", ""), (B, "one", ""), (A, "", "x y"))
    sheet_check, items = checked_rows(*rows)
    fix = "Remove one of the rows, or use on_conflict=OnConflict.LAST"
    problems = {2: "row 4 sets title", 4: "row 2 sets title"}
    problems = {
        row: f"{text} of the same incident to another value" for row, text in problems.items()
    }

    assert sheet_check.row_errors == tuple(
        RowError(row, "title", "conflict", rows[row - 2][1], problem, fix)
        for row, problem in problems.items()
    )
    assert sent(items) == {3: {"impact": "x y"}, 5: {"title": "one"}}
    assert not_sent(items) == {
        **{row: (Status.REJECTED, "conflict", f"{p}. {fix}.") for row, p in problems.items()},
        6: (Status.SKIPPED, "", "duplicate of row 3"),
    }


def test_invalid_row_is_not_part_of_a_conflict() -> None:
    """A row that is not sent does not affect other rows."""
    sheet_check, items = checked_rows((A, "one", ""), (A, "x", ""), (A, "one", " "))

    assert [(m.row_number, m.kind) for m in sheet_check.row_errors] == [
        (3, "too_short"),
        (4, "only_spaces"),
    ]
    assert (sent(items), sheet_check.repeated_ids) == ({2: {"title": "one"}}, frozenset())


def test_errors_are_in_the_order_of_rows() -> None:
    """Conflicts are detected last, and listed at their rows."""
    sheet_check, _ = checked_rows((A, "one", ""), ("", "abc", ""), (A, "two", ""), (B, "x", ""))

    assert [(m.row_number, m.kind) for m in sheet_check.row_errors] == [
        (2, "conflict"),
        (3, "id_missing"),
        (4, "conflict"),
        (5, "too_short"),
    ]


def test_policy_last_sends_the_last_row() -> None:
    """Rows are sent only if they change the final result."""
    rows = ((A, "one", ""), (A, "two", "kept"), (A, "one", ""), (A, "three", ""), (B, "one", ""))
    sheet_check, items = checked_rows(*rows, policy=OnConflict.LAST)
    reason = "overridden by row 5, the last row for these fields"

    assert sent(items) == {
        3: {"title": "two", "impact": "kept"},
        5: {"title": "three"},
        6: {"title": "one"},
    }
    assert not_sent(items) == dict.fromkeys((2, 4), (Status.SKIPPED, "", reason))
    assert (sheet_check.row_errors, sheet_check.contested_ids) == ((), {A})


def test_policy_in_order_sends_all_rows_in_order() -> None:
    """Repeated rows too, each with its own digest."""
    titles = ["one", "two", "one", "one"]
    sheet_check, items = checked_rows(
        *((A, title, "") for title in titles), policy=OnConflict.IN_ORDER
    )

    assert sent(items) == {row: {"title": title} for row, title in enumerate(titles, 2)}
    assert [item.row_number for item in items] == [2, 3, 4, 5]
    assert len({item.digest for item in items}) == 4
    assert (sheet_check.row_errors, sheet_check.contested_ids) == ((), {A})


@pytest.mark.parametrize("policy", [OnConflict.LAST, OnConflict.IN_ORDER])
def test_duplicates_are_sent_once_with_every_policy(policy: OnConflict) -> None:
    """The policy only concerns conflicts."""
    sheet_check, items = checked_rows((A, "one", ""), (A, "one", ""), policy=policy)

    assert (list(sent(items)), list(not_sent(items))) == ([2], [3])
    assert sheet_check.contested_ids == frozenset()


def test_every_row_has_its_own_digest() -> None:
    """No two rows share a key in the report, with any result."""
    rows = [
        (A, "one", ""),
        (A, "one", ""),
        (A, "two", ""),
        (A, "one", ""),
        ("", "x", ""),
        ("", "x", ""),
    ]
    for policy in OnConflict:
        _, items = checked_rows(*rows, policy=policy)
        assert (policy, len({item.digest for item in items})) == (policy, len(rows))


def test_no_digest_looks_like_a_number() -> None:
    """Saving the report in a spreadsheet does not damage its lines."""
    digests = Digests("").each([[str(number)] for number in range(2_000)])
    assert {digest.hex()[0] for digest in digests} == set("abef")


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(*[st.sampled_from(["", "a", "支付", "\0", "\ud800", "\0\0", "x" * 200])] * 3),
        max_size=4,
    )
)
def test_the_digests_of_a_table_are_those_of_its_rows(rows: list[tuple[str, ...]]) -> None:
    """A report of an earlier version is resumed, whatever the cells contain."""
    digests = Digests("https://api.example")
    columns = [[row[place] for row in rows] for place in range(3)]

    assert separated(digests.joined(columns)) == list(digests.each(rows))


def test_digest_depends_on_the_content_and_not_on_the_row_number() -> None:
    """A moved row is the same row; another text, field, incident or API is another."""
    _, (change,) = checked_rows((A, "one", ""))
    _, (_, moved) = checked_rows((B, "xyz", ""), (A.upper(), "one", ""))
    _, others = checked_rows((A, "one.", ""), (B, "one", ""), (B, "", "one"))
    elsewhere = Change.of(2, A, {"title": "one"}, scope="https://sandbox.example")

    assert moved.digest == change.digest
    assert len({change.digest, elsewhere.digest, *(item.digest for item in others)}) == 5
