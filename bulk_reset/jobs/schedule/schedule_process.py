"""``bulk-reset schedule`` as a process: where runs are, signals, and the metrics port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from bulk_reset.core.errors import ExitCode
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_runs.run_lifeline import KILL_AFTER_S, LIFELINE
from bulk_reset.jobs.job_runs.run_record import RunRecord
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.schedule.schedule_health import BEAT_S, health_of, write_health
from bulk_reset.jobs.schedule.scheduler import Scheduler


class Runs(Protocol):
    """Where runs are: processes of this machine, or a cluster."""

    async def start(self, job: Job, record: RunRecord) -> int:
        """Run a job to its end; return its exit code."""

    def stop(self) -> None:
        """Stop all runs gracefully."""

    def stop_run(self, job: str) -> None:
        """Stop the run of a job gracefully."""

    async def aclose(self) -> None:
        """End what is left of them."""


class RunProcesses:
    """Runs, each in a process of its own: a crash of one does not affect the others.

    Args:
        ends_with_parent: whether a run ends when this process is killed.
    """

    def __init__(
        self, state: StateFolder, *, is_quiet: bool, ends_with_parent: bool = False
    ) -> None:
        self._state, self._is_quiet = state, is_quiet
        self._ends_with_parent = ends_with_parent
        self._running: dict[asyncio.subprocess.Process, str] = {}
        self._is_stopping = False

    async def start(self, job: Job, record: RunRecord) -> int:
        """Run a job to its end; return its exit code."""
        if self._is_stopping:
            return ExitCode.TERMINATED
        process = await asyncio.create_subprocess_exec(
            # Without -P, modules in the working directory would hide Python's own.
            *(sys.executable, "-P", "-m", "bulk_reset", "job", "run", str(job.path)),
            *("--run", record.id, "--state-dir", str(self._state.path)),
            *(("--quiet",) if self._is_quiet else ()),
            # A pipe to this process, which closes when it ends.
            stdin=asyncio.subprocess.PIPE if self._ends_with_parent else asyncio.subprocess.DEVNULL,
            env={**os.environ, LIFELINE: "1"} if self._ends_with_parent else None,
            stdout=asyncio.subprocess.DEVNULL,
            # Ctrl-C is passed on once, by this process, and not by the terminal as well.
            start_new_session=True,
        )
        self._running[process] = job.name
        try:
            if self._is_stopping:
                process.terminate()
            return await process.wait()
        finally:
            del self._running[process]

    def stop(self) -> None:
        """Stop all runs gracefully; a second call stops them at once."""
        if not self._is_stopping:
            asyncio.get_running_loop().call_later(KILL_AFTER_S, self._kill)
        self._is_stopping = True
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()

    async def aclose(self) -> None:
        """Do nothing: all processes have ended."""

    def stop_run(self, job: str) -> None:
        """Stop the run of a job gracefully, or else kill it."""
        for process in [process for process, name in self._running.items() if name == job]:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            asyncio.get_running_loop().call_later(KILL_AFTER_S, self._kill, job)

    def _kill(self, job: str | None = None) -> None:
        """Kill runs that have not stopped; they are resumed as after any other crash."""
        for process, name in self._running.items():
            if job in {None, name}:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()


@dataclass(frozen=True, slots=True)
class Port:
    """Where ``/metrics`` and ``/healthz`` are served.

    Attributes:
        host: the address of this machine; other machines can reach any but the loopback address.
        names: names by which clients may address it, in addition to addresses.
    """

    number: int
    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()


async def run_schedule(
    scheduler: Scheduler, processes: Runs, *, once: bool, port: Port | None
) -> int:
    """Run until a signal arrives or, with ``once``, until nothing is due; return the exit code."""
    stopping = asyncio.Event()

    def stop() -> None:
        stopping.set()
        processes.stop()

    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, stop)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_metrics_served(scheduler, port))
        stack.push_async_callback(processes.aclose)
        if once:
            work = asyncio.create_task(scheduler.run_due())
            await asyncio.wait(
                {work, asyncio.create_task(stopping.wait())}, return_when=asyncio.FIRST_COMPLETED
            )
            if stopping.is_set():
                await scheduler.shut_down()
                return ExitCode.TERMINATED
            return await work
        scheduler.open()
        beating = asyncio.create_task(_keep_writing_health(scheduler))
        await stopping.wait()
        beating.cancel()
        scheduler.run_log.info("shutting_down", runs=len(scheduler.busy))
        await scheduler.shut_down()
        scheduler.run_log.info("schedule_ended")
    return ExitCode.DONE


async def _keep_writing_health(scheduler: Scheduler) -> None:
    while True:
        # A full disk does not stop the schedule; without this file it counts as unhealthy.
        with contextlib.suppress(OSError):
            write_health(scheduler)
        await asyncio.sleep(BEAT_S)


@contextlib.contextmanager
def _metrics_served(scheduler: Scheduler, port: Port | None) -> Iterator[None]:
    if port is None:
        yield
        return
    from bulk_reset.jobs.schedule.schedule_metrics import ScheduleMetrics  # noqa: PLC0415
    from bulk_reset.observability.metrics_server import (  # noqa: PLC0415  (rarely needed)
        MetricsServer,
    )

    metrics = ScheduleMetrics(scheduler)
    server = MetricsServer(
        port.number,
        metrics.scrape,
        lambda: health_of(scheduler),
        host=port.host,
        names=port.names,
    )
    scheduler.run_log.info("metrics_server_started", address=server.address)
    try:
        yield
    finally:
        server.close()
