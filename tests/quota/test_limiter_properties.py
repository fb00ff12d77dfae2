"""The guarantees of the limiter, for any latencies, endings and other clients (hypothesis)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from aiolimiter import AsyncLimiter
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from virtual_clock import (
    FarServer,
    Line,
    OtherClient,
    StrictFixed,
    StrictSliding,
    Trip,
    counters,
    lognormal,
    run_virtual,
    send_rows,
)

from bulk_reset.core.errors import UnknownOutcomeError
from bulk_reset.core.outcome import Status
from bulk_reset.quota.limiter import Limiter
from bulk_reset.quota.windows import Window, windows_of

ACCOUNT = windows_of()
EVERYTHING_ARRIVED_S = 60.0

Permit = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Scene:
    """What happens to a limiter: who asks when, what becomes of it, how far the server is."""

    windows: tuple[Window, ...]
    pattern: str
    way_s: float
    seed: int
    workers: int
    bursts: tuple[tuple[float, int], ...]
    """Idle seconds, then so many requests at once."""
    lost: float = 0.0
    """The part of the answers that never comes back."""
    left: float = 0.0
    """The part of the requests whose sender is cancelled, at any moment."""
    pauses: tuple[tuple[float, float], ...] = ()
    """When the server's pause is told, and how long it is."""
    timeout_s: float = 30.0
    is_late: bool = False
    """Whether what was given up on its way out arrives later than that."""

    def trip(self) -> Callable[[int], Trip]:
        """Return what the way does to the n-th request."""
        chance = random.Random(self.seed)  # noqa: S311  (repeatable, not secret)
        way_s, slow = self.way_s, chance.randint(5, 40)

        def ways(number: int) -> tuple[float, float]:
            match self.pattern:
                case "lognormal":
                    return way_s * chance.lognormvariate(0, 1), way_s * chance.lognormvariate(0, 1)
                case "spikes":
                    out, back = (5 * chance.random() * (chance.random() < 0.1) for _ in range(2))
                    return way_s + out, way_s + back
                case "slow start":
                    return way_s + (4 * chance.random() if number < slow else 0), way_s
                case "out of order":
                    return 3 * chance.random() + 0.001, 3 * chance.random()
                case "slow way back":
                    return way_s, way_s + 3 * chance.random()
                case _:
                    return way_s, way_s

        return lambda number: Trip(*ways(number), is_lost=chance.random() < self.lost)

    def line(self) -> Line:
        """Return the way to a server that counts both strictly: sliding, and fixed."""
        judges: list[StrictSliding | StrictFixed] = [
            StrictSliding(w.limit, w.window_s) for w in self.windows
        ]
        offset_s = random.Random(self.seed).random() * 60  # noqa: S311  (as above)
        judges += [StrictFixed(w.limit, w.window_s, offset_s) for w in self.windows]
        return Line(judges, self.trip(), self.timeout_s, is_late=self.is_late)


@dataclass
class Book:
    """A ledger that knows when every request was over."""

    started: int = 0
    answers_at: list[float] = field(default_factory=list)

    def start(self) -> None:
        """Count a start."""
        self.started += 1

    def answer(self) -> None:
        """Note when."""
        self.answers_at.append(asyncio.get_running_loop().time())


def scaled(per_second: int, per_10_s: int, share: float) -> tuple[Window, ...]:
    return (
        Window(max(1, int(per_second * share)), 1.0),
        Window(max(1, int(per_10_s * share)), 10.0),
    )


limits = st.builds(scaled, st.integers(1, 60), st.integers(1, 200), st.floats(0.01, 1.0))
patterns = st.sampled_from(
    ["constant", "lognormal", "spikes", "slow start", "out of order", "slow way back"]
)
scenes = st.builds(
    Scene,
    windows=limits,
    pattern=patterns,
    way_s=st.floats(0.0005, 1.5),
    seed=st.integers(0, 9999),
    workers=st.integers(1, 80),
    bursts=st.lists(st.tuples(st.floats(0, 25), st.integers(1, 90)), min_size=1, max_size=4).map(
        tuple
    ),
    lost=st.sampled_from([0.0, 0.0, 0.05, 0.4]),
    left=st.sampled_from([0.0, 0.0, 0.05, 0.4]),
    pauses=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 12)), max_size=3).map(tuple),
    timeout_s=st.floats(0.5, 8),
)


async def play(
    scene: Scene, line: Line, permit: Permit, pause: Callable[[float], None] = lambda _: None
) -> None:
    """Play a scene to its end: every request has ended, and those in flight have arrived."""
    loop, chance = asyncio.get_running_loop(), random.Random(scene.seed)  # noqa: S311  (as above)
    places = asyncio.Semaphore(scene.workers)

    async def send() -> None:
        async with places, permit():
            await line.send()

    for at_s, pause_s in scene.pauses:
        loop.call_later(at_s, pause, pause_s)
    tasks: list[asyncio.Task[None]] = []
    try:
        for idle_s, burst in scene.bursts:
            await asyncio.sleep(idle_s)
            for _ in range(burst):
                tasks.append(asyncio.create_task(send()))
                if chance.random() < scene.left:
                    loop.call_later(12 * chance.random(), tasks[-1].cancel)
        await asyncio.wait(tasks)
    finally:
        # Only a play that is broken off leaves any.
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, UnknownOutcomeError | asyncio.CancelledError | None)
    await asyncio.sleep(EVERYTHING_ARRIVED_S)


def over_limits_of_ours(scene: Scene, *, takes_credit: bool = False) -> int:
    """Play a scene with the quota, its causes of waiting checked against the time it took."""
    line = scene.line()
    quota = Limiter(scene.windows, takes_credit=takes_credit)

    async def main() -> float:
        began_at = asyncio.get_running_loop().time()
        await play(scene, line, quota.permit, quota.pause)
        return asyncio.get_running_loop().time() - began_at

    took_s = run_virtual(main())
    assert line.arrived == quota.requests
    assert min(quota.waited_s.values(), default=0.0) >= 0
    assert sum(quota.waited_s.values()) <= took_s - EVERYTHING_ARRIVED_S + 1e-6
    return line.over


@pytest.mark.slow
@settings(max_examples=200)
@given(scenes)
def test_without_credit_whatever_happens_no_window_counts_too_many(scene: Scene) -> None:
    """Lost answers, cancellations, pauses, slow starts: each window is kept, sliding and fixed."""
    assert over_limits_of_ours(scene) == 0


@settings(max_examples=60)
@given(scenes, st.sampled_from(["constant", "slow way back"]))
def test_requests_that_arrive_after_they_were_given_up_count_too(
    scene: Scene, pattern: str
) -> None:
    """Without reordering on the way, even a request that timed out is covered."""
    assert over_limits_of_ours(replace(scene, pattern=pattern, is_late=True)) == 0


def pair(windows: Sequence[Window]) -> list[AsyncLimiter]:
    return [AsyncLimiter(window.limit, window.window_s) for window in windows]


def smooth(windows: Sequence[Window]) -> list[AsyncLimiter]:
    return [AsyncLimiter(1, max(window.window_s / window.limit for window in windows))]


@pytest.mark.parametrize("naive", [pair, smooth])
def test_naive_limiters_are_caught_by_the_same_scenes(
    naive: Callable[[Sequence[Window]], list[AsyncLimiter]],
) -> None:
    """The judges see: a bucket a window, or even spacing, lets too many arrive; permits do not."""

    def over_limits(scene: Scene) -> int:
        line, limiters = scene.line(), naive(scene.windows)

        @asynccontextmanager
        async def permit() -> AsyncIterator[None]:
            for limiter in limiters:
                await limiter.acquire()
            yield

        run_virtual(play(scene, line, permit))
        return line.over

    # Found is enough; shrinking a scene would take longer than the rest of this file.
    hunt = settings(derandomize=True, database=None, phases=[Phase.generate])
    scene = find(scenes, lambda scene: over_limits(scene) > 0, settings=hunt)
    assert over_limits_of_ours(scene) == 0


@settings(max_examples=60)
@given(scenes)
def test_with_credit_the_waits_still_add_up(scene: Scene) -> None:
    """The reported waits never exceed the duration of the run."""
    over_limits_of_ours(scene, takes_credit=True)


@settings(max_examples=100)
@given(scenes)
def test_after_any_mix_of_endings_every_permit_comes_back_exactly_once(scene: Scene) -> None:
    """A failure or a cancellation neither loses a permit nor makes one."""

    async def main() -> tuple[int, Limiter]:
        quota = Limiter(scene.windows, takes_credit=False)
        await play(replace(scene, pauses=()), scene.line(), quota.permit)
        before, waited_s = quota.requests, quota.waited_s.copy()

        async def hold() -> None:
            async with quota.permit():
                await asyncio.Event().wait()

        count = min(window.limit for window in scene.windows)
        tasks = [asyncio.create_task(hold()) for _ in range(count)]
        # By then the pacer has let all of them through.
        await asyncio.sleep(1 + count / scene.windows[0].limit)
        assert (quota.requests - before, quota.waited_s) == (count, waited_s)
        tasks.append(asyncio.create_task(hold()))
        await asyncio.sleep(2 * quota.longest_window_s)
        started = quota.requests - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return started, quota

    started, quota = run_virtual(main())
    assert started == min(window.limit for window in scene.windows)
    assert all(peak.started <= peak.limit for peak in quota.peaks())


@settings(max_examples=100)
@given(scenes, scenes, st.floats(0, 15), st.floats(0, 12))
def test_a_second_run_that_remembers_the_first_never_overdoes_it(
    first: Scene, second: Scene, stopped_after_s: float, gap_s: float
) -> None:
    """One run may be stopped and another started at once: the server counts both."""
    second = replace(second, windows=first.windows)
    line, book = first.line(), Book()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        quota = Limiter(first.windows, takes_credit=False, ledger=book)
        run = asyncio.create_task(play(first, line, quota.permit, quota.pause))
        await asyncio.sleep(stopped_after_s)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        await asyncio.sleep(gap_s)
        assert book.started == len(book.answers_at)
        quota = Limiter(first.windows, takes_credit=False, ledger=book)
        quota.remember([loop.time() - at for at in book.answers_at])
        await play(second, line, quota.permit, quota.pause)

    run_virtual(main())
    assert (line.over, line.arrived) == (0, book.started)


OTHER_CLIENTS = {
    "a third, steadily": partial(OtherClient, per_s=1000 / 3 / 60),
    "half, in bursts of 25": partial(OtherClient, per_s=500 / 60, burst=25),
    "half of both limits": partial(OtherClient, per_s=25.0, works_s=20.0),
    "half, steadily": partial(OtherClient, per_s=500 / 60),
}
LEAVES_AFTER_S = 150.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("due_text", [False, True])
@pytest.mark.parametrize("kind", ["sliding", "fixed"])
@pytest.mark.parametrize("other_client", OTHER_CLIENTS)
def test_beside_another_client_every_request_succeeds_and_few_are_throttled(
    other_client: str, kind: str, *, due_text: bool, seed: int
) -> None:
    """Others may use half of the account, unseen: the run finds its part, and grows back."""
    # The waits after a rejection have jitter, of the module's own chance.
    random.seed(seed)
    way_s = lognormal((0.02, 0.2)[seed], 0.3, seed)
    server = FarServer(counters(kind, ACCOUNT), way_s, due_text=due_text)
    allowances = []

    async def main() -> list[Status]:
        loop, quota = asyncio.get_running_loop(), Limiter(ACCOUNT)

        def look() -> None:
            # What the promise is about has no public name: repr shows that of the last shrink.
            allowances.append(quota._allowance_at(loop.time()))  # noqa: SLF001
            handles[:] = [loop.call_later(5, look)]

        handles: list[asyncio.TimerHandle] = []
        look()
        other = OTHER_CLIENTS[other_client](server, leaves_at=LEAVES_AFTER_S)
        neighbour = asyncio.create_task(other.run())
        _, outcomes = await send_rows(server, quota, 2_000)
        await neighbour
        # What the other client sent counts a minute longer; from a tenth, growing takes nine.
        await asyncio.sleep(max(0.0, LEAVES_AFTER_S + 660 - loop.time()))
        handles[0].cancel()
        return [outcome.status for outcome in outcomes]

    assert run_virtual(main()) == [Status.UPDATED] * 2_000
    assert 0 < server.rejected <= 0.03 * 2_000
    assert min(allowances) >= 0.1
    assert allowances[-1] == 1.0
