"""A folder of job files, run when they are due, one at a time for each account.

    folder ──reread──▶ jobs ──timetable──▶ due ──account's queue──▶ run folder ──▶ starter

APScheduler wakes it up for each job at its next moment. Every few seconds it looks whether files
have changed, by a clock that nobody can set, and whether something has become due all the same,
for whom the machine's clock was set. What is due is decided by ``timetable`` from the last moment
that was handled, which is kept on the disk (``JobState``), so nothing hangs on this process: one
that was down, late or killed finds what it has missed. A run gets its folder before the moment
counts as handled.

State, and who may touch it: all of it belongs to the event loop. ``folder`` has the jobs as their
files are now; ``_busy`` are those that are waiting or running, each of which is looked at again
when it has ended.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Final

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.date import DateTrigger

from bulk_reset.core.errors import BulkResetError, ExitCode, InputError
from bulk_reset.jobs.job import Job
from bulk_reset.jobs.job_folder import JobFolder, LoadedJob, account_of
from bulk_reset.jobs.job_run import new_record
from bulk_reset.jobs.notifications import send_notification
from bulk_reset.jobs.state_folder import (
    ABANDONED,
    ENDED,
    OUTAGE,
    RUNNING,
    RunRecord,
    StateFolder,
    missed_record,
    run_id_of,
)
from bulk_reset.jobs.timetable import Due, Missed
from bulk_reset.observability.run_log import RunLog

REREAD_S: Final = 5.0
_AGAIN: Final = "/again "
"""No job has such a name."""
_AFTER_S: Final = 0.01
_SET_BACK_S: Final = 60.0
"""A clock that is kept right goes back by less."""
_KILLED: Final = 128 + 9
"""By the system, out of memory, or by hand: what is left is gone on with."""
_INSTANCES: Final = 10
"""APScheduler drops what is still running so often, and a moment with it."""
Starter = Callable[[Job, RunRecord], Awaitable[int]]
"""Runs a job in the folder of a record; returns the exit code."""


@dataclass(slots=True)
class Scheduler:
    """The jobs of a folder, run when they are due.

    Args:
        start: runs one.
        reread_s: how often the folder is looked at.
    """

    folder: JobFolder
    start: Starter
    reread_s: float = REREAD_S
    state: StateFolder = field(init=False)
    run_log: RunLog = field(init=False)
    clock: Callable[[], float] = field(init=False)
    _busy: set[str] = field(default_factory=set)
    _accounts: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _rereading: asyncio.Task[None] | None = None
    _blocked: dict[str, str] = field(default_factory=dict)
    _draining: bool = False
    _scheduler: AsyncIOScheduler = field(init=False)
    _read_at: float = 0.0

    def __post_init__(self) -> None:
        self._scheduler = AsyncIOScheduler(timezone=dt.UTC)
        self._scheduler.add_listener(self._on_error, EVENT_JOB_ERROR)
        folder = self.folder
        self.state, self.run_log, self.clock = folder.state, folder.run_log, folder.clock

    # --- Life --------------------------------------------------------------------------------

    def open(self) -> None:
        """Read the folder, go on with what was cut short, and wake up when something is due."""
        self._reread()
        starts = {name: self.next_start_at(name) or math.inf for name in self.jobs}
        first = min(starts, key=starts.__getitem__, default=None)
        self.run_log.info(
            "jobs_loaded",
            jobs=len(self.jobs),
            broken=len(self.broken),
            next=f"{first} at {_iso(starts[first])}" if first else "none",
        )
        self._scheduler.start()
        self._rereading = asyncio.get_running_loop().create_task(self._keep_rereading())

    async def _keep_rereading(self) -> None:
        # Not by APScheduler, which goes by the machine's clock: set back, it would sleep as long.
        while True:
            await asyncio.sleep(self.reread_s)
            if not self._scheduler.running:
                return
            await self.reread()
            self._scheduler.wakeup()

    async def shut_down(self) -> None:
        """Start nothing more, and wait for what is running."""
        self._draining = True
        if self._rereading is not None:
            self._rereading.cancel()
        if self._scheduler.running:  # not with ``once``
            self._scheduler.shutdown(wait=False)
        await self._all_ended()

    async def run_due(self) -> int:
        """Run what is due now, and what was cut short, to its end; return the worst exit code."""
        before = self.clock()
        self._reread()
        while True:
            is_due = [await self.check_due(name) for name in list(self.jobs)]
            if not (any(is_due) or self._tasks):
                break
            await self._all_ended()
        ended = [one for one in self.state.records() if one.ended_at >= before]
        codes = [one.exit_code or 0 for one in ended if one.job in self.jobs]
        return max([*codes, *([int(ExitCode.INPUT)] if self.broken else [])], default=0)

    async def _all_ended(self) -> None:
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_error(self, event: JobExecutionEvent) -> None:
        name, error = event.job_id, event.exception
        if not isinstance(error, BulkResetError):
            self.run_log.error("internal_error", what=name, why=repr(error))
        elif self._blocked.get(name) != str(error):  # not every few seconds
            self._blocked[name] = str(error)
            self.run_log.error("job_blocked", job=name, why=str(error))

    # --- What is seen from outside -----------------------------------------------------------

    @property
    def jobs(self) -> dict[str, LoadedJob]:
        """The jobs that are read, by name."""
        return self.folder.jobs

    @property
    def broken(self) -> dict[str, str]:
        """File -> why it cannot be read."""
        return self.folder.broken

    @property
    def blocked(self) -> frozenset[str]:
        """The jobs that are due and cannot be begun, for a full disk or the like."""
        return frozenset(self._blocked)

    @property
    def busy(self) -> frozenset[str]:
        """The jobs that are waiting for their account, or running."""
        return frozenset(self._busy)

    @property
    def last_reread_at(self) -> float:
        """When the folder was looked at last."""
        return self._read_at

    def next_start_at(self, name: str) -> float | None:
        """Return when a job starts next."""
        loaded, job_state = self.jobs.get(name), self.folder.job_state(name)
        if loaded is None:
            return None  # it has gone in this moment
        handled_at = job_state.handled_at if job_state else self.clock()
        return loaded.timetable.next_start_at(handled_at, self.clock())

    # --- The folder --------------------------------------------------------------------------

    async def reread(self) -> None:
        """Look at the folder's files: what is new or changed is read, what is gone forgotten."""
        try:
            self._reread()
        except Exception as error:  # noqa: BLE001  (a disk in trouble may be well again)
            self.run_log.error("internal_error", what="the folder of jobs", why=repr(error))

    def _reread(self) -> None:
        if self._draining:
            return
        before_at, self._read_at = self._read_at, self.clock()
        is_first = not before_at
        if self._read_at < before_at - _SET_BACK_S:
            self._set_back(before_at - self._read_at)
        read, gone = self.folder.reread()
        for name in gone:
            self._forget(name)
        for name in read:
            self._forget(name)
            self._go_on(name)
            self._plan(name)
            if not is_first:
                self.run_log.info("job_loaded", job=name, next=_iso(self.next_start_at(name)))
        for name in self.jobs:
            if self._scheduler.get_job(name) is None:
                self._plan(name)  # whatever has become of it

    def _set_back(self, seconds: float) -> None:
        """Count from now, for a clock that was ahead; what was run meanwhile has its folder."""
        self.run_log.warning("clock_set_back", seconds=round(seconds))
        self.folder.refresh_states()
        for name in self.jobs:
            self._plan(name)

    def _forget(self, name: str) -> None:
        self._blocked.pop(name, None)
        if self._scheduler.get_job(name) is not None:
            self._scheduler.remove_job(name)

    def _plan(self, name: str) -> None:
        """Wake up when there is something to decide about a job."""
        if name in self._busy or name not in self.jobs:
            return  # it is looked at again when it has ended
        starts_at = self.next_start_at(name)
        if starts_at is not None:
            self._wake_up(name, starts_at, self.check_due, name)

    def _wake_up(
        self, key: str, moment_at: float, do: Callable[..., Awaitable[object]], argument: str
    ) -> None:
        """Do something at a moment; what was to be done under this key before is not."""
        # A little later, so that no rounding makes it come before its time.
        moment = dt.datetime.fromtimestamp(moment_at + _AFTER_S, dt.UTC)
        self._scheduler.add_job(
            do,
            DateTrigger(moment),
            (argument,),
            id=key,
            misfire_grace_time=None,
            max_instances=_INSTANCES,
            replace_existing=True,
        )

    # --- What is due -------------------------------------------------------------------------

    async def check_due(self, name: str) -> bool:
        """Decide about a job: run it, or say why not; then wait for its next moment.

        Returns: whether there was something to decide.
        """
        loaded, job_state = self.jobs.get(name), self.folder.job_state(name)
        if loaded is None or job_state is None or name in self._busy or self._draining:
            return False
        now_at = self.clock()
        decision = loaded.timetable.decide(job_state.handled_at, now_at)
        for missed in decision.missed:
            await self._say_missed(loaded.job, missed, now_at)
            job_state = dataclasses.replace(job_state, handled_at=missed.last.due_at)
        if decision.run is not None:
            run_id = self._begin(loaded.job, decision.run)
            job_state = dataclasses.replace(
                job_state, handled_at=decision.run.due_at, run_id=run_id
            )
        self.folder.save_job_state(name, job_state)
        self._blocked.pop(name, None)
        self._plan(name)
        return bool(decision.missed or decision.run)

    async def _say_missed(self, job: Job, missed: Missed, now_at: float) -> None:
        record = self.state.begin(missed_record(job.name, str(job.path), missed, now_at), b"")
        if record is None:
            return  # that was said before
        self.run_log.warning(
            "runs_missed",
            job=job.name,
            count=missed.times,
            first=_iso(missed.first.due_at),
            last=_iso(missed.last.due_at),
            why=missed.why,
        )
        await self._tell(job, record)

    def _begin(self, job: Job, due: Due) -> str:
        """Make the folder of a run, and run it once its account is free; return its id."""
        record = new_record(job, due.due_at, run_id_of(job.name, due.due_at), is_scheduled=True)
        made = self.state.begin(record, job.path.read_bytes())
        if made is not None:
            self._start(job, made)
        else:
            self._go_on_with(record.id)
        return record.id

    def _start(self, job: Job, record: RunRecord) -> None:
        self._busy.add(job.name)
        self._keep_task(self._run(job, record))

    def _keep_task(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, job: Job, record: RunRecord) -> None:
        """Run a job once its account is free; then look at it again."""
        try:
            async with self._accounts[account_of(job)]:
                if self._draining:
                    return  # it has its folder, and is gone on with next time
                self.run_log.info("job_started", job=job.name, run=record.id)
                code = await self.start(job, record)
                await self._see_ended(job, record.id, code)
                self.run_log.info("job_process_exited", job=job.name, run=record.id, exit_code=code)
        except Exception as error:  # noqa: BLE001  (one job's trouble is nobody else's)
            self.run_log.error("internal_error", what=job.name, why=repr(error))
        finally:
            self._busy.discard(job.name)
            if job.name in self.jobs and not self._draining:
                self._try_again(record.id)
                self._plan(job.name)

    async def _see_ended(self, job: Job, run_id: str, code: int) -> None:
        """See that a run whose process has ended is not thought to be running."""
        record = self.state.read(run_id)
        if record.state == ENDED or self._draining:
            return  # as it said itself; or it is gone on with next time
        if code == ExitCode.LOCKED and record.state == RUNNING:
            return  # it is another hand that runs it
        words, stop = f"its process ended with {code} and without a word; rows may be pending", ""
        if code == ExitCode.LOCKED:
            words, stop = "the job was running already, by another hand", OUTAGE
        ended = dataclasses.replace(
            record,
            state=ENDED,
            ended_at=self.clock(),
            exit_code=128 - code if code < 0 else code or int(ExitCode.INTERNAL),
            stop=stop,
            words=words,
        )
        self.state.write(ended)
        self.run_log.error("job_ended", job=record.job, run=run_id, words=words)
        was_told = record.notified != "" and record.words == words
        if not (stop or was_told):
            await self._tell(job, ended)

    def _go_on(self, name: str) -> None:
        """Go on with the last run of a job, if it was cut short and is not out of date."""
        job_state = self.folder.job_state(name)
        if job_state is not None and job_state.run_id and name not in self._busy:
            self._go_on_with(job_state.run_id)

    def _go_on_with(self, run_id: str) -> None:
        try:
            record = self.state.read(run_id)
        except InputError:
            return  # somebody has removed it
        loaded = self.jobs.get(record.job)
        if loaded is None or not record.is_open:
            return  # gone, broken, or done
        is_held = record.job in self._busy or self.state.is_locked(record.job)
        why_not = self._why_not_gone_on(loaded, record)
        if is_held and (record.state != ENDED or not why_not):
            self._look_again(loaded, record)
        elif why_not:
            self._give_up(loaded.job, record, why_not)
        else:
            self.run_log.info("run_resumed", job=record.job, run=record.id)
            self._start(loaded.job, record)

    def _try_again(self, run_id: str) -> None:
        """Go on after a while with a run that ended by no doing of its own."""
        try:
            record = self.state.read(run_id)
        except InputError:
            return  # somebody has removed it
        is_ended = record.state == ENDED
        is_lost = not is_ended or record.is_outage or record.exit_code == _KILLED
        if record.is_scheduled and is_lost:
            self._look_again(self.jobs[record.job], record)

    def _look_again(self, loaded: LoadedJob, record: RunRecord) -> None:
        """Look after a while whether a run is to be gone on with."""
        again_at = self.clock() + loaded.timetable.again_s
        self._wake_up(f"{_AGAIN}{record.id}", again_at, self.resume_run, record.id)
        self.run_log.info(
            "run_retry_scheduled", job=record.job, run=record.id, again=_iso(again_at)
        )

    async def resume_run(self, run_id: str) -> None:
        """Go on with a run, if it is not out of date."""
        self._go_on_with(run_id)

    def _why_not_gone_on(self, loaded: LoadedJob, record: RunRecord) -> str:
        now_at = self.clock()
        if record.deadline_at is not None and now_at >= record.deadline_at:
            return "its deadline has passed"
        following = next(loaded.timetable.after(record.due_at), None)
        is_overtaken = following is not None and following.starts_at <= now_at
        if is_overtaken and loaded.timetable.catch_up != "all":
            return "the next run is due"
        return ""

    def _give_up(self, job: Job, record: RunRecord, why: str) -> None:
        given_up = dataclasses.replace(
            record,
            state=ENDED,
            exit_code=int(ExitCode.STOPPED),
            stop=ABANDONED,
            ended_at=record.ended_at or self.clock(),
            words=f"{record.words or 'left where it was'}; {why}, so it is not gone on with",
        )
        self.state.write(given_up)
        self.run_log.warning("run_abandoned", job=record.job, run=record.id, why=why)
        self._keep_task(self._tell(job, given_up))

    async def _tell(self, job: Job, record: RunRecord) -> None:
        """Tell whom a job names what became of a run that no process tells of."""
        if job.notify is not None:
            notified = await asyncio.to_thread(
                send_notification, job, record, self.state.folder(record.id)
            )
            self.state.write(dataclasses.replace(record, notified=notified))


def _iso(moment_at: float | None) -> str:
    if moment_at is None or moment_at == math.inf:
        return "never"
    return dt.datetime.fromtimestamp(moment_at, dt.UTC).isoformat(timespec="seconds")
