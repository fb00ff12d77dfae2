"""Checks a whole sheet, and decides about rows of the same incident.

Second in the flow, after the rules for single rows (``validation``). Rows with the same values
are sent once; rows that set different fields are all sent; rows that set the same field to
different values are in conflict, and ``OnConflict`` decides.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bulk_reset.core.change import Change, Digests, further_mark, occurrence_mark, separated
from bulk_reset.core.custom_fields import COMMENT_FIELD, field_of
from bulk_reset.core.defaults import OnConflict
from bulk_reset.core.fields import FIELDS
from bulk_reset.core.incident_ids import Readings
from bulk_reset.core.json_codec import dumps
from bulk_reset.core.option_names import option
from bulk_reset.core.outcome import NOT_EDITED, Outcome, Status
from bulk_reset.core.row_error import RowError
from bulk_reset.core.row_keys import keys_of
from bulk_reset.sheets.cell_rules import shorten
from bulk_reset.sheets.columns import Columns
from bulk_reset.sheets.sheet import Sheet
from bulk_reset.sheets.validation import CheckedChunk, check_chunk


@dataclass(frozen=True, slots=True)
class RowDecision:
    """The decision about one row because of other rows of the same incident."""

    status: Status
    """REJECTED, SKIPPED, or PENDING for a row to send."""
    reason: str = ""
    occurrence: int = 1
    """1 for the first row of the incident with these values, 2 for the second …; in the digest."""
    overwritten: frozenset[str] = frozenset()
    """The fields that a later row of the sheet sets again."""


@dataclass(frozen=True, slots=True)
class SheetCheck:
    """The result of checking a whole sheet.

    Attributes:
        rows: number of rows, without blank rows.
        row_errors: all errors, in the sheet's order.
        decisions: row_number -> decision, for rows whose incident is in several rows.
        repeated_ids: those incidents; their rows are sent in order, never at the same time.
        contested_ids: those of them whose rows overwrite each other.
        readings: counts of ids that were not plain ids.
        emptied: cells that were cleared since the pull; their fields will not be changed.
        untouched: rows in which nothing was edited since the pull.
        read_only_edits: rows with an edit in a column that is never sent.
    """

    rows: int = 0
    blank_rows: int = 0
    row_errors: tuple[RowError, ...] = ()
    decisions: dict[int, RowDecision] = field(default_factory=dict)
    repeated_ids: frozenset[str] = frozenset()
    contested_ids: frozenset[str] = frozenset()
    readings: Readings = field(default_factory=Readings)
    emptied: int = 0
    untouched: int = 0
    read_only_edits: int = 0


def check_rows(
    sheet: Sheet,
    policy: OnConflict = OnConflict.ERROR,
    on_chunk: Callable[[CheckedChunk], None] = lambda _: None,
) -> SheetCheck:
    """Read and check a whole sheet; keeps 8 bytes per row and the errors in memory.

    Args:
        on_chunk: called with each chunk once, in the sheet's order.

    Raises:
        SheetError: the sheet cannot be read to its end.
    """
    rows = blank_rows = emptied = untouched = read_only_edits = 0
    row_errors: list[RowError] = []
    keys: list[npt.NDArray[np.uint64]] = []
    readings = Readings()
    for chunk in sheet.chunks():
        checked = check_chunk(chunk, sheet.columns)
        rows += len(checked)
        blank_rows += chunk.blank_rows
        emptied += chunk.emptied
        read_only_edits += chunk.read_only_edits
        untouched += len(checked.untouched)
        row_errors += checked.row_errors
        readings.add(checked.readings)
        keys.append(_keys(checked))
        on_chunk(checked)
    decisions: dict[int, RowDecision] = {}
    contested: set[str] = set()
    repeated = _repeated_rows(sheet, keys)
    for incident_id, of_incident in repeated.items():
        _count_occurrences(of_incident, decisions)
        conflicts = _conflicts(of_incident)
        if not conflicts or policy is OnConflict.ERROR:
            _skip_duplicates(of_incident, decisions)
            row_errors += _reject(conflicts, sheet.columns, decisions)
        else:
            contested.add(incident_id)
            if policy is OnConflict.LAST:
                _skip_superseded(of_incident, decisions)
        _mark_overwritten(of_incident, decisions)
    row_errors.sort(key=lambda row_error: row_error.row_number)
    return SheetCheck(
        rows,
        blank_rows,
        tuple(row_errors),
        decisions,
        frozenset(repeated),
        frozenset(contested),
        readings,
        emptied,
        untouched,
        read_only_edits,
    )


def _keys(checked: CheckedChunk) -> npt.NDArray[np.uint64]:
    """Return the keys of the incidents of valid rows that set a field."""
    return keys_of(itertools.compress(checked.ids, checked.are_to_set()))


@dataclass(frozen=True, slots=True)
class _Row:
    row_number: int
    values: dict[str, str]


def _repeated_rows(sheet: Sheet, keys: list[npt.NDArray[np.uint64]]) -> dict[str, list[_Row]]:
    """Collect the valid rows of incidents that are in several rows, by reading the sheet again."""
    every = np.sort(np.concatenate(keys or [np.array([], np.uint64)]))
    repeated = every[1:][every[1:] == every[:-1]]
    found: dict[str, list[_Row]] = {}
    # Two ids may have the same key, so the ids are compared below.
    for chunk in sheet.chunks() if len(repeated) else ():
        checked = check_chunk(chunk, sheet.columns)
        valid = np.flatnonzero(np.array(checked.are_to_set(), bool))
        for place in valid[np.isin(_keys(checked), repeated)].tolist():
            row = _Row(checked.numbers[place], checked.values(place))
            found.setdefault(checked.ids[place], []).append(row)
    return {incident_id: rows for incident_id, rows in found.items() if len(rows) > 1}


def _count_occurrences(rows: list[_Row], decisions: dict[int, RowDecision]) -> None:
    seen: dict[tuple[tuple[str, str], ...], int] = {}
    for row in rows:
        key = tuple(row.values.items())
        seen[key] = seen.get(key, 0) + 1
        decisions[row.row_number] = RowDecision(Status.PENDING, occurrence=seen[key])


def _conflicts(rows: list[_Row]) -> dict[int, tuple[str, str, int]]:
    """Return row_number -> (field, value, another row that sets another value)."""
    first: dict[str, dict[str, int]] = {}
    for row in rows:
        for name, value in row.values.items():
            first.setdefault(name, {}).setdefault(value, row.row_number)
    conflicts: dict[int, tuple[str, str, int]] = {}
    for row in rows:
        for name, value in row.values.items():
            if len(first[name]) > 1 and name != COMMENT_FIELD:
                other = next(number for text, number in first[name].items() if text != value)
                conflicts.setdefault(row.row_number, (name, value, other))
    return conflicts


def _reject(
    conflicts: dict[int, tuple[str, str, int]], columns: Columns, decisions: dict[int, RowDecision]
) -> Iterator[RowError]:
    for row_number, (name, value, other) in conflicts.items():
        problem = f"row {other} sets {name} of the same incident to another value"
        fix = f"Remove one of the rows, or use {option('on_conflict', OnConflict.LAST)}"
        decisions[row_number] = RowDecision(
            Status.REJECTED, f"{problem}. {fix}.", decisions[row_number].occurrence
        )
        yield RowError(row_number, columns.name(name), "conflict", shorten(value), problem, fix)


def _skip_duplicates(rows: list[_Row], decisions: dict[int, RowDecision]) -> None:
    first: dict[tuple[tuple[str, str], ...], int] = {}
    for row in rows:
        key = tuple(row.values.items())
        sent = first.setdefault(key, row.row_number)
        if sent != row.row_number:
            decisions[row.row_number] = RowDecision(
                Status.SKIPPED,
                f"duplicate of row {sent}",
                decisions[row.row_number].occurrence,
            )


def _skip_superseded(rows: list[_Row], decisions: dict[int, RowDecision]) -> None:
    later: dict[str, int] = {}
    for row in reversed(rows):
        over = [later.get(name) for name in row.values]
        if None not in over:
            decisions[row.row_number] = RowDecision(
                Status.SKIPPED,
                f"overridden by row {over[0]}, the last row for these fields",
                decisions[row.row_number].occurrence,
            )
        for name in row.values:
            later.setdefault(name, row.row_number)


def _mark_overwritten(rows: list[_Row], decisions: dict[int, RowDecision]) -> None:
    later: set[str] = set()
    for row in reversed(rows):
        decision = decisions[row.row_number]
        if decision.status is Status.PENDING:
            overwritten = frozenset(later.intersection(row.values))
            decisions[row.row_number] = replace(decision, overwritten=overwritten)
            later.update(row.values)


class DecidedChunk:
    """A checked chunk with the decision about each row.

    Attributes:
        joined_digests: the digests of all rows, 12 bytes each, as one text.
    """

    def __init__(self, checked: CheckedChunk, sheet_check: SheetCheck, scope: str) -> None:
        self.checked, self._sheet_check = checked, sheet_check
        self._row_errors: dict[int, list[RowError]] = {}
        for row_error in checked.row_errors:
            self._row_errors.setdefault(row_error.row_number, []).append(row_error)
        self.joined_digests = self._make_digests(Digests(scope))

    def _make_digests(self, digests: Digests) -> bytes:
        checked, decisions = self.checked, self._sheet_check.decisions
        nothing = [""] * len(checked)
        columns = [checked.columns.get(name, nothing) for name in FIELDS]
        if not self._row_errors and not decisions and checked.is_plain:
            return digests.joined(columns)
        made, rows = [], zip(*columns, strict=True)
        for place, (number, cells) in enumerate(zip(checked.numbers, rows, strict=True)):
            decision = decisions.get(number)
            mark = "" if checked.is_plain else further_mark(checked.values(place))
            mark += occurrence_mark(decision.occurrence) if decision else ""
            made.append(
                digests.of(cells, f"\0row {number}" if number in self._row_errors else mark)
            )
        return b"".join(made)

    @cached_property
    def digests(self) -> list[bytes]:
        """The digest of each row."""
        return separated(self.joined_digests)

    @property
    def is_all_plain(self) -> bool:
        """Whether every row is valid and is sent independently of other rows."""
        return (
            not self._row_errors
            and self.checked.is_plain
            and self._sheet_check.decisions.keys().isdisjoint(self.checked.numbers)
        )

    def items(self) -> Iterator[Change | Outcome]:
        """Yield each row's item, in the sheet's order."""
        if self.is_all_plain:
            return self._changes()
        return map(self.item, range(len(self.checked)))

    def _changes(self) -> Iterator[Change]:
        """Yield each row's change; only if ``is_all_plain``."""
        columns = self.checked.columns
        every = tuple(columns)
        rows = zip(*columns.values(), strict=True)
        for number, digest, cells in zip(self.checked.numbers, self.digests, rows, strict=True):
            values, names = dict(zip(every, cells, strict=True)), every
            if "" in cells:
                values = {name: cell for name, cell in values.items() if cell}
                names = tuple(values)
            yield Change(number, cells[0], names[1:], dumps(values), digest.hex())

    def item(self, place: int) -> Change | Outcome:
        """Return a Change for a row to send and an Outcome for any other."""
        number, incident_id = self.checked.numbers[place], self.checked.ids[place]
        digest = self.digests[place].hex()
        if number in self._row_errors:
            return _rejected(number, incident_id, self._row_errors[number], digest)
        values = self.checked.values(place)
        if place in self.checked.untouched:
            return Outcome(
                number, incident_id, Status.UNCHANGED, (), digest, error_message=NOT_EDITED
            )
        decision = self._sheet_check.decisions.get(number)
        if decision is None or decision.status is Status.PENDING:
            was = self.checked.was_at(place)
            made = Change.made(number, incident_id, self.checked.typed_values(place), digest, was)
            since = self.checked.comment_since.get(place, 0.0)
            expected = self.checked.expected.get(place)
            origins = self.checked.origins(place)
            if not since and expected is None and origins is None:
                return made
            return made._replace(comment_since=since, expected=expected, origins=origins)
        return Outcome(
            number,
            incident_id,
            decision.status,
            tuple(map(field_of, values)),
            digest,
            error_code="conflict" if decision.status is Status.REJECTED else "",
            error_message=decision.reason,
        )


def _rejected(
    row_number: int, incident_id: str, row_errors: list[RowError], digest: str
) -> Outcome:
    reasons = " ".join(f"{one.column}: {one.problem}. {one.fix}." for one in row_errors)
    return Outcome(
        row_number,
        shorten(incident_id),
        Status.REJECTED,
        (),
        digest,
        error_code=row_errors[0].kind,
        error_message=reasons,
    )
