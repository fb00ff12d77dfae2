"""Runs on the workers of a Dask cluster, in place of processes of this machine.

    scheduler ──run folder──▶ DaskRuns ──task──▶ worker ──process──▶ job run --run ID

The state folder is on storage that all workers share, so a worker needs the id of a run only, and
record, report and log come back by themselves. A worker starts a process, as the schedule does: a
crash does not affect other runs. Dask starts the task of a lost worker on another one, which
resumes the run in its folder; the process of the lost worker ends with it, or holds the lock.

State: ``_running`` and ``_client`` belong to the event loop of the schedule.
Units: ``*_s`` seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bulk_reset.core.errors import ExitCode, InputError, RunError
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_runs.run_lifeline import KILL_AFTER_S, LIFELINE
from bulk_reset.jobs.job_runs.run_record import RunRecord
from bulk_reset.jobs.job_runs.state_folder import StateFolder

_KILLED: Final = -9
"""As of a process: the run is resumed after a pause."""
_POLL_S: Final = 0.1
_ASK_S: Final = 1.0
"""How often a worker asks whether its run is to be stopped."""
_CONNECT_S: Final = 10.0


class DaskRuns:
    """Runs on the workers of a cluster, each a task.

    Args:
        address: of the cluster's scheduler.
    """

    def __init__(self, address: str, state: StateFolder) -> None:
        try:
            import distributed  # noqa: F401, PLC0415  (an extra)
        except ImportError as exc:
            raise InputError(
                "--dask: requires the extra [dask]. Install it: pip install 'bulk-reset[dask]'."
            ) from exc
        self._address, self._state = address, state
        self._client: Any = None
        self._connecting = asyncio.Lock()
        self._running: dict[str, tuple[str, Any]] = {}
        """Task -> job, future."""
        self._stops: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    async def start(self, job: Job, record: RunRecord) -> int:
        """Run a job on a worker to its end; return its exit code."""
        client = await self._connected()
        if self._is_stopping:
            return ExitCode.TERMINATED
        task = f"bulk-reset-{record.id}-{uuid.uuid4().hex}"
        command = ("job", "run", str(job.path), "--run", record.id)
        where = ("--state-dir", str(self._state.path), "--quiet")
        future = client.submit(
            run_on_worker, [*command, *where], task, key=task, pure=False, retries=0
        )
        self._running[task] = (job.name, future)
        try:
            return int(await future)
        except (Exception, asyncio.CancelledError):
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            return _KILLED  # the cluster has lost the task, or too many of its workers
        finally:
            del self._running[task]

    async def _connected(self) -> Any:  # noqa: ANN401  (the class is in an extra)
        from distributed import Client  # noqa: PLC0415  (an extra)

        async with self._connecting:
            if self._client is None:
                try:
                    self._client = await Client(
                        self._address, asynchronous=True, timeout=_CONNECT_S, set_as_default=False
                    )
                except (OSError, ValueError) as exc:
                    raise RunError(
                        f"--dask {self._address}: no cluster responds ({exc}). Check the address, "
                        "and that dask scheduler runs there."
                    ) from exc
        return self._client

    def stop(self) -> None:
        """Stop all runs gracefully."""
        self._is_stopping = True
        self._stop(list(self._running))

    def stop_run(self, job: str) -> None:
        """Stop the run of a job gracefully."""
        self._stop([task for task, (name, _) in self._running.items() if name == job])

    def _stop(self, tasks: list[str]) -> None:
        for task in tasks:
            stopping = asyncio.get_running_loop().create_task(self._stop_task(task))
            self._stops.add(stopping)
            stopping.add_done_callback(self._stops.discard)

    async def _stop_task(self, task: str) -> None:
        from distributed import Event  # noqa: PLC0415  (an extra)

        _, future = self._running[task]
        with contextlib.suppress(OSError):
            await Event(task, client=self._client).set()
        # The worker kills a run that does not end; this is for a worker that does not respond.
        await asyncio.sleep(KILL_AFTER_S + 2 * _ASK_S)
        if task in self._running:
            await future.cancel(force=True)

    async def aclose(self) -> None:
        """Close the connection to the cluster."""
        for stopping in self._stops:
            stopping.cancel()
        if self._client is not None:
            await self._client.close()


def run_on_worker(arguments: list[str], task: str) -> int:
    """Run ``bulk-reset`` in a process of this worker; return its exit code.

    Args:
        task: the name of the event that stops it.
    """
    from distributed import Event  # noqa: PLC0415  (an extra)

    event = Event(task)
    until_s = time.monotonic() + KILL_AFTER_S + 2 * _ASK_S
    while True:
        code = _run_process(arguments, event.is_set)
        # The process of a lost worker ends soon, and then releases the job.
        if code != ExitCode.LOCKED or time.monotonic() > until_s or event.is_set():
            return code
        time.sleep(_ASK_S)


def _run_process(arguments: list[str], is_stopped: Callable[[], bool]) -> int:
    process = subprocess.Popen(  # noqa: S603  (this program)
        [sys.executable, "-P", "-m", "bulk_reset", *arguments],
        stdin=subprocess.PIPE,  # which closes when this worker ends
        stdout=subprocess.DEVNULL,
        env={**os.environ, LIFELINE: "1"},
        cwd=Path("/"),
        start_new_session=True,
    )
    with process:
        asked_s = time.monotonic()
        kill_at_s = float("inf")
        while process.poll() is None:
            now_s = time.monotonic()
            if now_s >= kill_at_s:
                process.kill()
            elif now_s - asked_s >= _ASK_S and kill_at_s == float("inf"):
                asked_s = now_s
                if _has_to_stop(is_stopped):
                    process.terminate()
                    kill_at_s = now_s + KILL_AFTER_S
            time.sleep(_POLL_S)
    return process.returncode


def _has_to_stop(is_stopped: Callable[[], bool]) -> bool:
    """Return whether the schedule stops the run, or the cluster cannot be reached."""
    try:
        return is_stopped()
    except (OSError, TimeoutError):
        return True
