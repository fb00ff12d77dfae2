"""Runs of the command line: their reports in the page's folder, and the tasks that show them.

The folder and the folders in it are looked through, the newest report first. Addresses have a hash
of the report's path, never the path. The result of a run is what its audit has last.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from bulk_reset.core.errors import BulkResetError
from bulk_reset.engine.connection import SANDBOX
from bulk_reset.records.audit import destination_of, read_audit
from bulk_reset.records.audit_types import Record
from bulk_reset.web.task import Task, Tasks, is_task_folder
from bulk_reset.workflows.undo_reports import is_undo_report, undone_by

_ENDING: Final = ".report.csv"
_MOST_PATHS: Final = 5_000
_MOST_RUNS: Final = 100


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run whose report was found.

    Attributes:
        id: of the address.
        started_at: of its last part, UTC epoch seconds; 0.0 without an audit.
        scope: where its rows were sent: an address, or ``sandbox``; empty without an audit.
        state: the file of the sandbox; empty for none.
        totals: ``counts`` and ``exit_code``, as a task has them; empty if it was interrupted.
        error: why its audit cannot be read.
    """

    id: str
    report: Path
    started_at: float = 0.0
    scope: str = ""
    state: str = ""
    totals: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    is_undone: bool = False
    error: str = ""

    @property
    def name(self) -> str:
        """Its name: that of the report without its ending."""
        return self.report.name.removesuffix(_ENDING)


def found_runs(tasks: Tasks) -> list[FoundRun]:
    """Return the runs of the command line, the newest first."""
    reports = sorted(_reports(tasks.folder), key=_modified_at, reverse=True)
    return [_run_of(path) for path in reports[:_MOST_RUNS]]


def open_run(tasks: Tasks, run_id: str, more: Iterable[Path] = ()) -> Task | None:
    """Return the task that shows a run, a new one if there is none; None without such a run.

    Args:
        more: reports elsewhere, which can be opened, too.
    """
    reports = itertools.chain(more, _reports(tasks.folder))
    report = next((path for path in reports if run_id_of(path) == run_id), None)
    if report is None:
        return None
    known = (task for task in tasks.all() if task.report_file == str(report))
    if (task := next(known, None)) is not None:
        return task
    run = _run_of(report)
    task = tasks.new(run.name, is_sandbox=run.scope == SANDBOX)
    task = replace(task, report_file=str(report), sandbox_file=run.state, totals=run.totals)
    task.write()
    return task


def totals_of(report: Path) -> dict[str, Any]:
    """Return the counts and the exit code of the last run of a report; empty if it was killed."""
    try:
        records = read_audit(report)
    except BulkResetError:
        return {}
    return _totals(records[-1]) if records else {}


def _totals(record: Record) -> dict[str, Any]:
    if record.get("counts") is None:
        return {}
    return {"counts": record["counts"], "exit_code": record.get("exit_code", 0)}


def _reports(folder: Path) -> Iterator[Path]:
    """Yield the reports of the folder and of the folders in it, but not those of the page."""
    paths = itertools.islice(_paths(folder), _MOST_PATHS)
    return (one for one in paths if one.name.endswith(_ENDING) and not is_undo_report(one))


def _paths(folder: Path) -> Iterator[Path]:
    for path in _entries(folder):
        if path.is_dir() and not path.is_symlink() and not is_task_folder(path):
            yield from (one for one in _entries(path) if one.is_file())
        elif path.is_file():
            yield path


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _run_of(report: Path) -> FoundRun:
    found = FoundRun(run_id_of(report), report)
    try:
        records, sent_to = read_audit(report), destination_of(report)
        is_undone = undone_by(report) is not None
    except BulkResetError as error:
        return replace(found, error=str(error))
    last = records[-1] if records else {}
    return replace(
        found,
        started_at=float(last.get("started_at", 0.0)),
        scope=sent_to.scope if sent_to is not None else "",
        state=sent_to.state if sent_to is not None else "",
        totals=_totals(last),
        note=str(last.get("note", "")),
        is_undone=is_undone,
    )


def run_id_of(report: Path) -> str:
    """Return the id of a run in addresses: a hash of the report's path."""
    return hashlib.sha256(str(report).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _modified_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
