"""Who uses an account: read from either store, without changing anything there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis_process import RedisProcess

from bulk_reset.core.defaults import Priority
from bulk_reset.quota.account_use import AccountUse, RunUse, WindowUse, unused, use_of
from bulk_reset.quota.local_store import LocalStore
from bulk_reset.quota.permit_share import PermitShare
from bulk_reset.quota.permit_store import Store
from bulk_reset.quota.redis_store import RedisStore
from bulk_reset.quota.windows import Window, windows_of

WINDOWS = windows_of()


class Clock:
    """The clock of a store and of its holders, in seconds."""

    now_s = 1_700_000_000.25

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s

    def us(self) -> int:
        """Return the time in microseconds."""
        return round(self.now_s * 1_000_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["local", pytest.param("redis", marks=pytest.mark.redis)])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    if request.param == "local":
        local = LocalStore(tmp_path / "account.permits", clock=clock.us)
        yield local
        local.close()
        return
    with RedisProcess(tmp_path) as server:
        remote = RedisStore(server.url, "account", clock=clock.us)
        # A new account on a server waits, because its memory cannot be known.
        PermitShare(remote, WINDOWS, clock=clock).exchange(0)
        clock.now_s += 100
        yield remote
        remote.close()


def run_of(store: Store, clock: Clock, label: str, **more: object) -> PermitShare:
    """Begin a run; it asks and uses some permits."""
    share = PermitShare(store, WINDOWS, label=label, clock=clock, **more)  # type: ignore[arg-type]
    share.exchange(500)
    return share


def test_each_run_is_shown_with_what_it_has(store: Store, clock: Clock) -> None:
    """Permits in hand and answered requests are counted, with waits and rejections of each."""
    first = run_of(store, clock, "十月.xlsx")
    for _ in range(10):
        first.take()
        first.end(0.0)
    clock.now_s += 2
    run_of(store, clock, "urgent.csv", priority=Priority.HIGH)
    first.waited_s, first.rejected = 1.5, 3
    first.exchange(490)
    before = store.state()
    use = use_of(before, WINDOWS)

    assert store.state() == before
    host, process = socket.gethostname(), os.getpid()
    assert use == AccountUse(
        (WindowUse(1.0, 50, 0, 10), WindowUse(60.0, 1000, 10, 10)),
        (
            RunUse("十月.xlsx", host, process, 2.0, "normal", False, 0, 490, 1.5, 3, 0.0),
            RunUse("urgent.csv", host, process, 0.0, "high", False, 10, 500, 0.0, 0, 0.0),
        ),
        rejected=3,
        losses=before.meta.epochs,
    )
    assert use.share == 0.2


def test_a_run_that_has_ended_leaves_only_what_counts(store: Store, clock: Clock) -> None:
    """Its permits return; its rejections stay in the total of the account."""
    run = run_of(store, clock, "done.csv")
    run.take()
    run.end(0.0)
    run.rejected = 1
    run.exchange(0)
    use = use_of(store.state(), WINDOWS)

    assert (use.runs, use.rejected) == ((), 1)
    assert use.windows[1] == WindowUse(60.0, 1000, 1, 0)


def test_a_killed_run_counts_until_its_permits_return(store: Store, clock: Clock) -> None:
    """After its lease, each permit that it had counts as used at the latest possible time."""
    run_of(store, clock, "killed.csv", timeout_s=4.0)
    clock.now_s += 5
    use = use_of(store.state(), WINDOWS)
    clock.now_s += 64
    later = use_of(store.state(), WINDOWS)

    assert (use.runs, [one.used for one in use.windows]) == ((), [10, 10])
    assert [one.used for one in later.windows] == [0, 0]


def test_an_account_that_no_run_has_used_is_free() -> None:
    """Every window is empty."""
    use = unused((Window(50, 1.0), Window(1000, 60.0)))

    assert use == AccountUse((WindowUse(1.0, 50, 0, 0), WindowUse(60.0, 1000, 0, 0)))
    assert use.share == 0.0
