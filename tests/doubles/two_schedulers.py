"""Two schedulers with the same jobs on a virtual clock, which are killed and started again."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from virtual_clock import run_virtual

from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_runs.run_record import RunRecord
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.schedule.claim_stores import LocalClaims
from bulk_reset.jobs.schedule.claims import Claims
from bulk_reset.jobs.schedule.job_folder import JobFolder
from bulk_reset.jobs.schedule.scheduler import Scheduler
from bulk_reset.observability.run_log import new_run_log

MINUTE = 60.0


@dataclass
class Machine:
    """One scheduler, which can be killed."""

    name: str
    state: StateFolder
    scheduler: Scheduler | None = None


@dataclass
class TwoSchedulers:
    """Two schedulers of one job that is due every ten minutes.

    Args:
        is_shared: whether both use one state folder.
        begins_at: when the virtual clock starts, UTC epoch seconds.
        kills: whether one of them is killed now and then, and started again later.

    Attributes:
        begun: due time -> machines that began or resumed its run.
        done: due time -> how many runs of it ended.
        together: the most runs of the job at the same time.
    """

    folder: Path
    begins_at: float
    is_shared: bool
    kills: bool = True
    seed: int = 1
    begun: dict[float, list[str]] = field(default_factory=dict)
    done: Counter[float] = field(default_factory=Counter)
    together: int = 0
    killed: int = 0
    expected: list[float] = field(default_factory=list)
    late_s: dict[float, float] = field(default_factory=dict)
    _running: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311  (repeatable, not secret)
        (self.folder / "jobs").mkdir()
        (self.folder / "jobs" / "job.toml").write_text(
            '[source]\nsheet = "sheet.csv"\n[schedule]\ncron = "*/10 * * * *"\n'
            'time_zone = "UTC"\ncatch_up = "all"\n'
        )
        names = ("shared", "shared") if self.is_shared else ("a", "b")
        self.machines = [
            Machine(name, StateFolder(self.folder / state))
            for name, state in zip("ab", names, strict=True)
        ]
        self.claims = self.folder / "claims"
        self.claims.mkdir()

    def clock(self) -> float:
        """Return the virtual time, UTC epoch seconds."""
        return self.begins_at + asyncio.get_running_loop().time()

    def pass_time(self, due_times: int) -> None:
        """Let this many due times pass, and 20 minutes more."""
        self.expected = [self.begins_at + 10 * MINUTE * n for n in range(1, due_times + 1)]
        run_virtual(self._pass(due_times * 10 * MINUTE + 20 * MINUTE))

    async def _pass(self, seconds: float) -> None:
        for machine in self.machines:
            self._start(machine)
        ends_at = self.clock() + seconds
        while self.clock() < ends_at:
            if not self.kills:
                await asyncio.sleep(ends_at - self.clock())
                break
            # Not in the last 25 minutes: what they left must be done by the end.
            await asyncio.sleep(self._chance.uniform(1 * MINUTE, 15 * MINUTE))
            if self.clock() > ends_at - 25 * MINUTE:
                await asyncio.sleep(max(0.0, ends_at - self.clock()))
                break
            machine = self._chance.choice(self.machines)
            await self._kill(machine)
            await asyncio.sleep(self._chance.uniform(1.0, 5 * MINUTE))
            self._start(machine)
        for machine in self.machines:
            assert machine.scheduler is not None
            await machine.scheduler.shut_down()

    def _start(self, machine: Machine) -> None:
        run_log = new_run_log()
        jobs = JobFolder(self.folder / "jobs", machine.state, run_log, self.clock)
        store = LocalClaims(self.claims, asyncio.get_running_loop().time)
        claims = Claims(store, run_log, lambda _: None, asyncio.get_running_loop().time)
        machine.scheduler = Scheduler(jobs, self._run_on(machine), 600, claims=claims)
        machine.scheduler.open()

    async def _kill(self, machine: Machine) -> None:
        """End a scheduler and its run at once, as kill -9 does; its claims stay until they end."""
        scheduler = machine.scheduler
        assert scheduler is not None
        scheduler.claims = None
        scheduler._is_shutting_down = True  # noqa: SLF001
        scheduler._wake_ups.close()  # noqa: SLF001
        tasks = [*scheduler._tasks, *scheduler._loops]  # noqa: SLF001
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.killed += 1

    def _run_on(self, machine: Machine) -> Callable[[Job, RunRecord], asyncio.Future[int]]:
        async def run(job: Job, record: RunRecord) -> int:
            due_at = record.due_at
            self.begun.setdefault(due_at, []).append(machine.name)
            self.late_s.setdefault(due_at, self.clock() - due_at)
            with machine.state.locked(job.name):
                machine.state.write(replace(record, state="running"))
                self._running.append(machine.name)
                self.together = max(self.together, len(self._running))
                try:
                    await asyncio.sleep(self._chance.uniform(5.0, 4 * MINUTE))
                finally:
                    self._running.remove(machine.name)
                ended = replace(record, state="ended", exit_code=0, ended_at=self.clock())
                machine.state.write(ended)
            self.done[due_at] += 1
            return 0

        return run  # type: ignore[return-value]

    def table(self) -> dict[str, int]:
        """Return the figures, by what they count."""
        return {
            "due times": len(self.expected),
            "done once": sum(1 for due_at in self.expected if self.done[due_at] == 1),
            "of these resumed or run again after a kill": sum(
                1 for some in self.begun.values() if len(some) > 1
            ),
            "on another machine": sum(1 for some in self.begun.values() if len(set(some)) > 1),
            "done twice": sum(1 for n in self.done.values() if n > 1),
            "lost": sum(1 for due_at in self.expected if not self.done[due_at]),
            "most runs at the same time": self.together,
            "kills": self.killed,
        }
