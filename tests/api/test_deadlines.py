"""The deadlines of requests, on a loop whose clock the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bulk_reset.api.deadlines import Deadlines

TIMEOUT_S = 30.0


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock only moves when a test moves it."""

    now_s = 0.0

    def time(self) -> float:
        """Return the clock."""
        return self.now_s

    async def pass_time(self, seconds: float) -> None:
        """Let tasks begin, move the clock, and let timers and tasks run."""
        await asyncio.sleep(0)
        self.now_s += seconds
        for _ in range(5):
            await asyncio.sleep(0)


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Loop, Deadlines]]:
    """Yield the running loop and deadlines of 30 seconds."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    deadlines = Deadlines(TIMEOUT_S)
    try:
        yield loop, deadlines
    finally:
        deadlines.close()


async def request(deadlines: Deadlines, answer: asyncio.Future[str]) -> str:
    """Wait for an answer until the deadline."""
    deadline = deadlines.start()
    try:
        return await answer
    except asyncio.CancelledError:
        if not deadline.take_back():
            raise
        return "timed out"
    finally:
        deadlines.end(deadline)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test on a loop with a clock of its own."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())


def test_request_without_an_answer_times_out_at_its_own_deadline() -> None:
    """Each of several requests has the whole timeout, whenever the others began."""

    async def main() -> None:
        async with opened() as (loop, deadlines):
            first = asyncio.create_task(request(deadlines, loop.create_future()))
            await loop.pass_time(10)
            second = asyncio.create_task(request(deadlines, loop.create_future()))
            await loop.pass_time(19)
            assert (first.done(), second.done()) == (False, False)
            await loop.pass_time(1)
            assert (first.result(), second.done()) == ("timed out", False)
            await loop.pass_time(10)
            assert second.result() == "timed out"
            assert second.cancelling() == 0

    run(main)


def test_answered_request_is_never_cancelled() -> None:
    """A task that goes on after its answer does not notice that the deadline passes."""

    async def main() -> None:
        async with opened() as (loop, deadlines):
            answer, end = loop.create_future(), loop.create_future()

            async def work() -> str:
                return f"{await request(deadlines, answer)}, {await end}"

            task = asyncio.create_task(work())
            await loop.pass_time(29)
            answer.set_result("answered")
            await loop.pass_time(100)
            end.set_result("ended")
            assert await task == "answered, ended"

    run(main)


def test_request_after_a_pause_has_a_deadline_too() -> None:
    """The timer is set again after a time without a request."""

    async def main() -> None:
        async with opened() as (loop, deadlines):
            answer = loop.create_future()
            answer.set_result("answered")
            assert await request(deadlines, answer) == "answered"
            await loop.pass_time(1_000)
            task = asyncio.create_task(request(deadlines, loop.create_future()))
            await loop.pass_time(30)
            assert task.result() == "timed out"

    run(main)


def test_cancelled_request_is_cancelled_and_not_timed_out() -> None:
    """A stop of the run ends a request that is not overdue."""

    async def main() -> None:
        async with opened() as (loop, deadlines):
            task = asyncio.create_task(request(deadlines, loop.create_future()))
            await loop.pass_time(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main)


def test_request_that_is_cancelled_and_overdue_at_once_is_cancelled() -> None:
    """A stop is not lost where the deadline passes at the same time."""

    async def main() -> None:
        async with opened() as (loop, deadlines):
            task = asyncio.create_task(request(deadlines, loop.create_future()))
            await loop.pass_time(1)
            loop.call_soon(task.cancel)
            await loop.pass_time(29)
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main)
