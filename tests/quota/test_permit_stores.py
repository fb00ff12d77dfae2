"""The permit ledger in both stores: the same answers, and no window is ever exceeded.

Time is virtual. Holders die, pause, are suspended and lose answers; the store loses its memory,
cannot be reached, and has its clock set back. The server counts each request at some time between
its start and its answer, in sliding and in fixed windows.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from redis_process import RedisProcess

from bulk_reset.quota.local_store import LocalStore
from bulk_reset.quota.permit_ledger import PermitAnswer, PermitRequest
from bulk_reset.quota.redis_store import RedisStore

pytestmark = pytest.mark.redis
LIMITS, WINDOWS_US = (4, 10), (1_000_000, 6_000_000)
LEASE_US, TIMEOUT_US, STEP_US = 500_000, 300_000, 50_000
START_US = 1_700_000_000_123_457
"""A real time: it has 16 digits, of which a careless script keeps 14."""


class Both:
    """Both stores: every call goes to both, and the answers are compared."""

    def __init__(self, folder: Path, client: redis.Redis) -> None:
        self.now_us, self.back_us = START_US, 0
        self.path = folder / "account.db"
        self.client = client
        self.lose_memory()
        self.remote = RedisStore("redis://x", "a", client=self.client, clock=self.clock_us)
        self.calls = 0

    def clock_us(self) -> int:
        """Return the clock that both read."""
        return self.now_us - self.back_us

    def lose_memory(self) -> None:
        """Empty both stores."""
        if hasattr(self, "local"):
            self.local.close()
        for path in self.path.parent.glob("account.db*"):
            path.unlink()
        self.local = LocalStore(self.path, clock=lambda: self.now_us - self.back_us)
        self.client.flushall()

    def exchange(self, request: PermitRequest) -> PermitAnswer:
        """Call both, and compare."""
        self.calls += 1
        local, remote = self.local.exchange(request), self.remote.exchange(request)
        assert local == remote
        return local

    def close(self) -> None:
        """Close the local store."""
        self.local.close()


@dataclass
class Holder:
    """A run: it asks, sends what it may, and reports; ages only, by its own durations."""

    name: str
    weight: int
    reserve: int = 0
    answer: PermitAnswer | None = None
    call: int = 0
    granted: int = 0
    answered: int = 0
    used: int = 0
    deadline_us: int = 0
    unreported: deque[int] = field(default_factory=lambda: deque(maxlen=64))
    in_flight: list[tuple[int, int]] = field(default_factory=list)
    """When each is answered, and its generation."""

    def ask(self, both: Both, *, want: int, loses_answer: bool = False) -> PermitAnswer:
        """Report and ask."""
        self.call += 1
        old = self.answer
        asked_us = both.now_us
        found = both.exchange(
            PermitRequest(
                self.name,
                self.call,
                LIMITS,
                WINDOWS_US,
                epoch=old.epoch if old else 0,
                seen=old.sequence if old else 0,
                generation=old.generation if old else 0,
                granted=self.granted,
                answered=self.answered,
                ages_us=tuple(both.now_us - at for at in self.unreported),
                want=want,
                batch=3,
                weight=self.weight,
                reserve=self.reserve,
                lease_us=LEASE_US,
                timeout_us=TIMEOUT_US,
            )
        )
        if loses_answer:
            return found
        if old is None or (found.epoch, found.generation) != (old.epoch, old.generation):
            self.granted = self.answered = self.used = 0
            self.unreported.clear()
        self.answer, self.granted = found, found.granted
        self.deadline_us = asked_us + LEASE_US
        return found

    def send(self, now_us: int, latency_us: int) -> bool:
        """Start a request if there is a permit."""
        if self.used >= self.granted or now_us >= self.deadline_us or self.answer is None:
            return False
        self.used += 1
        self.in_flight.append((now_us + latency_us, self.answer.generation))
        return True

    def end_requests(self, now_us: int) -> None:
        """Note the answers that have arrived."""
        for one in [one for one in self.in_flight if one[0] <= now_us]:
            self.in_flight.remove(one)
            if self.answer is not None and one[1] == self.answer.generation:
                self.answered += 1
                self.unreported.append(now_us)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [*["ask"] * 8, *["send"] * 8, "lose answer", "die", "return", "flush", "back", "wait"]
        ),
        st.integers(0, 2),
        st.integers(1, 6),
    ),
    min_size=30,
    max_size=120,
)


def check_counts(counted: list[int]) -> None:
    """Compare the server's counts with the limit, in sliding and in fixed windows."""
    counted.sort()
    for limit, window_us in zip(LIMITS, WINDOWS_US, strict=True):
        for place, at_us in enumerate(counted):
            assert bisect.bisect_left(counted, at_us + window_us) - place <= limit
        fixed = [at_us // window_us for at_us in counted]
        assert max(map(fixed.count, fixed), default=0) <= limit


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as server:
        yield server.client


@pytest.fixture
def both(tmp_path: Path, client: redis.Redis) -> Iterator[Both]:
    found = Both(tmp_path, client)
    yield found
    found.close()


def play(both: Both, steps: list[tuple[str, int, int]]) -> list[int]:  # noqa: C901  (a script)
    """Play steps with three holders; return when the server counted a request."""
    holders = [Holder(f"holder {n}", 2**n, reserve=n % 2) for n in range(3)]
    counted: list[int] = []
    for action, which, amount in steps:
        holder = holders[which]
        both.now_us += STEP_US if action in {"ask", "send"} else 0
        for one in holders:
            one.end_requests(both.now_us)
        match action:
            case "ask" | "lose answer":
                holder.ask(both, want=amount * 3, loses_answer=action == "lose answer")
            case "send":
                latency_us = min(TIMEOUT_US - 1, amount * STEP_US)
                while holder.send(both.now_us, latency_us):
                    counted.append(both.now_us + latency_us * (amount % 3) // 2)
            case "die":
                holders[which] = Holder(f"{holder.name}'", holder.weight, holder.reserve)
            case "return":
                holder.granted = holder.used
            case "flush":
                both.lose_memory()
            case "back":
                both.back_us += amount * 1_000_000
            case "wait":
                # Suspended: nothing is asked, sent or reported meanwhile.
                both.now_us += amount * 700_000
    return counted


@settings(max_examples=60)
@given(steps=STEPS)
def test_both_stores_answer_alike_and_never_exceed_a_window(
    tmp_path_factory: pytest.TempPathFactory, client: redis.Redis, steps: list[tuple[str, int, int]]
) -> None:
    """Whatever dies, pauses or is lost, the server never counts more than the limit."""
    both = Both(tmp_path_factory.mktemp("store"), client)
    try:
        # The account is known for a minute, so that the first steps are granted something.
        Holder("first", 1).ask(both, want=0)
        both.now_us += WINDOWS_US[-1] + LEASE_US + TIMEOUT_US
        check_counts(play(both, steps))
    finally:
        both.close()


@pytest.mark.slow
def test_weights_divide_the_permits(both: Both) -> None:
    """Of two runs that always ask, one with four times the weight gets four times as many."""
    high, low = Holder("high", 4), Holder("low", 1)
    high.ask(both, want=99)
    both.now_us += WINDOWS_US[-1] + LEASE_US + TIMEOUT_US
    sent = {"high": 0, "low": 0}
    for _ in range(1500):
        both.now_us += 40_000
        for holder in (low, high):
            holder.end_requests(both.now_us)
            holder.ask(both, want=99)
            while holder.send(both.now_us, 1_000):
                sent[holder.name] += 1

    # A hundred at the limit; the first requests of each make up for the difference.
    assert (sent["high"] + sent["low"], 18 <= sent["low"] <= 26) == (100, True), sent


def test_a_lost_memory_closes_the_account_until_nothing_counts_any_more(both: Both) -> None:
    """Both sides know: the epoch changes, all stock is void, and the loss is counted."""
    run = Holder("run", 2)
    run.ask(both, want=5)
    both.now_us += WINDOWS_US[-1] + LEASE_US + TIMEOUT_US
    before = run.ask(both, want=5)
    both.lose_memory()
    lost = run.ask(both, want=5)
    both.now_us += WINDOWS_US[-1] + LEASE_US + TIMEOUT_US - 1
    closed = run.ask(both, want=5)
    both.now_us += 1
    opened = run.ask(both, want=5)

    assert (before.granted, lost.granted, closed.granted, opened.granted) == (3, 0, 0, 3)
    assert (lost.cause, closed.cause, lost.epochs) == ("lost", "lost", 1)
    assert before.epoch < lost.epoch == opened.epoch
