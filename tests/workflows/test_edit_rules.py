"""Edits by a rule: what a template gives is what is set, and what it lacks is named."""

from __future__ import annotations

import tracemalloc
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
    "fields": {"owner": "ops", "tags": ["a", None], "team": None, "is_open": True, "n": 1.5},
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
        (
            'field:tags:json={{ (fields.tags + ["b"]) | tojson }}',
            {"field:tags:json": '["a", null, "b"]'},
        ),
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
        ("title=", "title: the template is empty, and would set nothing"),
        ("title={{ title", "unexpected end of template"),
        ("title={{ title | shout }}", "No filter named 'shout'"),
        ("title={{ labels | pprint }}", "No filter named 'pprint'"),
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


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ fields.team }}", ""),
        ("Team {{ fields.team }}.", "Team ."),
        ("{{ none }}-", "-"),
        ("{{ fields.team ~ 'x' ~ none ~ fields.n }}", "x1.5"),
        ("{{ fields.team | upper }}-", "-"),
        ("{{ fields.team | regex_replace('x', 'y') }}-", "-"),
        ("{{ fields.tags | join('+') }}", "a+"),
        ("{{ '+'.join(fields.tags) }}", "a+"),
        ("{{ '%s/%s' % (fields.team, fields.is_open) }}", "/true"),
        ("{{ '%(team)s-%(n).2f' % fields }}", "-1.50"),
        ("{{ '%05d' % 7 }}", "00007"),
        ("{{ '{}:{:>4}'.format(fields.team, fields.n) }}", ": 1.5"),
        ("{{ '%s-%s' | format(fields.team, fields.is_open) }}", "-true"),
        ("{% if fields.team is none %}empty{% endif %}", "empty"),
        ("{% if fields.team == none %}empty{% endif %}", "empty"),
        ("{{ fields.team or 'no one' }}", "no one"),
        ("{{ fields.team | default('no one', true) }}", "no one"),
        ("{{ fields.is_open }} {{ fields.is_open | string }}", "true true"),
        ("{{ fields.tags | tojson }}", '["a", null]'),
        ('{{ "<it\'s> & co" | tojson }}', '"<it\'s> & co"'),
        ("{{ fields.team | tojson }}", "null"),
        ("{% for tag in fields.tags %}{{ tag }},{% endfor %}", "a,,"),
        ("{{ labels['host'].upper() }}", "DB-01"),
        ("{{ title.split(' ')[1:] | join(' ') }}", "Disk full on db-01"),
        ("{{ 1700000000 * 1000 }}", "1700000000000"),
        ("{{ labels.get('rack') }}-", "-"),
    ],
)
@pytest.mark.parametrize("field", ["description", "field:x", "comment"])
def test_a_value_becomes_the_text_that_a_sheet_shows(field: str, template: str, text: str) -> None:
    """Null is empty wherever it is used, and true is ``true``; in every kind of field."""
    wanted = Rules.of([f"{field}={template}"]).wanted(INCIDENT, 2)
    assert wanted == ({field: text} if text else {})


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ title.upper }}", "upper is a method, not a value. Use upper()"),
        ("{{ title.upper ~ 'x' }}", "upper is a method"),
        ("{% if title.isdigit %}x{% endif %}", "isdigit is a method"),
        ("{{ '%s' % title.upper }}", "upper is a method"),
        ("{{ title['upper'] }}", "upper is a method"),
        ("{{ labels.items }}", "items is a method, not a value. Use items(), or ['items']"),
        ("{{ range }}", "is a method"),
        ("{{ labels }}", "an object has no text"),
        ("{{ fields.tags }}", "a list has no text"),
        ("{{ fields.tags ~ 'x' }}", "a list has no text"),
        ("{{ fields.tags | upper }}", "a list has no text"),
        ("{{ fields.tags | string }}", "a list has no text"),
        ("{{ fields.tags | replace('a', 'b') }}", "a list has no text"),
        ("{{ '%s' % fields.tags }}", "a list has no text"),
        ("{{ '{}'.format(labels) }}", "an object has no text"),
        ("{{ '%s' | format(labels) }}", "an object has no text"),
        ("{{ [fields.tags] | join }}", "a list has no text"),
        ("{{ fields.tags | map('upper') }}", "a generator has no text"),
        ("{{ labels.items() }}", "a dict_items has no text"),
        ("{% for x in fields.tags %}{{ loop }}{% endfor %}", "has no text"),
        ("{{ 1e308 * 10 }}", "not a finite number"),
        ("{{ (1e308 * 10) | tojson }}", "is not JSON"),
        ("{{ lipsum() }}", "'lipsum' is undefined"),
    ],
)
@pytest.mark.parametrize("field", ["title", "field:x", "field:x:json", "comment"])
def test_what_has_no_text_is_an_error(field: str, template: str, text: str) -> None:
    """A method, a list or an object is never sent as Python prints it."""
    with pytest.raises(InputError) as caught:
        Rules.of([f"{field}={template}"]).wanted(INCIDENT, 2)
    assert text in str(caught.value)


_DOUBLED = "{{% set ns = namespace(x='ab') %}}{{% for i in range(60) %}}{{% set ns.x = {} %}}"


@pytest.mark.parametrize(
    "template",
    [
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '%.1000000000f' % 1 }}",
        "{{ '%(n)1000000000s' % fields }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:.1000000000f}'.format(1.0) }}",
        "{{ '{:{}}'.format(1, 1000000000) }}",
        "{{ '{x:1000000000}'.format_map({'x': 1}) }}",
        "{{ 'x' * 10000000000 }}",
        "{{ 10000000000 * 'x' }}",
        "{{ [title] * 10000000000 }}",
        "{{ 10 ** 10000000 }}",
        "{{ 'a'.center(1000000000) }}",
        "{{ 'a' | center(1000000000) }}",
        "{{ 'a' | center(width=1000000000) }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ '1'.zfill(1000000000) }}",
        "{{ '\\t'.expandtabs(1000000000) }}",
        "{{ 'a' | indent(1000000000, true) }}",
        "{{ ['a'] | batch(1000000000, 'x') | list }}",
        "{{ ['a'] | slice(1000000000) | list }}",
        "{{ 1.5 | round(1000000000, 'ceil') }}",
        "{{ range(100000) | join(title * 50) }}",
        "{{ (title * 50).join(['x'] * 50000) }}",
        "{{ ['x' * 5000] * 20 | join }}",
        "{{ ('x' * 50000) | replace('x', 'y' * 50000) }}",
        "{{ ('x' * 50000).replace('', 'y' * 50000) }}",
        _DOUBLED.format("ns.x ~ ns.x") + "{% endfor %}",
        _DOUBLED.format("ns.x + ns.x") + "{% endfor %}",
        _DOUBLED.format("'%s%s' % (ns.x, ns.x)") + "{% endfor %}",
        _DOUBLED.format("'{0}{0}'.format(ns.x)") + "{% endfor %}",
        _DOUBLED.format("ns.x.replace('', ns.x)") + "{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(9000) %}{{ title }}{% endfor %}",
        "{% for i in range(19000) %}longer{% endfor %}",
        "{% set x %}{% for i in range(9000) %}{{ title * 50 }}{% endfor %}{% endset %}{{ x }}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ range(1000000) | list }}",
        "{{ 9" + "9" * 2000 + " * 9" + "9" * 2000 + " }}",
    ],
)
def test_a_rule_is_bounded_in_time_and_memory(template: str) -> None:
    """An invalid rule is an error at once, and never fills the memory."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            Rules.of([f"title={template}"]).wanted(INCIDENT, 2)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_json_that_is_written_in_another_way_is_no_change() -> None:
    """The value counts, not its spaces."""
    rule = 'field:tags:json=["a",null]'
    assert Rules.of([rule]).wanted(INCIDENT, 2) == {}
