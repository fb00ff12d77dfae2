"""The undo sheet: restores the previous values of a run.

It also has the values that the run wrote, as a pulled sheet has the values that were pulled. So
an undo is an ordinary run, and a field that was modified since is a conflict: such fields get a row
of their own, so that the others of the incident are restored. For an incident that was written
several times, the previous values are followed from the last to the first.

Values are sent from memory, exactly as they were. ``NAME.undo.csv`` shows them.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

from bulk_reset.core.actions import ACTION_FIELD, undoing_action
from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.custom_fields import COMMENT_FIELD, header_of, is_custom, is_same, text_of
from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import ID_FIELD, SETTABLE_FIELDS
from bulk_reset.core.option_names import option
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.safe_text import guard_formula
from bulk_reset.records.previous_values import (
    BEFORE,
    PreviousValues,
    read_previous_values,
)
from bulk_reset.records.report_file import refuse_while_written
from bulk_reset.records.report_reader import beside, read_report
from bulk_reset.records.restorability import why_not_restorable
from bulk_reset.records.written_fields import not_applied_fields, unwritten_fields
from bulk_reset.reports.own_files import refuse_other
from bulk_reset.sheets.columns import GUARDED_COLUMN, OWN_PREFIX
from bulk_reset.sheets.exact_table import ExactTable
from bulk_reset.sheets.guards import guarded_row
from bulk_reset.sheets.pulled_values import check_of, memory_header
from bulk_reset.workflows.undo_reports import is_undo_report, next_undo_report

LOST: Final = "not-restored.csv"
_ROW: Final = OWN_PREFIX + "row"
_SENT: Final = (Status.UPDATED, Status.FAILED, Status.UNKNOWN)
Field = tuple[str, str]
"""incident_id, field"""
_LOST_COLUMNS: Final = (ID_FIELD, "field", "it was", "it is", "why", "link")
_LOST_START: Final = f"{ID_FIELD},field,".encode()


@dataclass(frozen=True, slots=True)
class NotRestored:
    """A value that was not restored.

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
        lost_path: where they are listed.
        lost_file: the same; empty where there are none.
        comments: rows that added a comment, which stays.
        values_unknown: rows that were sent without reading, so their previous values are unknown.
        steps: incident -> field -> what will be restored, in the order of the sheet.
        table: what is sent.
        own_rows: row of the undo sheet that the undone run sent -> row of the user's sheet; empty
            where the run sent the user's sheet.
    """

    sheet: Path
    report: Path
    rows: int
    values: int
    lost: tuple[NotRestored, ...]
    lost_path: Path
    lost_file: str
    comments: int
    values_unknown: int
    steps: Mapping[str, Mapping[str, Step]] = field(default_factory=dict, repr=False)
    table: ExactTable = field(default_factory=lambda: ExactTable("", (), ()), repr=False)
    own_rows: Mapping[int, int] = field(default_factory=dict, repr=False)

    def row_number_of(self, row_number: int) -> int:
        """Return the row of the run's own sheet that a row of this sheet belongs to."""
        place = row_number - 2  # after the header
        if not 0 <= place < len(self.table.rows):
            return row_number
        return int(self.table.rows[place][self.table.header.index(_ROW)])

    def split(self, modified: Collection[Field]) -> UndoSheet:
        """Return the sheet with rows of their own for fields that were modified since the run."""
        table = _table_of(self.sheet, _rows_of(self.steps, modified), self.own_rows)
        _write_sheet(self.sheet, table, self.sheet)
        return replace(self, rows=len(table.rows), table=table)

    def with_lost(self, more: Sequence[NotRestored]) -> UndoSheet:
        """Return it with more values that were not restored; they are in the file, too."""
        if not more:
            return self
        lost = (*self.lost, *more)
        _write_lost(self.lost_path, lost, self.sheet)
        return replace(self, lost=lost, lost_file=str(self.lost_path))


@dataclass(slots=True)
class Step:
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
    lines = list(read_report(report))
    last = {outcome.digest: outcome for outcome in lines}
    comments = sum(
        COMMENT_FIELD in set(outcome.fields) - unwritten_fields(outcome)
        for outcome in last.values()
    )
    unknown = {digest for digest, outcome in last.items() if _may_have_written(outcome)}
    before = beside(report, BEFORE)
    if unknown and not before.exists():
        raise InputError(
            f"{before}: no such file, so the previous values of {report} are unknown: its run used "
            f"{option('before', value=False)}, or the file was moved. Move it back."
        )
    previous = list(read_previous_values(before)) if before.exists() else []
    unknown -= {one.digest for one in previous}
    steps = _steps(previous, _unwritten(lines, previous))
    found = [
        NotRestored(incident_id, name, step.was, step.wrote, reason, step.values.link)
        for incident_id, fields in steps.items()
        for name, step in fields.items()
        if (reason := why_not_restorable(name, step.was, step.wrote))
    ]
    gone = {(one.incident_id, one.field) for one in found}
    # What did not have the new value after the run still has the one before.
    lost = tuple(
        one
        for one in found
        if (digest := steps[one.incident_id][one.field].values.digest) not in last
        or one.field not in not_applied_fields(last[digest])
    )
    left = {
        incident_id: kept
        for incident_id, fields in reversed(steps.items())
        if (kept := {name: s for name, s in fields.items() if (incident_id, name) not in gone})
    }
    undo_report, lost_path = next_undo_report(report), beside(report, LOST)
    sheet = beside(undo_report, "csv")
    _refuse_foreign(sheet)
    refuse_other(lost_path, _is_lost_file, "list of values that cannot be restored")
    # The rows of an undo are rows of an undo sheet, which names the rows of the run's sheet.
    own_rows = _own_row_numbers(beside(report, "csv")) if is_undo_report(report) else {}
    table = _table_of(sheet, _rows_of(left), own_rows)
    _write_sheet(sheet, table, report)
    _write_lost(lost_path, lost, report)
    return UndoSheet(
        sheet,
        undo_report,
        len(table.rows),
        sum(map(len, left.values())) + len(lost),
        lost,
        lost_path,
        str(lost_path) if lost else "",
        comments,
        len(unknown),
        left,
        table,
        own_rows,
    )


def _may_have_written(outcome: Outcome) -> bool:
    """Return whether a row wrote a field that has a previous value."""
    return bool(set(outcome.fields) - unwritten_fields(outcome) - {COMMENT_FIELD})


def _unwritten(
    lines: Iterable[Outcome], previous: Iterable[PreviousValues]
) -> dict[str, frozenset[str]]:
    """Return digest -> the fields that were never written, so there is nothing to undo.

    The last line with a field counts. A row that was sent more often than it has lines was killed
    before the API answered, and may have written its fields.
    """
    sent = Counter((one.digest, name) for one in previous for name in one.wrote)
    is_unwritten: dict[str, dict[str, bool]] = {}
    for outcome in lines:
        fields = is_unwritten.setdefault(outcome.digest, {})
        unwritten = unwritten_fields(outcome)
        if outcome.status in _SENT:
            sent.subtract((outcome.digest, name) for name in outcome.fields)
            fields.update((name, name in unwritten) for name in outcome.fields)
    return {
        digest: frozenset(
            name for name, is_so in fields.items() if is_so and sent[digest, name] < 1
        )
        for digest, fields in is_unwritten.items()
    }


def _steps(
    previous: Sequence[PreviousValues], unwritten: Mapping[str, Collection[str]]
) -> dict[str, dict[str, Step]]:
    """Return incident -> field -> what to restore, incidents in the order of their last writing.

    Args:
        unwritten: digest -> fields that the row did not write, so there is nothing to undo. A later
            row of the incident was compared as if it had, so they lead further back.
    """
    steps: dict[str, dict[str, Step]] = {}
    for one in reversed(previous):
        fields = steps.setdefault(one.incident_id, {})
        for name, was in one.before.items():
            step = fields.get(name)
            if step is None:
                if name not in unwritten.get(one.digest, ()):
                    fields[name] = Step(one, was, one.wrote[name])
            elif is_same(one.wrote[name], step.was):
                # This row wrote the value that the later row replaced.
                step.was = was
    return dict(reversed(steps.items()))


def _refuse_foreign(sheet: Path) -> None:
    """Refuse to overwrite a sheet of that name that was not made by an undo.

    Raises:
        InputError: it was not.
    """
    if sheet.is_file() and not _is_undo_sheet(sheet):
        raise InputError(
            f"{sheet}: already exists and was not made by an undo. Move it away: the undo needs "
            "this name."
        )


def _is_undo_sheet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _ROW.encode() in file.readline(1 << 16)
    except OSError:
        return False


def _own_row_numbers(sheet: Path) -> dict[int, int]:
    """Return row number -> row number in the user's sheet; empty if it is not an undo sheet."""
    if not _is_undo_sheet(sheet):
        return {}
    with sheet.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = enumerate(csv.DictReader(file), 2)
        return {
            number: int(text) for number, row in rows if (text := row.get(_ROW) or "").isdecimal()
        }


_Row = tuple[str, Mapping[str, Step]]


def _rows_of(
    steps: Mapping[str, Mapping[str, Step]], modified: Collection[Field] = frozenset()
) -> Iterator[_Row]:
    """Yield a row for each incident, and one more for its fields that were modified."""
    for incident_id, fields in steps.items():
        own = {name: step for name, step in fields.items() if (incident_id, name) in modified}
        others = {name: step for name, step in fields.items() if name not in own}
        yield from ((incident_id, part) for part in (others, own) if part)


def _table_of(sheet: Path, rows: Iterable[_Row], own_rows: Mapping[int, int]) -> ExactTable:
    rows = list(rows)
    customs = dict.fromkeys(name for _, fields in rows for name in fields if is_custom(name))
    columns = {name: name for name in SETTABLE_FIELDS} | {name: f"{name}:json" for name in customs}
    if any(ACTION_FIELD in fields for _, fields in rows):
        columns[ACTION_FIELD] = ACTION_FIELD
    names = [header_of(column) for column in columns.values()]
    cells = []
    for incident_id, fields in rows:
        number = next(iter(fields.values())).values.row_number
        wrote = _texts(columns, fields, "wrote")
        was = _texts(columns, fields, "was")
        if ACTION_FIELD in fields:
            was[ACTION_FIELD] = undoing_action(was[ACTION_FIELD], wrote[ACTION_FIELD])
        cells.append(
            (
                incident_id,
                *was.values(),
                str(own_rows.get(number, number)),
                *wrote.values(),
                check_of(incident_id, wrote),
            )
        )
    return ExactTable(str(sheet), (ID_FIELD, *names, _ROW, *memory_header(columns.values())), cells)


def _texts(columns: Mapping[str, str], fields: Mapping[str, Step], which: str) -> dict[str, str]:
    """Return column -> text of the values before the run (``was``) or of those it wrote."""
    return {
        column: text_of(column, getattr(fields[name], which)) if name in fields else ""
        for name, column in columns.items()
    }


def _is_lost_file(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline(1 << 10).removeprefix(b"\xef\xbb\xbf").startswith(_LOST_START)


def _write_sheet(path: Path, table: ExactTable, like: Path) -> None:
    width = table.header.index(_ROW) + 1
    with atomic_file(path, like) as content, _as_csv(content) as file:
        writer = csv.writer(file)
        writer.writerow(map(guard_formula, [*table.header, GUARDED_COLUMN]))
        for cells in table.rows:
            *guarded, record = guarded_row(table.header[:width], cells[:width])
            writer.writerow([*guarded, *map(guard_formula, cells[width:]), record])


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
