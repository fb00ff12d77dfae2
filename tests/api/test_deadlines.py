"""The deadlines of requests, on a virtual clock."""

from __future__ import annotations

import asyncio

from bulk_reset.api.deadlines import Deadlines
from tests.doubles.virtual_clock import run_virtual

TIMEOUT_S = 30.0


async def request(deadlines: Deadlines, answered_s: float = 1_000.0, end_s: float = 0.0) -> str:
    """Send a request that is answered after some seconds; continue for some more.

    Returns: how and when it ended.
    """
    clock = asyncio.get_running_loop().time
    deadline, result = deadlines.start(), "answered"
    try:
        await asyncio.sleep(answered_s)
    except asyncio.CancelledError:
        if not deadline.take_back():
            return f"cancelled, {clock():.0f} s"
        result = "timed out"
    finally:
        deadlines.end(deadline)
    at_s = clock()
    await asyncio.sleep(end_s)
    return f"{result}, {at_s:.0f} s"


def test_request_without_an_answer_times_out_at_its_own_deadline() -> None:
    """Each of several requests has the whole timeout, whenever the others began."""

    async def main() -> tuple[list[str], int]:
        deadlines = Deadlines(TIMEOUT_S)
        tasks = [asyncio.create_task(request(deadlines))]
        await asyncio.sleep(10)
        tasks.append(asyncio.create_task(request(deadlines, answered_s=25)))
        tasks.append(asyncio.create_task(request(deadlines)))
        return await asyncio.gather(*tasks), sum(task.cancelling() for task in tasks)

    assert run_virtual(main()) == (["timed out, 30 s", "answered, 35 s", "timed out, 40 s"], 0)


def test_answered_request_is_never_cancelled() -> None:
    """A task that continues after its answer does not notice that the deadline passes."""

    async def main() -> str:
        return await request(Deadlines(TIMEOUT_S), answered_s=29, end_s=100)

    assert run_virtual(main()) == "answered, 29 s"


def test_request_after_a_pause_has_a_deadline_too() -> None:
    """The timer is set again after a time without a request."""

    async def main() -> list[str]:
        deadlines = Deadlines(TIMEOUT_S)
        return [
            await request(deadlines, answered_s=1, end_s=1_000),
            await request(deadlines),
        ]

    assert run_virtual(main()) == ["answered, 1 s", "timed out, 1031 s"]


def test_cancelled_request_is_cancelled_and_not_timed_out() -> None:
    """A stop of the run ends a request that is not overdue; one at its deadline, too."""

    async def cancelled_at(seconds: float) -> str:
        task = asyncio.create_task(request(Deadlines(TIMEOUT_S)))
        asyncio.get_running_loop().call_later(seconds, task.cancel)
        return await task

    assert run_virtual(cancelled_at(1)) == "cancelled, 1 s"
    assert run_virtual(cancelled_at(TIMEOUT_S)) == "cancelled, 30 s"
