"""The whole sheet: what it holds, and what follows for rows of one incident.

Second in the flow, after the rules that concern one row alone. Rows that set the same are
sent once; rows that set different fields are all sent; rows that set one field to different
values are a conflict, and the policy decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from bulk_reset.columns import Columns
from bulk_reset.load import Sheet
from bulk_reset.model import ID_FIELD, Change, Mistake, OnConflict, Outcome, Status, digest_of
from bulk_reset.validate import CheckedChunk, check_chunk, rows_of, shorten


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is decided about one row because of other rows of the same incident."""

    status: Status
    """REJECTED, SKIPPED, or PENDING for a row that is to be sent."""
    reason: str = ""
    occurrence: int = 1
    """How often these very values had stood for the incident by this row; in the digest."""
    overwritten: frozenset[str] = frozenset()
    """The fields that a later row of the sheet sets again."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a whole sheet holds.

    Attributes:
        rows: how many there are, blank ones not counted.
        mistakes: all of them, in the sheet's order.
        rulings: row_number -> what is decided, for rows whose incident stands on several.
        repeated_ids: those incidents; their rows are sent in order, never at the same time.
        contested_ids: those of them whose rows overwrite each other.
    """

    rows: int
    blank_rows: int
    mistakes: tuple[Mistake, ...]
    rulings: dict[int, Ruling]
    repeated_ids: frozenset[str]
    contested_ids: frozenset[str]


def survey_sheet(
    sheet: Sheet,
    policy: OnConflict = OnConflict.ERROR,
    on_chunk: Callable[[CheckedChunk], None] = lambda _: None,
) -> Survey:
    """Read and check a whole sheet; in memory stay 8 bytes a row, and the mistakes.

    Args:
        on_chunk: sees each chunk once, in the sheet's order.

    Raises:
        SheetError: the sheet cannot be read to its end.
    """
    rows = blank_rows = 0
    mistakes: list[Mistake] = []
    hashes: list[npt.NDArray[np.uint64]] = []
    for chunk in sheet.chunks():
        checked = check_chunk(chunk, sheet.columns)
        rows += len(checked.frame)
        blank_rows += chunk.blank_rows
        mistakes += checked.mistakes
        hashes.append(_hash_ids(checked))
        on_chunk(checked)
    rulings: dict[int, Ruling] = {}
    contested: set[str] = set()
    repeated = _repeated_rows(sheet, hashes)
    for incident_id, of_incident in repeated.items():
        _count_occurrences(of_incident, rulings)
        conflicts = _conflicts(of_incident)
        if not conflicts or policy is OnConflict.ERROR:
            _skip_twins(of_incident, rulings)
            mistakes += _reject(conflicts, sheet.columns, rulings)
        else:
            contested.add(incident_id)
            if policy is OnConflict.LAST:
                _skip_superseded(of_incident, rulings)
        _mark_overwritten(of_incident, rulings)
    mistakes.sort(key=lambda mistake: mistake.row_number)
    return Survey(
        rows, blank_rows, tuple(mistakes), rulings, frozenset(repeated), frozenset(contested)
    )


def _hash_ids(checked: CheckedChunk) -> npt.NDArray[np.uint64]:
    return pd.util.hash_array(checked.frame[ID_FIELD].to_numpy(dtype=object))


@dataclass(frozen=True, slots=True)
class _Row:
    row_number: int
    values: dict[str, str]


def _repeated_rows(sheet: Sheet, hashes: list[npt.NDArray[np.uint64]]) -> dict[str, list[_Row]]:
    """Collect the valid rows of the incidents that stand on several, by a second look."""
    values, counts = np.unique(np.concatenate(hashes or [np.array([])]), return_counts=True)
    wanted = values[counts > 1]
    found: dict[str, list[_Row]] = {}
    # Hashes of wrong ids and collisions may be among them; the ids themselves decide below.
    for chunk in sheet.chunks() if len(wanted) else ():
        checked = check_chunk(chunk, sheet.columns)
        wrong = checked.wrong_rows
        for row_number, incident_id, values_set in rows_of(
            checked.frame[np.isin(_hash_ids(checked), wanted)]
        ):
            if row_number not in wrong:
                found.setdefault(incident_id, []).append(_Row(row_number, values_set))
    return {incident_id: rows for incident_id, rows in found.items() if len(rows) > 1}


def _count_occurrences(rows: list[_Row], rulings: dict[int, Ruling]) -> None:
    seen: dict[tuple[tuple[str, str], ...], int] = {}
    for row in rows:
        key = tuple(row.values.items())
        seen[key] = seen.get(key, 0) + 1
        rulings[row.row_number] = Ruling(Status.PENDING, occurrence=seen[key])


def _conflicts(rows: list[_Row]) -> dict[int, tuple[str, str, int]]:
    """Return row_number -> (field, value, another row that sets it otherwise)."""
    first: dict[str, dict[str, int]] = {}
    for row in rows:
        for name, value in row.values.items():
            first.setdefault(name, {}).setdefault(value, row.row_number)
    conflicts: dict[int, tuple[str, str, int]] = {}
    for row in rows:
        for name, value in row.values.items():
            if len(first[name]) > 1:
                other = next(number for text, number in first[name].items() if text != value)
                conflicts.setdefault(row.row_number, (name, value, other))
    return conflicts


def _reject(
    conflicts: dict[int, tuple[str, str, int]], columns: Columns, rulings: dict[int, Ruling]
) -> Iterator[Mistake]:
    for row_number, (name, value, other) in conflicts.items():
        problem = f"row {other} sets {name} of the same incident to something else"
        mend = "keep one of them, or say --on-conflict last (or in-order)"
        rulings[row_number] = Ruling(
            Status.REJECTED, f"{problem}: {mend}", rulings[row_number].occurrence
        )
        yield Mistake(row_number, columns.name(name), "conflict", shorten(value), problem, mend)


def _skip_twins(rows: list[_Row], rulings: dict[int, Ruling]) -> None:
    first: dict[tuple[tuple[str, str], ...], int] = {}
    for row in rows:
        key = tuple(row.values.items())
        twin = first.setdefault(key, row.row_number)
        if twin != row.row_number:
            rulings[row.row_number] = Ruling(
                Status.SKIPPED,
                f"the same as row {twin}, which is sent",
                rulings[row.row_number].occurrence,
            )


def _skip_superseded(rows: list[_Row], rulings: dict[int, Ruling]) -> None:
    later: dict[str, int] = {}
    for row in reversed(rows):
        over = [later.get(name) for name in row.values]
        if None not in over:
            rulings[row.row_number] = Ruling(
                Status.SKIPPED,
                f"row {over[0]} sets the same again, and the last row wins",
                rulings[row.row_number].occurrence,
            )
        for name in row.values:
            later.setdefault(name, row.row_number)


def _mark_overwritten(rows: list[_Row], rulings: dict[int, Ruling]) -> None:
    later: set[str] = set()
    for row in reversed(rows):
        ruling = rulings[row.row_number]
        if ruling.status is Status.PENDING:
            overwritten = frozenset(later.intersection(row.values))
            rulings[row.row_number] = replace(ruling, overwritten=overwritten)
            later.update(row.values)


def changes_and_outcomes(
    checked: CheckedChunk, survey: Survey, scope: str
) -> Iterator[Change | Outcome]:
    """Yield, in the sheet's order, a Change for each row to send and an Outcome for the others."""
    wrong: dict[int, list[Mistake]] = {}
    for mistake in checked.mistakes:
        wrong.setdefault(mistake.row_number, []).append(mistake)
    rulings = survey.rulings
    for row_number, incident_id, values in rows_of(checked.frame):
        if row_number in wrong:
            content = "\0".join((str(row_number), incident_id, *values.values()))
            digest = digest_of(content.encode(errors="replace"), scope)
            yield _rejected(row_number, incident_id, wrong[row_number], digest)
            continue
        ruling = rulings.get(row_number)
        occurrence = ruling.occurrence if ruling else 1
        change = Change.of(row_number, incident_id, values, scope=scope, occurrence=occurrence)
        if ruling is None or ruling.status is Status.PENDING:
            yield change
        else:
            yield Outcome(
                row_number,
                incident_id,
                ruling.status,
                change.fields,
                change.digest,
                error_code="conflict" if ruling.status is Status.REJECTED else "",
                error_message=ruling.reason,
            )


def _rejected(row_number: int, incident_id: str, mistakes: list[Mistake], digest: str) -> Outcome:
    reasons = "; ".join(f"{m.column}: {m.problem}: {m.mend}" for m in mistakes)
    return Outcome(
        row_number,
        shorten(incident_id),
        Status.REJECTED,
        (),
        digest,
        error_code=mistakes[0].kind,
        error_message=reasons,
    )
