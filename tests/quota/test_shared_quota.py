"""Four processes that share one quota through either store, with a strict server that counts.

The windows are smaller than the API's; ``tests/bench quota-shared`` has the full size.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis_process import RedisProcess
from shared_quota import (
    LOST,
    Sender,
    StoreDouble,
    StrictServer,
    ended,
    open_account,
    start_sender,
)
from waiting import wait_until

from bulk_reset.quota.windows import Window

pytestmark = pytest.mark.slow
WINDOWS = (Window(50, 1.0), Window(150, 6.0))
EACH, COUNT = 65, 4


@pytest.fixture(params=["local", pytest.param("redis", marks=pytest.mark.redis)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreDouble]:
    if request.param == "local":
        yield StoreDouble(str(tmp_path / "account.permits"), None)
        return
    with RedisProcess(tmp_path) as server:
        open_account(server.url, WINDOWS)
        yield StoreDouble(server.url, server)


@pytest.fixture
def server() -> Iterator[StrictServer]:
    with StrictServer(WINDOWS) as found:
        yield found


@pytest.fixture
def senders(server: StrictServer, store: StoreDouble) -> Iterator[list[Sender]]:
    found = [start_sender(server, store.address, WINDOWS, EACH) for _ in range(COUNT)]
    with ended(found):
        wait_until(lambda: server.counted >= EACH)
        yield found


def results(server: StrictServer, senders: list[Sender]) -> tuple[list[int | None], int, int]:
    """Return the exit codes of the processes, and what the server accepted and rejected."""
    codes = [one.finish(120).process.returncode for one in senders]
    return codes, server.counted, server.rejected


def test_four_processes_send_everything_and_nothing_is_rejected(
    server: StrictServer, senders: list[Sender]
) -> None:
    """All requests of all processes arrive."""
    assert results(server, senders) == ([0] * COUNT, COUNT * EACH, 0)
    assert [one.notices for one in senders] == [[]] * COUNT


def test_one_process_that_is_killed_lets_no_window_be_exceeded(
    server: StrictServer, senders: list[Sender]
) -> None:
    """Its permits count until the latest time at which they can have been used."""
    senders[0].process.kill()
    codes, counted, rejected = results(server, senders)

    assert (codes, rejected) == ([-signal.SIGKILL, 0, 0, 0], 0)
    assert (COUNT - 1) * EACH <= counted < COUNT * EACH


def test_a_process_that_was_suspended_uses_no_permit_of_before(
    server: StrictServer, senders: list[Sender], store: StoreDouble
) -> None:
    """It sleeps for longer than its lease; the others have used its permits meanwhile."""
    store.suspend(senders[0])
    for one in senders[1:]:
        one.finish(120)
    senders[0].process.send_signal(signal.SIGCONT)

    assert results(server, senders[:1]) == ([0], COUNT * EACH, 0)


def test_a_store_that_has_lost_its_memory_stops_all_for_a_window_and_says_so(
    server: StrictServer, senders: list[Sender], store: StoreDouble
) -> None:
    """Nothing is rejected, and each process that is left reports why it waits."""
    store.lose_memory()
    codes, counted, rejected = results(server, senders)

    assert (codes, counted, rejected) == ([0] * COUNT, COUNT * EACH, 0)
    for notices in (one.notices for one in senders):
        assert len([text for text in notices if text.startswith(LOST)]) == 1, notices


def test_a_store_that_does_not_answer_is_waited_for_and_said(
    server: StrictServer, senders: list[Sender], store: StoreDouble
) -> None:
    """The processes continue where they were when it answers again."""
    with store.unreachable():
        # Until every permit in stock is used or void.
        wait_until(is_quiet(server))
    codes, counted, rejected = results(server, senders)

    assert (codes, counted, rejected) == ([0] * COUNT, COUNT * EACH, 0)
    for notices in (one.notices for one in senders):
        assert len(notices) == 2, notices
        assert notices[0].endswith("; waiting up to 2 min 00 s"), notices
        assert notices[1].startswith("the quota store answers again, after "), notices


def test_a_store_that_stays_away_ends_a_run_after_its_patience(
    server: StrictServer, store: StoreDouble
) -> None:
    """The message says what does not answer; nothing was sent without a permit."""
    with store.unreachable():
        late = start_sender(server, store.address, WINDOWS, EACH, patience_s=1.0)
        with ended([late]):
            code = late.finish(60).process.returncode

    assert (code, server.counted, server.rejected) == (3, 0, 0)
    assert late.notices[-1].startswith("stopped: "), late.notices


def is_quiet(server: StrictServer) -> Callable[[], bool]:
    """Return whether nothing has arrived for longer than a lease and a window."""
    return lambda: time.perf_counter() - server.last_at > 7.0
