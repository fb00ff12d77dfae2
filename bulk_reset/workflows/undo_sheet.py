"""The undo sheet: restores the previous values of a run.

It also has the values that the run wrote, as a pulled sheet has the values that were pulled. So
an undo is an ordinary run, and a field that was modified since is a conflict: such fields get a row
of their own, so that the others of the incident are restored.

Values are sent from a temporary file, exactly as they were. ``NAME.undo.csv`` shows them.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Final, TextIO

import numpy as np

from bulk_reset.core.actions import ACTION_FIELD, undoing_action
from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.csv_line import csv_line
from bulk_reset.core.custom_fields import COMMENT_FIELD, header_of, is_custom, text_of
from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import ID_FIELD, SETTABLE_FIELDS
from bulk_reset.core.option_names import option
from bulk_reset.core.outcome import Outcome
from bulk_reset.core.safe_text import guard_formula
from bulk_reset.core.spool import Spool
from bulk_reset.records.previous_index import PreviousIndex
from bulk_reset.records.previous_values import BEFORE
from bulk_reset.records.report_file import refuse_while_written
from bulk_reset.records.report_index import DigestOrder, ReportIndex, each
from bulk_reset.records.report_reader import beside
from bulk_reset.records.written_fields import unwritten_fields
from bulk_reset.reports.own_files import refuse_other
from bulk_reset.sheets.columns import GUARDED_COLUMN, OWN_PREFIX
from bulk_reset.sheets.exact_table import ExactTable
from bulk_reset.sheets.guards import guarded_row
from bulk_reset.sheets.pulled_values import check_of, memory_header
from bulk_reset.workflows.undo_reports import is_undo_report, next_undo_report
from bulk_reset.workflows.undo_steps import NotRestored, Row, Step, steps_of

LOST: Final = "not-restored.csv"
_ROW: Final = OWN_PREFIX + "row"
Field = tuple[str, str]
"""incident_id, field"""
_LONGEST_NUMBER: Final = 15
_LOST_COLUMNS: Final = (ID_FIELD, "field", "it was", "it is", "why", "link")
_LOST_START: Final = f"{ID_FIELD},field,".encode()


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
        steps: of each row of the sheet, what will be restored; see ``Row``.
        fields: field -> rows of ``steps`` that restore it.
        table: what is sent.
        row_numbers: of each row of ``table``, the row of the run's own sheet.
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
    steps: Sequence[Row] = field(default=(), repr=False)
    fields: Mapping[str, int] = field(default_factory=dict, repr=False)
    table: ExactTable = field(default_factory=lambda: ExactTable("", (), ()), repr=False)
    row_numbers: Sequence[int] = field(default=(), repr=False)
    own_rows: Sequence[int] = field(default=(), repr=False)

    def row_number_of(self, row_number: int) -> int:
        """Return the row of the run's own sheet that a row of this sheet belongs to."""
        place = row_number - 2  # after the header
        return self.row_numbers[place] if 0 <= place < len(self.row_numbers) else row_number

    def split(self, modified: Collection[Field]) -> UndoSheet:
        """Return the sheet with rows of their own for fields that were modified since the run."""
        steps = Spool(part for row in self.steps for part in _parts_of(row, modified))
        table, numbers = _table_of(self.sheet, steps, self.fields, self.own_rows)
        _write_sheet(self.sheet, table, self.sheet)
        return replace(self, rows=len(numbers), steps=steps, table=table, row_numbers=numbers)

    def step_of(self, row_number: int, name: str) -> Step:
        """Return what a row of this sheet restores in a field."""
        return Step._make(self.steps[row_number - 2][1][name])

    def with_lost(self, more: Sequence[NotRestored]) -> UndoSheet:
        """Return it with more values that were not restored; they are in the file, too."""
        if not more:
            return self
        lost = (*self.lost, *more)
        _write_lost(self.lost_path, lost, self.sheet)
        return replace(self, lost=lost, lost_file=str(self.lost_path))


def make_undo_sheet(report: Path) -> UndoSheet:
    """Write the sheet that undoes the run of a report.

    Raises:
        InputError: no report, or no previous values beside it.
        LockedError: its run has not ended.
    """
    refuse_while_written(report)
    undo_report, lost_path = next_undo_report(report), beside(report, LOST)
    sheet = beside(undo_report, "csv")
    with ReportIndex(report) as lines, PreviousIndex(beside(report, BEFORE)) as before:
        comments, unknown = _count_written(lines, before)
        if unknown and not before.exists:
            raise InputError(
                f"{before.path}: no such file, so the previous values of {report} are unknown: its "
                f"run used {option('before', value=False)}, or the file was moved. Move it back."
            )
        steps = steps_of(lines, before)
    _refuse_foreign(sheet)
    refuse_other(lost_path, _is_lost_file, "list of values that cannot be restored")
    # The rows of an undo are rows of an undo sheet, which names the rows of the run's sheet.
    own_rows = _own_row_numbers(beside(report, "csv")) if is_undo_report(report) else ()
    table, numbers = _table_of(sheet, steps.rows, steps.fields, own_rows)
    _write_sheet(sheet, table, report)
    _write_lost(lost_path, steps.lost, report)
    return UndoSheet(
        sheet,
        undo_report,
        len(numbers),
        sum(steps.fields.values()) + len(steps.lost),
        steps.lost,
        lost_path,
        str(lost_path) if steps.lost else "",
        comments,
        unknown,
        steps.rows,
        steps.fields,
        table,
        numbers,
        own_rows,
    )


def _count_written(lines: ReportIndex, before: PreviousIndex) -> tuple[int, int]:
    """Return how many rows added a comment, and how many have no previous values but wrote some."""
    comments, written = 0, array("B")
    for is_last, outcome in zip(each(lines.is_last()), lines.outcomes(), strict=True):
        if is_last and COMMENT_FIELD in outcome.fields:
            comments += COMMENT_FIELD not in unwritten_fields(outcome)
        written.append(is_last and _may_have_written(outcome))
    digests = lines.digests[np.array(written, bool)]
    # This order is not needed again, and a kept one is 20 bytes a line.
    return comments, int((~DigestOrder(before.digests).has(digests)).sum())


def _may_have_written(outcome: Outcome) -> bool:
    """Return whether a row wrote a field that has a previous value."""
    return bool(set(outcome.fields) - unwritten_fields(outcome) - {COMMENT_FIELD})


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


def _own_row_numbers(sheet: Path) -> Sequence[int]:
    """Return row number -> row number in the user's sheet, 0 for none; empty for another sheet."""
    numbers = array("q")
    if _is_undo_sheet(sheet):
        numbers.extend((0, 0))  # there is no row 0, and row 1 is the header
        with sheet.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            for row in csv.DictReader(file):
                text = row.get(_ROW) or ""
                numbers.append(
                    int(text) if text.isdecimal() and len(text) <= _LONGEST_NUMBER else 0
                )
    return numbers


def _parts_of(row: Row, modified: Collection[Field]) -> Iterator[Row]:
    """Yield a row for an incident, and one more for its fields that were modified."""
    incident_id, fields = row
    own = {name: step for name, step in fields.items() if (incident_id, name) in modified}
    others = {name: step for name, step in fields.items() if name not in own}
    yield from ((incident_id, part) for part in (others, own) if part)


def _table_of(
    sheet: Path, steps: Iterable[Row], names: Collection[str], own_rows: Sequence[int]
) -> tuple[ExactTable, Sequence[int]]:
    """Return what is sent, and for each of its rows the row of the run's own sheet."""
    customs = [name for name in names if is_custom(name)]
    columns = {name: name for name in SETTABLE_FIELDS} | {name: f"{name}:json" for name in customs}
    if ACTION_FIELD in names:
        columns[ACTION_FIELD] = ACTION_FIELD
    cells, numbers = Spool[tuple[str, ...]](), array("q")
    for incident_id, fields in steps:
        number = next(iter(fields.values()))[0]
        own = own_rows[number] if number < len(own_rows) else 0
        numbers.append(own or number)
        was = dict.fromkeys(columns.values(), "")
        wrote = was.copy()
        for name, (*_, old, new) in fields.items():
            column = columns[name]
            was[column], wrote[column] = text_of(column, old), text_of(column, new)
        if ACTION_FIELD in fields:
            was[ACTION_FIELD] = undoing_action(was[ACTION_FIELD], wrote[ACTION_FIELD])
        check = check_of(incident_id, wrote)
        cells.append((incident_id, *was.values(), str(numbers[-1]), *wrote.values(), check))
    header = map(header_of, columns.values())
    memory = memory_header(columns.values())
    return ExactTable(str(sheet), (ID_FIELD, *header, _ROW, *memory), cells), numbers


def _is_lost_file(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline(1 << 10).removeprefix(b"\xef\xbb\xbf").startswith(_LOST_START)


def _write_sheet(path: Path, table: ExactTable, like: Path) -> None:
    width = table.header.index(_ROW) + 1
    with atomic_file(path, like) as content, _as_csv(content) as file:
        file.write(csv_line(map(guard_formula, [*table.header, GUARDED_COLUMN])))
        for cells in table.rows:
            *guarded, record = guarded_row(table.header[:width], cells[:width])
            file.write(csv_line([*guarded, *map(guard_formula, cells[width:]), record]))


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
        file.writelines(map(csv_line, [_LOST_COLUMNS, *rows]))


@contextlib.contextmanager
def _as_csv(content: BinaryIO) -> Iterator[TextIO]:
    content.write(codecs.BOM_UTF8)  # utf-8-sig encodes in Python, cell by cell
    file = io.TextIOWrapper(content, encoding="utf-8", newline="", errors="backslashreplace")
    yield file
    file.flush()
    file.detach()
