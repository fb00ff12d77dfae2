"""What earlier runs made of rows: a value that was overwritten since has to be set again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_reset.core.change import Change
from bulk_reset.core.defaults import OnConflict
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.row_keys import NUMBER, key_of_numbers
from bulk_reset.engine.work_source import WorkSource
from bulk_reset.records.history import History, status_of
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.sheet_check import check_rows

INCIDENT = "a" * 24
Rows = list[dict[str, str]]


def to_send(rows: Rows, lines: list[Outcome], **options: int) -> list[Change]:
    """Return the changes that a run of these rows would send after these report lines."""
    frame = pd.DataFrame(rows).fillna("").assign(incident_id=INCIDENT)
    with open_sheet(frame) as sheet:
        sheet_check = check_rows(sheet, OnConflict.IN_ORDER)
        work = WorkSource(sheet, sheet_check, "", History.of(lines), **options)  # type: ignore[arg-type]
        return [change for changes, _ in work.batches() for change in changes]


def applied(lines: list[Outcome], changes: list[Change]) -> None:
    """Write the lines of a run in which all these changes were updated."""
    lines += [
        Outcome(c.row_number, c.incident_id, Status.UPDATED, c.fields, c.digest) for c in changes
    ]


def runs(*sheets: Rows) -> list[list[str]]:
    """Run one sheet after the other on one report; return which titles each run sent."""
    lines: list[Outcome] = []
    sent = []
    for rows in sheets:
        changes = to_send(rows, lines)
        applied(lines, changes)
        sent.append([rows[change.row_number - 2].get("title", "") for change in changes])
    return sent


A, B, C = {"title": "title A"}, {"title": "title B"}, {"title": "title C"}


@pytest.mark.parametrize(
    ("sheets", "sent"),
    [
        (([A], [A]), [["title A"], []]),
        (([A], [B], [A]), [["title A"], ["title B"], ["title A"]]),
        (([A], [B], [A], [A]), [["title A"], ["title B"], ["title A"], []]),
        (([A, B], [A, B]), [["title A", "title B"], []]),
        (([A, B], [B, A]), [["title A", "title B"], ["title A"]]),
        (([A, B, C], [A, C]), [["title A", "title B", "title C"], []]),
        (([A, B, C], [A, B]), [["title A", "title B", "title C"], ["title B"]]),
        (([A, B, A], [A, B, A]), [["title A", "title B", "title A"], []]),
    ],
)
def test_after_any_runs_the_incident_has_the_values_of_the_last_sheet(
    sheets: tuple[Rows, ...], sent: list[list[str]]
) -> None:
    """A resume skips rows whose values are current, and only those."""
    assert runs(*sheets) == sent


def test_rows_that_set_different_fields_do_not_disturb_each_other() -> None:
    """Two rows of one incident with nothing in common are done once each."""
    rows: Rows = [{"title": "title A"}, {"impact": "all users"}]
    assert runs(rows, rows) == [["title A", ""], []]


def test_rows_that_repeat_a_value_settle_down() -> None:
    """A row that sets the same title and something more is not sent for ever."""
    rows: Rows = [{"title": "title A"}, {"title": "title A", "impact": "all users"}]
    assert runs(rows, rows) == [["title A", "title A"], []]


def test_an_unknown_outcome_may_have_overwritten_a_value() -> None:
    """A, then B without an answer: A has to be set again, to be sure."""
    lines: list[Outcome] = []
    applied(lines, to_send([A], lines))
    (change,) = to_send([B], lines)
    lines.append(Outcome(2, change.incident_id, Status.UNKNOWN, change.fields, change.digest))
    assert [change.row_number for change in to_send([A], lines)] == [2]


@pytest.mark.parametrize("status", [Status.UNCHANGED, Status.UPDATED])
@pytest.mark.parametrize("other", [Status.UPDATED, Status.UNKNOWN, Status.FAILED])
def test_a_row_with_a_value_that_may_be_overwritten_is_sent(status: Status, other: Status) -> None:
    """A was or is set; B may have been written, even if it failed: its request may be late."""
    lines: list[Outcome] = []
    for rows, result in (([A], status), ([B], other)):
        (change,) = to_send(rows, lines)
        lines.append(Outcome(2, INCIDENT, result, change.fields, change.digest))
    (again,) = to_send([A], lines)
    lines.append(Outcome(2, INCIDENT, Status.UNCHANGED, again.fields, again.digest))
    assert to_send([A], lines) == []


@pytest.mark.parametrize("other", [Status.UNCHANGED, Status.CONFLICT, Status.REJECTED])
def test_a_row_that_was_not_sent_overwrites_nothing(other: Status) -> None:
    """A is still done after it."""
    lines: list[Outcome] = []
    applied(lines, to_send([A], lines))
    (change,) = to_send([B], lines)
    lines.append(Outcome(2, INCIDENT, other, change.fields, change.digest))
    assert to_send([A], lines) == []


def test_a_pending_row_is_sent_by_the_next_run() -> None:
    """An earlier row sent again on its own leaves the later one to be sent after it."""
    lines: list[Outcome] = []
    first, second = to_send([A, B], lines)
    lines.append(Outcome(2, first.incident_id, Status.FAILED, first.fields, first.digest))
    applied(lines, [second])
    again = to_send([A, B], lines, retries_failed=True, limit=1)
    assert [change.row_number for change in again] == [2]
    applied(lines, again)
    assert [change.row_number for change in to_send([A, B], lines)] == [3]


FIELDS = st.frozensets(st.sampled_from(["title", "impact", "root_cause"]))


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(list(Status)[1:]), FIELDS), max_size=12),
    FIELDS,
)
def test_a_row_is_current_until_another_row_writes_one_of_its_fields(
    lines: list[tuple[int, Status, frozenset[str]]], fields: frozenset[str]
) -> None:
    """Its own line may have fewer fields, or none that was written."""
    written = {Status.UPDATED, Status.UNKNOWN, Status.FAILED}
    seen = {*written, Status.UNCHANGED}
    history = History.of(
        Outcome(2, f"{row % 2:024x}", status, tuple(sorted(names)), f"{row:024x}")
        for row, status, names in lines
    )
    for row in {row for row, *_ in lines}:
        last = max(at for at, line in enumerate(lines) if line[0] == row)
        later = [
            names
            for other, status, names in lines[last:]
            if status in written and other != row and other % 2 == row % 2
        ]
        if lines[last][1] not in seen:
            continue  # Such a row is never done.
        expected = not any(names & fields for names in later)
        assert history.is_current(f"{row % 2:024x}", f"{row:024x}", fields) is expected


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5),
            st.sampled_from(list(Status)[:-1]),
            st.sampled_from([("title",), ("comment",), ("title", "field:owner", "comment")]),
        ),
        max_size=8,
    )
)
def test_incidents_with_a_comment_are_known(
    lines: list[tuple[int, Status, tuple[str, ...]]],
) -> None:
    """Of rows whose comment was added, or may have been."""
    history = History.of(
        Outcome(2, f"{incident:024x}", status, fields, f"{place:024x}")
        for place, (incident, status, fields) in enumerate(lines)
    )
    sent = {Status.UPDATED, Status.UNKNOWN, Status.FAILED}
    expected = {one for one, status, fields in lines if status in sent and "comment" in fields}
    assert {n for n in range(7) if history.may_have_comment(f"{n:024x}")} == expected


DIGESTS = st.one_of(
    st.binary(min_size=12, max_size=12),
    st.integers(0, 5).map(lambda number: bytes([0xFF] * 11 + [number])),
    st.integers(0, 300).map(lambda number: number.to_bytes(8, "big") + bytes(4)),
)
STATUSES = [status for status in Status if status is not Status.PENDING]


@settings(max_examples=200)
@given(
    st.lists(st.tuples(DIGESTS, st.sampled_from(STATUSES)), max_size=300),
    st.lists(DIGESTS, max_size=20),
)
def test_a_row_has_the_status_of_its_last_line(
    lines: list[tuple[bytes, Status]], others: list[bytes]
) -> None:
    """However many lines there are, and however similar their digests."""
    last = dict(lines)
    history = History.of(Outcome(2, INCIDENT, one, (), digest.hex()) for digest, one in lines)
    digests = [*last, *others]
    codes = history.codes(digests).tolist()

    assert [status_of(code) for code in codes] == [last.get(digest) for digest in digests]
    assert len(history) == len(last)


def test_a_row_with_the_key_of_a_line_but_another_digest_is_pending() -> None:
    """Keys are shorter than digests."""
    made = [np.array([(0, 1)], NUMBER), np.array([(0, 2)], NUMBER)]
    made[1]["high"] = key_of_numbers(made[0]) ^ key_of_numbers(made[1])
    assert key_of_numbers(made[0]) == key_of_numbers(made[1])
    known, other = (one.tobytes() for one in made)
    history = History.of([Outcome(2, INCIDENT, Status.UPDATED, (), known.hex())])

    assert list(map(status_of, history.codes([known, other]))) == [Status.UPDATED, None]
