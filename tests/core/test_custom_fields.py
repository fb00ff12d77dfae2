"""Custom fields and comments: how columns are named, and when two values are the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bulk_reset.core.custom_fields import (
    LONGEST_COMMENT,
    api_name,
    custom_column,
    field_of,
    header_of,
    is_same,
    live_value,
    part_of,
    text_of,
    value_of,
)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a", "a ", False),
        ("a\r\nb\rc", "a\nb\nc", True),
        ("", None, True),
        (None, None, True),
        ("", "a", False),
        (None, "a", False),
        ("", 0, False),
        (None, False, False),
        (None, [], False),
        (1, True, False),
        (1, 1, True),
        (1, 1.0, False),
        ("1", 1, False),
        (["a"], ["a"], True),
        (["a"], ["b"], False),
    ],
)
def test_two_values_are_the_same_or_not(one: object, other: object, same: bool) -> None:
    """How lines end, and how nothing is said, does not matter; types do."""
    assert is_same(one, other) is is_same(other, one) is same


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("title", "Ünïcode", "Ünïcode"),
        ("title", None, ""),
        ("title", "", ""),
        ("title", ["a"], '["a"]'),
        ("field:a", "text", "text"),
        ("field:a", None, ""),
        ("field:a", ["ü", 1], '["ü", 1]'),
        ("field:a:json", "ü", '"ü"'),
        ("field:a:json", None, ""),
        ("field:a:json", "", '""'),
        ("field:a:json", False, "false"),
    ],
)
def test_a_value_has_one_text_in_a_column(column: str, value: object, text: str) -> None:
    """A JSON column says what type a value has; others show texts as they are."""
    assert text_of(column, value) == text
    if column.endswith(":json") and text:
        assert value_of(column, text) == value


def test_a_comment_and_a_field_are_requests_of_their_own() -> None:
    """As the published descriptions have them, in UTF-8."""
    field = part_of("a" * 24, "field:My%20field:json", '["ü"]')
    assert (field.field, json.loads(field.body)) == (
        "field:My%20field",
        {"incident_id": "a" * 24, "field_name": "My field", "field_value": ["ü"]},
    )
    assert "ü".encode() in field.body
    comment = part_of("a" * 24, "comment", "Renamed")
    assert json.loads(comment.body) == {"incident_ids": ["a" * 24], "comment": "Renamed"}
    assert LONGEST_COMMENT == 1_024


@pytest.mark.parametrize(
    ("header", "column", "name"),
    [
        ("field:owner", "field:owner", "owner"),
        ("Field : owner", "field:owner", "owner"),
        ("field:owner:JSON", "field:owner:json", "owner"),
        ("field:My field", "field:My%20field", "My field"),
        ("field:100%", "field:100%25", "100%"),
        ("field:负责人", "field:负责人", "负责人"),
        ("field:a:b", "field:a:b", "a:b"),
    ],
)
def test_a_custom_column_is_known_by_its_name(header: str, column: str, name: str) -> None:
    """Whatever the account calls the field; and its name comes back."""
    found = custom_column(header)
    assert (found, api_name(column)) == (column, name)
    assert custom_column(header_of(column)) == column
    assert field_of(column) == column.removesuffix(":json")


@pytest.mark.parametrize("header", ["field", "field:", "fields:a", "my field:a", "title", ""])
def test_other_columns_are_none(header: str) -> None:
    """Nothing is sent by a guess."""
    assert custom_column(header) is None


@pytest.mark.parametrize(
    ("incident", "value"),
    [
        ({"fields": {"a": [1]}}, [1]),
        ({"fields": {}}, None),
        ({"fields": None}, None),
        ({}, None),
        ({"field:a": "no"}, None),
    ],
)
def test_what_an_incident_holds_of_a_field(incident: dict[str, Any], value: object) -> None:
    """Missing, null and empty are all nothing."""
    assert live_value(incident, "field:a:json") == value
