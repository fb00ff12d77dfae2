"""A run that begins right after another one: what it waits for, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bulk_reset.quota.local_store import LocalStore
from bulk_reset.quota.permit_share import PermitShare
from bulk_reset.quota.windows import Window, windows_of

LIFTED = windows_of(100_000, 6_000_000)
SENT = 20_000


class Account:
    """The permits of an account on this machine, and a clock that the test moves."""

    def __init__(self, path: Path) -> None:
        self.now_s, self._path = 1_000.0, path
        self._stores: list[LocalStore] = []

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s

    def begin(self, windows: tuple[Window, ...]) -> PermitShare:
        """Begin a run, which opens the permits itself, and ask for the first ones."""
        store = LocalStore(self._path, clock=lambda: round(self.now_s * 1_000_000))
        self._stores.append(store)
        run = PermitShare(store, windows, clock=self)
        run.ask(lambda: None, 0)
        return run

    def close(self) -> None:
        """Close what runs have left open."""
        for store in self._stores:
            store.close()


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    found = Account(tmp_path / "account.permits")
    yield found
    found.close()


def send(run: PermitShare, requests: int) -> None:
    """Send requests that are answered at once."""
    for number in range(requests):
        run.ask(lambda: None, number)
        assert run.delay() is None
        run.take()
        run.end(0.0)


@pytest.mark.parametrize("is_killed", [False, True], ids=["ended", "killed"])
def test_run_right_after_one_with_a_lifted_quota_waits_for_nothing(
    account: Account, *, is_killed: bool
) -> None:
    """Its first request starts at once, even where the other run could not end properly."""
    first = account.begin(LIFTED)
    send(first, SENT)
    if not is_killed:
        first.close()
    second = account.begin(LIFTED)

    assert second.delay() is None
    assert second.outlook() == (0.0, "")


@pytest.mark.parametrize(("after_s", "wait_s"), [(59.0, 1.0), (60.0, 0.0)])
def test_run_waits_until_the_windows_of_the_last_one_are_over_and_no_longer(
    account: Account, after_s: float, wait_s: float
) -> None:
    """What the other run has sent counts for a minute, however high its own quota was."""
    first = account.begin(LIFTED)
    send(first, SENT)
    first.close()
    account.now_s += after_s
    second = account.begin(windows_of())

    assert second.outlook()[0] == pytest.approx(wait_s, abs=0.011)


def test_time_left_counts_all_permits_that_must_return_first(account: Account) -> None:
    """Those of the first of two runs are not enough."""
    for _ in range(2):
        run = account.begin(LIFTED)
        send(run, SENT)
        run.close()
        account.now_s += 10.0

    assert account.begin(windows_of()).outlook()[0] == pytest.approx(50.0, abs=0.011)


def test_slow_run_with_a_lifted_quota_uses_no_more_permits_than_it_sends(account: Account) -> None:
    """A stock that lasts longer than a lease is renewed; at its end it would count as used."""
    run = account.begin(LIFTED)
    for number in range(300):
        account.now_s += 0.1
        run.ask(lambda: None, number)
        assert run.delay() is None
        run.take()
        run.end(0.0)
    run.close()

    assert run.peaks() == pytest.approx((10, 300), abs=1)
    assert run.calls < 30
