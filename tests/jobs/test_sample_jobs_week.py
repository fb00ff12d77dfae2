"""The jobs of the samples through a week of their own: restarts, an outage, a clock put forward.

The clock is a virtual one, and so are all waits of the schedule; the runs are real, against a
sandbox on this machine.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from openpyxl import Workbook
from programs import KEY, ROOT, SandboxProcess, read_csv, seed_id
from virtual_clock import run_virtual
from virtual_schedule import VirtualSchedule

from bulk_reset.core.callbacks import Callbacks
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_file import read_job
from bulk_reset.jobs.job_runs.job_run import JobRun
from bulk_reset.jobs.job_runs.run_record import RunRecord
from bulk_reset.observability.run_log import LogOutput, new_run_log
from bulk_reset.sandbox import Sandbox, SandboxConfig

SAMPLES = ROOT / "samples" / "jobs"
BERLIN = ZoneInfo("Europe/Berlin")
HERE = """base_url = "${API}"
patience = 0.1
per_second = 5000
per_minute = 300000
"""
BROKEN = 'description = "saved in a hurry"\n[source]\nsheet = \n'


def at(text: str) -> float:
    """Return a time of the week in Berlin: ``Tue 13:15``."""
    day, clock = text.split()
    number = 22 + ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "MON").index(day)
    hour, minute = map(int, clock.split(":"))
    return dt.datetime(2027, 3, number, hour, minute, tzinfo=BERLIN).timestamp()


def shown(moment_at: float) -> str:
    """Return a time as shown in Berlin."""
    return f"{dt.datetime.fromtimestamp(moment_at, BERLIN):%a %d %H:%M}"


class Week(VirtualSchedule):
    """The samples on a virtual clock, with an API that can be away."""

    def __init__(
        self, folder: Path, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        super().__init__(folder, at("Mon 00:00"), monkeypatch)
        self.sandbox, self.env = sandbox, monkeypatch
        self.outage = (0.0, 0.0)
        self.starts: list[str] = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.closed = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("FLASHDUTY_APP_KEY", KEY)
        monkeypatch.setenv("API", sandbox.url)
        for sample in SAMPLES.glob("*.toml"):
            if sample.stem == "resolve-stale":  # tested in test_stale_incidents
                continue
            text = re.sub(r"sandbox_state = .*\n", HERE, sample.read_text())
            (folder / sample.name).write_text(text)

    async def start(self, job: Job, record: RunRecord) -> int:
        """Run a job, as its process would: from its file."""
        self.starts.append(record.id)
        is_away = self.outage[0] <= self.clock() < self.outage[1]
        self.env.setenv("API", self.closed if is_away else self.sandbox.url)
        read = read_job(job.path)
        run_log = new_run_log(LogOutput(self.log))
        run = JobRun(
            read, self.state, record, run_log, Callbacks(), clock=self.clock, sleep=lambda _: None
        )
        return run.run().exit_code or 0

    def table(self) -> list[str]:
        """Return the result of each due time, the oldest first."""
        lines = []
        for one in self.state.records():
            when = f"{shown(one.due_at)} {one.job:<16}"
            if one.state == "missed":
                lines.append(f"{when} missed {one.missed}: {one.words}")
            else:
                lines.append(f"{when} {shown(one.ended_at)[-5:]} exit {one.exit_code}: {one.words}")
        return lines


async def seed(config: SandboxConfig) -> None:
    """Make the incidents of that week."""
    async with Sandbox(config).serve():
        pass


@pytest.fixture
def week(
    tmp_path: Path,
    start_sandbox: Callable[..., SandboxProcess],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Week]:
    state = tmp_path / "sandbox.json"
    config = SandboxConfig(
        seed_incidents=250,
        first_start_at=int(at("Mon 00:00")) - 2 * 86_400,
        seed_step_s=3600,
        state=state,
    )
    asyncio.run(seed(config))
    fast = ("--per-second", "5000", "--per-minute", "300000")
    sandbox = start_sandbox("--state", str(state), *fast)
    return Week(tmp_path, sandbox, monkeypatch)


def write_backfill(path: Path) -> None:
    """Write the sheet of a week into the inbox."""
    path.parent.mkdir(exist_ok=True)
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet.append(["Incident ID", "What happened", "How it was fixed"])
    for number in range(1, 6):
        sheet.append([seed_id(number), f"A full queue, number {number}", "The queue was emptied"])
    workbook.save(path)


async def a_hard_week(week: Week) -> None:
    """Let it pass: two restarts, a night without the API, a broken file, a clock put forward."""
    scheduler = week.open(week.start)
    await week.until(at("Tue 12:00"))
    (week.folder / "hurried.toml").write_text(BROKEN)
    await scheduler.shut_down()  # a restart at noon, for two hours
    await week.until(at("Tue 14:00"))
    scheduler = week.open(week.start)
    week.outage = (at("Wed 00:00"), at("Wed 04:00"))
    await week.until(at("Thu 00:30"))
    await scheduler.shut_down()  # and a machine that is down for a day and a half
    await week.until(at("Fri 09:00"))
    scheduler = week.open(week.start)
    await week.until(at("Sun 12:00"))
    write_backfill(week.folder / "inbox" / "week-12.xlsx")
    await week.until(at("MON 12:00"))
    await scheduler.shut_down()


EXPECTED = """\
Mon 22 01:15 severity-cleanup 01:15 exit 0: 1 of 1 row done
Mon 22 02:30 nightly-retitle  02:33 exit 0: 2 of 2 rows done
Mon 22 07:00 weekly-backfill  07:00 exit 0: nothing to do: no sheet found
Mon 22 13:15 severity-cleanup 13:15 exit 0: 2 of 2 rows done
Tue 23 01:15 severity-cleanup 01:15 exit 0: 1 of 1 row done
Tue 23 02:30 nightly-retitle  02:39 exit 0: 1 of 1 row done
Tue 23 13:15 severity-cleanup 14:00 exit 0: 1 of 1 row done
Wed 24 01:15 severity-cleanup 04:00 exit 0: 2 of 2 rows done
Wed 24 02:30 nightly-retitle  04:04 exit 0: 1 of 1 row done
Wed 24 13:15 severity-cleanup 13:15 exit 0: 1 of 1 row done
Thu 25 01:15 severity-cleanup missed 1: the scheduler was not running, and the delay \
exceeds catch_up_within
Thu 25 02:30 nightly-retitle  missed 2: the deadline passed before the run could start
Thu 25 13:15 severity-cleanup 09:00 exit 0: 2 of 2 rows done
Fri 26 01:15 severity-cleanup 09:00 exit 0: 1 of 1 row done
Fri 26 13:15 severity-cleanup 13:15 exit 0: 1 of 1 row done
Sat 27 01:15 severity-cleanup 01:15 exit 0: 2 of 2 rows done
Sat 27 02:30 nightly-retitle  02:32 exit 0: 1 of 1 row done
Sat 27 13:15 severity-cleanup 13:15 exit 0: 1 of 1 row done
Sun 28 01:15 severity-cleanup 01:15 exit 0: 1 of 1 row done
Sun 28 03:00 nightly-retitle  03:04 exit 0: 2 of 2 rows done
Sun 28 13:15 severity-cleanup 13:15 exit 0: 2 of 2 rows done
Mon 29 01:15 severity-cleanup 01:15 exit 0: 1 of 1 row done
Mon 29 02:30 nightly-retitle  02:33 exit 0: 1 of 1 row done
Mon 29 07:00 weekly-backfill  07:00 exit 0: 5 of 5 rows done
"""
"""When it was due, which job, when it ended, and how. The clock goes from 2 to 3 on Sunday."""
AWAY = (
    "the incidents could not be read: the API is down or cannot be reached: "
    "cannot connect to the API"
)


@pytest.mark.slow
def test_a_week_with_outages_runs_each_due_time_once_or_records_it_as_missed(week: Week) -> None:
    """Nothing runs twice, nothing is left out in silence."""
    run_virtual(a_hard_week(week))
    assert week.table() == EXPECTED.splitlines()
    # A quarter of an hour apart while the API was away; and never again once it was done.
    tries = Counter(week.starts)
    assert {run: n for run, n in tries.items() if n > 1} == {
        "20270324T001500Z-severity-cleanup": 12,
        "20270324T013000Z-nightly-retitle": 7,
    }
    # What the server counted is what the runs say, so no row was sent twice.
    updated = sum(one.counts.get("updated", 0) for one in week.state.records())
    assert week.sandbox.get("/_stats")["applied"] == updated == 32
    broken = [line["file"] for line in week.events("job_invalid")]
    assert broken == [str(week.folder / "hurried.toml")] * 2, "once for each start"
    assert KEY not in week.log.getvalue()
    # The receiver was notified of the outage at its beginning and at its end.
    texts = (week.folder / "notifications.txt").read_text().splitlines()
    port = week.closed.rpartition(":")[2]
    assert [text.partition(": ")[2] for text in texts] == [
        f"{AWAY}: Connect call failed ('127.0.0.1', {port}). Try again later. (exit code 3)",
        "2 of 2 rows done (exit code 0)",
        "1 run missed: the scheduler was not running, and the delay exceeds catch_up_within",
    ]


def test_the_sheet_of_the_week_is_moved_away_and_its_report_laid_out(week: Week) -> None:
    """The inbox is empty for the next week; the report is copied."""
    write_backfill(week.folder / "inbox" / "week-12.xlsx")

    async def monday() -> None:
        scheduler = week.open(week.start)
        await week.until(at("Mon 08:00"))
        await scheduler.shut_down()

    run_virtual(monday())
    assert [path.name for path in (week.folder / "inbox").rglob("*.*")] == ["week-12.xlsx"]
    assert (week.folder / "inbox" / "done" / "week-12.xlsx").exists()
    rows = read_csv(week.folder / "reports" / "2027-03-22-weekly-backfill.report.csv")
    assert [row["status"] for row in rows] == ["updated"] * 5
