"""The history of runs, and the jobs: when they are due, how they ended, run now."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from bulk_reset.core.errors import BulkResetError
from bulk_reset.web.pages import SETTINGS, TASKS, refresh
from bulk_reset.web.phrases import mark
from bulk_reset.web.rendering import page

if TYPE_CHECKING:
    from bulk_reset.jobs.job_runs.run_record import RunRecord

_SHOWN: Final = 50
_JOB_RUN: Final = (sys.executable, "-m", "bulk_reset", "job", "run")


async def show_history(request: web.Request) -> web.Response:
    """Show the tasks of the page and the runs of jobs, the newest first."""
    tasks = [one for one, _ in zip(request.app[TASKS].all(), range(_SHOWN), strict=False)]
    records = await asyncio.to_thread(_records, request)
    return page(request, "history.html.j2", tasks=tasks, runs=records[:_SHOWN], when=_when)


def _records(request: web.Request) -> list[RunRecord]:
    from bulk_reset.jobs.job_runs.state_folder import (  # noqa: PLC0415  (imports pydantic)
        StateFolder,
    )

    state = StateFolder(request.app[SETTINGS].state_dir)
    return list(reversed(state.records()))


def _when(at: float | None) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC" if at else ""


async def show_jobs(request: web.Request) -> web.Response:
    """Show each job with its next due times and its last runs."""
    jobs = await asyncio.to_thread(_jobs, request)
    return page(request, "jobs.html.j2", jobs=jobs, when=_when)


def _jobs(request: web.Request) -> list[dict[str, Any]]:
    from bulk_reset.jobs.job_files.job_file import read_job  # noqa: PLC0415
    from bulk_reset.jobs.job_files.job_summary import (  # noqa: PLC0415
        describe_due,
        next_dues,
    )

    records = _records(request)
    found = []
    for name, path in _job_files(request, records).items():
        facts: dict[str, Any] = {
            "name": name,
            "path": str(path),
            "error": "",
            "due": "",
            "next": [],
        }
        try:
            job = read_job(path)
            facts["due"] = describe_due(job)
            facts["next"] = [text.strip() for text in next_dues(job, time.time())]
        except BulkResetError as error:
            facts["error"] = str(error)
        facts["runs"] = [one for one in records if one.job == name][:5]
        found.append(facts)
    return found


def _job_files(request: web.Request, records: list[RunRecord]) -> dict[str, Path]:
    """Return job -> its file: of the folder of jobs, else of the jobs that have run."""
    folder = request.app[SETTINGS].jobs
    if folder is not None:
        return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {one.job: Path(one.job_file) for one in records if Path(one.job_file).is_file()}


async def run_job(request: web.Request) -> web.Response:
    """Run a job now, in a process of its own that outlives this server."""
    files = await asyncio.to_thread(lambda: _job_files(request, _records(request)))
    path = files.get(request.match_info["job"])
    if path is None:
        raise web.HTTPNotFound(text=mark("No such job."))
    state = request.app[SETTINGS].state_dir
    where = ["--state-dir", str(state)] if state is not None else []
    await asyncio.to_thread(_start, [*_JOB_RUN, str(path), "--quiet", *where])
    return refresh()


def _start(command: list[str]) -> None:
    """Start a process that continues when this server ends."""
    process = subprocess.Popen(  # noqa: S603  (this program)
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    threading.Thread(target=process.wait, name="job", daemon=True).start()
