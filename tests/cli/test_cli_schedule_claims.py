"""Two schedules as processes, with the claims of a real store: one is killed during a run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from programs import KEY, SandboxProcess, clean_environment, write_sheet
from redis_process import RedisProcess

from bulk_reset.jobs.job_runs.run_record import JobState
from bulk_reset.jobs.job_runs.state_folder import StateFolder

ROWS = 600
JOB = """
[source]
sheet = "incidents.csv"
[api]
base_url = "{url}"
per_second = 50
per_minute = 300000
[limits]
max_change = "100%"
[report]
html = false
[schedule]
cron = "0 0 * * *"
time_zone = "UTC"
catch_up_within = "52w"
"""


def events(log: IO[bytes] | None, name: str) -> dict[str, Any]:
    """Read a log until it has this event."""
    assert log is not None
    for line in log:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == name:
            return event
    raise AssertionError(name)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(state: str, claims: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-u", "-m", "bulk_reset", "schedule", "jobs"]
        process = subprocess.Popen(
            [*command, "--state-dir", state, "--claims", claims],
            cwd=tmp_path,
            env=clean_environment(FLASHDUTY_APP_KEY=KEY),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.redis
def test_when_a_machine_is_lost_the_other_sends_the_rest(
    start: Callable[..., subprocess.Popen[bytes]],
    start_sandbox: Callable[..., SandboxProcess],
    tmp_path: Path,
) -> None:
    """Without a shared folder: done rows are unchanged, and no row is sent by both."""
    sandbox = start_sandbox("--seed-incidents", str(ROWS), "--per-second", "5000")
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (jobs / "job.toml").write_text(JOB.format(url=sandbox.url))
    write_sheet(jobs / "incidents.csv", ROWS)
    states = [StateFolder(tmp_path / name) for name in ("a", "b")]
    midnight = time.time() // 86_400 * 86_400
    for state in states:
        handled = JobState(str(jobs / "job.toml"), "0 0 * * * UTC", midnight - 1)
        state.save_job_state("job", handled)
    with RedisProcess(tmp_path) as server:
        # The job is known, as after its first due time: claims are granted at once.
        known = {"epoch": 1, "deadline": 0, "holder": "x", "handled": 0}
        server.client.hset("bulk-reset:claim:{job}", mapping=known)
        first = start("a", server.url)
        events(first.stderr, "progress")
        second = start("b", server.url)
        first.kill()
        first.communicate(timeout=60)
        ended = events(second.stderr, "job_process_exited")
        assert ended["exit_code"] == 0
    [lost], [done] = (state.records() for state in states)
    assert (lost.exit_code, lost.words) == (143, "stopped: SIGTERM")  # it ended with its schedule
    assert (done.due_at, done.exit_code, done.rows) == (midnight, 0, ROWS)
    assert done.counts["updated"] + lost.counts["updated"] == ROWS
    assert done.counts["unchanged"] == lost.counts["updated"] > 0
    assert sandbox.get("/_stats")["applied"] == ROWS
