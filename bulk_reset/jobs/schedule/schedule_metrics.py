"""Metrics and health of a schedule, made from its state when they are requested."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from bulk_reset.core.errors import InputError, RunError
from bulk_reset.engine.account import read_account
from bulk_reset.engine.connection import find_account
from bulk_reset.jobs.job_runs.run_record import ENDED, MISSED, RunRecord
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.schedule.scheduler import Scheduler
from bulk_reset.observability.account_metrics import account_families
from bulk_reset.quota.account_ledger import account_hash
from bulk_reset.quota.account_use import AccountUse


class ScheduleMetrics:
    """The metrics of a schedule's jobs and of their last runs.

    The state may hold years of runs: each record is read until its run has ended, then never
    again. Called from the server's thread alone.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._counted: set[str] = set()
        self._last: dict[str, RunRecord] = {}
        self._success_at: dict[str, float] = {}
        self._missed: Counter[str] = Counter()

    def scrape(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        scheduler, last = self._scheduler, self._last
        self._read(scheduler.state)
        names, running, retrying = list(scheduler.jobs), scheduler.running, scheduler.retrying
        starts = {name: scheduler.next_start_at(name) for name in names}
        # Zero before the first success, so that an alert on its age works from the beginning.
        success_at = {**dict.fromkeys(names, 0.0), **self._success_at}
        return (
            _gauge("schedule_jobs", "Valid job files.", len(scheduler.jobs)),
            _gauge("schedule_jobs_invalid", "Invalid job files.", len(scheduler.invalid)),
            _gauge("schedule_jobs_busy", "Jobs that are waiting or running.", len(scheduler.busy)),
            _gauge("schedule_jobs_running", "Jobs that are running.", len(scheduler.running)),
            _gauge(
                "schedule_jobs_retrying",
                "Jobs with a run that will be retried.",
                len(scheduler.retrying),
            ),
            _gauge(
                "schedule_jobs_blocked",
                "Jobs that are due and cannot start.",
                len(scheduler.blocked),
            ),
            _job_gauge("running", "1 while the job is running, else 0.", _flags(names, running)),
            _job_gauge(
                "retrying", "1 while a run will be retried, else 0.", _flags(names, retrying)
            ),
            _job_gauge("next_run_timestamp_seconds", "When the job starts next.", starts),
            *_last_runs(last),
            _job_gauge(
                "last_success_timestamp_seconds",
                "When the last run with exit code 0 ended; 0 before the first.",
                success_at,
            ),
            _job_gauge("missed_runs", "Due times at which the job was not run.", self._missed),
            *account_families(_account_uses(scheduler)),
        )

    def _read(self, state: StateFolder) -> None:
        for run_id in {path.name for path in state.runs.iterdir()} - self._counted:
            try:
                record = state.read(run_id)
            except InputError:
                continue  # its record is not written yet
            if record.state == ENDED:
                self._add(record)
            if record.state in {ENDED, MISSED} and not record.is_open:
                self._counted.add(run_id)
                self._missed[record.job] += record.missed

    def _add(self, record: RunRecord) -> None:
        known = self._last.get(record.job)
        if known is None or record.ended_at >= known.ended_at:
            self._last[record.job] = record
        if record.exit_code == 0:
            success_at = self._success_at.get(record.job, 0.0)
            self._success_at[record.job] = max(success_at, record.ended_at)


def _account_uses(scheduler: Scheduler) -> dict[str, AccountUse | None]:
    """Return the account of each job on the real API; each account is read once."""
    uses: dict[str, AccountUse | None] = {}
    read: dict[tuple[str | None, str], AccountUse | None] = {}
    silent: set[str | None] = set()
    for name, loaded in sorted(scheduler.jobs.items()):
        with contextlib.suppress(InputError):  # no key, for example
            options = loaded.job.options(Path(), None)
            if options.is_rehearsal:
                continue
            credentials = find_account(options)
            account = options.quota_store, account_hash(credentials, options.account)
            if account not in read:
                read[account] = None
                with contextlib.suppress(RunError):
                    if options.quota_store not in silent:
                        # Until it has answered: a server that is down is asked once.
                        silent.add(options.quota_store)
                        read[account] = read_account(credentials, options)
                        silent.discard(options.quota_store)
            uses[name] = read[account]
    return uses


def _last_runs(last: Mapping[str, RunRecord]) -> Iterator[Metric]:
    yield _job_gauge(
        "last_run_ended_timestamp_seconds",
        "When the last run ended.",
        {job: record.ended_at for job, record in last.items()},
    )
    for name, text in (
        ("last_run_exit_code", "Exit code of the last run."),
        ("last_run_rows", "Rows of the last run."),
        ("last_run_requests", "Requests of the last run."),
    ):
        fact = name.removeprefix("last_run_")
        yield _job_gauge(name, text, {job: getattr(record, fact) for job, record in last.items()})


def _flags(names: Iterable[str], some: frozenset[str]) -> dict[str, float]:
    return {name: float(name in some) for name in names}


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"bulk_reset_{name}", text, value)


def _job_gauge(name: str, text: str, values: Mapping[str, float | None]) -> Metric:
    family = GaugeMetricFamily(f"bulk_reset_job_{name}", text, labels=["job"])
    for job, value in sorted(values.items()):
        if value is not None:
            family.add_metric([job], value)
    return family
