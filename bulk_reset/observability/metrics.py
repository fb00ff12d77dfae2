"""What became of runs as numbers for Prometheus: in a file that its node exporter reads.

The numbers are of the last run, so all are gauges, in base units. A run that was no success
keeps when the last one was: an alarm for "no success since yesterday" needs nothing else.

Source: Prometheus' "Metric and label naming" and the textfile collector of its node exporter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, write_to_textfile
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from bulk_reset.core.errors import ExitCode, InputError
from bulk_reset.core.totals import Totals

SUFFIX: Final = ".prom"
"""The textfile collector reads no other files."""
_PREFIX: Final = "bulk_reset_"
_LAST_SUCCESS: Final = "bulk_reset_last_success_timestamp_seconds"
_MOST_BYTES: Final = 1 << 20
_Values = Iterable[tuple[dict[str, str], float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """One run, as far as its numbers go.

    Attributes:
        totals: None where the run ended before it had any.
        job: the label of its numbers; none where it is empty.
        exit_code: that of the totals when None.
        last_success_at: when the last run before it ended that was one; 0 where nobody knows.
        is_rehearsal: it went to a sandbox, so it was no success.
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
        """When the last success ended, this run among them; 0 where nobody knows."""
        is_success = self.code == ExitCode.DONE and not self.is_rehearsal
        return self.ended_at if is_success else self.last_success_at


def families(runs: Iterable[RunFacts]) -> list[Metric]:
    """Return the numbers of runs, one of each job, as Prometheus' client takes them."""
    all_runs = list(runs)
    made = []
    for name, (text, values) in _GAUGES.items():
        metric = Metric(_PREFIX + name, f"{text}.", "gauge")
        for run in all_runs:
            job = {"job": run.job} if run.job else {}
            for labels, value in values(run):
                metric.add_sample(metric.name, {**labels, **job}, value)
        made.append(metric)
    return [metric for metric in made if metric.samples]


def write_metrics(  # noqa: PLR0913  (the facts of a run)
    path: Path,
    totals: Totals | None,
    *,
    job: str = "",
    started_at: float,
    ended_at: float,
    exit_code: int | None = None,
    is_rehearsal: bool = False,
) -> None:
    """Write the numbers of a run, in place of those of the run before it, all at once.

    Args:
        totals: None where the run ended before it had any.
        exit_code: that of the totals when None.
        is_rehearsal: it went to a sandbox, so it was no success.

    Raises:
        InputError: it cannot be written; what was there is as it was.
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
    registry = registry_of(lambda: families([run]))
    with _told_as_input(path):
        write_to_textfile(str(path), registry)


def check_metrics_file(path: Path) -> None:
    """See that numbers can be written there, before anything is sent.

    Raises:
        InputError: they cannot, nobody would read them, or something else stands there.
    """
    if path.suffix != SUFFIX:
        raise InputError(
            f"--metrics-file {path}: its name must end in {SUFFIX}, or the node exporter does not "
            "read it."
        )
    _last_success_at(path, "")
    with _told_as_input(path):
        trial = path.with_name(f"{path.name}.trial")
        trial.unlink(missing_ok=True)
        try:
            trial.open("xb").close()
        finally:
            trial.unlink(missing_ok=True)


def registry_of(scrape: Callable[[], Iterable[Metric]]) -> CollectorRegistry:
    """Return a registry with these numbers, and none of the process's own."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scraped(scrape))
    return registry


class _Scraped:
    """Numbers that are asked for when they are read."""

    def __init__(self, scrape: Callable[[], Iterable[Metric]]) -> None:
        self._scrape = scrape

    def describe(self) -> Iterable[Metric]:
        """Tell no names beforehand, so that nothing is read before its time."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the numbers as they are now."""
        return self._scrape()


@contextlib.contextmanager
def _told_as_input(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise InputError(
            f"--metrics-file {path}: cannot be written ({exc.strerror or exc}). Choose another "
            "name, or make room."
        ) from exc


def _last_success_at(path: Path, job: str) -> float:
    """Return what an older file tells; 0 where there is none, or it tells nothing.

    Raises:
        InputError: it is not a file of these numbers, so it is not to be replaced.
    """
    labels = {"job": job} if job else {}
    with _told_as_input(path):
        try:
            with path.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
        except FileNotFoundError:
            return 0.0
    try:
        older = _samples(content)
    except (ValueError, IndexError, KeyError) as exc:
        raise InputError(
            f"--metrics-file {path}: holds something else than metrics of bulk-reset. Choose "
            "another name."
        ) from exc
    found = [one.value for one in older if one.name == _LAST_SUCCESS and one.labels == labels]
    return float(found[-1]) if found else 0.0


def _samples(content: bytes) -> list[Sample]:
    """Return what a file of these numbers tells; raises ValueError where it is none."""
    if len(content) > _MOST_BYTES:
        raise ValueError(len(content))
    metrics = list(text_string_to_metric_families(content.decode()))
    foreign = [metric.name for metric in metrics if not metric.name.startswith(_PREFIX)]
    if foreign:
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
    if run.success_at:
        yield {}, round(run.success_at, 3)


_GAUGES: Final[dict[str, tuple[str, Callable[[RunFacts], _Values]]]] = {
    "rows": ("Rows of the sheet by what became of them", _rows),
    "requests": ("Requests that the last run made", _requests),
    "throttled": ("Answers that said the quota was used up (HTTP 429)", _throttled),
    "quota_peak_requests": ("Most requests started within the window", _peaks),
    "quota_limit_requests": ("Requests that the window allows", _limits),
    "waited_seconds": ("Time in which nothing could start, by cause", _waits),
    "run_seconds": (
        "Time from the start of the last run to its end",
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
        "When the last run ended that exited with 0 and was no rehearsal",
        _success,
    ),
    "exit_code": ("Exit code of the last run", lambda run: [({}, run.code)]),
    "rehearsal": (
        "1 where the last run went to the built-in sandbox",
        lambda run: [({}, float(run.is_rehearsal))],
    ),
}
