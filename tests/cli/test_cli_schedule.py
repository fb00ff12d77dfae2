"""``bulk-reset schedule`` as a process: signals, kills, a port, and runs beside it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from programs import KEY, SandboxProcess, clean_environment, read_csv, write_sheet
from prometheus_client.parser import text_string_to_metric_families

from bulk_reset.jobs.job_runs.run_record import JobState, RunRecord
from bulk_reset.jobs.job_runs.state_folder import StateFolder

JOB = """
[source]
sheet = "incidents.csv"
[api]
base_url = "{url}"
per_second = {per_second}
per_minute = 300000
[schedule]
cron = "{cron}"
time_zone = "UTC"
catch_up_within = "52w"
"""
DAILY = "0 0 * * *"


@dataclass
class Schedule:
    """A schedule in a process of its own, and its log so far."""

    process: subprocess.Popen[bytes]
    results: list[dict[str, Any]] = field(default_factory=list)
    _read: bytes = b""

    def until(self, event: str, **facts: object) -> dict[str, Any]:
        """Read its log until it has this."""
        for results in self._lines():
            if results["event"] == event and facts.items() <= results.items():
                return results
        raise AssertionError((event, self.results))

    def _lines(self) -> Iterator[dict[str, Any]]:
        assert self.process.stderr is not None
        number = self.process.stderr.fileno()
        while True:
            line, end, rest = self._read.partition(b"\n")
            if end:
                self._read = rest
                self.results.append(json.loads(line))
                yield self.results[-1]
            elif not select.select([number], [], [], 60)[0]:
                return
            elif some := os.read(number, 1 << 16):
                self._read += some
            else:
                return

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and wait for its end."""
        self.process.send_signal(number)
        for _ in self._lines():
            pass
        return self.process.wait(timeout=60)


Start = Callable[..., Schedule]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start schedules of the test's folder; none outlives it."""
    started: list[Schedule] = []

    def begin(*options: str) -> Schedule:
        process = subprocess.Popen(
            [
                *(sys.executable, "-u", "-m", "bulk_reset", "schedule", "jobs"),
                *("--state-dir", "state", *options),
            ],
            cwd=tmp_path,
            env=clean_environment(FLASHDUTY_APP_KEY=KEY),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        started.append(Schedule(process))
        return started[-1]

    yield begin
    for schedule in started:
        if schedule.process.poll() is None:
            schedule.process.terminate()  # and with it what it has started
        schedule.process.communicate(timeout=30)


def write_job(
    folder: Path, sandbox: SandboxProcess, rows: int, *, name: str = "job", per_second: int = 5000
) -> StateFolder:
    """Write a job that is due since midnight, and its sheet; return the state."""
    jobs = folder / "jobs"
    jobs.mkdir(exist_ok=True)
    text = JOB.format(url=sandbox.url, per_second=per_second, cron=DAILY)
    (jobs / f"{name}.toml").write_text(text)
    write_sheet(jobs / "incidents.csv", rows)
    state = StateFolder(folder / "state")
    # Seen first two days ago, so that the last midnight is due.
    job_state = JobState(str(jobs / f"{name}.toml"), f"{DAILY} UTC", _days_ago(2))
    state.save_job_state(name, job_state)
    return state


def _days_ago(days: float) -> float:
    return (jobs_now() // 86_400 - days) * 86_400 + 1


def jobs_now() -> float:
    """Return now."""
    import time  # noqa: PLC0415

    return time.time()


def last(state: StateFolder) -> RunRecord:
    """Return the last run."""
    return state.records()[-1]


def sent_ids(state: StateFolder) -> list[str]:
    """Return the ids of the last run's report that were updated."""
    record = last(state)
    lines = read_csv(state.folder(record.id) / record.report)
    return [line["incident_id"] for line in lines if line["status"] == "updated"]


def test_a_due_job_is_run_and_shown(
    start: Start, start_sandbox: Callable[..., SandboxProcess], tmp_path: Path
) -> None:
    """In a process of its own, in a folder of its own; with numbers and health on a port."""
    sandbox = start_sandbox("--seed-incidents", "50", "--per-second", "5000")
    state = write_job(tmp_path, sandbox, 20)
    (tmp_path / "jobs" / "broken.toml").write_text("[source]\nshet = 1\n")
    schedule = start("--port", "0")
    address = schedule.until("metrics_server_started")["address"]
    assert (
        "broken.toml:2: source.shet: no such key. Did you mean sheet?"
        in (schedule.until("job_invalid")["why"])
    )
    schedule.until("job_ended")
    schedule.until("job_process_exited")
    with urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer:  # noqa: S310
        families = {one.name: one for one in text_string_to_metric_families(answer.read().decode())}
    numbers = {
        name: [sample.value for sample in family.samples] for name, family in families.items()
    }
    assert numbers["bulk_reset_schedule_jobs"] == [1]
    assert numbers["bulk_reset_schedule_jobs_invalid"] == [1]
    assert numbers["bulk_reset_job_last_run_exit_code"] == [0]
    assert numbers["bulk_reset_job_last_run_rows"] == [20]
    assert numbers["bulk_reset_job_missed_runs"] == [1]
    assert 0 < numbers["bulk_reset_job_next_run_timestamp_seconds"][0] - jobs_now() <= 86_401
    with urllib.request.urlopen(f"{address}/healthz", timeout=30) as answer:  # noqa: S310
        assert json.load(answer) == {"is_healthy": True, "message": "1 job, invalid: broken.toml"}
    assert schedule.end() == 0
    record = last(state)
    assert (record.exit_code, record.counts) == (0, {"updated": 20})
    assert sorted(path.name for path in state.folder(record.id).iterdir()) == [
        *("incidents.audit.jsonl", "incidents.before.csv", "incidents.csv"),
        *("incidents.report.csv", "incidents.report.html", "job.toml", "log.jsonl", "run.json"),
    ]
    assert sandbox.get("/_stats")["applied"] == 20
    everything = json.dumps(schedule.results) + "".join(
        path.read_text() for path in state.path.rglob("*.*") if path.is_file()
    )
    assert KEY not in everything


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_ends_the_run_gracefully_and_the_next_schedule_resumes_it(
    number: signal.Signals,
    start: Start,
    start_sandbox: Callable[..., SandboxProcess],
    tmp_path: Path,
) -> None:
    """What was sent is reported; the rest is sent by the next process, each row once."""
    sandbox = start_sandbox("--seed-incidents", "400", "--per-second", "5000")
    state = write_job(tmp_path, sandbox, 300, per_second=60)
    schedule = start()
    schedule.until("progress")
    assert schedule.end(number) == 0
    record = last(state)
    assert (record.exit_code, record.state) == (143, "ended")
    done = len(sent_ids(state))
    assert 0 < done < 300
    again = start()
    again.until("run_resumed", run=record.id)
    again.until("job_process_exited", run=record.id, exit_code=0)
    assert again.end() == 0
    assert last(state).id == record.id
    assert len(sent_ids(state)) == 300
    assert sandbox.get("/_stats")["applied"] == 300


@pytest.mark.slow
def test_a_killed_schedule_resumes_its_run_at_the_next_start(
    start: Start, start_sandbox: Callable[..., SandboxProcess], tmp_path: Path
) -> None:
    """Kill -9 of both: the record has the state "running", and no process holds it."""
    sandbox = start_sandbox("--seed-incidents", "400", "--per-second", "5000")
    state = write_job(tmp_path, sandbox, 300, per_second=60)
    schedule = start()
    schedule.until("progress")
    children = Path(f"/proc/{schedule.process.pid}/task/{schedule.process.pid}/children")
    for child in children.read_text().split():
        os.kill(int(child), signal.SIGKILL)
    schedule.process.kill()
    schedule.process.communicate(timeout=30)
    assert last(state).state == "running"
    again = start()
    again.until("job_process_exited", exit_code=0)
    again.end()
    assert (last(state).exit_code, len(state.records())) == (0, 2)
    # The in-flight requests of the killed process were read back, and not sent again.
    assert last(state).counts == {"updated": 300}
    assert sandbox.get("/_stats")["applied"] == 300


def test_once_runs_what_is_due_and_ends_with_its_code(
    start: Start, start_sandbox: Callable[..., SandboxProcess], tmp_path: Path
) -> None:
    """The second time there is nothing to do."""
    sandbox = start_sandbox("--seed-incidents", "3", "--per-second", "5000")
    state = write_job(tmp_path, sandbox, 5)  # two of them do not exist
    codes = []
    for _ in range(2):
        schedule = start("--once")
        schedule.process.communicate(timeout=60)
        codes.append(schedule.process.returncode)
    assert codes == [1, 0]
    assert last(state).counts == {"updated": 3, "failed": 2}


def test_two_schedules_do_not_share_a_state(
    start: Start, start_sandbox: Callable[..., SandboxProcess], tmp_path: Path
) -> None:
    """The second exits at once, with the reason."""
    write_job(tmp_path, start_sandbox("--seed-incidents", "5"), 5)
    first = start()
    first.until("jobs_loaded")
    second = start()
    _, error = second.process.communicate(timeout=60)
    assert second.process.returncode == 4
    assert error.endswith(
        b"state: in use by another schedule. Stop that one, or use --state-dir DIR.\n"
        b"More: bulk-reset docs troubleshooting\n"
    )


def test_a_port_in_use_is_reported_before_any_job_runs(
    start: Start, start_sandbox: Callable[..., SandboxProcess], tmp_path: Path
) -> None:
    """Exit code 2, in a line."""
    sandbox = start_sandbox("--seed-incidents", "5")
    state = write_job(tmp_path, sandbox, 5)
    schedule = start("--port", sandbox.url.rpartition(":")[2])
    _, error = schedule.process.communicate(timeout=60)
    assert schedule.process.returncode == 2
    assert b"error: " in error
    assert b"port" in error
    assert state.records() == []


def test_if_due_runs_a_job_once_for_each_due_time(
    command: Callable[..., subprocess.CompletedProcess[str]],
    start_sandbox: Callable[..., SandboxProcess],
    tmp_path: Path,
) -> None:
    """As a crontab asks it every five minutes; another job of the folder is not run."""
    sandbox = start_sandbox("--seed-incidents", "30", "--per-second", "5000")
    state = write_job(tmp_path, sandbox, 20)
    write_job(tmp_path, sandbox, 20, name="other")
    codes = [
        command("job", "run", "jobs/job.toml", "--if-due", "--state-dir", "state").returncode
        for _ in range(2)
    ]
    assert codes == [0, 0]
    runs = [(one.job, one.state) for one in state.records()]
    assert runs == [("job", "missed"), ("job", "ended")]
