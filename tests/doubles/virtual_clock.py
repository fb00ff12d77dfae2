"""An event loop on a virtual clock, in which waits take no time, and servers for it.

The clock moves to the next timer when there is nothing else to do, and by a little in every
iteration: otherwise a leaky bucket of capacity 1 can wake itself forever, because rounding
leaves 1e-16 in it.
"""

from __future__ import annotations

import asyncio
import random
import selectors
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

from bulk_reset.api.answers import Answer
from bulk_reset.core.change import Change
from bulk_reset.core.errors import ThrottledError, UnknownOutcomeError
from bulk_reset.core.outcome import Outcome
from bulk_reset.engine.worker_pool import WorkerPool
from bulk_reset.quota.limiter import Limiter
from bulk_reset.quota.windows import Window

T = TypeVar("T")
_TURN_S = 1e-7


class _JumpingSelector(selectors.SelectSelector):
    """Moves the clock by the timeout instead of waiting for it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Return events without waiting; a wait without a timeout would be a deadlock."""
        events = super().select(0)
        if events:
            return events
        if timeout is None:
            raise AssertionError("deadlock: no timer and no event is left")
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
        """Do the work at once: on this clock, a thread never ends."""
        done: asyncio.Future[T] = self.create_future()
        done.set_result(work(*arguments))
        return done

    async def getaddrinfo(self, host: Any, *_: Any, **__: Any) -> Any:  # noqa: ANN401
        """Resolve no name: no name server is asked, and no thread is started."""
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
        """Return whether one more request is within the limit."""
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
    """Admits ``limit`` requests in each fixed window of the server's clock."""

    def __init__(self, limit: int, window_s: float, offset_s: float = 0.0) -> None:
        self._limit, self._window_s, self._offset_s = limit, window_s, offset_s
        self._current, self._admitted = -1, 0

    def has_room(self, now: float) -> bool:
        """Return whether one more request is within the limit."""
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
    """An API with latency and strict limits; every call of ``reset`` is a request.

    Args:
        one_way_s: the latency of one direction, called for each request.
        return_s: the same for the answer, if it differs.
        says_when: whether a rejection has a Retry-After.

    Attributes:
        admitted, rejected: how many requests were within and over its limits.
        bodies: what was applied, in order.
    """

    def __init__(
        self,
        counters: list[StrictSliding | StrictFixed],
        one_way_s: Callable[[], float],
        *,
        return_s: Callable[[], float] | None = None,
        due_text: bool = False,
    ) -> None:
        self._counters, self._way_out_s = counters, one_way_s
        self._return_s, self._due_text = return_s or one_way_s, due_text
        self.admitted = self.rejected = 0
        self.bodies: list[bytes] = []

    async def reset(self, body: bytes) -> Answer:
        """Wait for the way to the server, count the request, wait for the answer."""
        await asyncio.sleep(self._way_out_s())
        is_admitted = self.admits()
        wait_s = self._wait_s() if self._due_text and not is_admitted else None
        if is_admitted:
            self.admitted += 1
            self.bodies.append(body)
        else:
            self.rejected += 1
        await asyncio.sleep(self._return_s())
        if not is_admitted:
            raise ThrottledError(
                "too many", code="RequestTooFrequently", http_status=429, retry_after_s=wait_s
            )
        return Answer(200, "request", None)

    async def comment_page(self, _incident_id: str, _page: int) -> NoReturn:
        """Answer never: no row has a comment."""
        raise NotImplementedError

    async def list_by_ids(self, _ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Fail: this server leaves no update unconfirmed, so none is read back."""
        raise AssertionError("every update was confirmed")

    def admits(self) -> bool:
        """Count a request that arrives now, if it is within every limit."""
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
    """The latencies of one request."""

    out_s: float
    back_s: float
    is_lost: bool = False
    """Whether the answer is lost."""


class Line:
    """A connection to a server that counts what arrives, even if the sender has given up.

    Args:
        trip: the latencies of the n-th request.
        timeout_s: how long the sender waits for an answer.
        is_late: whether a request that was given up still arrives after its latency; otherwise it
            arrives no later than when it is given up.

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


class OtherClient:
    """Another client of the same account, which ignores the quota.

    Args:
        per_s: requests per second while it is active.
        burst: how many of them are sent at once.
        works_s: the seconds at the start of every minute in which it is active.
        leaves_at: when it stops, on the loop's clock.

    Attributes:
        admitted, rejected: the results of its requests.
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
        """Send until ``leaves_at``, or until cancelled."""
        while (now := asyncio.get_running_loop().time()) < self._leaves_at:
            if now % 60 < self._works_s:
                for _ in range(self._burst):
                    is_admitted = self._server.admits()
                    self.admitted += is_admitted
                    self.rejected += not is_admitted
            await asyncio.sleep(self._pause_s)


def lognormal(round_trip_s: float, sigma: float, seed: int) -> Callable[[], float]:
    """Return a source of one-way latencies around half the round trip."""
    chance = random.Random(seed)  # noqa: S311  (repeatable, not secret)
    return lambda: round_trip_s / 2 * chance.lognormvariate(0, sigma)


def counters(kind: str, windows: tuple[Window, ...]) -> list[StrictSliding | StrictFixed]:
    """Return strict counters for these windows; ``kind`` is ``sliding`` or ``fixed``."""
    if kind == "sliding":
        return [StrictSliding(w.limit, w.window_s) for w in windows]
    return [StrictFixed(w.limit, w.window_s, offset_s=0.37) for w in windows]


async def send_rows(
    server: FarServer, quota: Limiter, rows: int, workers: int = 64
) -> tuple[float, list[Outcome]]:
    """Send this many rows; return the duration in seconds, and the outcomes."""
    outcomes: list[Outcome] = []

    async def batches() -> AsyncIterator[list[Change]]:
        yield [Change.of(n, f"{n:024x}", {"title": f"title {n}"}) for n in range(2, rows + 2)]

    began_at = asyncio.get_running_loop().time()
    await WorkerPool(server, quota, outcomes.append, workers=workers).run(batches())
    return asyncio.get_running_loop().time() - began_at, outcomes
