"""Metrics of runs for Prometheus, in a file that its node exporter reads.

The metrics describe the last run, so all are gauges, in base units. A failed run keeps the time
of the last success: an alert on "no success since yesterday" needs nothing else.

Source: Prometheus' "Metric and label naming" and the textfile collector of its node exporter.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, write_to_textfile
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from bulk_reset.core.errors import ExitCode, InputError
from bulk_reset.core.input_file import open_input
from bulk_reset.core.option_names import option
from bulk_reset.core.totals import Totals
from bulk_reset.observability.account_metrics import account_families
from bulk_reset.quota.account_use import AccountUse

SUFFIX: Final = ".prom"
"""The textfile collector reads no other files."""
_PREFIX: Final = "bulk_reset_"
_LAST_SUCCESS: Final = "bulk_reset_last_success_timestamp_seconds"
_MOST_BYTES: Final = 1 << 20
_Values = Iterable[tuple[dict[str, str], float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """The facts of one run that its metrics are made of.

    Attributes:
        totals: None if the run ended before it had any.
        job: the label of its metrics; no label if empty.
        exit_code: that of the totals when None.
        last_success_at: when the last successful run before it ended; 0 if unknown.
        is_rehearsal: it went to a sandbox, so it does not count as a success.
    """

    totals: Totals | None
    started_at: float
    ended_at: float
    job: str = ""
    exit_code: int | None = None
    last_success_at: float = 0.0
    is_rehearsal: bool = False

    @property
    def code(self) -> int:
        """The exit code of the run."""
        if self.exit_code is not None:
            return self.exit_code
        return ExitCode.INTERNAL if self.totals is None else self.totals.exit_code

    @property
    def success_at(self) -> float:
        """When the last successful run ended, including this one; 0 if unknown."""
        is_success = self.code == ExitCode.DONE and not self.is_rehearsal
        return self.ended_at if is_success else self.last_success_at


def families(runs: Iterable[RunFacts]) -> list[Metric]:
    """Return the metrics of runs, one run for each job, as Prometheus' client takes them."""
    all_runs = list(runs)
    metrics = []
    for name, (text, values) in _GAUGES.items():
        metric = Metric(_PREFIX + name, f"{text}.", "gauge")
        for run in all_runs:
            job = {"job": run.job} if run.job else {}
            for labels, value in values(run):
                metric.add_sample(metric.name, {**labels, **job}, value)
        metrics.append(metric)
    return [metric for metric in metrics if metric.samples]


def write_metrics(  # noqa: PLR0913  (the facts of a run)
    path: Path,
    totals: Totals | None,
    *,
    job: str = "",
    started_at: float,
    ended_at: float,
    exit_code: int | None = None,
    is_rehearsal: bool = False,
    account: AccountUse | None = None,
) -> None:
    """Write the metrics of a run, replacing the file of the run before it.

    Args:
        totals: None if the run ended before it had any.
        exit_code: that of the totals when None.
        is_rehearsal: it went to a sandbox, so it does not count as a success.
        account: who uses the account after the run; None if unknown.

    Raises:
        InputError: the file cannot be written; it was not changed.
    """
    run = RunFacts(
        totals=totals,
        started_at=started_at,
        ended_at=ended_at,
        job=job,
        exit_code=exit_code,
        last_success_at=_last_success_at(path, job),
        is_rehearsal=is_rehearsal,
    )
    of_account = [*account_families({job: account})] if account is not None else []
    registry = registry_of(lambda: [*families([run]), *of_account])
    with _disk_errors(path):
        write_to_textfile(str(path), registry)


def check_metrics_file(path: Path) -> None:
    """Check that metrics can be written there, before anything is sent.

    Raises:
        InputError: they cannot, the node exporter would not read them, or it is another file.
    """
    if path.suffix != SUFFIX:
        raise InputError(
            f"{option('metrics_file', str(path))}: "
            f"the node exporter does not read this name. Use a name ending "
            f"in {SUFFIX}."
        )
    _last_success_at(path, "")
    with _disk_errors(path), tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}."):
        pass


def registry_of(scrape: Callable[[], Iterable[Metric]]) -> CollectorRegistry:
    """Return a registry with these metrics, and none of the process's own."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_ScrapeCollector(scrape))
    return registry


class _ScrapeCollector:
    """Metrics that are collected when they are requested."""

    def __init__(self, scrape: Callable[[], Iterable[Metric]]) -> None:
        self._scrape = scrape

    def describe(self) -> Iterable[Metric]:
        """Return no names, so that nothing is collected at registration."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        return self._scrape()


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise InputError(
            f"{option('metrics_file', str(path))}: "
            f"cannot be written ({exc.strerror or exc}). Use another file, "
            "or free disk space."
        ) from exc


def _last_success_at(path: Path, job: str) -> float:
    """Return the last success that the existing file has; 0 if there is none.

    Raises:
        InputError: it is another file, which must not be replaced.
    """
    labels = {"job": job} if job else {}
    with _disk_errors(path):
        try:
            with open_input(path) as file:
                content = file.read(_MOST_BYTES + 1)
        except FileNotFoundError:
            return 0.0
    try:
        older = _samples(content)
    except (ValueError, IndexError, KeyError) as exc:
        raise InputError(
            f"{option('metrics_file', str(path))}: "
            f"not metrics of bulk-reset; the file was not changed. Use "
            "another file."
        ) from exc
    found = [one.value for one in older if one.name == _LAST_SUCCESS and one.labels == labels]
    return float(found[-1]) if found else 0.0


def _samples(content: bytes) -> list[Sample]:
    """Return the samples of a file of these metrics; raises ValueError for another file."""
    if len(content) > _MOST_BYTES:
        raise ValueError(len(content))
    metrics = list(text_string_to_metric_families(content.decode()))
    foreign = [metric.name for metric in metrics if not metric.name.startswith(_PREFIX)]
    if foreign or (content.strip() and not metrics):
        raise ValueError(foreign)
    return [sample for metric in metrics for sample in metric.samples]


# --- The numbers -----------------------------------------------------------------------------


def _rows(run: RunFacts) -> _Values:
    for status, rows in run.totals.counts.items() if run.totals else ():
        yield {"status": status.value}, rows


def _requests(run: RunFacts) -> _Values:
    if run.totals:
        yield {}, run.totals.requests


def _throttled(run: RunFacts) -> _Values:
    if run.totals:
        yield {}, run.totals.throttled


def _peaks(run: RunFacts) -> _Values:
    for peak in run.totals.peaks if run.totals else ():
        yield {"window": f"{peak.window_s:g}s"}, peak.started


def _limits(run: RunFacts) -> _Values:
    for peak in run.totals.peaks if run.totals else ():
        yield {"window": f"{peak.window_s:g}s"}, peak.limit


def _waits(run: RunFacts) -> _Values:
    for cause, seconds in run.totals.waited_s.items() if run.totals else ():
        yield {"cause": cause}, seconds


def _success(run: RunFacts) -> _Values:
    # Zero before the first success, so that an alert on its age works from the beginning.
    if run.success_at or not run.is_rehearsal:
        yield {}, round(run.success_at, 3)


_GAUGES: Final[dict[str, tuple[str, Callable[[RunFacts], _Values]]]] = {
    "rows": ("Rows of the sheet by status", _rows),
    "requests": ("Requests of the last run", _requests),
    "throttled": ("Requests rejected because the quota was exceeded (HTTP 429)", _throttled),
    "quota_peak_requests": ("Most requests started within one window", _peaks),
    "quota_limit_requests": ("Requests allowed within one window", _limits),
    "waited_seconds": ("Time in which no request could start, by cause", _waits),
    "run_seconds": (
        "Duration of the last run",
        lambda run: [({}, round(run.ended_at - run.started_at, 3))],
    ),
    "run_started_timestamp_seconds": (
        "When the last run started",
        lambda run: [({}, round(run.started_at, 3))],
    ),
    "run_ended_timestamp_seconds": (
        "When the last run ended",
        lambda run: [({}, round(run.ended_at, 3))],
    ),
    "last_success_timestamp_seconds": (
        "When the last run with exit code 0 ended, sandbox runs excluded; 0 before the first",
        _success,
    ),
    "exit_code": ("Exit code of the last run", lambda run: [({}, run.code)]),
    "rehearsal": (
        "1 if the last run went to the built-in sandbox, else 0",
        lambda run: [({}, float(run.is_rehearsal))],
    ),
}
