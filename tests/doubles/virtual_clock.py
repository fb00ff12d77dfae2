"""A clock that jumps: an event loop whose waits take no time, and servers that live in it.

The clock moves to the next timer when there is nothing else to do, and a little at every turn:
with one that stands still, a leaky bucket of capacity 1 can wake itself for ever, because
rounding leaves 1e-16 in it.
"""

from __future__ import annotations

import asyncio
import random
import selectors
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

from bulk_reset.api.answers import Answer
from bulk_reset.core.change import Change
from bulk_reset.core.errors import ThrottledError, UnknownOutcomeError
from bulk_reset.core.outcome import Outcome
from bulk_reset.engine.worker_pool import WorkerPool
from bulk_reset.quota.limiter import Limiter, Window

T = TypeVar("T")
_TURN_S = 1e-7


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for the timeout, moves the clock there."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Look for events without waiting; a wait without end would be a deadlock."""
        events = super().select(0)
        if events:
            return events
        if timeout is None:
            raise AssertionError("nothing is left that could wake anybody")
        self.now += max(timeout, _TURN_S)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a virtual clock that starts at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual seconds."""
        return self._jumping.now

    def run_in_executor(  # type: ignore[override]  (a coroutine is never given)
        self,
        _executor: object,
        work: Callable[..., T],
        *arguments: Any,  # noqa: ANN401
    ) -> asyncio.Future[T]:
        """Do the work at once: on this clock, a thread would take for ever."""
        done: asyncio.Future[T] = self.create_future()
        done.set_result(work(*arguments))
        return done

    async def getaddrinfo(self, host: Any, *_: Any, **__: Any) -> Any:  # noqa: ANN401
        """Know no name: nobody is asked, and no thread is waited for."""
        raise socket.gaierror(socket.EAI_NONAME, f"no address for {host}")


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a virtual clock."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class StrictSliding:
    """Admits a request if fewer than ``limit`` were admitted in the window before it."""

    def __init__(self, limit: int, window_s: float) -> None:
        self._limit, self._window_s = limit, window_s
        self._admitted: deque[float] = deque()

    def has_room(self, now: float) -> bool:
        """Tell whether one more is within the limit."""
        while self._admitted and self._admitted[0] <= now - self._window_s:
            self._admitted.popleft()
        return len(self._admitted) < self._limit

    def admit(self, now: float) -> None:
        """Count one."""
        self._admitted.append(now)

    def wait_s(self, now: float) -> float:
        """Return the seconds until there is room again."""
        return 0.0 if self.has_room(now) else self._admitted[0] + self._window_s - now


class StrictFixed:
    """Admits so many requests in each window of the server's own calendar."""

    def __init__(self, limit: int, window_s: float, offset_s: float = 0.0) -> None:
        self._limit, self._window_s, self._offset_s = limit, window_s, offset_s
        self._current, self._admitted = -1, 0

    def has_room(self, now: float) -> bool:
        """Tell whether one more is within the limit."""
        current = int((now + self._offset_s) // self._window_s)
        if current != self._current:
            self._current, self._admitted = current, 0
        return self._admitted < self._limit

    def admit(self, now: float) -> None:
        """Count one."""
        assert self.has_room(now)
        self._admitted += 1

    def wait_s(self, now: float) -> float:
        """Return the seconds until there is room again."""
        if self.has_room(now):
            return 0.0
        return (self._current + 1) * self._window_s - self._offset_s - now


class FarServer:
    """An API some way off that counts strictly; every call of ``reset`` is a request.

    Args:
        one_way_s: how long a way takes, asked for each.
        way_back_s: the same of the ways back, where they differ.
        says_when: whether a rejection tells how long to wait.

    Attributes:
        admitted, rejected: how many requests were within and over its limits.
        bodies: what was applied, in order.
    """

    def __init__(
        self,
        counters: list[StrictSliding | StrictFixed],
        one_way_s: Callable[[], float],
        *,
        way_back_s: Callable[[], float] | None = None,
        says_when: bool = False,
    ) -> None:
        self._counters, self._way_out_s = counters, one_way_s
        self._way_back_s, self._says_when = way_back_s or one_way_s, says_when
        self.admitted = self.rejected = 0
        self.bodies: list[bytes] = []

    async def reset(self, body: bytes) -> Answer:
        """Travel there, be counted, travel back."""
        await asyncio.sleep(self._way_out_s())
        is_admitted = self.admits()
        wait_s = self._wait_s() if self._says_when and not is_admitted else None
        if is_admitted:
            self.admitted += 1
            self.bodies.append(body)
        else:
            self.rejected += 1
        await asyncio.sleep(self._way_back_s())
        if not is_admitted:
            raise ThrottledError(
                "too many", code="RequestTooFrequently", http_status=429, retry_after_s=wait_s
            )
        return Answer(200, "request", None)

    async def list_by_ids(self, _ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Whoever is answered by this server need not read back."""
        raise AssertionError("nothing was in doubt")

    def admits(self) -> bool:
        """Count a request that arrives now, if every limit has room for it."""
        now = asyncio.get_running_loop().time()
        is_admitted = all(counter.has_room(now) for counter in self._counters)
        if is_admitted:
            for counter in self._counters:
                counter.admit(now)
        return is_admitted

    def _wait_s(self) -> float:
        now = asyncio.get_running_loop().time()
        return max(counter.wait_s(now) for counter in self._counters)


class Trip(NamedTuple):
    """What the way to the server and back does to one request."""

    out_s: float
    back_s: float
    is_lost: bool = False
    """Whether the answer never comes back."""


class Line:
    """The way to a server that counts what arrives, whatever has become of the sender.

    Args:
        trip: what happens to the n-th request.
        timeout_s: when the sender gives an answer up.
        is_late: whether a request that was given up on its way out arrives in its own time;
            else at the moment it is given up, at the latest.

    Attributes:
        arrived, over: how many requests arrived, and how many of them over the limits.
    """

    def __init__(
        self,
        counters: list[StrictSliding | StrictFixed],
        trip: Callable[[int], Trip],
        timeout_s: float,
        *,
        is_late: bool = False,
    ) -> None:
        self._server = FarServer(counters, lambda: 0.0)
        self._trip, self._timeout_s, self._is_late = trip, timeout_s, is_late
        self._sent, self._on_the_way = 0, set[int]()
        self.arrived = self.over = 0

    async def send(self) -> None:
        """Send a request and wait for its answer."""
        number, trip = self._sent, self._trip(self._sent)
        self._sent += 1
        self._on_the_way.add(number)
        asyncio.get_running_loop().call_later(trip.out_s, self._arrive, number)
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.sleep(trip.out_s + (1e9 if trip.is_lost else trip.back_s))
        except TimeoutError as error:
            raise UnknownOutcomeError("sent, but no answer came", code="timeout") from error
        finally:
            if not self._is_late:
                self._arrive(number)

    def _arrive(self, number: int) -> None:
        if number in self._on_the_way:
            self._on_the_way.remove(number)
            self.arrived += 1
            self.over += not self._server.admits()


class Stranger:
    """Somebody else who uses the account and takes no notice of anybody.

    Args:
        per_s: how many requests a second, while it works.
        burst: how many of them at once.
        works_s: how much of every minute it works, from its beginning.
        leaves_at: when it ends, on the loop's clock.

    Attributes:
        admitted, rejected: what became of its requests.
    """

    def __init__(
        self,
        server: FarServer,
        per_s: float,
        *,
        burst: int = 1,
        works_s: float = 60.0,
        leaves_at: float = float("inf"),
    ) -> None:
        self._server, self._burst, self._works_s = server, burst, works_s
        self._pause_s, self._leaves_at = burst / per_s, leaves_at
        self.admitted = self.rejected = 0

    async def run(self) -> None:
        """Send until it is time to leave, or until cancelled."""
        while (now := asyncio.get_running_loop().time()) < self._leaves_at:
            if now % 60 < self._works_s:
                for _ in range(self._burst):
                    is_admitted = self._server.admits()
                    self.admitted += is_admitted
                    self.rejected += not is_admitted
            await asyncio.sleep(self._pause_s)


def lognormal(round_trip_s: float, sigma: float, seed: int) -> Callable[[], float]:
    """Return a source of one-way delays around half the round trip."""
    chance = random.Random(seed)  # noqa: S311  (repeatable, not secret)
    return lambda: round_trip_s / 2 * chance.lognormvariate(0, sigma)


def counters(kind: str, windows: tuple[Window, ...]) -> list[StrictSliding | StrictFixed]:
    """Return the judges of some windows: ``sliding``, ``fixed``."""
    if kind == "sliding":
        return [StrictSliding(w.limit, w.window_s) for w in windows]
    return [StrictFixed(w.limit, w.window_s, offset_s=0.37) for w in windows]


async def send_rows(
    server: FarServer, quota: Limiter, rows: int, workers: int = 64
) -> tuple[float, list[Outcome]]:
    """Send so many rows; return the seconds that took, and the outcomes."""
    outcomes: list[Outcome] = []

    async def batches() -> AsyncIterator[list[Change]]:
        yield [Change.of(n, f"{n:024x}", {"title": f"title {n}"}) for n in range(2, rows + 2)]

    began_at = asyncio.get_running_loop().time()
    await WorkerPool(server, quota, outcomes.append, workers=workers).run(batches())
    return asyncio.get_running_loop().time() - began_at, outcomes
