"""The reports of a run's undos: their names, and what is undone now.

An undo is a run, so it can be resumed, and it can be undone. An undo that was undone, even in
part, is not resumed: the next undo of the run has a report of its own (``NAME.undo-2.report.csv``
after ``NAME.undo.report.csv``), because the rows of the first one would count as done.

Nothing is written here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.records.history import may_be_written
from bulk_reset.records.report_reader import beside, read_report

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
    return next((undo for undo in reversed(undo_reports(report)) if _restored_by(undo)), None)


def has_written(report: Path) -> bool:
    """Return whether a run has written something, or may have."""
    return any(may_be_written(outcome) for outcome in _last_outcomes(report))


def is_undo_report(report: Path) -> bool:
    """Return whether a report is that of an undo."""
    return _name_of(report) is not None


def _can_be_resumed(undo: Path) -> bool:
    outcomes = _last_outcomes(undo)
    written = {outcome.incident_id for outcome in outcomes if may_be_written(outcome)}
    if not written:
        # The run may have written again since, so that a value is no longer unchanged.
        return all(outcome.status is not Status.UNCHANGED for outcome in outcomes)
    return written == _restored_by(undo)


def _restored_by(undo: Path) -> set[str]:
    """Return the incidents that an undo has restored, without those that it was undone for."""
    restored = {one.incident_id for one in _last_outcomes(undo) if may_be_written(one)}
    for later in undo_reports(undo) if restored else ():
        restored -= _restored_by(later)
        # The value was there again already, set by another client.
        restored -= {
            one.incident_id for one in _last_outcomes(later) if one.status is Status.UNCHANGED
        }
    return restored


def _is_superseded(report: Path) -> bool:
    """Return whether a report is that of an undo, after which another undo was begun."""
    name = _name_of(report)
    return name is not None and undo_reports(report.with_name(f"{name}.report.csv"))[-1:] != [
        report
    ]


def _last_outcomes(report: Path) -> list[Outcome]:
    return list({outcome.digest: outcome for outcome in read_report(report)}.values())


def _name_of(path: Path) -> str | None:
    """Return the NAME in ``NAME.undo.report.csv``; None for another file."""
    found = _UNDO.fullmatch(path.name)
    return found["name"] if found else None


def _number_of(path: Path) -> int:
    found = _UNDO.fullmatch(path.name)
    return int(found["number"] or 1) if found else 0
