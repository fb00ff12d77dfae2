"""Checks the API's rules for single rows before anything is sent.

Whole columns are checked at once, and cell by cell only if something may be invalid.

A broken rule is data (a ``RowError`` with row, column, value and fix), never an exception.
Text is not changed; only the id is normalised (see ``bulk_reset.core.incident_ids``).

Source of the rules: ``bulk_reset.core.fields``. Two rules are our own, because the API accepts
text that is certainly an accident: text of only invisible characters, and control characters
other than tab and line break (part of a binary file, a wrong encoding, a terminal's colours).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import numpy as np

from bulk_reset.core.counting import counted
from bulk_reset.core.custom_fields import (
    COMMENT_FIELD,
    LONGEST_COMMENT,
    field_of,
    is_whole,
    value_of,
)
from bulk_reset.core.fields import FIELDS, ID_FIELD, SEVERITIES, SEVERITY_FIELD, TEXT_LENGTHS
from bulk_reset.core.incident_ids import ID_DIGITS, Readings, ids_in_link, is_id, read_ids
from bulk_reset.core.look_alikes import is_invisible, may_be_invisible
from bulk_reset.core.row_error import RowError
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.chunk import INCOMPLETE_CHARACTER, Chunk
from bulk_reset.sheets.columns import COMMENT_SENT, Columns
from bulk_reset.sheets.merged_cells import MERGED_ABOVE, MERGED_LEFT
from bulk_reset.sheets.pulled_rows import (
    Broken,
    json_names_by_place,
    other_types,
    refused_rows,
    untouched_rows,
)
from bulk_reset.sheets.pulled_values import pulled_value
from bulk_reset.sheets.workbook_xml import NEVER_CALCULATED

_SHOWN_CHARACTERS: Final = 60
_PLAIN: Final = frozenset(FIELDS)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_FIRST_PRINTABLE: Final = 0x20
_ALLOWED_CONTROLS: Final = tuple(b"\t\n\r")
_FORMULA_ERRORS: Final = (
    *("#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!"),
    *("#SPILL!", "#CALC!", "#GETTING_DATA", "#FIELD!", "#BLOCKED!", "#CONNECT!"),
)
"""The text that a spreadsheet exports for a formula that failed."""
_LONGEST_FORMULA_ERROR: Final = max(map(len, _FORMULA_ERRORS))
_FIX_OF: Final = {
    **dict.fromkeys((MERGED_ABOVE, MERGED_LEFT), "Unmerge the cells, then enter the text in each"),
    NEVER_CALCULATED: "Save the workbook in a spreadsheet program, or enter the text itself",
    INCOMPLETE_CHARACTER: "Enter the complete character",
}
"""The fix of a cell's problem, where it is not the format of the cell."""
_VALID_SEVERITIES: Final = frozenset({"", *SEVERITIES})
_NUMBER_LIKE: Final = re.compile(r"[0-9]+([.,][0-9]+)?(e[+-]?[0-9]+)?")
_SEVERITY_MEANT: Final = {
    **{name.casefold(): name for name in SEVERITIES},
    **dict.fromkeys(("p1", "p0", "high", "fatal", "crit", "严重", "紧急", "致命"), "Critical"),
    **dict.fromkeys(("p2", "medium", "warn", "major", "警告", "重要"), "Warning"),
    **dict.fromkeys(("p3", "p4", "low", "information", "minor", "提醒", "信息", "一般"), "Info"),
}


@dataclass(frozen=True, slots=True)
class CheckedChunk:
    """A chunk's rows by field, with their errors.

    Attributes:
        numbers: the row numbers, including invalid rows.
        columns: field -> cells, the sheet's fields in the order of ``FIELDS``.
        row_errors: the errors, in the order of rows and fields.
        readings: counts of ids that were not plain ids.
        was: field -> cells with the pulled values, if the sheet was pulled.
        untouched: places in the chunk of rows in which nothing was edited since the pull.
        is_remembered: whether every row has pulled values, even if all of them are empty.
        json_names: place -> the columns whose pulled value was not a text; their cells are JSON.
        comment_since: place -> since when an earlier run may have added the comment.
        expected: place -> field -> the text that its incident must have.
    """

    numbers: Sequence[int]
    columns: dict[str, list[str]]
    row_errors: list[RowError]
    readings: Readings = field(default_factory=Readings)
    was: dict[str, list[str]] = field(default_factory=dict)
    untouched: frozenset[int] = frozenset()
    is_remembered: bool = False
    json_names: dict[int, frozenset[str]] = field(default_factory=dict)
    comment_since: Mapping[int, float] = field(default_factory=dict)
    expected: Mapping[int, Mapping[str, str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def ids(self) -> list[str]:
        """The incident id of each row: 24 digits in lower case, or the invalid text."""
        return self.columns[ID_FIELD]

    @property
    def invalid_rows(self) -> set[int]:
        """The numbers of the invalid rows."""
        return {row_error.row_number for row_error in self.row_errors}

    @property
    def is_plain(self) -> bool:
        """Whether there are only columns of ``FIELDS``, and no pulled values."""
        return (
            not (self.was or self.is_remembered or self.expected) and self.columns.keys() <= _PLAIN
        )

    def are_to_set(self) -> list[bool]:
        """Return for each row whether it is valid and sets a field."""
        invalid = self.invalid_rows
        if not invalid and not self.untouched:
            return [True] * len(self)
        return [
            number not in invalid and place not in self.untouched
            for place, number in enumerate(self.numbers)
        ]

    def further_places(self) -> Sequence[int]:
        """Return the places of the rows that may set more than ``FIELDS``."""
        return () if self.columns.keys() <= _PLAIN else range(len(self))

    def was_at(self, place: int) -> dict[str, Any] | None:
        """Return the pulled values of the row at this place; None if there are none."""
        found = {name: cells[place] for name, cells in self.was.items()}
        if not self.is_remembered and not any(found.values()):
            return None
        json_names = self.json_names.get(place, ())
        return {
            field_of(name): pulled_value(name, text, json_names) for name, text in found.items()
        }

    def values(self, place: int) -> dict[str, str]:
        """Return the values that the row at this place sets: column -> text."""
        json_names = self.json_names.get(place, ())
        return {
            f"{name}:json" if name in json_names else name: cells[place]
            for name, cells in self.columns.items()
            if name != ID_FIELD and cells[place]
        }


def check_chunk(chunk: Chunk, columns: Columns) -> CheckedChunk:
    """Check all rules for single rows."""
    cells = {name: chunk.columns[position] for name, position in columns.position.items()}
    raw_ids = cells[ID_FIELD]
    cells[ID_FIELD] = [text.strip().lower() for text in raw_ids]
    readings = Readings()
    if not _are_ids(cells[ID_FIELD]):
        cells[ID_FIELD] = read_ids(cells[ID_FIELD], readings)
    json_names = json_names_by_place(chunk, cells)
    found = [
        *_odd_cells(chunk, columns),
        *refused_rows(chunk),
        *(() if columns.is_exact else other_types(cells, chunk, json_names)),
    ]
    odd = {(place, name) for place, name, *_ in found}
    for name, texts in cells.items():
        if columns.is_exact and name in TEXT_LENGTHS:
            continue
        broken = _check_column(name, texts)
        found += (entry for entry in broken if (entry[0], name) not in odd)
    invalid, untouched = {place for place, *_ in found}, frozenset[int]()
    if chunk.row_faults:
        invalid |= {p for p, number in enumerate(chunk.numbers) if number in chunk.row_faults}
    if chunk.recalled is not None:
        untouched = frozenset(untouched_rows(cells, chunk) - invalid)
    found += _check_emptiness(cells, invalid | untouched)
    order = list(cells)
    found.sort(key=lambda entry: (entry[0], order.index(entry[1])))
    row_errors = []
    for place, name, kind, problem, fix in found:
        value = shorten(raw_ids[place] if name == ID_FIELD else cells[name][place])
        number = chunk.numbers[place]
        row_errors.append(RowError(number, columns.name(name), kind, value, problem, fix))
    if chunk.row_faults:
        row_errors = _with_faults(row_errors, chunk)
    return CheckedChunk(
        chunk.numbers,
        cells,
        row_errors,
        readings,
        chunk.was,
        untouched,
        chunk.is_remembered,
        json_names,
        _comment_since(chunk, columns),
        _expected(chunk, columns),
    )


def _expected(chunk: Chunk, columns: Columns) -> dict[int, dict[str, str]]:
    """Return place -> field -> expected text; an empty cell expects nothing."""
    if not columns.expected:
        return {}
    rows = zip(*(chunk.columns[position] for position in columns.expected.values()), strict=True)
    return {
        place: {name: text for name, text in zip(columns.expected, texts, strict=True) if text}
        for place, texts in enumerate(rows)
        if any(texts)
    }


def _comment_since(chunk: Chunk, columns: Columns) -> dict[int, float]:
    if COMMENT_SENT not in columns.header:
        return {}
    times = chunk.columns[columns.header.index(COMMENT_SENT)]
    return {place: _epoch_of(text) for place, text in enumerate(times) if text}


def _with_faults(row_errors: list[RowError], chunk: Chunk) -> list[RowError]:
    """Return the errors with those of uncertain rows, in place of errors of their cells."""
    faults = chunk.row_faults
    kept = [row_error for row_error in row_errors if row_error.row_number not in faults]
    kept += [
        RowError(number, fault.column, fault.kind, shorten(fault.value), fault.problem, fault.fix)
        for number, fault in faults.items()
    ]
    return sorted(kept, key=lambda row_error: row_error.row_number)


def _epoch_of(text: str) -> float:
    """Return a time as it was written, or as a spreadsheet shows it; else one before all others."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return 1.0
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _check_column(name: str, texts: list[str]) -> Broken:
    """Find cells that may be invalid with fast tests of the whole column, then check only those."""
    suspects: Sequence[int]
    error_in: Callable[[str], _CellError | None]
    if name == ID_FIELD:
        suspects = () if _are_ids(texts) else range(len(texts))
        error_in = _id_error
    elif name == SEVERITY_FIELD:
        suspects = () if _VALID_SEVERITIES.issuperset(texts) else range(len(texts))
        error_in = _severity_error
    elif name not in TEXT_LENGTHS:
        suspects, error_in = range(len(texts)), partial(_further_error, name)
    else:
        longest = TEXT_LENGTHS[name][1]
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        short = (lengths > 0) & (lengths <= _LONGEST_FORMULA_ERROR)
        is_suspect = short | (lengths > longest)
        if may_be_invisible({text[:1] for text in texts if text}):
            is_suspect |= np.fromiter(map(is_invisible, texts), bool, len(texts))
        suspects = np.flatnonzero(is_suspect).tolist()
        if _has_control(texts):
            suspects = range(len(texts))
        error_in = partial(_text_error, name)
    for place in suspects:
        found = error_in(texts[place])
        if found is not None:
            yield place, name, *found


def _are_ids(texts: list[str]) -> bool:
    """Return whether every text is 24 hexadecimal digits in lower case."""
    if set(map(len, texts)) != {ID_DIGITS}:
        return False
    joined = "".join(texts)
    try:
        # fromhex skips spaces, so the lengths are compared.
        return len(bytes.fromhex(joined)) * 2 == len(joined)
    except ValueError:
        return False


def _has_control(texts: list[str]) -> bool:
    """Return whether any of the texts contains a control character."""
    joined = "".join(texts)
    content = joined.encode("utf-8", "replace")
    codes = np.frombuffer(content, np.uint8)
    if codes.size and codes.min() < _FIRST_PRINTABLE:
        low = codes[codes < _FIRST_PRINTABLE]
        if not np.isin(low, _ALLOWED_CONTROLS).all():
            return True
    # U+0080 to U+009F are C2 80 to C2 9F; other characters begin with C2 too.
    return b"\x7f" in content or (b"\xc2" in content and _CONTROL.search(joined) is not None)


_CellError = tuple[str, str, str]
"""kind, problem, fix. Each is a phrase without a full stop: they become cells of a table or
``problem. fix.``"""


def _id_error(text: str) -> _CellError | None:
    if is_id(text):
        return None
    if not text:
        return "id_missing", "the incident ID is missing", "Enter the ID, or remove the row"
    if _NUMBER_LIKE.fullmatch(text) and ("e" in text or "." in text or "," in text):
        return (
            "id_number",
            "a spreadsheet converted the ID to a number, and digits are lost",
            "Format the column as Text, then paste the ID again from its source",
        )
    in_link = ids_in_link(text)
    if in_link is not None:
        found = counted(len(in_link), "incident ID") if in_link else "no incident ID"
        return "id_invalid", f"the link contains {found}", "Use the ID of one incident"
    if len(text) != ID_DIGITS:
        problem = f"{counted(len(text), 'character')}; an ID has {ID_DIGITS}"
        return "id_invalid", problem, "Copy the whole ID"
    return (
        "id_invalid",
        "an ID contains only the digits 0-9 and the letters a-f",
        "Copy the ID again from its source",
    )


def _text_error(name: str, text: str) -> _CellError | None:
    shortest, longest = TEXT_LENGTHS[name]
    if text in _FORMULA_ERRORS:
        problem = f"the formula failed with {text}"
        return "formula_error", problem, "Enter the text itself, or clear the cell"
    if len(text) > longest:
        return _too_long(text, longest)
    if control := _CONTROL.search(text):
        code = f"U+{ord(control[0]):04X}"
        problem = f"contains the control character {code} at position {control.start() + 1:,}"
        return "control_character", problem, "Remove it, or clear the cell"
    if is_invisible(text):
        # It has no meaning as a value, even if it is long enough.
        what = "spaces" if text.isspace() else "invisible characters"
        return "only_spaces", f"contains only {what}", "Clear the cell"
    return _too_short(text, shortest)


def _too_short(text: str, shortest: int) -> _CellError | None:
    if not 0 < len(text) < shortest:
        return None
    problem = f"{counted(len(text), 'character')}; the minimum is {shortest}"
    return "too_short", problem, f"Enter at least {shortest} characters, or clear the cell"


def _too_long(text: str, longest: int) -> _CellError:
    problem = f"{len(text):,} characters; the maximum is {longest:,}"
    return "too_long", problem, f"Shorten it by {counted(len(text) - longest, 'character')}"


def _severity_error(text: str) -> _CellError | None:
    if text in _VALID_SEVERITIES:
        return None
    meant = _SEVERITY_MEANT.get(text.strip().casefold())
    if meant:
        return "severity", "not a severity", f"Use {meant}"
    is_ok = text.strip().casefold() == "ok"
    problem = "the severity Ok cannot be set" if is_ok else "not a severity"
    return "severity", problem, "Use Info, Warning or Critical, or clear the cell"


def _further_error(name: str, text: str) -> _CellError | None:
    """Return the error of a cell for a custom field or a comment."""
    if not text:
        return None
    if name == COMMENT_FIELD and len(text) > LONGEST_COMMENT:
        return _too_long(text, LONGEST_COMMENT)
    if text in _FORMULA_ERRORS or is_invisible(text) or _CONTROL.search(text):
        return _text_error("description", text)
    return _value_error(name, text)


def _value_error(name: str, text: str) -> _CellError | None:
    try:
        value = value_of(name, text)
    except ValueError as exc:
        is_syntax = isinstance(exc, json.JSONDecodeError)
        problem = "not valid JSON" if is_syntax else shorten(str(exc))
        return "json", problem, 'Use for example ["a", "b"], 5, true, or "a" for a text'
    if not is_whole(json.dumps(value, ensure_ascii=False)):
        return "json", INCOMPLETE_CHARACTER, "Enter the complete character"
    if value is None:
        return "json", "null cannot be set", "Clear the cell to leave the field unchanged"
    return None


def error_of(name: str, text: str) -> str:
    """Return why a text cannot be set in a column; empty if it can."""
    found = problem_of(name, text)
    return found[0] if found else ""


def problem_of(name: str, text: str) -> tuple[str, str] | None:
    """Return why a text cannot be set in a column, and the fix; None if it can."""
    if name == SEVERITY_FIELD:
        found = _severity_error(text)
    elif name in TEXT_LENGTHS:
        found = _text_error(name, text)
    else:
        found = _further_error(name, text)
    if found is None and not is_whole(text):
        return INCOMPLETE_CHARACTER, "Enter the complete character"
    return found[1:] if found else None


def api_error_of(name: str, text: str) -> str:
    """Return why the API does not accept a text for a standard field; empty if it does."""
    if name == SEVERITY_FIELD:
        found = _severity_error(text)
    else:
        shortest, longest = TEXT_LENGTHS[name]
        found = _too_long(text, longest) if len(text) > longest else _too_short(text, shortest)
    if found is None and not is_whole(text):
        return INCOMPLETE_CHARACTER
    return found[1] if found else ""


def _check_emptiness(columns: dict[str, list[str]], invalid: set[int]) -> Broken:
    settable = [cells for name, cells in columns.items() if name != ID_FIELD]
    if any("" not in cells for cells in settable):
        return
    for place in range(len(columns[ID_FIELD])):
        if place not in invalid and not any(cells[place] for cells in settable):
            fix = "Fill in a field, or remove the row"
            yield place, ID_FIELD, "nothing_to_set", "the row has no field to update", fix


def _odd_cells(chunk: Chunk, columns: Columns) -> Broken:
    if not chunk.odd_cells:
        return
    name_at = {position: name for name, position in columns.position.items() if name != ID_FIELD}
    place_of = {number: place for place, number in enumerate(chunk.numbers)}
    for (number, position), problem in chunk.odd_cells.items():
        name = name_at.get(position)
        if name is not None and number in place_of:
            fix = _FIX_OF.get(problem, "Format the cell as Text, then enter the text")
            yield place_of[number], name, "cell_type", problem, fix
        elif position in columns.expected.values() and number in place_of:
            fix = _FIX_OF.get(problem, "Format the cell as Text, then enter the text")
            where = f"{columns.header[position]}: {problem}"
            yield place_of[number], ID_FIELD, "cell_type", where, fix


def shorten(text: str) -> str:
    """Return the text on one line, cut to 60 characters with an ellipsis."""
    line = one_line(text[: 4 * _SHOWN_CHARACTERS])
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"
