"""What a schedule does at this time: for metrics and health checks.

State: belongs to the event loop of the ``Scheduler``, which alone changes it. ``folder`` has the
jobs as their files are now; ``_busy`` are those that wait or run, each of which is checked again
when its run has ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bulk_reset.core.errors import InputError
from bulk_reset.jobs.job_runs.run_record import RunRecord
from bulk_reset.jobs.schedule.job_folder import JobFolder, LoadedJob


@dataclass(slots=True)
class ScheduleStatus:
    """The jobs of a folder, and which of them wait, run, will be retried or cannot start."""

    folder: JobFolder
    _busy: set[str] = field(default_factory=set, init=False)
    _running: set[str] = field(default_factory=set, init=False)
    _retries: dict[str, str] = field(default_factory=dict, init=False)
    """Run -> job, of the runs that will be retried."""
    _blocked: dict[str, str] = field(default_factory=dict, init=False)
    """Job -> why it cannot start."""

    @property
    def jobs(self) -> dict[str, LoadedJob]:
        """The valid jobs, by name."""
        return self.folder.jobs

    @property
    def invalid(self) -> dict[str, str]:
        """File -> why it is invalid."""
        return self.folder.invalid

    @property
    def blocked(self) -> frozenset[str]:
        """The jobs that are due and cannot start, for example because the disk is full."""
        return frozenset(self._blocked)

    @property
    def busy(self) -> frozenset[str]:
        """The jobs that are waiting for their account, or running."""
        return frozenset(self._busy)

    @property
    def running(self) -> frozenset[str]:
        """The jobs that are running."""
        return frozenset(self._running)

    @property
    def retrying(self) -> frozenset[str]:
        """The jobs with a run that will be retried."""
        return frozenset(list(self._retries.values()))

    def next_start_at(self, name: str) -> float | None:
        """Return when a job starts next."""
        loaded, job_state = self.jobs.get(name), self.folder.job_state(name)
        if loaded is None:
            return None  # just removed
        handled_at = job_state.handled_at if job_state else self.folder.clock()
        return loaded.timetable.next_start_at(handled_at, self.folder.clock())

    # --- The folder --------------------------------------------------------------------------

    def last_run(self, name: str) -> RunRecord | None:
        """Return the last run of a job that was created because it was due."""
        job_state = self.folder.job_state(name)
        try:
            return self.folder.state.read(job_state.run_id) if job_state else None
        except InputError:
            return None  # there was none, or its folder was removed
