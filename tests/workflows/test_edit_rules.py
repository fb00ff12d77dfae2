"""Edits by a rule: what a template gives is what is set, and what it lacks is named."""

from __future__ import annotations

from typing import Any

import pytest

from bulk_reset.core.errors import InputError
from bulk_reset.workflows.edit_rules import Rules

INCIDENT: dict[str, Any] = {
    "incident_id": "69da451e0000000000000001",
    "title": "[TEST] Disk full on db-01",
    "impact": "",
    "incident_severity": "Info",
    "labels": {"host": "db-01"},
    "fields": {"owner": "ops", "tags": ["a"]},
}


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (
            'title={{ title | replace("[TEST] ", "") }}',
            {"title": "Disk full on db-01"},
        ),
        (r'title={{ title | regex_replace("^\\[\\w+\\] ") }}', {"title": "Disk full on db-01"}),
        (
            r'Title={{ title | regex_replace("db-(\\d+)", "sql-\\1") }}',
            {"title": "[TEST] Disk full on sql-01"},
        ),
        ("title={{ title }}", {}),
        ("impact={{ impact }}", {}),
        ("impact={% if incident_severity == 'Critical' %}Many{% endif %}", {}),
        ("impact=Host {{ labels.host }}\n", {"impact": "Host db-01\n"}),
        ("severity=Warning", {"incident_severity": "Warning"}),
        ("impact={{ '-' * 5 }}{{ 2 * 3 }}", {"impact": "-----6"}),
        ("field:owner={{ fields.owner | upper }}", {"field:owner": "OPS"}),
        ("field:owner={{ fields.owner }}", {}),
        ('field:tags:json={{ (fields.tags + ["b"]) | tojson }}', {"field:tags:json": '["a", "b"]'}),
        ("comment=Retitled on {{ labels['host'] }}", {"comment": "Retitled on db-01"}),
        ("title=a = b & <c>", {"title": "a = b & <c>"}),
    ],
)
def test_a_rule_returns_what_will_change(rule: str, wanted: dict[str, str]) -> None:
    """A result that is the current value, or empty, sets nothing."""
    assert Rules.of([rule]).wanted(INCIDENT, 2) == wanted


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("title", "Use for example 'title={{ title | upper }}'."),
        ("incident_id={{ title }}", "no field that can be set"),
        ("colour=red", "no field that can be set"),
        ("title={{ title", "unexpected end of template"),
        ("title={{ title | shout }}", "No filter named 'shout'"),
    ],
)
def test_an_invalid_rule_is_refused_at_once(rule: str, text: str) -> None:
    """Before anything is read."""
    with pytest.raises(InputError) as caught:
        Rules.of([rule])
    assert text in str(caught.value)


def test_a_field_has_one_rule() -> None:
    """With two rules it would be unclear which one counts."""
    with pytest.raises(InputError, match="used twice"):
        Rules.of(["title=One", "Title=Two"])


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("title={{ titel }}", "'titel' is undefined"),
        ("title={{ labels.rack }}", "has no attribute 'rack'"),
        ("title={{ title / 2 }}", "unsupported operand"),
        ("title={{ 'x' * 10000000000 }}", "has more than 100,000 characters"),
        ("title={{ 10 ** 10000000 }}", "has more than 100,000 characters"),
        ("title={{ range(1000000) | list }}", "Range too big"),
        ("title={{ title.__class__.__mro__ }}", "is unsafe"),
        ("title={{ labels.update({}) }}", "is unsafe"),
    ],
)
def test_a_template_error_names_the_row_and_the_variable(rule: str, text: str) -> None:
    """A template can read values and do nothing else."""
    with pytest.raises(InputError) as caught:
        Rules.of([rule]).wanted(INCIDENT, 7)
    message = str(caught.value)
    assert "row 7, incident 69da451e0000000000000001: " in message
    assert text in message
    assert (
        "Available values: fields, impact, incident_id, incident_severity, labels, title."
        in message
    )
