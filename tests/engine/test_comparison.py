"""What a row would do, by what the sheet was made from, what it wants and what is there now."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_reset.core.change import Change
from bulk_reset.core.custom_fields import has_value, live_value
from bulk_reset.core.outcome import Status
from bulk_reset.engine.comparison import (
    Verdict,
    compare,
    find_differing,
    outcome_unless_sent,
)

ID = "69da451e0000000000000001"


def change(was: dict[str, Any] | None = None, **values: str) -> Change:
    return Change.made(2, ID, values, "a" * 24, was)


def incident(**values: Any) -> dict[str, Any]:  # noqa: ANN401  (JSON)
    return {"incident_id": ID, "detail_url": "https://sandbox.invalid/1", **values}


@pytest.mark.parametrize(
    ("was", "wanted", "now", "verdict"),
    [
        (None, "new", "old", Verdict.UPDATE),
        (None, "new", "new", Verdict.UNCHANGED),
        ("old", "new", "old", Verdict.UPDATE),
        ("old", "new", "new", Verdict.UNCHANGED),
        ("old", "new", "theirs", Verdict.CONFLICT),
        ("", "new", "", Verdict.UPDATE),
        ("", "new", None, Verdict.UPDATE),
        ("", "new", "theirs", Verdict.CONFLICT),
        ("old\r\ntext", "new", "old\ntext", Verdict.UPDATE),
        ("old", "new\r\ntext", "new\ntext", Verdict.UNCHANGED),
        ("old", "new", "old ", Verdict.CONFLICT),
        (" old\r\n", "new", "old", Verdict.UPDATE),
        ("  \n", "new", "", Verdict.UPDATE),
        ("  ", "new", None, Verdict.UPDATE),
        ("", "new", "  ", Verdict.UPDATE),
    ],
)
def test_three_values_decide(was: str | None, wanted: str, now: str | None, verdict: str) -> None:
    """No one's work is overwritten, and a row that needs no change is not sent."""
    made = change(None if was is None else {"title": was}, title=wanted)
    found = compare(made, incident(title=now))
    assert found.verdict is verdict
    if verdict is Verdict.CONFLICT:
        assert compare(made, incident(title=now), overwrites=True).verdict is Verdict.UPDATE


def test_only_the_fields_that_differ_are_sent_and_kept() -> None:
    """A field that has the wanted value is not sent, and no previous value is kept."""
    found = compare(
        change(title="Same", impact="New impact", incident_severity="Info"),
        incident(title="Same", impact="", incident_severity="Critical"),
    )
    assert found.change.fields == ("impact", "incident_severity")
    assert found.change.wanted() == {"impact": "New impact", "incident_severity": "Info"}
    assert dict(found.before) == {"impact": "", "incident_severity": "Critical"}
    assert found.link == "https://sandbox.invalid/1"
    assert found.change.digest == "a" * 24


def test_a_conflict_in_one_field_skips_the_whole_row() -> None:
    """A row is one decision of its author; a part of it is not sent."""
    found = compare(
        change({"title": "Old", "impact": "Old impact"}, title="New", impact="New impact"),
        incident(title="Theirs", impact="Old impact"),
    )
    assert (found.verdict, dict(found.conflicts)) == (Verdict.CONFLICT, {"title": "Old"})
    outcome = outcome_unless_sent(found, 1.0)
    assert outcome is not None
    assert (outcome.status, outcome.error_code) == (Status.CONFLICT, "changed_since")
    assert outcome.error_message == ("title: 'Old' when pulled, 'Theirs' now, 'New' in the sheet")


def test_a_value_that_an_earlier_row_sets_is_no_conflict() -> None:
    """The second row is sent, also with the same value: the first one may fail."""
    made = change({"title": "Old"}, title="Second")
    assert compare(made, incident(title="Old"), own={"title": "First"}).verdict is Verdict.UPDATE
    for title, before in (("First", "Old"), ("Old", "First"), ("Second", "First")):
        found = compare(
            change({"title": "Old"}, title=title), incident(title="Old"), own={"title": "First"}
        )
        assert (found.verdict, found.before) == (Verdict.UPDATE, {"title": before})


def test_custom_fields_are_compared_by_value_and_a_comment_is_always_sent() -> None:
    """Lists are compared as lists; a comment has no current value."""
    columns = {"field:tags:json": '["a", "b"]', "field:owner": "ops", "comment": "Retitled"}
    made = Change.made(2, ID, columns, "a" * 24)
    assert made.fields == ("field:tags", "field:owner", "comment")
    found = compare(made, incident(fields={"tags": ["a", "b"], "owner": "web"}))
    assert found.change.fields == ("field:owner", "comment")
    assert dict(found.before) == {"field:owner": "web"}
    assert compare(made, incident(fields={"tags": [], "owner": "ops"})).change.fields == (
        "field:tags",
        "comment",
    )
    assert compare(made, incident()).before == {"field:tags": None, "field:owner": None}


def test_an_incident_that_does_not_exist_fails_without_a_request() -> None:
    """Reading it has shown that already."""
    outcome = outcome_unless_sent(compare(change(title="New"), None), 1.0)
    assert outcome is not None
    assert (outcome.status, outcome.error_code, outcome.attempts) == (
        Status.FAILED,
        "ResourceNotFound",
        0,
    )


VALUES = st.sampled_from(
    [
        None,
        "",
        " ",
        "a",
        "a\r\nb",
        "a\nb",
        "A",
        "Triggered",
        "Closed",
        0,
        1,
        True,
        1.0,
        [],
        ["a"],
        {},
    ]
)
FIELDS = ("title", "impact", "incident_severity", "field:owner", "field:x%20y", "action")
MAPPINGS = st.dictionaries(st.sampled_from(FIELDS), VALUES)


@given(wanted=MAPPINGS, now=MAPPINGS, own=MAPPINGS)
def test_a_field_differs_as_its_values_are_compared(
    wanted: dict[str, Any], now: dict[str, Any], own: dict[str, Any]
) -> None:
    """For every kind of value, there or not there, and set by an earlier row or not."""
    found = incident(fields={"owner": now.get("field:owner"), "x y": now.get("field:x%20y")})
    found |= {name: value for name, value in now.items() if name in {"title", "impact"}}
    found |= {"incident_severity": now.get("incident_severity"), "progress": now.get("action")}
    before, differing = find_differing(found, wanted, own)
    live = {name: live_value(found, name) for name in wanted}
    set_before = {name: text for name, text in own.items() if name in wanted}
    sent = {name for name in set_before if name != "action"}
    assert before == {
        **live,
        **set_before,
        **{name: live[name] for name in sent if has_value(name, own[name], wanted[name])},
    }
    assert list(before) == list(wanted)
    assert differing == [
        name for name in wanted if name in sent or not has_value(name, before[name], wanted[name])
    ]
