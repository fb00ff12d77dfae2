"""A run after one with the quota lifted: it waits only for a window that is full for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bulk_reset.quota.local_store import LocalStore
from bulk_reset.quota.permit_ledger import PermitAnswer, PermitRequest

SECOND_US, MINUTE_US = 1_000_000, 60_000_000
SENT = 10_000
LIFTED, DEFAULT = (1_000_000, 1_000_000), (50, 1_000)


class Clock:
    """A clock that is moved by hand, in microseconds."""

    def __init__(self) -> None:
        self.now_us = 1_000_000_000

    def __call__(self) -> int:
        """Return the time."""
        return self.now_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[LocalStore]:
    """Return the store of an account with which a run with a lifted quota has just ended."""
    store = LocalStore(tmp_path / "account.permits", clock=clock)
    first = ask(store, "lifted", LIFTED, can_be_new=True)
    last = PermitRequest(
        "lifted",
        2,
        LIFTED,
        (SECOND_US, MINUTE_US),
        epoch=first.epoch,
        seen=first.sequence,
        generation=first.generation,
        granted=SENT,
        answered=SENT,
        ages_us=(0,) * SENT,
        lease_us=0,
    )
    store.exchange(last)
    yield store
    store.close()


def ask(
    store: LocalStore, holder: str, limits: tuple[int, int], *, can_be_new: bool = False
) -> PermitAnswer:
    windows_us = (SECOND_US, MINUTE_US)
    return store.exchange(
        PermitRequest(holder, 1, limits, windows_us, want=SENT, batch=SENT, can_be_new=can_be_new)
    )


def facts(answer: PermitAnswer) -> tuple[int, int, str]:
    return answer.granted, answer.wait_us, answer.cause


def test_a_run_with_a_lifted_quota_starts_at_once_after_another(store: LocalStore) -> None:
    """What the earlier run sent leaves room in this run's windows, so nothing is waited for."""
    assert facts(ask(store, "second", LIFTED)) == (SENT, 0, "")


def test_a_run_with_the_default_quota_waits_until_its_window_has_room(
    store: LocalStore, clock: Clock
) -> None:
    """A lifted quota does not hide requests: the API counted them, so a smaller quota waits."""
    assert facts(ask(store, "second", DEFAULT)) == (0, MINUTE_US, "window 1")

    clock.now_us += MINUTE_US + SECOND_US
    assert facts(ask(store, "third", DEFAULT)) == (50, 0, "")
