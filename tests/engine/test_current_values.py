"""Current values: what is left to send, and which previous values are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bulk_reset.core.change import Change
from bulk_reset.core.errors import TransientError
from bulk_reset.core.outcome import Status
from bulk_reset.engine.current_values import CurrentValues
from bulk_reset.records.previous_values import PreviousValuesFile, read_previous_values

A, B = "a" * 24, "b" * 24


def change(row: int, incident_id: str, title: str, was: str | None = None) -> Change:
    digest = f"{row:024x}"
    made_from = None if was is None else {"title": was}
    return Change.made(row, incident_id, {"title": title}, digest, made_from)


class Titles:
    """Incidents with these titles, and how often each was read."""

    def __init__(self, **titles: str) -> None:
        self.titles = titles
        self.asked: list[list[str]] = []

    async def __call__(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return the titles."""
        self.asked.append(list(ids))
        return {one: {"title": self.titles[one]} for one in ids if one in self.titles}


def results(values: CurrentValues, read: Titles, *changes: Change) -> list[tuple[int, str]]:
    """Return each row's number and result, rows to send first."""
    to_send, outcomes = asyncio.run(values.compare(changes, read))
    return [(one.row_number, "sent") for one in to_send] + [
        (one.row_number, one.status.value) for one in outcomes
    ]


def test_only_what_differs_is_sent_and_kept(tmp_path: Path) -> None:
    """One request for all of them, and a line for each row that is sent."""
    read = Titles(**{A: "Old", B: "New"})
    with PreviousValuesFile(tmp_path / "x.before.csv") as file:
        found = results(
            CurrentValues(file),
            read,
            change(2, A, "New"),
            change(3, B, "New"),
            change(4, "c" * 24, "New"),
        )
    assert found == [(2, "sent"), (3, "unchanged"), (4, "failed")]
    assert read.asked == [[A, B, "c" * 24]]
    [image] = read_previous_values(tmp_path / "x.before.csv")
    assert (image.row_number, image.before, image.wrote) == (2, {"title": "Old"}, {"title": "New"})


def test_rows_of_one_incident_are_compared_one_after_the_other(tmp_path: Path) -> None:
    """To New and back to Old: the second row is sent, although Old is the current value."""
    read = Titles(**{A: "Old"})
    with PreviousValuesFile(tmp_path / "x.before.csv") as file:
        values = CurrentValues(file, repeated_ids={A})
        assert results(values, read, change(2, A, "New"), change(3, A, "Old")) == [
            (2, "sent"),
            (3, "sent"),
        ]
        # Those before it may fail, so a row does not rely on them.
        assert results(values, read, change(4, A, "Old")) == [(4, "sent")]
    assert [
        (one.before["title"], one.wrote["title"]) for one in read_previous_values(file.path)
    ] == [
        ("Old", "New"),
        ("New", "Old"),
        ("Old", "Old"),
    ]
    assert read.asked == [[A], [A]]


def test_a_row_that_a_killed_run_has_sent_is_updated() -> None:
    """It has no line in the report; its current value shows that it was sent."""
    read = Titles(**{A: "New", B: "New"})
    values = CurrentValues(None, sent_before={f"{2:024x}"})
    _, [first, second] = asyncio.run(
        values.compare([change(2, A, "New"), change(3, B, "New")], read)
    )
    assert (first.status, first.fields, first.attempts) == (Status.UPDATED, ("title",), 0)
    assert "read back: applied" in first.error_message
    assert (second.status, second.error_message) == (
        Status.UNCHANGED,
        "the incident already has these values",
    )


@pytest.mark.parametrize("overwrites", [False, True])
def test_a_conflict_is_sent_only_with_overwrite(overwrites: bool) -> None:
    """The other user's value is then kept as the previous one."""
    values = CurrentValues(None, overwrites)
    found = results(values, Titles(**{A: "Theirs"}), change(2, A, "New", "Old"))
    assert found == [(2, "sent" if overwrites else "conflict")]


def test_what_cannot_be_read_is_not_sent(tmp_path: Path) -> None:
    """Without current values nothing is sent or kept, and the error is raised."""

    async def fail(_: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        raise TransientError("oops", code="InternalError")

    with PreviousValuesFile(tmp_path / "x.before.csv") as file, pytest.raises(TransientError):
        asyncio.run(CurrentValues(file).compare([change(2, A, "New")], fail))
    assert list(read_previous_values(tmp_path / "x.before.csv")) == []
