"""A schedule as Prometheus and a health check see it: made from the state, when it is asked for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from bulk_reset.core.errors import InputError
from bulk_reset.jobs.scheduler import Scheduler
from bulk_reset.jobs.state_folder import ENDED, MISSED, RunRecord, StateFolder

_STUCK_S: Final = 60.0


class ScheduleMetrics:
    """What there is to see of a schedule's jobs, and of their last runs.

    Years of runs may lie in the state: each is read until it has ended, and then never again.
    Called from the server's thread alone.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduling = scheduler
        self._seen: set[str] = set()
        self._last: dict[str, RunRecord] = {}
        self._success_at: dict[str, float] = {}
        self._missed: Counter[str] = Counter()

    def scrape(self) -> Iterable[Metric]:
        """Return the numbers as they are now."""
        self._read(self._scheduling.state)
        jobs = self._scheduling.jobs
        starts = {name: self._scheduling.next_start_at(name) for name in list(jobs)}
        last = self._last.items()
        return (
            _one("schedule_jobs", "Job files that are read.", len(jobs)),
            _one("schedule_jobs_broken", "Job files that are not.", len(self._scheduling.broken)),
            _one("schedule_jobs_busy", "Jobs that wait or run.", len(self._scheduling.busy)),
            _one(
                "schedule_jobs_held_up",
                "Jobs that are due and cannot be begun.",
                len(self._scheduling.blocked),
            ),
            _each("next_run_timestamp_seconds", "When it starts next.", starts),
            _each(
                "last_run_ended_timestamp_seconds",
                "When its last run ended.",
                {job: record.ended_at for job, record in last},
            ),
            _each(
                "last_run_exit_code",
                "How its last run ended.",
                {job: record.exit_code for job, record in last},
            ),
            _each(
                "last_run_rows",
                "Rows of its last run.",
                {job: record.rows for job, record in last},
            ),
            _each(
                "last_run_requests",
                "Requests of its last run.",
                {job: record.requests for job, record in last},
            ),
            _each(
                "last_success_timestamp_seconds",
                "When a run of it ended last with all done.",
                self._success_at,
            ),
            _each("missed_runs", "How often it was due and not run.", self._missed),
        )

    def healthz(self) -> tuple[bool, str]:
        """Tell whether the schedule is alive: a broken job does not make it ill."""
        silent_s = time.time() - self._scheduling.last_reread_at
        if silent_s >= _STUCK_S:
            return False, f"nothing has moved for {silent_s:.0f} s"
        broken = sorted(self._scheduling.broken)
        more = f", broken: {', '.join(broken)}" if broken else ""
        blocked = sorted(self._scheduling.blocked)
        more += f", held up: {', '.join(blocked)}" if blocked else ""
        return True, f"{len(self._scheduling.jobs)} jobs{more}"

    def _read(self, state: StateFolder) -> None:
        for run_id in {path.name for path in state.runs.iterdir()} - self._seen:
            try:
                record = state.read(run_id)
            except InputError:
                continue  # not begun yet
            if record.state == ENDED:
                self._take(record)
            if record.state in {ENDED, MISSED} and not record.is_open:
                self._seen.add(run_id)
                self._missed[record.job] += record.missed

    def _take(self, record: RunRecord) -> None:
        known = self._last.get(record.job)
        if known is None or record.ended_at >= known.ended_at:
            self._last[record.job] = record
        if record.exit_code == 0:
            success_at = self._success_at.get(record.job, 0.0)
            self._success_at[record.job] = max(success_at, record.ended_at)


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"bulk_reset_{name}", text, value)


def _each(name: str, text: str, values: Mapping[str, float | None]) -> Metric:
    family = GaugeMetricFamily(f"bulk_reset_job_{name}", text, labels=["job"])
    for job, value in sorted(values.items()):
        if value is not None:
            family.add_metric([job], value)
    return family
