"""The reports of a run's undos: their names, and what is undone now.

An undo is a run, so it can be resumed, and it can be undone. An undo that was undone, even in
part, is not resumed: the next undo of the run has a report of its own (``NAME.undo-2.report.csv``
after ``NAME.undo.report.csv``), because the rows of the first one would count as done.

Nothing is written here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.records.history import may_be_written
from bulk_reset.records.report_index import ReportIndex
from bulk_reset.records.report_reader import beside

_UNDO: Final = re.compile(r"(?P<name>.*)\.undo(?:-(?P<number>[0-9]{1,9}))?\.report\.csv", re.DOTALL)


def next_undo_report(report: Path) -> Path:
    """Return the report of the next undo of a run: the last one resumed, or a new one."""
    undos = undo_reports(report)
    if not undos:
        return beside(report, "undo.report.csv")
    last = undos[-1]
    if not _is_superseded(report) and _can_be_resumed(last):
        return last
    return beside(report, f"undo-{_number_of(last) + 1}.report.csv")


def undo_reports(report: Path) -> list[Path]:
    """Return the reports of a run's undos, in the order of their beginning."""
    first = beside(report, "undo.report.csv")
    name = _name_of(first)
    try:
        found = [path for path in first.parent.iterdir() if _name_of(path) == name]
    except OSError:
        return []  # no such folder, so there are none
    return sorted(found, key=_number_of)


def undone_by(report: Path) -> Path | None:
    """Return the report of the last undo whose changes are in effect; None if there is none.

    An undo may have been undone itself, and so on.
    """
    return next((undo for undo in reversed(undo_reports(report)) if len(_restored_by(undo))), None)


def has_written(report: Path) -> bool:
    """Return whether a run has written something, or may have."""
    with ReportIndex(report) as lines:
        return any(map(may_be_written, lines.last_outcomes()))


def is_undo_report(report: Path) -> bool:
    """Return whether a report is that of an undo."""
    return _name_of(report) is not None


def _can_be_resumed(undo: Path) -> bool:
    written = _incidents_of(undo, may_be_written)
    if not len(written):
        # The run may have written again since, so that a value is no longer unchanged.
        with ReportIndex(undo) as lines:
            return all(one.status is not Status.UNCHANGED for one in lines.last_outcomes())
    return np.array_equal(written, _restored_by(undo))


def _restored_by(undo: Path) -> npt.NDArray[np.bytes_]:
    """Return the incidents that an undo has restored, without those that it was undone for."""
    restored = _incidents_of(undo, may_be_written)
    for later in undo_reports(undo) if len(restored) else ():
        restored = np.setdiff1d(restored, _restored_by(later))
        # The value was there again already, set by another client.
        is_unchanged = _incidents_of(later, lambda outcome: outcome.status is Status.UNCHANGED)
        restored = np.setdiff1d(restored, is_unchanged)
    return restored


def _incidents_of(report: Path, is_wanted: Callable[[Outcome], bool]) -> npt.NDArray[np.bytes_]:
    """Return the ids of the incidents of some rows, each once, sorted."""
    with ReportIndex(report) as lines:
        ids = (one.incident_id.encode() for one in lines.last_outcomes() if is_wanted(one))
        return np.unique(np.fromiter(ids, "S24"))


def _is_superseded(report: Path) -> bool:
    """Return whether a report is that of an undo, after which another undo was begun."""
    name = _name_of(report)
    return name is not None and undo_reports(report.with_name(f"{name}.report.csv"))[-1:] != [
        report
    ]


def _name_of(path: Path) -> str | None:
    """Return the NAME in ``NAME.undo.report.csv``; None for another file."""
    found = _UNDO.fullmatch(path.name)
    return found["name"] if found else None


def _number_of(path: Path) -> int:
    found = _UNDO.fullmatch(path.name)
    return int(found["number"] or 1) if found else 0
