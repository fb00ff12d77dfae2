"""The deadlines of requests: one timer for all that are in flight.

aiohttp and ``asyncio.timeout`` set and cancel a timer for each request, which costs a request a
fifteenth of its processor time. Here all requests have the same timeout, so they are overdue in
the order of their starts, and one timer waits for the oldest.

State: the requests in flight, oldest first; changed between two awaits of the event loop only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, eq=False)
class Deadline:
    """When a request is overdue.

    Attributes:
        at: in the loop's seconds.
        task: the request's task, cancelled at that time.
        cancelling: how many others had asked the task to end when the request began.
        is_over: whether it was cancelled because of this deadline.
    """

    at: float
    task: asyncio.Task[Any]
    cancelling: int
    is_over: bool = False

    def take_back(self) -> bool:
        """Take the cancellation back; return False where another one ends the task as well."""
        return self.is_over and self.task.uncancel() <= self.cancelling


class Deadlines:
    """Cancels requests that take longer than the timeout; belongs to one event loop."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._open: dict[Deadline, None] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> Deadline:
        """Begin a request of the current task; call ``end`` afterwards in any case."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (a coroutine runs in a task)
        deadline = Deadline(self._loop.time() + self._timeout_s, task, task.cancelling())
        self._open[deadline] = None
        if self._timer is None:
            self._timer = self._loop.call_at(deadline.at, self._cancel_overdue)
        return deadline

    def end(self, deadline: Deadline) -> None:
        """End a request; nothing happens at its deadline."""
        self._open.pop(deadline, None)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _cancel_overdue(self) -> None:
        self._timer = None
        while self._open:
            oldest = next(iter(self._open))
            if oldest.at > self._loop.time():
                self._timer = self._loop.call_at(oldest.at, self._cancel_overdue)
                return
            del self._open[oldest]
            oldest.is_over = True
            oldest.task.cancel()
