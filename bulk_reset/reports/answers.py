"""The result of each row of a sheet, for an answer workbook.

Found in the report and its previous values. The results are in a temporary file, and in memory is
what finds them: a few hundred bytes a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from bulk_reset.core.custom_fields import text_of
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.safe_text import shown
from bulk_reset.core.spool import Spool
from bulk_reset.records.previous_index import PreviousIndex
from bulk_reset.records.previous_values import BEFORE, PreviousValues
from bulk_reset.records.report_index import ReportIndex
from bulk_reset.records.report_reader import beside
from bulk_reset.sheets.columns import ANSWER_COLUMNS
from bulk_reset.sheets.sheet import Sheet
from bulk_reset.sheets.validation import CheckedChunk, check_chunk

COLUMNS: Final = ANSWER_COLUMNS
WIDTHS: Final = (18, 44, 44, 44, 62)
WRAPPED: Final = range(1, 4)
"""Places of the columns that may have long texts."""
MOST_ROWS: Final = 1 << 20
MOST_LINKS: Final = 65_000
"""Excel does not open a worksheet with more than 65,530."""
ACTIVE: Final = frozenset({"=", "+", "-", "@"})
"""What a formula begins with; such a text is marked as a text."""
_LONGEST_CELL: Final = 32_767
_GREEN, _GREY, _RED, _YELLOW = "C6EFCE", "E7E9EC", "FFC7CE", "FFEB9C"
COLOUR_OF: Final = {
    Status.UPDATED: _GREEN,
    Status.UNCHANGED: _GREY,
    Status.SKIPPED: _GREY,
    Status.FAILED: _RED,
    Status.REJECTED: _RED,
    Status.CONFLICT: _YELLOW,
    Status.UNKNOWN: _YELLOW,
    Status.PENDING: _YELLOW,
}

_Row = tuple[int, str]
"""row_number, incident_id"""


class Answer(NamedTuple):
    """The result of a row, as texts; empty where there is nothing to show."""

    status: Status
    old: str = ""
    """The previous value; of several fields, each on its own line after its name."""
    new: str = ""
    error: str = ""
    link: str = ""


class Answers(Mapping[int, Answer]):
    """Row number -> the result of a row; fast in the order of the rows."""

    def __init__(self, answers: Iterable[tuple[int, Answer]]) -> None:
        self._places: dict[int, int] = {}
        self._texts = Spool[tuple[str, ...]]()
        for number, answer in answers:
            self._places[number] = len(self._places)
            self._texts.append((answer.status.value, *answer[1:]))

    def __getitem__(self, row_number: int) -> Answer:
        status, *texts = self._texts[self._places[row_number]]
        return Answer(Status(status), *texts)

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def answers_of(report: Path, sheet: Sheet) -> Answers:
    """Return row_number -> its result, for every row that is not blank.

    Raises:
        InputError: there is no report, or it belongs to another sheet.
    """
    rows = [
        row for chunk in sheet.chunks() for row in _ids_by_row(check_chunk(chunk, sheet.columns))
    ]
    values_path = beside(report, BEFORE)
    with (
        ReportIndex(report) as index,
        PreviousIndex(values_path, has_incidents=False) as before,
    ):
        # Of several lines of a row, the last one counts.
        lines = {(one.row_number, one.incident_id): n for n, one in enumerate(index.outcomes())}
        moved = _moved(rows, lines)
        found = {row[0]: lines.get(row, moved.get(row[1])) for row in rows}
        known = np.array([line for line in found.values() if line is not None], np.intp)
        if lines and not len(known):
            raise InputError(
                f"{report}: belongs to another sheet, not to {sheet.label}. Use "
                f"{option('of', 'SHEET')} to name its sheet."
            )
        values = before.of_rows(index.digests[known])
        results = map(_answer, index.at(known.tolist()), values)
        pending = Answer(Status.PENDING)
        return Answers(
            (number, pending if line is None else next(results)) for number, line in found.items()
        )


def _answer(outcome: Outcome, lines: Sequence[PreviousValues]) -> Answer:
    error = f"{outcome.error_code}: {outcome.error_message}".removeprefix(": ").removesuffix(": ")
    if not lines:
        return Answer(outcome.status, error=error)
    last = lines[-1]
    old, new = _values_text(last.before), _values_text(last.wrote)
    return Answer(outcome.status, old, new, error, last.link)


def _ids_by_row(checked: CheckedChunk) -> Iterator[_Row]:
    return zip(checked.numbers, checked.ids, strict=True)


def _moved(rows: Iterable[_Row], lines: Mapping[_Row, int]) -> dict[str, int]:
    """Return incident -> its line, for incidents that have one row in both sheet and report.

    The sheet may have been sorted since the run.
    """
    here = Counter(incident_id for _, incident_id in rows)
    there = Counter(incident_id for _, incident_id in lines)
    return {
        incident_id: line
        for (_, incident_id), line in lines.items()
        if here[incident_id] == there[incident_id] == 1
    }


def _values_text(values: Mapping[str, Any]) -> str:
    texts = {name: text_of(name, value) for name, value in values.items()}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "\n".join(f"{name}: {text}" for name, text in texts.items())


def cell_text(text: str) -> str:
    """Return a text as a cell can contain it.

    Control characters and halves of characters are replaced, and the text is cut to the length of
    a cell, which Excel counts in UTF-16.
    """
    return cut(shown(text))


def cut(text: str) -> str:
    """Return a text of valid characters, cut to the length of a cell."""
    if 2 * len(text) <= _LONGEST_CELL:
        return text
    units = text.encode("utf-16-le")
    if len(units) <= 2 * _LONGEST_CELL:
        return text
    return units[: 2 * (_LONGEST_CELL - 1)].decode("utf-16-le", "ignore") + "…"
