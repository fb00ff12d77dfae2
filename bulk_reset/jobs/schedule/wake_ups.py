"""Calls functions at given times: APScheduler, as the scheduler of jobs uses it.

Units: ``*_at`` UTC epoch seconds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Final

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.date import DateTrigger

_AFTER_S: Final = 0.01
_MAX_INSTANCES: Final = 10
"""APScheduler drops a wake-up if that many of the same are still running."""


class WakeUps:
    """Calls to come, each with a key.

    Args:
        on_error: called with the key and the error of a call that failed.
    """

    def __init__(self, on_error: Callable[[str, BaseException], None]) -> None:
        def report(event: JobExecutionEvent) -> None:
            on_error(event.job_id, event.exception)

        self._scheduler = AsyncIOScheduler(timezone=dt.UTC)
        self._scheduler.add_listener(report, EVENT_JOB_ERROR)

    @property
    def is_open(self) -> bool:
        """Whether calls are made."""
        return bool(self._scheduler.running)

    def open(self) -> None:
        """Begin to make calls, those included that were added before."""
        self._scheduler.start()

    def close(self) -> None:
        """Make no more calls."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def check(self) -> None:
        """Make the calls whose time has come, in case the machine's clock was set."""
        self._scheduler.wakeup()

    def add(
        self, key: str, epoch_s: float, do: Callable[..., Awaitable[object]], argument: str
    ) -> None:
        """Call a function at this time, replacing the earlier call with the same key."""
        # Slightly later, so that rounding never makes it too early.
        time = dt.datetime.fromtimestamp(epoch_s + _AFTER_S, dt.UTC)
        self._scheduler.add_job(
            do,
            DateTrigger(time),
            (argument,),
            id=key,
            misfire_grace_time=None,
            max_instances=_MAX_INSTANCES,
            replace_existing=True,
        )

    def __contains__(self, key: str) -> bool:
        """Return whether there is a call with this key."""
        return self._scheduler.get_job(key) is not None

    def remove(self, key: str) -> None:
        """Remove a call, if there is one with this key."""
        if key in self:
            self._scheduler.remove_job(key)
