"""A schedule as Prometheus and a health check see it: made from the state alone, when asked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from bulk_reset.run_records import ENDED, MISSED, RunRecord

if TYPE_CHECKING:
    from bulk_reset.scheduling import Scheduling

_STUCK_S: Final = 60.0
_OF_LAST_RUN: Final = {
    "exit_code": "Exit code of the job's last run.",
    "rows": "Rows of the job's last run.",
    "requests": "Requests of the job's last run.",
}


def metrics(scheduling: Scheduling) -> Iterable[Metric]:
    """Return what there is to see of the jobs, and of their last runs."""
    jobs = GaugeMetricFamily("bulk_reset_schedule_jobs", "Job files that are read.")
    jobs.add_metric([], len(scheduling.jobs))
    broken = GaugeMetricFamily("bulk_reset_schedule_jobs_broken", "Job files that cannot be read.")
    broken.add_metric([], len(scheduling.broken))
    busy = GaugeMetricFamily("bulk_reset_schedule_jobs_busy", "Jobs that wait or run.")
    busy.add_metric([], len(scheduling.busy))
    yield from (jobs, broken, busy)
    following = _family("job_next_run_timestamp_seconds", "When the job starts next.")
    for name in list(scheduling.jobs):
        starts_at = scheduling.next_start_at(name)
        if starts_at is not None:
            following.add_metric([name], starts_at)
    yield following
    yield from _of_records(scheduling.state.records())


def _of_records(records: list[RunRecord]) -> Iterable[Metric]:
    last = {record.job: record for record in records if record.state == ENDED}
    for name, text in _OF_LAST_RUN.items():
        family = _family(f"job_last_{name}", text)
        for job, record in last.items():
            family.add_metric([job], getattr(record, name) or 0)
        yield family
    ended = _family("job_last_end_timestamp_seconds", "When the job's last run ended.")
    success = _family("job_last_success_timestamp_seconds", "When a run last ended with all done.")
    missed = _family("job_missed_runs", "Due moments kept in the state at which it was not run.")
    for job, record in last.items():
        ended.add_metric([job], record.ended_at)
    for job in {record.job for record in records}:
        own = [record for record in records if record.job == job]
        good = [one.ended_at for one in own if one.state == ENDED and one.exit_code == 0]
        if good:
            success.add_metric([job], max(good))
        missed.add_metric([job], sum(one.missed for one in own if one.state == MISSED))
    yield from (ended, success, missed)


def healthz(scheduling: Scheduling) -> tuple[bool, str]:
    """Tell whether the schedule is alive: a broken job does not make it ill."""
    silent_s = time.time() - scheduling.looked_at
    is_well = silent_s < _STUCK_S
    told = {
        "status": "ok" if is_well else f"nothing has moved for {silent_s:.0f} s",
        "jobs": len(scheduling.jobs),
        "busy": sorted(scheduling.busy),
        "broken": sorted(scheduling.broken),
    }
    return is_well, json.dumps(told)


def _family(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"bulk_reset_{name}", text, labels=["job"])
