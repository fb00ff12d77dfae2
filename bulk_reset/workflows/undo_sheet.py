"""The undo sheet: restores the previous values of a run.

It also has the values that the run wrote, as a pulled sheet has the values that were pulled. So
an undo is an ordinary run, and an incident that was modified since is a conflict. For an incident
that was written several times, the previous values are followed from the last to the first.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.custom_fields import COMMENT_FIELD, header_of, is_custom, is_same, text_of
from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import ID_FIELD, SETTABLE_FIELDS
from bulk_reset.core.option_names import option
from bulk_reset.core.outcome import Status
from bulk_reset.core.safe_text import guard_formula
from bulk_reset.records.history import WRITES
from bulk_reset.records.previous_values import (
    PreviousValues,
    read_previous_values,
)
from bulk_reset.records.report_file import refuse_while_written
from bulk_reset.records.report_reader import beside, read_report
from bulk_reset.records.restorability import why_not_restorable
from bulk_reset.reports.own_files import refuse_other
from bulk_reset.sheets.columns import OWN_PREFIX, WAS_PREFIX
from bulk_reset.workflows.verify import BEFORE

_ROW: Final = OWN_PREFIX + "row"
_LOST_COLUMNS: Final = (ID_FIELD, "field", "it was", "it is", "why", "link")
_LOST_START: Final = f"{ID_FIELD},field,".encode()


@dataclass(frozen=True, slots=True)
class NotRestored:
    """A value that cannot be restored.

    Attributes:
        was: the value before the run.
        wrote: the value that the run wrote.
    """

    incident_id: str
    field: str
    was: Any
    wrote: Any
    reason: str
    link: str


@dataclass(frozen=True, slots=True)
class UndoSheet:
    """A sheet that undoes a run, and what it cannot undo.

    Attributes:
        sheet: a file beside the report.
        report: of the run that sends it.
        rows: of the sheet.
        values: how many the run wrote, the lost ones included.
        lost: those that cannot be restored.
        lost_file: has them, too; empty where there are none.
        comments: rows that added a comment, which stays.
        not_known: rows that were sent without reading, so their previous values are unknown.
    """

    sheet: Path
    report: Path
    rows: int
    values: int
    lost: tuple[NotRestored, ...]
    lost_file: str
    comments: int
    not_known: int


@dataclass(slots=True)
class _Step:
    """A field to restore."""

    values: PreviousValues
    """Of the row that wrote the field last."""
    was: Any
    wrote: Any


def make_undo_sheet(report: Path) -> UndoSheet:
    """Write the sheet that undoes the run of a report.

    Raises:
        InputError: no report, or no previous values beside it.
        LockedError: its run has not ended.
    """
    refuse_while_written(report)
    last = {outcome.digest: outcome for outcome in read_report(report)}
    comments = sum(
        COMMENT_FIELD in outcome.fields and outcome.status is Status.UPDATED
        for outcome in last.values()
    )
    # A row of several requests may have failed with some of them done.
    not_applied = {
        digest
        for digest, outcome in last.items()
        if outcome.status is Status.FAILED and set(SETTABLE_FIELDS).issuperset(outcome.fields)
    }
    before = beside(report, BEFORE)
    not_known = {digest for digest, outcome in last.items() if outcome.status in WRITES}
    if not before.exists():
        raise InputError(
            f"{before}: no such file, so the previous values of {report} are unknown: its run used "
            f"{option('before', value=False)}, or the file was moved. Move it back."
        )
    previous = list(read_previous_values(before))
    not_known -= {one.digest for one in previous}
    steps = _steps(previous, not_applied)
    lost = tuple(
        NotRestored(incident_id, name, step.was, step.wrote, reason, step.values.link)
        for incident_id, fields in steps.items()
        for name, step in fields.items()
        if (reason := why_not_restorable(name, step.was))
    )
    gone = {(one.incident_id, one.field) for one in lost}
    left = {
        incident_id: kept
        for incident_id, fields in reversed(steps.items())
        if (kept := {name: s for name, s in fields.items() if (incident_id, name) not in gone})
    }
    sheet, lost_file = beside(report, "undo.csv"), beside(report, "not-restored.csv")
    _refuse_foreign(sheet)
    refuse_other(lost_file, _is_lost_file, "list of values that cannot be restored")
    _write_sheet(sheet, left, report)
    _write_lost(lost_file, lost, report)
    return UndoSheet(
        sheet,
        beside(report, "undo.report.csv"),
        len(left),
        sum(map(len, steps.values())),
        lost,
        str(lost_file) if lost else "",
        comments,
        len(not_known),
    )


def _steps(
    previous: Sequence[PreviousValues], not_applied: Collection[str]
) -> dict[str, dict[str, _Step]]:
    """Return incident -> field -> what to restore, incidents in the order of their last writing.

    Args:
        not_applied: digests of rows that were not applied, so there is nothing to undo. A later
            row of the incident was compared as if they had been, so they lead further back.
    """
    steps: dict[str, dict[str, _Step]] = {}
    for one in reversed(previous):
        fields = steps.setdefault(one.incident_id, {})
        for name, was in one.before.items():
            step = fields.get(name)
            if step is None:
                if one.digest not in not_applied:
                    fields[name] = _Step(one, was, one.wrote[name])
            elif is_same(one.wrote[name], step.was):
                # This row wrote the value that the later row replaced.
                step.was = was
    return dict(reversed(steps.items()))


def _refuse_foreign(sheet: Path) -> None:
    """Refuse to overwrite a sheet of that name that was not made by an undo.

    Raises:
        InputError: it was not.
    """
    if sheet.is_file():
        with sheet.open("rb") as file:
            if (OWN_PREFIX + "row").encode() not in file.readline(1 << 16):
                raise InputError(
                    f"{sheet}: already exists and was not made by an undo. Move it away: the undo "
                    "needs this name."
                )


def _is_lost_file(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline(1 << 10).removeprefix(b"\xef\xbb\xbf").startswith(_LOST_START)


def _write_sheet(path: Path, steps: Mapping[str, Mapping[str, _Step]], like: Path) -> None:
    customs = dict.fromkeys(name for fields in steps.values() for name in fields if is_custom(name))
    columns = {name: name for name in SETTABLE_FIELDS} | {name: f"{name}:json" for name in customs}
    names = [header_of(column) for column in columns.values()]
    header = [ID_FIELD, *names, _ROW, *(WAS_PREFIX + name for name in names)]
    with atomic_file(path, like) as content, _as_csv(content) as file:
        writer = csv.writer(file)
        writer.writerow(map(guard_formula, header))
        for incident_id, fields in steps.items():
            writer.writerow(
                [
                    incident_id,
                    *(_cell(column, fields.get(name), "was") for name, column in columns.items()),
                    next(iter(fields.values())).values.row_number,
                    *(_cell(column, fields.get(name), "wrote") for name, column in columns.items()),
                ]
            )


def _cell(column: str, step: _Step | None, which: str) -> str:
    return "" if step is None else guard_formula(text_of(column, getattr(step, which)))


def _write_lost(path: Path, lost: Iterable[NotRestored], like: Path) -> None:
    rows = [
        [
            one.incident_id,
            one.field,
            guard_formula(text_of(one.field, one.was)),
            guard_formula(text_of(one.field, one.wrote)),
            one.reason,
            guard_formula(one.link),
        ]
        for one in lost
    ]
    if not rows:
        if path.is_file():
            path.unlink()
        return
    with atomic_file(path, like) as content, _as_csv(content) as file:
        csv.writer(file).writerows([_LOST_COLUMNS, *rows])


@contextlib.contextmanager
def _as_csv(content: BinaryIO) -> Iterator[TextIO]:
    file = io.TextIOWrapper(content, encoding="utf-8-sig", newline="", errors="backslashreplace")
    yield file
    file.flush()
    file.detach()
