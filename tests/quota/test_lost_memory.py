"""A store that has lost its memory, whose clock was changed, or that does not answer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulk_reset.quota.local_store import LocalStore
from bulk_reset.quota.permit_share import PermitShare
from bulk_reset.quota.permit_store import StoreUnreachableError
from bulk_reset.quota.windows import windows_of

WINDOWS = windows_of()
MINUTE_S = 60.0 + 30.0 + 5.0
"""Until nothing counts any more: the window, the timeout of a request, and a lease."""


class Clocks:
    """The store's clock and that of the runs; they differ by ``ahead_s``."""

    def __init__(self) -> None:
        self.now_s, self.ahead_s = 1_000.0, 0.0

    def __call__(self) -> float:
        """Return the time of a run."""
        return self.now_s

    def us(self) -> int:
        """Return the store's time."""
        return round((self.now_s + self.ahead_s) * 1_000_000)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account.permits"


@pytest.fixture
def store(path: Path, clocks: Clocks) -> Iterator[LocalStore]:
    found = LocalStore(path, clock=clocks.us)
    yield found
    found.close()


def test_a_clock_set_forward_stops_every_run_for_a_minute(
    store: LocalStore, clocks: Clocks
) -> None:
    """Permits would return early; so the answer is not used, and the account closes."""
    run, other = (PermitShare(store, WINDOWS, clock=clocks) for _ in range(2))
    run.exchange(100)
    other.exchange(100)
    for _ in range(3):
        run.take()
    clocks.now_s += 0.2
    clocks.ahead_s += 30
    run.exchange(100)
    found = [(run.stock, run.epochs)]
    run.exchange(100)
    other.exchange(100)
    found += [(run.stock, run.epochs), (other.stock, other.epochs)]
    clocks.now_s += MINUTE_S - 0.01
    run.exchange(100)
    found.append((run.stock, run.epochs))
    clocks.now_s += 0.01
    run.exchange(100)
    found.append((run.stock, run.epochs))

    assert found == [(0, 0), (0, 1), (0, 1), (0, 1), (10, 1)]
    assert run.delay() is None


@pytest.mark.parametrize("ahead_s", [-30.0, -0.5, 0.04])
def test_a_clock_set_back_or_adjusted_gradually_stops_nothing(
    store: LocalStore, clocks: Clocks, ahead_s: float
) -> None:
    """The ledger never goes back, and small differences are those of any two clocks."""
    run = PermitShare(store, WINDOWS, clock=clocks)
    run.exchange(100)
    clocks.now_s += 0.2
    clocks.ahead_s += ahead_s
    run.exchange(100)
    clocks.now_s += 0.2
    run.exchange(100)

    assert (run.epochs, run.stock, run.delay()) == (0, 30, None)


def test_a_clock_set_back_and_forward_again_stops_every_run(
    store: LocalStore, clocks: Clocks
) -> None:
    """The ledger continued from its last time, so the way forward is too long."""
    run = PermitShare(store, WINDOWS, clock=clocks)
    for ahead_s in (0.0, -30.0, 0.0, 0.0):
        clocks.now_s += 0.2
        clocks.ahead_s = ahead_s
        run.exchange(100)

    assert (run.epochs, run.stock) == (1, 0)


@pytest.mark.parametrize("is_first", [True, False], ids=["the run", "another run"])
def test_a_removed_file_closes_the_account_for_a_minute(
    path: Path, store: LocalStore, clocks: Clocks, *, is_first: bool
) -> None:
    """Also where a new run made the file again, and was served as in a new account."""
    run = PermitShare(store, WINDOWS, clock=clocks)
    run.exchange(100)
    clocks.now_s += 0.2
    for one in (path, path.with_name(f"{path.name}-journal")):
        one.unlink()
    if not is_first:
        other = PermitShare(LocalStore(path, clock=clocks.us), WINDOWS, clock=clocks)
        other.exchange(100)
    clocks.now_s += 0.2
    run.exchange(100)
    found = [(run.stock, run.epochs)]
    if not is_first:
        other.exchange(100)
        found.append((other.stock, other.epochs))
        other.close()
    clocks.now_s += MINUTE_S
    run.exchange(100)
    found.append((run.stock, run.epochs))

    assert found == [(0, 1), *[(0, 1)] * (not is_first), (10, 1)]


def test_answers_of_before_free_no_permits_after_the_loss(
    path: Path, store: LocalStore, clocks: Clocks
) -> None:
    """A lease may get the number of the one that was lost; what it had is not counted for it."""
    run = PermitShare(store, WINDOWS, clock=clocks)
    run.exchange(100)
    for _ in range(10):
        run.take()
        run.end(0.0)
    for one in (path, path.with_name(f"{path.name}-journal")):
        one.unlink()
    run.exchange(100)
    while run.closed_s:
        clocks.now_s += min(4.0, run.closed_s)
        run.exchange(100)
    for _ in range(10):
        run.exchange(100)
    [lease] = store.state().leases.values()

    assert (run.stock, lease.out) == (50, 50)


def test_the_first_run_after_a_file_was_removed_is_not_the_first_of_the_account(
    path: Path, store: LocalStore, clocks: Clocks
) -> None:
    """Other runs may be active, so it waits; SQLite's journal beside the file shows it."""
    PermitShare(store, WINDOWS, clock=clocks).exchange(100)
    path.unlink()
    late = PermitShare(LocalStore(path, clock=clocks.us), WINDOWS, clock=clocks)
    late.exchange(100)
    found = [(late.stock, late.closed_s)]
    clocks.now_s += MINUTE_S
    late.exchange(100)
    found.append((late.stock, late.closed_s))
    late.close()

    assert found == [(0, MINUTE_S), (10, 0.0)]


def test_a_locked_file_is_waited_for(path: Path, store: LocalStore, clocks: Clocks) -> None:
    """The run uses its stock, then waits; it continues when the file is free again."""
    run = PermitShare(store, WINDOWS, clock=clocks)
    run.exchange(100)
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    run.exchange(100)
    failure, stock = run.failure, run.stock
    with pytest.raises(StoreUnreachableError):
        store.claim("run", ["a"], [], 1_000_000)
    clocks.now_s += 6
    late = (run.stock, run.delay(), run.unreachable_s)
    locker.execute("COMMIT")
    locker.close()
    run.exchange(100)

    assert str(failure) == f"{path}: the account's permits are locked by another program. Close it."
    assert (stock, late) == (10, (0, (0.1, "quota store unreachable"), 6.0))
    assert (run.failure, run.stock, run.epochs) == (None, 10, 0)


def test_a_suspended_run_uses_none_of_its_old_permits(store: LocalStore, clocks: Clocks) -> None:
    """Its lease has ended: another run has the permits, and the run is granted new ones."""
    run = PermitShare(store, WINDOWS, clock=clocks)
    run.exchange(100)
    run.take()
    clocks.now_s += 60
    stock = run.stock
    other = PermitShare(store, WINDOWS, clock=clocks)
    other.exchange(100)
    run.end(0.0)
    run.exchange(100)
    state = store.state()

    assert (stock, other.stock, run.stock) == (0, 10, 10)
    # Those of the ended lease count as answered a timeout after its deadline.
    assert dict(state.cooling) == {(1_000 + 5 + 30) * 1_000_000: 10}
