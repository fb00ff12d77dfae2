"""Schedules: idle, several with the same jobs, and many accounts on a Dask cluster."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import schedule
from processes import our_command
from rich.table import Table
from table_style import new_table

sys.path.insert(0, str(Path(__file__).parents[1] / "doubles"))

import apscheduler.schedulers.base
from dask_cluster import dask_cluster, results, write_fleet
from two_schedulers import TwoSchedulers
from virtual_schedule import datetime_of

ROWS: Final = 200
ACCOUNTS: Final = 50
_DUE_TIMES: Final = 100
_BEGINS_AT: Final = 1_800_000_000.0
_IDLE_S: Final = 20.0


def tables(part: str, rows: int | None, log: Callable[[str], None]) -> list[Table]:
    """Measure idle schedules, schedules that share their jobs, or a cluster."""
    if part == "claims":
        return claims_tables()
    return dask_tables(rows or ROWS, log) if part == "dask" else schedule.tables(log)


def claims_tables() -> list[Table]:
    """Kill two schedulers at random during 100 due times, on a virtual clock."""
    table = new_table(
        f"Two schedulers, {_DUE_TIMES} due times, kills at random",
        *("", "one state folder", "a folder each"),
    )
    found = [_claims(is_shared=is_shared) for is_shared in (True, False)]
    for name in found[0]:
        table.add_row(name, *(f"{one[name]:,}" for one in found))
    return [table]


def _claims(*, is_shared: bool) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder:
        two = TwoSchedulers(Path(folder), _BEGINS_AT, is_shared)
        apscheduler.schedulers.base.datetime = datetime_of(two.clock)
        two.pass_time(_DUE_TIMES)
        return two.table()


def dask_tables(rows: int, log: Callable[[str], None]) -> list[Table]:
    """Run the due jobs of many accounts, in processes of the schedule and on three workers."""
    table = new_table(
        f"{ACCOUNTS} accounts with {rows:,} rows each, up to 12 at a time",
        *("", "wall, s", "done", "updated", "resumed", "rejected"),
    )
    for name, workers, kills in (
        ("processes of the schedule", 0, 0),
        ("Dask, 3 workers", 3, 0),
        ("Dask, 3 workers, 1 killed", 3, 1),
    ):
        log(f"dask: {name}")
        wall_s, found = _fleet(rows, workers, kills)
        figures = (found[key] for key in ("done", "updated", "resumed", "rejected"))
        table.add_row(name, f"{wall_s:.1f}", *(f"{one:,}" for one in figures))
    return [table, _idle_table()]


def _fleet(rows: int, workers: int, kills: int) -> tuple[float, dict[str, int]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        state = write_fleet(folder, ACCOUNTS, rows)
        command = our_command(
            *("schedule", str(folder / "jobs"), "--state-dir", str(folder / "state")),
            *("--once", "--max-runs", "12"),
        )
        if not workers:
            began_at = time.perf_counter()
            subprocess.run(command, stderr=subprocess.DEVNULL, check=True)
            return time.perf_counter() - began_at, results(state)
        with dask_cluster(folder, workers, 4) as cluster:
            began_at = time.perf_counter()
            process = subprocess.Popen(
                [*command, "--dask", cluster.address], stderr=subprocess.DEVNULL
            )
            for worker in cluster.workers[:kills]:
                # In the middle of the work, when its runs have begun to send.
                while len(list(state.runs.glob("*/*.report.csv"))) < ACCOUNTS // 2:
                    time.sleep(0.1)
                worker.kill()
            process.wait()
            return time.perf_counter() - began_at, results(state)


def _idle_table() -> Table:
    table = new_table(
        "A cluster with nothing to run",
        *("", "processor", "memory, MB"),
        caption=f"Measured for {_IDLE_S:.0f} s.",
    )
    with tempfile.TemporaryDirectory() as name, dask_cluster(Path(name), 1, 4) as cluster:
        time.sleep(5)
        both = {"scheduler": cluster.scheduler, "worker": cluster.workers[0]}
        before = {part: schedule.processor_s(one.pid) for part, one in both.items()}
        time.sleep(_IDLE_S)
        for part, one in both.items():
            busy = (schedule.processor_s(one.pid) - before[part]) / _IDLE_S
            table.add_row(part, f"{busy:.2%}", f"{schedule.memory_mb(one.pid):.0f}")
    return table
