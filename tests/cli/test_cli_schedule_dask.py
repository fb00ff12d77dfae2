"""A schedule that hands its runs to a Dask cluster of processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dask_cluster import dask_cluster, results, write_fleet
from programs import KEY, clean_environment
from waiting import wait_until

from bulk_reset.jobs.job_runs.state_folder import StateFolder

ACCOUNTS, ROWS = 12, 200


def schedule(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a schedule of a folder's jobs."""
    command = [sys.executable, "-m", "bulk_reset", "schedule", str(folder / "jobs")]
    return subprocess.Popen(
        [*command, "--state-dir", str(folder / "state"), *options],
        cwd=folder,
        env=clean_environment(FLASHDUTY_APP_KEY=KEY),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def until_running(state: StateFolder, runs: int) -> None:
    """Wait until this many runs have a report with rows."""

    def are_running() -> bool:
        reports = list(state.runs.glob("*/*.report.csv"))
        return sum(report.read_bytes().count(b"\n") > 20 for report in reports) >= runs

    wait_until(are_running, 90)


@pytest.mark.slow
def test_the_runs_of_a_lost_worker_are_resumed_on_another(tmp_path: Path) -> None:
    """All complete, no request is rejected, and no run is started twice at a time."""
    state = write_fleet(tmp_path, ACCOUNTS, ROWS)
    with dask_cluster(tmp_path, workers=3, threads=2) as cluster:
        process = schedule(tmp_path, "--once", "--dask", cluster.address, "--max-runs", "6")
        until_running(state, 4)
        cluster.workers[0].send_signal(signal.SIGKILL)
        _, error = process.communicate(timeout=240)
    found = results(state)
    assert (process.returncode, found["done"], found["rejected"]) == (0, ACCOUNTS, 0), error
    assert found["updated"] == ACCOUNTS * ROWS
    assert found["resumed"] >= 1


@pytest.mark.slow
def test_sigterm_of_the_schedule_ends_runs_on_workers_gracefully(tmp_path: Path) -> None:
    """They end with exit code 143, have a record of it, and can be resumed."""
    state = write_fleet(tmp_path, 2, ROWS)
    with dask_cluster(tmp_path, workers=1, threads=2) as cluster:
        process = schedule(tmp_path, "--dask", cluster.address)
        until_running(state, 2)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert [(one.exit_code, one.words, one.is_open) for one in state.records()] == [
        (143, "stopped: SIGTERM", True)
    ] * 2


@pytest.mark.slow
def test_a_cluster_that_does_not_respond_is_named(tmp_path: Path) -> None:
    """Nothing is run; the run keeps its folder and is tried again later."""
    state = write_fleet(tmp_path, 1, 1)
    process = schedule(tmp_path, "--once", "--dask", "tcp://127.0.0.1:9")
    _, error = process.communicate(timeout=60)
    assert b"--dask tcp://127.0.0.1:9: no cluster responds" in error
    assert [record.state for record in state.records()] == ["waiting"]
