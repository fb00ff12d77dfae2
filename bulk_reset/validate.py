"""Every rule of the API, checked before anything is sent.

Whole columns at a time, row by row only where something is wrong.

A broken rule is data (a ``Mistake`` with row, column, value and mend), never an exception.
Text is kept as it is; only the id is trimmed and lower-cased, which does not change what
it names.

Source of the rules: ``bulk_reset.model``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pandas as pd

from bulk_reset.columns import Columns
from bulk_reset.load import Chunk
from bulk_reset.model import (
    FIELDS,
    ID_FIELD,
    SEVERITIES,
    SEVERITY_FIELD,
    TEXT_LENGTHS,
    Mistake,
    one_line,
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
    line = one_line(text[: 4 * _SHOWN_CHARACTERS])
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"


def rows_of(frame: pd.DataFrame) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Yield row_number, id and the values to set (field -> text) of each row."""
    names = [str(name) for name in frame.columns[1:]]
    cells = [frame[name].tolist() for name in frame.columns]
    for row_number, incident_id, *texts in zip(frame.index.tolist(), *cells, strict=True):
        yield (
            row_number,
            incident_id,
            {name: text for name, text in zip(names, texts, strict=True) if text},
        )
