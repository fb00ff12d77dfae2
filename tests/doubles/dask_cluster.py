"""A Dask cluster on this machine, and a fleet of accounts, each with a due job.

All processes are on loopback ports and are stopped by their own numbers.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from programs import write_sheet
from waiting import wait_until

from bulk_reset.jobs.job_runs.run_record import JobState
from bulk_reset.jobs.job_runs.state_folder import StateFolder

_LOOPBACK = ("--host", "127.0.0.1")
_STOP_S = 20
_JOB = """
[source]
sheet = "incidents.csv"
[api]
sandbox_state = "account-{number}.json"
[report]
html = false
[schedule]
cron = "0 0 * * *"
time_zone = "UTC"
catch_up_within = "52w"
"""


@dataclass
class Cluster:
    """A scheduler and its workers."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)


def _has_content(file: Path) -> bool:
    return file.exists() and bool(file.read_text().strip())


@contextlib.contextmanager
def dask_cluster(folder: Path, workers: int, threads: int) -> Iterator[Cluster]:
    """Start a scheduler and workers, each a process; yield them, and stop them."""
    file = folder / "dask.json"
    words = ("--no-dashboard", "--no-show", "--port", "0", "--scheduler-file", str(file))
    cluster = Cluster("", _begin("scheduler", *_LOOPBACK, *words, folder=folder))
    try:
        wait_until(lambda: _has_content(file) or cluster.scheduler.poll() is not None)
        assert cluster.scheduler.poll() is None
        cluster.address = json.loads(file.read_text())["address"]
        for number in range(workers):
            more = ("--no-dashboard", "--no-nanny", "--nthreads", str(threads))
            local = ("--local-directory", str(folder / f"worker-{number}"))
            worker = _begin("worker", cluster.address, *_LOOPBACK, *more, *local, folder=folder)
            cluster.workers.append(worker)
        yield cluster
    finally:
        # The workers first: one that has lost its scheduler may wait for it.
        _stop(cluster.workers)
        _stop([cluster.scheduler])


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _begin(part: str, *arguments: str, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / f"{part}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{part}", *arguments],
            stdout=log,
            stderr=log,
        )


def write_fleet(folder: Path, accounts: int, rows: int) -> StateFolder:
    """Write the jobs of many accounts, each due since midnight; return the state folder."""
    jobs = folder / "jobs"
    jobs.mkdir(parents=True)
    write_sheet(jobs / "incidents.csv", rows)
    state = StateFolder(folder / "state")
    midnight = time.time() // 86_400 * 86_400
    for number in range(accounts):
        file = jobs / f"account-{number}.toml"
        file.write_text(_JOB.format(number=number))
        job_state = JobState(str(file), "0 0 * * * UTC", midnight - 1)
        state.save_job_state(file.stem, job_state)
    return state


def results(state: StateFolder) -> dict[str, int]:
    """Return the runs, those that are done, their rows by status, and rejected requests."""
    records = state.records()
    rows: Counter[str] = Counter()
    rejected = resumed = 0
    for record in records:
        rows.update(record.counts)
        log = (state.folder(record.id) / "log.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in log]
        rejected += sum(event.get("throttled", 0) for event in events)
        resumed += sum(event["event"] == "run_started" for event in events) > 1
    done = sum(record.exit_code == 0 for record in records)
    return {
        "runs": len(records),
        "done": done,
        "resumed": resumed,
        "rejected": rejected,
        **dict(sorted(rows.items())),
    }
