"""A schedule on a virtual clock, which APScheduler uses, too."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apscheduler.schedulers.base
import pytest

from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.schedule.job_folder import JobFolder
from bulk_reset.jobs.schedule.scheduler import Scheduler, Starter
from bulk_reset.observability.run_log import LogOutput, new_run_log


class VirtualSchedule:
    """A folder of job files, its state and its log, on a clock that starts at ``begins_at``."""

    def __init__(self, folder: Path, begins_at: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.begins_at = folder, begins_at
        self.state = StateFolder(folder / "state")
        self.log = io.StringIO()

        def now_at() -> float:
            return self.clock()  # which a test may set

        monkeypatch.setattr(apscheduler.schedulers.base, "datetime", datetime_of(now_at))

    def clock(self) -> float:
        """Return the virtual time, UTC epoch seconds."""
        return self.begins_at + asyncio.get_running_loop().time()

    async def until(self, moment_at: float) -> None:
        """Wait until a virtual time."""
        await asyncio.sleep(max(0.0, moment_at - self.clock()))

    def open(self, start: Starter, reread_s: float = 600) -> Scheduler:
        """Start a scheduler, as a new process does."""
        run_log = new_run_log(LogOutput(self.log))
        folder = JobFolder(self.folder, self.state, run_log, self.clock)
        scheduler = Scheduler(folder, start, reread_s)
        scheduler.open()
        return scheduler

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log events of this name, in order."""
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == name]


def datetime_of(clock: Callable[[], float]) -> type[dt.datetime]:
    """Return a datetime class whose now is that of a clock."""

    class Virtual(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return dt.datetime.fromtimestamp(clock(), tz)

    return Virtual
