"""What a row would do, by what the sheet was made from, what it wants and what is there now."""

from __future__ import annotations

from typing import Any

import pytest

from bulk_reset.core.change import Change
from bulk_reset.core.outcome import Status
from bulk_reset.engine.comparison import Verdict, compare, outcome_unless_sent

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
    """Rows of one incident are compared as if the rows before them had been sent."""
    made = change({"title": "Old"}, title="Second")
    assert compare(made, incident(title="Old"), own={"title": "First"}).verdict is Verdict.UPDATE
    back = change({"title": "Old"}, title="First")
    assert compare(back, incident(title="Old"), own={"title": "First"}).verdict is Verdict.UNCHANGED


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
