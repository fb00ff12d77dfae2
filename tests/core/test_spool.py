"""A spool is a sequence of what was added to it."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from bulk_reset.core.spool import Spool


def test_a_spool_is_a_sequence_of_its_values() -> None:
    """Values come back as they were, by place, by slice and in order, while more are added."""
    values = [("a", {"b": "\ud800"}), ("", {}), ("满了", {"c": [1, 2.5, None]})]
    spool = Spool(values[:1])
    assert spool[0] == values[0]
    spool.append(values[1])
    spool.extend(values[2:])
    assert (len(spool), list(spool), spool[-1], spool[1:]) == (3, values, values[2], values[1:])
    with pytest.raises(IndexError):
        spool[3]
    assert list(Spool()) == []


def test_a_spool_holds_no_values_in_memory() -> None:
    """Ten thousand values of a kilobyte take less than 200 kB."""
    tracemalloc.start()
    spool = Spool(f"{n:01000}" for n in range(10_000))
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert spool[9_999] == f"{9_999:01000}"
    assert size < 200_000
