"""Every rule of the API, checked before anything is sent.

Whole columns at a time, then the whole sheet for incidents that stand on several rows.

A broken rule is data (a ``Mistake`` with row, column, value and mend), never an exception.
Text is kept as it is; only the id is trimmed and lower-cased, which does not change what
it names.

Source of the rules: ``bulk_reset.model``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from bulk_reset.columns import Columns
from bulk_reset.load import Chunk, Sheet
from bulk_reset.model import (
    FIELDS,
    ID_FIELD,
    SEVERITIES,
    SEVERITY_FIELD,
    TEXT_LENGTHS,
    Change,
    Mistake,
    OnConflict,
    Outcome,
    Status,
    digest_of,
)

_SHOWN_CHARACTERS: Final = 60
_ID_PATTERN: Final = r"[0-9a-f]{24}"
_FORMULA_ERRORS: Final = (
    *("#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!"),
    *("#SPILL!", "#CALC!", "#GETTING_DATA", "#FIELD!", "#BLOCKED!", "#CONNECT!"),
)
"""What a spreadsheet writes into a text file for a formula that failed."""
_NUMBER_LIKE: Final = re.compile(r"[0-9]+([.,][0-9]+)?(e[+-]?[0-9]+)?")
_SEVERITY_MEANT: Final = {
    **{name.casefold(): name for name in SEVERITIES},
    **dict.fromkeys(("p1", "p0", "high", "fatal", "crit", "严重", "紧急", "致命"), "Critical"),
    **dict.fromkeys(("p2", "medium", "warn", "major", "警告", "重要"), "Warning"),
    **dict.fromkeys(("p3", "p4", "low", "information", "minor", "提醒", "信息", "一般"), "Info"),
}


@dataclass(frozen=True, slots=True)
class CheckedChunk:
    """A chunk's rows by field, with what is wrong with them.

    Attributes:
        frame: index row_number, columns the sheet's fields in the order of ``FIELDS``;
            every row, wrong ones too.
        mistakes: in the order of rows and fields.
    """

    frame: pd.DataFrame
    mistakes: list[Mistake]

    @property
    def wrong_rows(self) -> set[int]:
        """The numbers of the rows with a mistake."""
        return {mistake.row_number for mistake in self.mistakes}


def check_chunk(chunk: Chunk, columns: Columns) -> CheckedChunk:
    """Check all rules that concern one row alone."""
    fields = [name for name in FIELDS if name in columns.position]
    frame = chunk.frame[[columns.position[name] for name in fields]]
    frame.columns = pd.Index(fields)
    frame = frame.assign(**{ID_FIELD: frame[ID_FIELD].str.strip().str.lower()})
    found: list[tuple[int, str, str, str, str]] = []
    found += _odd_cells(chunk, columns, frame)
    odd = {(row_number, name) for row_number, name, *_ in found}
    for name in fields:
        if name == ID_FIELD:
            broken = _check_ids(frame[name])
        elif name == SEVERITY_FIELD:
            broken = _check_severities(frame[name])
        else:
            broken = _check_texts(frame[name])
        found += (entry for entry in broken if (entry[0], name) not in odd)
    found += _check_emptiness(frame, {row_number for row_number, *_ in found})
    found.sort(key=lambda entry: (entry[0], FIELDS.index(entry[1])))
    mistakes = []
    for row_number, name, kind, problem, mend in found:
        value = shorten(str(chunk.frame.loc[row_number, columns.position[name]]))
        mistakes.append(Mistake(row_number, columns.name(name), kind, value, problem, mend))
    return CheckedChunk(frame, mistakes)


_Broken = Iterator[tuple[int, str, str, str, str]]
"""(row_number, field, kind, problem, mend) of each broken rule."""


def _numbered(cells: pd.Series[str]) -> Iterator[tuple[int, str]]:
    return zip(cells.index.tolist(), cells.tolist(), strict=True)


def _check_ids(ids: pd.Series[str]) -> _Broken:
    for row_number, text in _numbered(ids[~ids.str.fullmatch(_ID_PATTERN)]):
        kind, problem, mend = _id_mistake(text)
        yield row_number, ID_FIELD, kind, problem, mend


def _id_mistake(text: str) -> tuple[str, str, str]:
    if not text:
        return "id_missing", "no incident id", "fill it in, or remove the row"
    if _NUMBER_LIKE.fullmatch(text) and ("e" in text or "." in text or "," in text):
        return (
            "id_number",
            "a spreadsheet turned the id into a number; its digits are lost",
            "format the column as Text, then paste the id again from its source",
        )
    if len(text) != 24:  # noqa: PLR2004
        return "id_invalid", f"an id has 24 characters, this has {len(text)}", "copy the whole id"
    return (
        "id_invalid",
        "an id has only the digits 0-9 and the letters a-f",
        "copy the id again from its source",
    )


def _check_texts(texts: pd.Series[str]) -> _Broken:
    name = str(texts.name)
    for row_number, text in _numbered(texts[texts.isin(_FORMULA_ERRORS)]):
        mend = "write the text itself, or empty the cell"
        yield row_number, name, "formula_error", f"the formula's error {text}", mend
    shortest, longest = TEXT_LENGTHS[name]
    lengths = texts.str.len()
    wrong = ((lengths > 0) & (lengths < shortest)) | (lengths > longest)
    for row_number, text in _numbered(texts[wrong]):
        if len(text) > longest:
            mend = f"cut it to {longest:,}: {len(text) - longest:,} too many"
            yield row_number, name, "too_long", f"{len(text):,} characters", mend
        elif text.strip():
            problem = f"{len(text)} character{'s' if len(text) > 1 else ''}"
            mend = f"write at least {shortest}, or empty the cell"
            yield row_number, name, "too_short", problem, mend
    # Outside the lengths or not: spaces alone say nothing.
    blank = texts[(lengths > 0) & (lengths <= longest) & (texts.str.strip() == "")]
    for row_number in blank.index.tolist():
        mend = "empty the cell"
        yield row_number, name, "only_spaces", "nothing but spaces", mend


def _check_severities(severities: pd.Series[str]) -> _Broken:
    wrong = severities[~severities.isin(["", *SEVERITIES])]
    for row_number, text in _numbered(wrong):
        meant = _SEVERITY_MEANT.get(text.strip().casefold())
        if meant:
            mend = f"write {meant}"
        elif text.strip().casefold() == "ok":
            mend = "Ok cannot be set: write another one, or empty the cell"
        else:
            mend = "write Info, Warning or Critical, or empty the cell"
        yield row_number, SEVERITY_FIELD, "severity", "not a severity", mend


def _check_emptiness(frame: pd.DataFrame, wrong_rows: set[int]) -> _Broken:
    settable = [name for name in frame.columns if name != ID_FIELD]
    empty = pd.Series(data=True, index=frame.index)
    for name in settable:
        empty &= frame[name] == ""
    for row_number in frame.index[empty].tolist():
        if row_number not in wrong_rows:
            mend = "fill in a field, or remove the row"
            yield row_number, ID_FIELD, "nothing_to_set", "no field to set in this row", mend


def _odd_cells(chunk: Chunk, columns: Columns, frame: pd.DataFrame) -> _Broken:
    name_at = {position: name for name, position in columns.position.items() if name != ID_FIELD}
    rows = set(frame.index.tolist()) if chunk.odd_cells else set()
    for (row_number, position), problem in chunk.odd_cells.items():
        name = name_at.get(position)
        if name is not None and row_number in rows:
            mend = "format the cell as Text and type what it should read"
            yield row_number, name, "cell_type", problem, mend


def shorten(text: str) -> str:
    """Return the text on one line, cut to 60 characters with an ellipsis."""
    line = " ".join(text[: 4 * _SHOWN_CHARACTERS].split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"


# --- The whole sheet -------------------------------------------------------------------------


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
        for row_number, incident_id, values_set in _rows(
            checked.frame[np.isin(_hash_ids(checked), wanted)]
        ):
            if row_number not in wrong:
                found.setdefault(incident_id, []).append(_Row(row_number, values_set))
    return {incident_id: rows for incident_id, rows in found.items() if len(rows) > 1}


def _rows(frame: pd.DataFrame) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Yield row_number, id and the values to set of each row."""
    names = [str(name) for name in frame.columns[1:]]
    cells = [frame[name].tolist() for name in frame.columns]
    for row_number, incident_id, *texts in zip(frame.index.tolist(), *cells, strict=True):
        yield (
            row_number,
            incident_id,
            {name: text for name, text in zip(names, texts, strict=True) if text},
        )


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


# --- What is sent, and what is not -----------------------------------------------------------


def changes_and_outcomes(
    checked: CheckedChunk, survey: Survey, scope: str
) -> Iterator[Change | Outcome]:
    """Yield, in the sheet's order, a Change for each row to send and an Outcome for the others."""
    wrong: dict[int, list[Mistake]] = {}
    for mistake in checked.mistakes:
        wrong.setdefault(mistake.row_number, []).append(mistake)
    rulings = survey.rulings
    for row_number, incident_id, values in _rows(checked.frame):
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
