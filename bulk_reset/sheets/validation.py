"""Every rule of the API, checked before anything is sent.

Whole columns at a time, cell by cell only where something may be wrong.

A broken rule is data (a ``RowError`` with row, column, value and mend), never an exception.
Text is kept as it is; only the id is freed of what does not change what it names (see
``bulk_reset.core.incident_ids``).

Source of the rules: ``bulk_reset.model``. Two are this tool's own, because the API would take
what is surely an accident: text of nothing but spaces, and control characters other than
tab and line break (half of a binary file, a wrong encoding, a terminal's colours).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np

from bulk_reset.core.custom_fields import (
    COMMENT_FIELD,
    LONGEST_COMMENT,
    field_of,
    is_whole,
    value_of,
)
from bulk_reset.core.fields import FIELDS, ID_FIELD, SEVERITIES, SEVERITY_FIELD, TEXT_LENGTHS
from bulk_reset.core.incident_ids import ID_DIGITS, Readings, ids_in_link, is_id, read_ids
from bulk_reset.core.row_error import RowError
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.chunk import Chunk
from bulk_reset.sheets.columns import Columns

_SHOWN_CHARACTERS: Final = 60
_PLAIN: Final = frozenset(FIELDS)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_FIRST_PRINTABLE: Final = 0x20
_ALLOWED_CONTROLS: Final = tuple(b"\t\n\r")
_FORMULA_ERRORS: Final = (
    *("#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!"),
    *("#SPILL!", "#CALC!", "#GETTING_DATA", "#FIELD!", "#BLOCKED!", "#CONNECT!"),
)
"""What a spreadsheet writes into a text file for a formula that failed."""
_LONGEST_FORMULA_ERROR: Final = max(map(len, _FORMULA_ERRORS))
_NO_MISTAKE: Final = frozenset({"", *SEVERITIES})
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
        numbers: the row numbers; every row, wrong ones too.
        columns: field -> cells, the sheet's fields in the order of ``FIELDS``.
        mistakes: in the order of rows and fields.
        readings: how often an id was not written as an id alone.
        was: field -> cells, what the sheet was made from, where it says so.
        untouched: the places of the rows in which nothing was edited since.
    """

    numbers: Sequence[int]
    columns: dict[str, list[str]]
    row_errors: list[RowError]
    readings: Readings = field(default_factory=Readings)
    was: dict[str, list[str]] = field(default_factory=dict)
    untouched: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def ids(self) -> list[str]:
        """The incident of each row: 24 digits in lower case, or what is wrong there."""
        return self.columns[ID_FIELD]

    @property
    def wrong_rows(self) -> set[int]:
        """The numbers of the rows with a mistake."""
        return {row_error.row_number for row_error in self.row_errors}

    @property
    def is_plain(self) -> bool:
        """Whether there are no columns but ``FIELDS``, and nothing of what the sheet was made."""
        return not self.was and self.columns.keys() <= _PLAIN

    def are_to_set(self) -> list[bool]:
        """Tell of each row whether it has no mistake and something to set."""
        wrong = self.wrong_rows
        if not wrong and not self.untouched:
            return [True] * len(self)
        return [
            number not in wrong and place not in self.untouched
            for place, number in enumerate(self.numbers)
        ]

    def further_places(self) -> Sequence[int]:
        """Return the places of the rows that may set more than ``FIELDS``."""
        return () if self.columns.keys() <= _PLAIN else range(len(self))

    def was_at(self, place: int) -> dict[str, Any] | None:
        """Return what the row at this place was made from, None where nobody knows."""
        found = {name: cells[place] for name, cells in self.was.items()}
        if not any(found.values()):
            return None
        return {field_of(name): _was(name, text) for name, text in found.items()}

    def values(self, place: int) -> dict[str, str]:
        """Return what the row at this place sets: field -> text."""
        return {
            name: cells[place]
            for name, cells in self.columns.items()
            if name != ID_FIELD and cells[place]
        }


def _was(column: str, text: str) -> Any:  # noqa: ANN401  (JSON)
    try:
        return value_of(column, text)
    except (ValueError, RecursionError):
        return text


def check_chunk(chunk: Chunk, columns: Columns) -> CheckedChunk:
    """Check all rules that concern one row alone."""
    cells = {name: chunk.columns[position] for name, position in columns.position.items()}
    raw_ids = cells[ID_FIELD]
    cells[ID_FIELD] = [text.strip().lower() for text in raw_ids]
    readings = Readings()
    if not _are_ids(cells[ID_FIELD]):
        cells[ID_FIELD] = read_ids(cells[ID_FIELD], readings)
    found = list(_odd_cells(chunk, columns))
    odd = {(place, name) for place, name, *_ in found}
    for name, texts in cells.items():
        broken = _check_column(name, texts)
        found += (entry for entry in broken if (entry[0], name) not in odd)
    wrong, untouched = {place for place, *_ in found}, frozenset[int]()
    if chunk.was:
        untouched = frozenset(_untouched(cells, chunk.was) - wrong)
    found += _check_emptiness(cells, wrong | untouched)
    order = list(cells)
    found.sort(key=lambda entry: (entry[0], order.index(entry[1])))
    row_errors = []
    for place, name, kind, problem, fix in found:
        value = shorten(raw_ids[place] if name == ID_FIELD else cells[name][place])
        number = chunk.numbers[place]
        row_errors.append(RowError(number, columns.name(name), kind, value, problem, fix))
    return CheckedChunk(chunk.numbers, cells, row_errors, readings, chunk.was, untouched)


def _untouched(cells: dict[str, list[str]], was: dict[str, list[str]]) -> set[int]:
    """Return the places of rows that were made from an incident and set nothing."""
    settable = [texts for name, texts in cells.items() if name != ID_FIELD]
    made_from = list(was.values())
    return {
        place
        for place in range(len(cells[ID_FIELD]))
        if not any(texts[place] for texts in settable) and any(old[place] for old in made_from)
    }


_Broken = Iterator[tuple[int, str, str, str, str]]
"""(place in the chunk, field, kind, problem, mend) of each broken rule."""


def _check_column(name: str, texts: list[str]) -> _Broken:
    """Find the cells that may be wrong by a look at all of them, then look at those alone."""
    suspects: Sequence[int]
    mistake_in: Callable[[str], _Mistake | None]
    if name == ID_FIELD:
        suspects = () if _are_ids(texts) else range(len(texts))
        mistake_in = _id_error
    elif name == SEVERITY_FIELD:
        suspects = () if _NO_MISTAKE.issuperset(texts) else range(len(texts))
        mistake_in = _severity_error
    elif name not in TEXT_LENGTHS:
        suspects, mistake_in = range(len(texts)), partial(_further_error, name)
    else:
        longest = TEXT_LENGTHS[name][1]
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        short = (lengths > 0) & (lengths <= _LONGEST_FORMULA_ERROR)
        suspects = np.flatnonzero(short | (lengths > longest)).tolist()
        if any(map(str.isspace, texts)) or _has_control(texts):
            suspects = range(len(texts))
        mistake_in = partial(_text_error, name)
    for place in suspects:
        row_error = mistake_in(texts[place])
        if row_error is not None:
            yield place, name, *row_error


def _are_ids(texts: list[str]) -> bool:
    """Tell whether every text is 24 hexadecimal digits in lower case."""
    if set(map(len, texts)) != {ID_DIGITS}:
        return False
    joined = "".join(texts)
    try:
        # Spaces within are skipped there, so the length tells of them.
        return len(bytes.fromhex(joined)) * 2 == len(joined)
    except ValueError:
        return False


def _has_control(texts: list[str]) -> bool:
    """Tell whether a control character is in any of the texts, in one look at all of them."""
    joined = "".join(texts)
    content = joined.encode("utf-8", "replace")
    codes = np.frombuffer(content, np.uint8)
    if codes.size and codes.min() < _FIRST_PRINTABLE:
        low = codes[codes < _FIRST_PRINTABLE]
        if not np.isin(low, _ALLOWED_CONTROLS).all():
            return True
    # U+0080 to U+009F are C2 80 to C2 9F; other characters begin with C2 too.
    return b"\x7f" in content or (b"\xc2" in content and _CONTROL.search(joined) is not None)


_Mistake = tuple[str, str, str]
"""kind, problem, mend"""


def _id_error(text: str) -> _Mistake | None:
    if is_id(text):
        return None
    if not text:
        return "id_missing", "no incident id", "fill it in, or remove the row"
    if _NUMBER_LIKE.fullmatch(text) and ("e" in text or "." in text or "," in text):
        return (
            "id_number",
            "a spreadsheet turned the id into a number; its digits are lost",
            "format the column as Text, then paste the id again from its source",
        )
    in_link = ids_in_link(text)
    if in_link is not None:
        problem = f"the link has {len(in_link) or 'no'} incident ids in it"
        return "id_invalid", problem, "write the id of the one incident instead"
    if len(text) != ID_DIGITS:
        return "id_invalid", f"an id has 24 characters, this has {len(text)}", "copy the whole id"
    return (
        "id_invalid",
        "an id has only the digits 0-9 and the letters a-f",
        "copy the id again from its source",
    )


def _text_error(name: str, text: str) -> _Mistake | None:
    shortest, longest = TEXT_LENGTHS[name]
    if text in _FORMULA_ERRORS:
        return (
            "formula_error",
            f"the formula's error {text}",
            "write the text itself, or empty the cell",
        )
    if len(text) > longest:
        fix = f"cut it to {longest:,}: {len(text) - longest:,} too many"
        return "too_long", f"{len(text):,} characters", fix
    if control := _CONTROL.search(text):
        problem = (
            f"the control character U+{ord(control[0]):04X} as character {control.start() + 1:,}"
        )
        return "control_character", problem, "remove it, or empty the cell"
    if text.isspace():
        # Long enough or not: spaces alone say nothing.
        return "only_spaces", "nothing but spaces", "empty the cell"
    if 0 < len(text) < shortest:
        problem = f"{len(text)} character{'s' if len(text) > 1 else ''}"
        return "too_short", problem, f"write at least {shortest}, or empty the cell"
    return None


def _severity_error(text: str) -> _Mistake | None:
    if text in _NO_MISTAKE:
        return None
    meant = _SEVERITY_MEANT.get(text.strip().casefold())
    if meant:
        fix = f"write {meant}"
    elif text.strip().casefold() == "ok":
        fix = "Ok cannot be set: write another one, or empty the cell"
    else:
        fix = "write Info, Warning or Critical, or empty the cell"
    return "severity", "not a severity", fix


def _further_error(name: str, text: str) -> _Mistake | None:
    """Return what is wrong with a cell for a custom field or with a comment."""
    if not text:
        return None
    if name == COMMENT_FIELD and len(text) > LONGEST_COMMENT:
        fix = f"cut it to {LONGEST_COMMENT:,}: {len(text) - LONGEST_COMMENT:,} too many"
        return "too_long", f"{len(text):,} characters", fix
    if text in _FORMULA_ERRORS or text.isspace() or _CONTROL.search(text):
        return _text_error("description", text)
    return _value_error(name, text)


def _value_error(name: str, text: str) -> _Mistake | None:
    try:
        value = value_of(name, text)
    except (ValueError, RecursionError):
        return "json", "not JSON", 'write it like ["a", "b"], 5 or true, or "a" for a text'
    if not is_whole(json.dumps(value, ensure_ascii=False)):
        return "json", "half of a character", "write the whole character"
    if value is None:
        return "json", "null sets nothing", "empty the cell: it leaves the field alone"
    return None


def error_of(name: str, text: str) -> str:
    """Return why a text cannot be set in a column; empty where it can."""
    if name == SEVERITY_FIELD:
        found = _severity_error(text)
    elif name in TEXT_LENGTHS:
        found = _text_error(name, text)
    else:
        found = _further_error(name, text)
    if found is None and not is_whole(text):
        return "half of a character"
    return found[1] if found else ""


def _check_emptiness(columns: dict[str, list[str]], wrong: set[int]) -> _Broken:
    settable = [cells for name, cells in columns.items() if name != ID_FIELD]
    if any("" not in cells for cells in settable):
        return
    for place in range(len(columns[ID_FIELD])):
        if place not in wrong and not any(cells[place] for cells in settable):
            fix = "fill in a field, or remove the row"
            yield place, ID_FIELD, "nothing_to_set", "no field to set in this row", fix


def _odd_cells(chunk: Chunk, columns: Columns) -> _Broken:
    if not chunk.odd_cells:
        return
    name_at = {position: name for name, position in columns.position.items() if name != ID_FIELD}
    place_of = {number: place for place, number in enumerate(chunk.numbers)}
    for (number, position), problem in chunk.odd_cells.items():
        name = name_at.get(position)
        if name is not None and number in place_of:
            fix = "format the cell as Text and type what it should read"
            yield place_of[number], name, "cell_type", problem, fix


def shorten(text: str) -> str:
    """Return the text on one line, cut to 60 characters with an ellipsis."""
    line = one_line(text[: 4 * _SHOWN_CHARACTERS])
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"
