"""The look before sending: what is left to do, and what is kept of what stands there."""

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
    """Incidents of which there are titles, and how often each was asked for."""

    def __init__(self, **titles: str) -> None:
        self.titles = titles
        self.asked: list[list[str]] = []

    async def __call__(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Tell what stands there."""
        self.asked.append(list(ids))
        return {one: {"title": self.titles[one]} for one in ids if one in self.titles}


def looked(look: CurrentValues, read: Titles, *changes: Change) -> list[tuple[int, str]]:
    """Return each row's number and what it comes to: what is sent first."""
    to_send, outcomes = asyncio.run(look.compare(changes, read))
    return [(one.row_number, "sent") for one in to_send] + [
        (one.row_number, one.status.value) for one in outcomes
    ]


def test_only_what_differs_is_sent_and_kept(tmp_path: Path) -> None:
    """One request for all of them, and a line for each row that is sent."""
    read = Titles(**{A: "Old", B: "New"})
    with PreviousValuesFile(tmp_path / "x.before.csv") as file:
        found = looked(
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


def test_rows_of_one_incident_are_judged_one_after_the_other(tmp_path: Path) -> None:
    """To New and back again: the second row is no work done already, though it is so now."""
    read = Titles(**{A: "Old"})
    with PreviousValuesFile(tmp_path / "x.before.csv") as file:
        look = CurrentValues(file, repeated_ids={A})
        assert looked(look, read, change(2, A, "New"), change(3, A, "Old")) == [
            (2, "sent"),
            (3, "sent"),
        ]
        # Later rows are judged by what those before them have set, read or not.
        assert looked(look, read, change(4, A, "Old")) == [(4, "unchanged")]
    assert [
        (one.before["title"], one.wrote["title"]) for one in read_previous_values(file.path)
    ] == [
        ("Old", "New"),
        ("New", "Old"),
    ]
    assert read.asked == [[A], [A]]


def test_a_row_that_a_killed_run_has_sent_is_updated() -> None:
    """It has no line because nobody lived to write it; what stands there tells that it was sent."""
    read = Titles(**{A: "New", B: "New"})
    look = CurrentValues(None, sent_before={f"{2:024x}"})
    _, [first, second] = asyncio.run(look.compare([change(2, A, "New"), change(3, B, "New")], read))
    assert (first.status, first.fields, first.attempts) == (Status.UPDATED, ("title",), 0)
    assert "read back: applied" in first.error_message
    assert (second.status, second.error_message) == (Status.UNCHANGED, "")


@pytest.mark.parametrize("overwrites", [False, True])
def test_what_somebody_changed_is_sent_only_when_that_is_said(overwrites: bool) -> None:
    """And then his value is what is kept."""
    look = CurrentValues(None, overwrites)
    found = looked(look, Titles(**{A: "Theirs"}), change(2, A, "New", "Old"))
    assert found == [(2, "sent" if overwrites else "conflict")]


def test_what_cannot_be_read_is_not_sent(tmp_path: Path) -> None:
    """No look, no sending: the error says why, and nothing is kept."""

    async def fail(_: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        raise TransientError("oops", code="InternalError")

    with PreviousValuesFile(tmp_path / "x.before.csv") as file, pytest.raises(TransientError):
        asyncio.run(CurrentValues(file).compare([change(2, A, "New")], fail))
    assert list(read_previous_values(tmp_path / "x.before.csv")) == []
