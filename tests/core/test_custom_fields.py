"""Custom fields and comments: names of columns, and equality of values."""

from __future__ import annotations

import json
import re
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
def test_two_values_are_equal_or_not(one: object, other: object, same: bool) -> None:
    """Line endings and kinds of empty values do not matter; types do."""
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
def test_value_has_one_text_in_a_column(column: str, value: object, text: str) -> None:
    """A JSON column shows a value's type; other columns show texts unchanged."""
    assert text_of(column, value) == text
    if column.endswith(":json") and text:
        assert value_of(column, text) == value


def test_comment_and_field_are_separate_requests() -> None:
    """In the form of the published descriptions, in UTF-8."""
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
def test_custom_column_is_recognised_by_its_name(header: str, column: str, name: str) -> None:
    """For any name of the field; the name can be restored."""
    found = custom_column(header)
    assert (found, api_name(column)) == (column, name)
    assert custom_column(header_of(column)) == column
    assert field_of(column) == column.removesuffix(":json")


@pytest.mark.parametrize("header", ["field", "field:", "fields:a", "my field:a", "title", ""])
def test_other_columns_are_not_custom(header: str) -> None:
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
def test_current_value_of_a_field(incident: dict[str, Any], value: object) -> None:
    """Missing, null and empty all mean no value."""
    assert live_value(incident, "field:a:json") == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("NaN", "NaN is not valid JSON"),
        ("Infinity", "Infinity is not valid JSON"),
        ("[1, -Infinity]", "-Infinity is not valid JSON"),
        ("1e999", "the number 1e999 is out of range"),
        ('{"a": -1e999}', "the number -1e999 is out of range"),
        ("1.0e-999", "the number 1.0e-999 is out of range"),
        ("9" * 301, "a number of 301 digits is out of range"),
        ('{"a": 1, "a": 2}', "the key 'a' is used twice"),
        ("[" * 100_000, "too many levels"),
    ],
)
def test_json_that_would_lose_a_part_is_an_error(text: str, problem: str) -> None:
    """It is refused as invalid, so that nothing else than the cell's value is sent."""
    with pytest.raises(ValueError, match=re.escape(problem)):
        value_of("field:a:json", text)


@pytest.mark.parametrize(
    ("text", "value"), [("0e999", 0.0), ("-0.0", 0.0), (" [1.5] ", [1.5]), ("9" * 300, 10**300 - 1)]
)
def test_json_in_range_is_its_value(text: str, value: object) -> None:
    """Zero is zero, however it is written."""
    assert value_of("field:a:json", text) == value
