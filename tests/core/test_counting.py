"""Counts agree with their nouns."""

from __future__ import annotations

import pytest

from bulk_reset.core.counting import counted


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (12_345, "12,345 rows")],
)
def test_number_agrees_with_its_noun(count: int, text: str) -> None:
    """One row, two rows; thousands are separated."""
    assert counted(count, "row") == text
