"""The schedule: what runs when, on a virtual clock and without an API."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from virtual_clock import run_virtual
from virtual_schedule import VirtualSchedule

from bulk_reset.core.errors import InputError
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_runs.run_record import RunRecord
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.schedule.job_folder import JobFolder
from bulk_reset.jobs.schedule.schedule_metrics import ScheduleMetrics
from bulk_reset.jobs.schedule.scheduler import Scheduler
from bulk_reset.observability.run_log import LogOutput, new_run_log

NOON = dt.datetime(2027, 1, 12, 12, tzinfo=dt.UTC).timestamp()
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


def write_job(
    folder: Path, name: str = "job", cron: str = "0 * * * *", more: str = "", api: str = ""
) -> Path:
    """Write a job that is due every hour."""
    path = folder / f"{name}.toml"
    path.write_text(
        f'[source]\nsheet = "sheet.csv"\n[api]\n{api}\n[schedule]\ncron = "{cron}"\n'
        f'time_zone = "UTC"\n{more}\n'
    )
    return path


class Runner(VirtualSchedule):
    """Runs nothing, and takes its time over it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, NOON, monkeypatch)
        self.takes_s = 10.0
        self.begun: list[tuple[str, float, float]] = []
        self.running: set[str] = set()
        self.together = 0
        self.ends: Callable[[RunRecord], RunRecord] = lambda record: replace(
            record, state="ended", exit_code=0
        )

    async def start(self, job: Job, record: RunRecord) -> int:
        """Run a job: wait, and write down how it ended."""
        self.begun.append((job.name, record.due_at - NOON, self.clock() - NOON))
        self.running.add(job.name)
        self.together = max(self.together, len(self.running))
        try:
            with self.state.locked(job.name):
                self.state.write(replace(record, state="running"))
                await asyncio.sleep(self.takes_s)
                ended = self.ends(replace(record, ended_at=self.clock()))
                self.state.write(ended)
                return ended.exit_code or 0
        finally:
            self.running.discard(job.name)

    def when(self, name: str = "job") -> list[tuple[int, int]]:
        """Return when a job was due and when it was begun, in whole minutes after noon."""
        return [
            (round(due_s / MINUTE), round(begun_s / MINUTE))
            for job, due_s, begun_s in self.begun
            if job == name
        ]

    def missed(self) -> list[tuple[int, int, str]]:
        """Return the first minute of each record of what was missed, how many, and why."""
        return [
            (round((one.due_at - NOON) / MINUTE), one.missed, one.words)
            for one in self.state.records()
            if one.state == "missed"
        ]

    def passes(self, *hours: float) -> None:
        """Let hours pass; after each but the last, the process is drained and started again."""

        async def pass_by() -> None:
            for end_s in hours:
                scheduler = self.open(self.start)
                await self.until(NOON + end_s * HOUR)
                await scheduler.shut_down()

        run_virtual(pass_by())


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    return Runner(tmp_path, monkeypatch)


def test_a_job_runs_at_each_due_time(runner: Runner) -> None:
    """From when it is first seen on; not for the time before."""
    write_job(runner.folder, cron="*/20 * * * *")
    runner.passes(1.5)
    assert runner.when() == [(20, 20), (40, 40), (60, 60), (80, 80)]
    assert runner.missed() == []


def test_due_times_during_a_long_run_are_missed(runner: Runner) -> None:
    """After the run, the last of them is caught up; the others are recorded as missed."""
    write_job(runner.folder, cron="*/10 * * * *")
    runner.takes_s = 35 * MINUTE
    runner.passes(1.5)
    assert runner.when() == [(10, 10), (40, 45), (80, 80)]
    assert runner.missed() == [
        (20, 2, "replaced by a later due time"),
        (50, 3, "replaced by a later due time"),
    ]


@pytest.mark.parametrize(
    ("policy", "begun", "missed"),
    [
        (
            "skip",
            [(60, 60), (360, 360)],
            [(120, 4, 'the scheduler was not running, and catch_up = "skip"')],
        ),
        (
            "once",
            [(60, 60), (300, 310), (360, 360)],
            [(120, 3, "replaced by a later due time")],
        ),
        ("all", [(60, 60), (120, 310), (180, 310), (240, 310), (300, 311), (360, 360)], []),
    ],
)
def test_missed_due_times_are_caught_up_as_configured(
    policy: str, begun: list[tuple[int, int]], missed: list[tuple[int, int, str]], runner: Runner
) -> None:
    """Down from 13:30 to 17:10, and due every hour."""
    write_job(runner.folder, more=f'catch_up = "{policy}"')

    async def pass_by() -> None:
        scheduler = runner.open(runner.start)
        await runner.until(NOON + 1.5 * HOUR)
        await scheduler.shut_down()
        await runner.until(NOON + 310 * MINUTE)
        scheduler = runner.open(runner.start)
        await runner.until(NOON + 6.5 * HOUR)
        await scheduler.shut_down()

    run_virtual(pass_by())
    assert (runner.when(), runner.missed()) == (begun, missed)


def test_jobs_of_one_account_run_one_after_the_other(runner: Runner) -> None:
    """A waiting run already has its folder; other accounts are not affected."""
    for name in ("a", "b", "c"):
        write_job(runner.folder, name)
    write_job(runner.folder, "other", api='account = "other"')
    runner.takes_s = 5 * MINUTE
    runner.passes(1.4)
    assert sorted(begun for name in "abc" for _, begun in runner.when(name)) == [60, 65, 70]
    assert runner.when("other") == [(60, 60)]
    assert runner.together == 2


def test_a_run_interrupted_by_shutdown_is_resumed(runner: Runner) -> None:
    """In its own folder, at the next start; later due times are not affected."""
    write_job(runner.folder)

    async def pass_by() -> None:
        runner.ends = lambda record: replace(record, state="ended", exit_code=143)
        scheduler = runner.open(runner.start)
        await runner.until(NOON + 61 * MINUTE)
        await scheduler.shut_down()
        runner.ends = lambda record: replace(record, state="ended", exit_code=0)
        await runner.until(NOON + 70 * MINUTE)
        scheduler = runner.open(runner.start)
        await runner.until(NOON + 2.2 * HOUR)
        await scheduler.shut_down()

    run_virtual(pass_by())
    assert runner.when() == [(60, 60), (60, 70), (120, 120)]


@pytest.mark.parametrize(
    ("more", "why"),
    [("", "the next run is due"), ('deadline = "13:30"', "its deadline has passed")],
)
def test_a_run_that_was_cut_short_too_long_ago_is_given_up(
    more: str, why: str, runner: Runner
) -> None:
    """The next run replaces it, and the record says so."""
    notify_table = '[notify]\ncommand = ["sh", "-c", "echo $BULK_RESET_TEXT >> sent.txt"]'
    write_job(runner.folder, cron="0 13,14 * * *", more=f"{more}\n{notify_table}")

    async def pass_by() -> None:
        runner.ends = lambda record: replace(record, state="ended", exit_code=143, words="SIGTERM")
        scheduler = runner.open(runner.start)
        await runner.until(NOON + 61 * MINUTE)
        await scheduler.shut_down()
        await runner.until(NOON + 190 * MINUTE)
        scheduler = runner.open(runner.start)
        await runner.until(NOON + 195 * MINUTE)
        await scheduler.shut_down()

    run_virtual(pass_by())
    first = runner.state.records()[0]
    assert (first.exit_code, first.words) == (3, f"SIGTERM; not resumed: {why}")
    assert (runner.folder / "sent.txt").read_text().startswith(f"job: {first.words} (exit code 3)")
    assert not first.is_open
    assert [begun for due, begun in runner.when() if due == 60] == [60]


def test_a_process_killed_between_two_words_neither_loses_a_run_nor_runs_it_twice(
    runner: Runner,
) -> None:
    """The folder is made, the book is not kept: the next start finds the folder."""
    write_job(runner.folder)

    async def pass_by() -> None:
        scheduler = runner.open(runner.start)
        keep, runner.state.save_job_state = runner.state.save_job_state, _killed  # type: ignore[method-assign]
        await runner.until(NOON + 60.5 * MINUTE)
        await kill(scheduler)
        runner.state.save_job_state = keep  # type: ignore[method-assign]
        await runner.until(NOON + 65 * MINUTE)
        scheduler = runner.open(runner.start)
        await runner.until(NOON + 2.2 * HOUR)
        await scheduler.shut_down()

    run_virtual(pass_by())
    assert [one.due_at - NOON for one in runner.state.records()] == [HOUR, 2 * HOUR]
    assert [one.exit_code for one in runner.state.records()] == [0, 0]


async def kill(scheduler: Scheduler) -> None:
    """End it at once, and what it runs, as kill -9 does."""
    scheduler._wake_ups.close()  # noqa: SLF001
    tasks = list(scheduler._tasks)  # noqa: SLF001
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_run_whose_process_dies_is_recorded_as_ended(runner: Runner) -> None:
    """The record does not stay ``running``, and a notification is sent."""
    notify_table = '[notify]\ncommand = ["sh", "-c", "echo $BULK_RESET_TEXT >> sent.txt"]'
    write_job(runner.folder, more=notify_table)
    runner.ends = lambda record: replace(record, state="running", exit_code=-9)
    runner.passes(1.5)
    (record,) = runner.state.records()
    assert (record.state, record.exit_code) == ("ended", 137)
    assert record.words == "its process exited with code -9 without a result; rows may be pending"
    assert (runner.folder / "sent.txt").read_text() == f"job: {record.words} (exit code 137)\n"


def notifications(runner: Runner) -> list[str]:
    """Return the notifications that were sent."""
    file = runner.folder / "sent.txt"
    return file.read_text().splitlines() if file.exists() else []


TELL = '[notify]\ncommand = ["sh", "-c", "echo \\"$BULK_RESET_TEXT\\" >> sent.txt"]'


def test_a_killed_run_is_resumed_later_and_notified(runner: Runner) -> None:
    """Also when the scheduler is killed with it; no one has to start anything."""
    write_job(runner.folder, more=TELL)

    def killed_once(record: RunRecord) -> RunRecord:
        if len(runner.begun) == 1:
            return replace(record, state="running", exit_code=-9)
        return replace(record, state="ended", exit_code=0)

    runner.ends = killed_once
    runner.passes(1.5)
    assert runner.when() == [(60, 60), (60, 75)]
    assert [one.exit_code for one in runner.state.records()] == [0]
    assert notifications(runner) == [
        "job: its process exited with code -9 without a result; rows may be pending (exit code 137)"
    ]


def test_an_abandoned_run_is_notified(runner: Runner) -> None:
    """Its rows were not sent, and will not be sent."""
    write_job(runner.folder, more=TELL)
    runner.ends = lambda record: replace(
        record, state="ended", exit_code=3, stop="outage", words="down"
    )
    runner.passes(2.4)
    first, second = runner.state.records()
    assert first.words == "down; not resumed: the next run is due"
    assert (first.is_open, second.is_open) == (False, True)
    assert notifications(runner) == [f"job: {first.words} (exit code 3)"]
    assert first.notified == "sh"


def test_a_run_is_retried_while_the_job_runs_by_hand(
    runner: Runner,
) -> None:
    """It waits for another while, as often as it takes."""
    write_job(runner.folder)

    def down_once(record: RunRecord) -> RunRecord:
        is_down = len(runner.begun) == 1
        stop = "outage" if is_down else ""
        return replace(record, state="ended", exit_code=3 if is_down else 0, stop=stop)

    runner.ends = down_once

    async def pass_by() -> None:
        scheduler = runner.open(runner.start)
        await runner.until(NOON + 70 * MINUTE)
        with runner.state.locked("job"):
            await runner.until(NOON + 80 * MINUTE)
        await runner.until(NOON + 100 * MINUTE)
        await scheduler.shut_down()

    run_virtual(pass_by())
    assert runner.when() == [(60, 60), (60, 90)]


def test_a_run_that_another_hand_runs_is_left_to_it(runner: Runner) -> None:
    """A process that finds the job locked does not change the record of the active run."""
    write_job(runner.folder)

    async def start(_: Job, record: RunRecord) -> int:
        runner.state.write(replace(record, state="running"))
        return 4

    async def pass_by() -> None:
        scheduler = runner.open(start)
        await runner.until(NOON + 61 * MINUTE)
        (record,) = runner.state.records()
        assert (record.state, record.exit_code, record.words) == ("running", None, "")
        await scheduler.shut_down()

    run_virtual(pass_by())


def test_a_state_that_is_removed_under_it_loses_no_run(runner: Runner) -> None:
    """What was handled is known to the process, and is written down again."""
    write_job(runner.folder)

    async def pass_by() -> None:
        scheduler = runner.open(runner.start, reread_s=5)
        await runner.until(NOON + 90 * MINUTE)
        shutil.rmtree(runner.state.path)
        await runner.until(NOON + 190 * MINUTE)
        await scheduler.shut_down()

    run_virtual(pass_by())
    assert runner.when() == [(60, 60), (120, 120), (180, 180)]
    assert len(runner.state.records()) == 2


def test_a_clock_that_was_wrong_and_is_set_right_stops_nothing(runner: Runner) -> None:
    """After an hour with a clock one day ahead, no due time is run twice; later ones run."""
    write_job(runner.folder)
    right = runner.clock
    wrong_s = DAY
    runner.clock = lambda: right() + wrong_s  # type: ignore[method-assign]

    async def pass_by() -> None:
        nonlocal wrong_s
        scheduler = runner.open(runner.start, reread_s=5)
        await asyncio.sleep(1.5 * HOUR)
        wrong_s = 0.0
        await asyncio.sleep(1.75 * HOUR)
        await scheduler.shut_down()

    run_virtual(pass_by())
    day = 24 * 60
    assert runner.when() == [(day + 60, day + 60), (120, 120), (180, 180)]
    assert len(runner.events("clock_set_back")) == 1


@pytest.mark.slow
def test_a_clock_that_is_set_back_and_forth_makes_nothing_late(runner: Runner) -> None:
    """Back by a day for ten minutes: who sleeps by that clock would sleep for a day.

    Nor is anything run twice, for what was run has its folder.
    """
    write_job(runner.folder)
    right = runner.clock
    wrong_s = 0.0
    runner.clock = lambda: right() + wrong_s  # type: ignore[method-assign]

    async def pass_by() -> None:
        nonlocal wrong_s
        scheduler = runner.open(runner.start, reread_s=5)
        await asyncio.sleep(30.2 * HOUR)
        wrong_s = -DAY
        await asyncio.sleep(10 * MINUTE)
        wrong_s = 0.0
        await asyncio.sleep(1.75 * HOUR)
        await scheduler.shut_down()

    run_virtual(pass_by())
    assert runner.when() == [(hour * 60, hour * 60) for hour in range(1, 33)]
    assert runner.missed() == []


def test_what_the_api_does_not_answer_is_tried_again_until_the_next_is_due(runner: Runner) -> None:
    """Every quarter of an hour; then the next run takes its place."""
    write_job(runner.folder)
    runner.ends = lambda record: replace(record, state="ended", exit_code=3, stop="outage")
    runner.passes(2.2)
    assert runner.when() == [(60, 60), (60, 75), (60, 90), (60, 106), (120, 120)]


def test_files_are_read_again_when_they_change(runner: Runner) -> None:
    """A new, a changed, an invalid, a fixed and a removed file."""

    async def pass_by() -> None:
        write_job(runner.folder, "a")
        scheduler = runner.open(runner.start, reread_s=5)
        await runner.until(NOON + 70 * MINUTE)
        write_job(runner.folder, "b")
        write_job(runner.folder, "a", cron="30 * * * *")
        await runner.until(NOON + 100 * MINUTE)
        broken = write_job(runner.folder, "a", cron="61 * * * *")
        await runner.until(NOON + 105 * MINUTE)
        assert list(scheduler.invalid) == ["a.toml"]
        assert ":6: schedule.cron: '61 * * * *'" in scheduler.invalid["a.toml"]
        await runner.until(NOON + 160 * MINUTE)
        write_job(runner.folder, "a", cron="50 * * * *")
        (runner.folder / "b.toml").unlink()
        await runner.until(NOON + 200 * MINUTE)
        assert (list(scheduler.jobs), scheduler.invalid) == (["a"], {})
        assert broken.exists()
        await scheduler.shut_down()

    run_virtual(pass_by())
    assert runner.when("a") == [(60, 60), (90, 90), (170, 170)]
    assert runner.when("b") == [(120, 120)]
    assert len(runner.events("job_invalid")) == 1
    assert runner.missed() == []


def test_a_new_timetable_counts_from_when_it_is_seen(runner: Runner) -> None:
    """Who moves a job from 14:00 to 12:30 at 13:10 does not want it run at once."""

    async def pass_by() -> None:
        write_job(runner.folder, cron="0 14 * * *")
        scheduler = runner.open(runner.start, reread_s=5)
        await runner.until(NOON + 70 * MINUTE)
        write_job(runner.folder, cron="30 12 * * *")
        await runner.until(NOON + 26 * HOUR)
        await scheduler.shut_down()

    run_virtual(pass_by())
    assert runner.when() == [(24 * 60 + 30, 24 * 60 + 30)]
    assert runner.missed() == []


def test_a_job_that_raises_does_not_stop_other_jobs(runner: Runner) -> None:
    """It is retried later, and at its next due time."""
    for name in ("good", "bad"):
        write_job(runner.folder, name)

    async def start(job: Job, record: RunRecord) -> int:
        if job.name == "bad":
            runner.begun.append((job.name, record.due_at - NOON, runner.clock() - NOON))
            raise OSError("out of processes")
        return await runner.start(job, record)

    async def pass_by() -> None:
        scheduler = runner.open(start)
        await runner.until(NOON + 2.5 * HOUR)
        await scheduler.shut_down()

    run_virtual(pass_by())
    assert runner.when("good") == [(60, 60), (120, 120)]
    assert [due for due, _ in runner.when("bad")] == [60, 60, 60, 60, 120, 120]
    assert len(runner.events("internal_error")) == 6
    first, _ = runner.state.records("bad")
    assert first.words == "not finished; not resumed: the next run is due"


def test_two_jobs_of_one_name_are_not_taken_for_one(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two folders with one state folder, the second is rejected with a reason."""
    other = tmp_path / "other"
    other.mkdir()
    write_job(runner.folder)
    runner.passes(0.5)
    write_job(other)
    second = Runner(other, monkeypatch)
    second.state = runner.state

    async def pass_by() -> None:
        scheduler = second.open(second.start)
        (why,) = scheduler.invalid.values()
        assert "already has this name" in why
        await scheduler.shut_down()

    run_virtual(pass_by())


def test_a_folder_by_another_name_has_the_same_jobs(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a link, or from elsewhere: what was handled there is not forgotten, nor refused."""
    write_job(runner.folder)
    runner.passes(1.5)
    (tmp_path / "link").symlink_to(runner.folder, target_is_directory=True)
    other = Runner(tmp_path / "link", monkeypatch)
    other.state = runner.state
    other.begins_at += 2.5 * HOUR

    async def pass_by() -> None:
        scheduler = other.open(other.start)
        assert scheduler.invalid == {}
        await asyncio.sleep(MINUTE)
        await scheduler.shut_down()

    run_virtual(pass_by())
    assert other.when() == [(120, 150)]


def test_a_full_disk_holds_a_job_up_and_loses_no_run(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged once, shown in the metrics, and the job runs when there is space."""
    write_job(runner.folder)
    begin = runner.state.begin

    def full(*_: object) -> None:
        raise InputError("run.json: cannot be written (No space left on device).")

    async def pass_by() -> None:
        scheduler = runner.open(runner.start, reread_s=5)
        monkeypatch.setattr(runner.state, "begin", full)
        await runner.until(NOON + 70 * MINUTE)
        assert (scheduler.blocked, runner.when()) == ({"job"}, [])
        monkeypatch.setattr(runner.state, "begin", begin)
        await runner.until(NOON + 2.1 * HOUR)
        assert scheduler.blocked == frozenset()
        await scheduler.shut_down()

    run_virtual(pass_by())
    assert runner.when() == [(60, 70), (120, 120)]
    [blocked] = runner.events("job_blocked")
    assert blocked["why"] == "run.json: cannot be written (No space left on device)."


def test_once_runs_what_is_due_and_ends(runner: Runner) -> None:
    """All of it; the exit code is the worst, and 2 where a file is broken."""
    write_job(runner.folder, more='catch_up = "all"')

    async def once() -> int:
        folder = JobFolder(runner.folder, runner.state, new_run_log(), runner.clock)
        return await Scheduler(folder, runner.start).run_due()

    async def pass_by() -> list[int]:
        codes = [await once()]
        await runner.until(NOON + 2.5 * HOUR)
        codes.append(await once())
        runner.ends = lambda record: replace(record, state="ended", exit_code=1)
        await runner.until(NOON + 3.5 * HOUR)
        codes.append(await once())
        (runner.folder / "b.toml").write_text("x")
        codes.append(await once())
        return codes

    assert run_virtual(pass_by()) == [0, 0, 1, 2]
    assert [due for due, _ in runner.when()] == [60, 120, 180]


def test_no_more_runs_than_allowed_are_in_progress(
    runner: Runner,
) -> None:
    """Each is a process; a run that waits for its account takes no place."""
    for number in range(7):
        account = "shared" if number < 3 else f"a{number}"
        write_job(runner.folder, f"job{number}", api=f'account = "{account}"')
    runner.takes_s = 20 * MINUTE
    seen: list[tuple[int, int, int]] = []

    async def pass_by() -> None:
        scheduler = runner.open(runner.start)
        for minute in (61, 81, 101, 121):
            await runner.until(NOON + minute * MINUTE)
            seen.append((len(scheduler.running), len(scheduler.busy), len(scheduler.retrying)))
        await scheduler.shut_down()

    run_virtual(pass_by())
    assert seen[0][:2] == (4, 7)
    assert seen[1][:2] == (2, 3)
    assert runner.together == 4
    assert len(runner.begun) >= 7


def test_a_run_that_will_be_retried_is_counted_until_it_is(runner: Runner) -> None:
    """A metric of an outage that lasts."""
    write_job(runner.folder)
    runner.ends = lambda record: replace(
        record, state="ended", exit_code=3, stop="outage" if len(runner.begun) < 2 else ""
    )
    seen = []

    async def pass_by() -> None:
        scheduler = runner.open(runner.start)
        metrics = ScheduleMetrics(scheduler)
        for minute in (30, 60.1, 65, 75.25, 80):
            await runner.until(NOON + minute * MINUTE)
            values = {
                sample.name.removeprefix("bulk_reset_"): sample.value
                for metric in metrics.scrape()
                for sample in metric.samples
            }
            names = ("running", "retrying", "last_success_timestamp_seconds")
            seen.append(tuple(values[f"job_{name}"] for name in names))
        await scheduler.shut_down()

    run_virtual(pass_by())
    assert seen == [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 0)]


def test_a_job_file_that_becomes_invalid_is_notified_once(runner: Runner) -> None:
    """By its last valid version; and again after it was valid."""
    path = write_job(runner.folder, more=TELL)
    valid = path.read_text()

    async def pass_by() -> None:
        scheduler = runner.open(runner.start)
        for text in ("x", "x", valid, "x"):
            path.write_text(text)
            await scheduler.reread()
            await scheduler.reread()
            await runner.until(runner.clock() + MINUTE)
        await scheduler.shut_down()

    run_virtual(pass_by())
    assert [line.partition(":")[2].partition(":")[0] for line in notifications(runner)] == [
        " invalid job file; the job is not run"
    ] * 2


def checks(runner: Runner, *minutes: float) -> list[int]:
    """Check the job at each of these minutes after noon, in a process of its own each time."""

    async def pass_by() -> list[int]:
        codes = []
        for minute in minutes:
            await runner.until(NOON + minute * MINUTE)
            run_log = new_run_log(LogOutput(runner.log))
            only = "job.toml"
            folder = JobFolder(runner.folder, runner.state, run_log, runner.clock, only, True)
            codes.append(await Scheduler(folder, runner.start).run_due())
        return codes

    return run_virtual(pass_by())


@pytest.mark.parametrize(
    ("more", "minutes", "begun"),
    [
        ("", (60.01, 61.01), [(60, 60)]),
        ("", (60.9, 61.9, 62.9), [(60, 61)]),
        ("", (59.9, 60.9, 61.9), [(60, 61)]),
        ("", (61.1, 62.1), []),
        ('jitter = "40m"', tuple(n + 0.01 for n in range(60, 110)), [(60, 91)]),
        ('jitter = "40m"', (91.01, 92.01), [(60, 91)]),
    ],
)
def test_the_first_check_runs_what_is_due_in_its_minute(
    more: str, minutes: tuple[float, ...], begun: list[tuple[int, int]], runner: Runner
) -> None:
    """In a state folder that is new each time, as of a pod, each due time is still run once."""
    write_job(runner.folder, more=more)

    async def pass_by() -> None:
        for minute in minutes:
            await runner.until(NOON + minute * MINUTE)
            shutil.rmtree(runner.state.path)
            state = StateFolder(runner.state.path)
            folder = JobFolder(runner.folder, state, new_run_log(), runner.clock, is_once=True)
            await Scheduler(folder, runner.start).run_due()

    run_virtual(pass_by())
    assert runner.when() == begun


def test_checks_retry_an_outage_after_the_pause_and_only_then(runner: Runner) -> None:
    """Each check ends at once with 0 until ``again_after`` has passed."""
    write_job(runner.folder, more='again_after = "20m"')
    runner.ends = lambda record: replace(
        record, state="ended", exit_code=3, stop="outage" if len(runner.begun) < 3 else ""
    )
    codes = checks(runner, *(n + 0.02 for n in range(58, 110)))
    assert runner.when() == [(60, 60), (60, 81), (60, 102)]
    assert [minute for minute, code in enumerate(codes, 58) if code == 3] == [60, 81, 102]
    assert runner.events("run_retry_scheduled") == []


def test_a_restarted_schedule_retries_an_outage_after_the_pause(runner: Runner) -> None:
    """A restart, and a changed file, do not shorten it."""
    write_job(runner.folder)
    runner.ends = lambda record: replace(record, state="ended", exit_code=3, stop="outage")
    runner.passes(1 + 4 / 60, 1 + 8 / 60, 1 + 20 / 60)
    assert runner.when() == [(60, 60), (60, 75)]


def test_an_interrupted_run_is_resumed_by_the_next_check(runner: Runner) -> None:
    """Nothing was wrong with it."""
    write_job(runner.folder)
    runner.ends = lambda record: replace(
        record, state="ended", exit_code=143 if len(runner.begun) < 2 else 0
    )
    assert checks(runner, 59.0, 60.01, 61.01, 62.01) == [0, 143, 0, 0]
    assert runner.when() == [(60, 60), (60, 61)]


def test_a_run_keeps_the_version_of_the_job_file_that_it_was_created_with(
    runner: Runner,
) -> None:
    """However often the file changes between its reading and the due time."""
    path = write_job(runner.folder, cron="5 * * * *")
    before = path.read_bytes()

    async def pass_by() -> None:
        scheduler = runner.open(runner.start)
        await runner.until(NOON + 4 * MINUTE)
        path.write_text("being edited")
        await runner.until(NOON + 6 * MINUTE)
        await scheduler.shut_down()

    run_virtual(pass_by())
    (record,) = runner.state.records()
    assert (runner.state.folder(record.id) / "job.toml").read_bytes() == before


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    """Before anything is started."""
    with pytest.raises(InputError, match="no such folder"):
        JobFolder(tmp_path / "gone", StateFolder(tmp_path / "s"), new_run_log())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_each_due_time_is_run_once_or_recorded_as_missed(seed: int, runner: Runner) -> None:
    """Three days of restarts, kills, long runs and deaths at random: totals match."""
    dice = random.Random(seed)  # noqa: S311  (a test's)
    crons = {"a": "*/30 * * * *", "b": "7 */2 * * *", "c": "15 3,13 * * *"}
    for name, cron in crons.items():
        policy = dice.choice(["skip", "once", "all"])
        write_job(runner.folder, name, cron, f'catch_up = "{policy}"\njitter = "5m"')

    async def pass_by() -> float:
        while runner.clock() < NOON + 3 * DAY:
            runner.takes_s = dice.choice([1, 100, 3000, 9000])
            scheduler = runner.open(runner.start)
            await runner.until(runner.clock() + dice.uniform(60, 8 * HOUR))
            if dice.random() < 0.5:  # killed
                await kill(scheduler)
            else:
                await scheduler.shut_down()
            await runner.until(runner.clock() + dice.uniform(0, 4 * HOUR))
        runner.takes_s = 1
        scheduler = runner.open(runner.start)
        await runner.until(runner.clock() + 3 * HOUR)
        await scheduler.shut_down()
        return runner.clock()

    ended_at = run_virtual(pass_by())
    for name, cron in crons.items():
        records = runner.state.records(name)
        assert len({one.id for one in records}) == len(records)
        accounted = sum(one.missed or 1 for one in records)
        job_state = runner.state.job_state(name)
        assert job_state is not None
        due = _moments(cron, NOON, job_state.handled_at)
        assert accounted == len(due), (name, len(due))
        assert job_state.handled_at <= ended_at
        runs = [one.due_at for one in records if one.state != "missed"]
        assert set(runs) <= set(due)
        assert all(one.state in {"ended", "missed"} for one in records)


def _moments(cron: str, after_at: float, until_at: float) -> list[float]:
    """Return the due times of an expression, found minute by minute."""
    minute, hour = cron.split()[:2]
    found = []
    moment = dt.datetime.fromtimestamp(after_at, dt.UTC) + dt.timedelta(minutes=1)
    while moment.timestamp() <= until_at:
        if _is_in(moment.minute, minute) and _is_in(moment.hour, hour):
            found.append(moment.timestamp())
        moment += dt.timedelta(minutes=1)
    return found


def _is_in(number: int, field: str) -> bool:
    if field.startswith("*/"):
        return number % int(field[2:]) == 0
    return str(number) in field.split(",") or field == "*"
