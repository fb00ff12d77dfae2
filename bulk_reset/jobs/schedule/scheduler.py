"""The scheduler: runs the jobs of a folder when they are due, one at a time for each account.

    folder ──reread──▶ jobs ──timetable──▶ due ──account lock──▶ run folder ──▶ starter

APScheduler wakes it up at each job's next due time. Every few seconds, by a clock that cannot be
set, it reads changed files, and checks for due jobs in case the machine's clock was set.
``timetable`` decides what is due from the last due time that was handled, which is stored on the
disk (``JobState``): a scheduler that was stopped, late or killed finds what it has missed. A
run's folder is created before its due time counts as handled.

State: all of it belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Final

from bulk_reset.core.errors import BulkResetError, ExitCode, InputError
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_runs.job_run import new_record
from bulk_reset.jobs.job_runs.run_record import ENDED, RunRecord, run_id_of
from bulk_reset.jobs.job_runs.run_resume import (
    abandoned_record,
    exited_record,
    is_retried,
    retry_at,
    why_not_resumed,
)
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.schedule.claims import Claims
from bulk_reset.jobs.schedule.job_folder import LoadedJob, account_of
from bulk_reset.jobs.schedule.schedule_notices import ScheduleNotices, iso
from bulk_reset.jobs.schedule.schedule_status import ScheduleStatus
from bulk_reset.jobs.schedule.timetable import Due
from bulk_reset.jobs.schedule.wake_ups import WakeUps
from bulk_reset.observability.run_log import RunLog

REREAD_S: Final = 5.0
MOST_RUNS: Final = 4
"""Each run is a process that takes 100 MB and more."""
_RETRY: Final = "/retry "
"""Prefix of the wake-up of a retry; no job has such a name."""
_CLOCK_SET_BACK_S: Final = 60.0
"""A clock that is synchronised goes back by less."""
Starter = Callable[[Job, RunRecord], Awaitable[int]]
"""Runs a job in the folder of a record; returns the exit code."""


@dataclass(slots=True)
class Scheduler(ScheduleStatus):
    """The jobs of a folder, run when they are due.

    Args:
        start: runs one.
        reread_s: seconds between two readings of the folder.
        most_runs: how many runs are in progress at the same time.
        claims: of several schedulers with the same jobs, each job is the matter of one at a time.
    """

    start: Starter
    reread_s: float = REREAD_S
    most_runs: int = MOST_RUNS
    claims: Claims | None = None
    state: StateFolder = field(init=False)
    run_log: RunLog = field(init=False)
    clock: Callable[[], float] = field(init=False)
    last_reread_at: float = 0.0
    """When the folder was read last."""
    _accounts: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )
    _slots: asyncio.Semaphore = field(init=False)
    _notices: ScheduleNotices = field(init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _loops: list[asyncio.Task[None]] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    """Jobs whose claim this scheduler has had: what another left was adopted."""
    _is_staying: bool = False
    """Whether this process waits for due times; not with ``run_due``."""
    _is_shutting_down: bool = False
    _wake_ups: WakeUps = field(init=False)

    def __post_init__(self) -> None:
        self._wake_ups = WakeUps(self._on_error)
        folder = self.folder
        self.state, self.run_log, self.clock = folder.state, folder.run_log, folder.clock
        self._slots = asyncio.Semaphore(self.most_runs)
        self._notices = ScheduleNotices(self.state, self.run_log)

    # --- Start and end -----------------------------------------------------------------------

    def open(self) -> None:
        """Read the folder, resume interrupted runs, and wake up when a job is due."""
        self._is_staying = True
        self._reread()
        starts = {name: self.next_start_at(name) or math.inf for name in self.jobs}
        first = min(starts, key=starts.__getitem__, default=None)
        self.run_log.info(
            "jobs_loaded",
            jobs=len(self.jobs),
            invalid=len(self.invalid),
            next=f"{first} at {iso(starts[first])}" if first else "none",
        )
        self._wake_ups.open()
        loop = asyncio.get_running_loop()
        self._loops.append(loop.create_task(self._keep_rereading()))
        if self.claims is not None:
            self._loops.append(loop.create_task(self.claims.keep_renewing()))

    async def _keep_rereading(self) -> None:
        # Not by APScheduler: it uses the machine's clock, and would sleep longer if that is set
        # back.
        while True:
            await asyncio.sleep(self.reread_s)
            if not self._wake_ups.is_open:
                return
            await self.reread()
            self._wake_ups.check()

    async def shut_down(self) -> None:
        """Start no more runs, and wait for those in progress."""
        self._is_shutting_down = True
        self._notices.stop()
        self._wake_ups.close()
        await self._all_ended()
        for one in self._loops:  # until now, the claims of runs that end are renewed
            one.cancel()
        self._retries.clear()
        for name in list(self.jobs):
            await self._release(name)
        if self.claims is not None:
            await self.claims.store.close()

    async def run_due(self) -> int:
        """Run what is due now and resume interrupted runs; return the worst exit code."""
        before = self.clock()
        self._reread()
        while True:
            is_due = [await self.check_due(name) for name in list(self.jobs)]
            if not (any(is_due) or self._tasks):
                break
            await self._all_ended()
        ended = [one for one in self.state.records() if one.ended_at >= before]
        codes = [one.exit_code or 0 for one in ended if one.job in self.jobs]
        return max([*codes, *([int(ExitCode.INPUT)] if self.invalid else [])], default=0)

    async def _all_ended(self) -> None:
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_error(self, name: str, error: BaseException) -> None:
        if not isinstance(error, BulkResetError):
            self.run_log.error("internal_error", what=name, why=repr(error))
        elif self._blocked.get(name) != str(error):  # not every few seconds
            self._blocked[name] = str(error)
            self.run_log.error("job_blocked", job=name, why=str(error))

    async def reread(self) -> None:
        """Read new and changed files of the folder, and forget removed ones."""
        try:
            self._reread()
        except Exception as error:  # noqa: BLE001  (a disk error may be temporary)
            self.run_log.error("internal_error", what="the folder of jobs", why=repr(error))

    def _reread(self) -> None:
        if self._is_shutting_down:
            return
        before_at, self.last_reread_at = self.last_reread_at, self.clock()
        is_first = not before_at
        if self.last_reread_at < before_at - _CLOCK_SET_BACK_S:
            self._handle_clock_set_back(before_at - self.last_reread_at)
        read, gone = self.folder.reread()
        for invalid in self.folder.take_new_invalid():
            self._keep_task(self._notices.invalid(invalid))
        for name in gone:
            self._forget(name)
        for name in read:
            self._forget(name)
            if self.claims is None:
                self._resume_last(name)
            self._schedule(name)
            if not is_first:
                self.run_log.info("job_loaded", job=name, next=iso(self.next_start_at(name)))
        for name in self.jobs:
            if name not in self._wake_ups:
                self._schedule(name)  # however its wake-up was lost

    def _handle_clock_set_back(self, seconds: float) -> None:
        """Count due times from now; runs of the wrong time have their folders."""
        self.run_log.warning("clock_set_back", seconds=round(seconds))
        self.folder.refresh_states()
        for name in self.jobs:
            self._schedule(name)

    def _forget(self, name: str) -> None:
        self._blocked.pop(name, None)
        self._wake_ups.remove(name)

    def _schedule(self, name: str) -> None:
        """Wake up when there is something to decide about a job."""
        if name in self._busy or name not in self.jobs:
            return  # it is checked again when its run has ended
        starts_at = self.next_start_at(name)
        if self._is_staying and self.claims is not None and name not in self._seen:
            starts_at = self.clock()  # another may have died during a run of it
        if starts_at is not None:
            self._wake_ups.add(name, starts_at, self.check_due, name)

    # --- What is due -------------------------------------------------------------------------

    async def check_due(self, name: str) -> bool:
        """Run a job if it is due, record what it has missed, and wait for its next due time.

        Returns: whether something was due.
        """
        if self.claims is None or name in self._busy or self._is_shutting_down:
            return await self._check(name)
        taken = await self.claims.take(name)
        if taken.wait_s:
            again_at = self.clock() + taken.wait_s
            self._wake_ups.add(name, again_at, self.check_due, name)
            return False
        self._seen.add(name)
        if taken.is_new:
            self._adopt(name, taken.handled_at)
        is_due = await self._check(name)
        await self._release(name)
        return is_due

    async def _check(self, name: str) -> bool:
        loaded, job_state = self.jobs.get(name), self.folder.job_state(name)
        is_skipped = name in self._busy or self._is_shutting_down
        if loaded is None or job_state is None or is_skipped:
            return False
        now_at = self.clock()
        decision = loaded.timetable.decide(job_state.handled_at, now_at)
        for missed in decision.missed:
            await self._notices.missed(loaded.job, missed, now_at)
            job_state = dataclasses.replace(job_state, handled_at=missed.last.due_at)
        if decision.run is not None:
            due_at, run_id = decision.run.due_at, self._begin(loaded, decision.run)
            job_state = dataclasses.replace(job_state, handled_at=due_at, run_id=run_id)
        self.folder.save_job_state(name, job_state)
        self._blocked.pop(name, None)
        self._schedule(name)
        return bool(decision.missed or decision.run)

    # --- Claims ------------------------------------------------------------------------------

    def _adopt(self, name: str, handled_at: float) -> None:
        """Continue where the scheduler before has stopped."""
        job_state = self.folder.job_state(name)
        if job_state is None:
            return
        if job_state.handled_at < handled_at <= self.clock():
            job_state = dataclasses.replace(job_state, handled_at=handled_at)
            self.folder.save_job_state(name, job_state)
        last = self.last_run(name)
        if last is not None and last.is_open and last.due_at <= handled_at:
            self.state.write(abandoned_record(last, "another scheduler ran it", self.clock()))
            return
        self._resume_last(name)

    def _may_run(self, name: str) -> bool:
        return self.claims is None or self.claims.holds(name)

    async def _release(self, name: str) -> None:
        """Let another scheduler have a job, unless it waits, runs or will be retried."""
        if self.claims is None or name in self._busy or name in self._retries.values():
            return
        job_state, last = self.folder.job_state(name), self.last_run(name)
        is_settled = job_state is not None and not (last is not None and last.is_open)
        await self.claims.release(name, job_state.handled_at if job_state and is_settled else 0.0)

    def _begin(self, loaded: LoadedJob, due: Due) -> str:
        """Create the folder of a run, and run it once its account is free; return its id."""
        job = loaded.job
        record = new_record(job, due.due_at, run_id_of(job.name, due.due_at), is_scheduled=True)
        created = self.state.begin(record, loaded.content)
        if created is not None:
            self._start(job, created)
        else:
            self._resume(record.id)
        return record.id

    def _start(self, job: Job, record: RunRecord) -> None:
        self._busy.add(job.name)
        self._keep_task(self._run(job, record))

    def _keep_task(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, job: Job, record: RunRecord) -> None:
        """Run a job once its account is free; then check it again."""
        try:
            # In this order: a run that waits for its account takes no place from others.
            async with self._accounts[account_of(job)], self._slots:
                if self._is_shutting_down or not self._may_run(job.name):
                    return  # it has its folder, and is resumed at the next start
                self._running.add(job.name)
                self.run_log.info("job_started", job=job.name, run=record.id)
                code = await self.start(job, record)
                await self._check_recorded(job, record.id, code)
                self.run_log.info("job_process_exited", job=job.name, run=record.id, exit_code=code)
        except Exception as error:  # noqa: BLE001  (other jobs must not be affected)
            self.run_log.error("internal_error", what=job.name, why=repr(error))
        finally:
            self._busy.discard(job.name)
            self._running.discard(job.name)
            if job.name in self.jobs and not self._is_shutting_down:
                self._retry_later(record.id)
                if not self._may_run(job.name):
                    self._seen.discard(job.name)  # claim it again, and resume it
                self._schedule(job.name)
            await self._release(job.name)

    async def _check_recorded(self, job: Job, run_id: str, code: int) -> None:
        """Record the end of a run whose process exited without doing so."""
        record = self.state.read(run_id)
        ended = exited_record(record, code, self.clock())
        if ended is None or self._is_shutting_down:
            return  # recorded by the run itself, or resumed at the next start
        self.state.write(ended)
        self.run_log.error("job_ended", job=record.job, run=run_id, words=ended.words)
        is_notified = record.notified != "" and record.words == ended.words
        if not (ended.stop or is_notified):
            await self._notices.ended(job, ended)

    # --- Resuming ----------------------------------------------------------------------------

    def _resume_last(self, name: str) -> None:
        """Resume the last run of a job if it was interrupted and is not out of date."""
        job_state = self.folder.job_state(name)
        if job_state is not None and job_state.run_id and name not in self._busy:
            self._resume(job_state.run_id)

    async def resume(self, run_id: str) -> None:
        """Resume a run, if it is not out of date."""
        self._resume(run_id)

    def _resume(self, run_id: str) -> None:
        self._retries.pop(run_id, None)
        try:
            record = self.state.read(run_id)
        except InputError:
            return  # its folder was removed
        loaded = self.jobs.get(record.job)
        if loaded is None or not record.is_open:
            return  # the job is gone or invalid, or the run is done
        is_running = record.job in self._busy or self.state.is_locked(record.job)
        now_at = self.clock()
        why_not = why_not_resumed(loaded.timetable, record, now_at)
        if is_running and (record.state != ENDED or not why_not):
            self._schedule_retry(record, now_at + loaded.timetable.again_s)
        elif why_not:
            self._abandon(loaded.job, record, why_not)
        elif (again_at := retry_at(loaded.timetable, record, now_at)) > now_at:
            self._schedule_retry(record, again_at)
        else:
            self.run_log.info("run_resumed", job=record.job, run=record.id)
            self._start(loaded.job, record)

    def _retry_later(self, run_id: str) -> None:
        try:
            record = self.state.read(run_id)
        except InputError:
            return  # its folder was removed
        if is_retried(record):
            self._schedule_retry(record, self.clock() + self.jobs[record.job].timetable.again_s)

    def _schedule_retry(self, record: RunRecord, again_at: float) -> None:
        if not self._is_staying:
            return  # the next check finds the run
        self._retries[record.id] = record.job
        self._wake_ups.add(f"{_RETRY}{record.id}", again_at, self.resume, record.id)
        self.run_log.info("run_retry_scheduled", job=record.job, run=record.id, again=iso(again_at))

    def _abandon(self, job: Job, record: RunRecord, why: str) -> None:
        abandoned = abandoned_record(record, why, self.clock())
        self.state.write(abandoned)
        self.run_log.warning("run_abandoned", job=record.job, run=record.id, why=why)
        self._keep_task(self._notices.ended(job, abandoned))
