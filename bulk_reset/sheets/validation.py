"""Checks the API's rules for single rows before anything is sent.

Whole columns are checked at once, and cell by cell only if something may be invalid.

A broken rule is data (a ``RowError`` with row, column, value and fix), never an exception.
Text is not changed, but white space around a comment is removed, and the id is normalised (see
``bulk_reset.core.incident_ids``).

The rules for the text of a cell are in ``cell_rules``.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Any, Final

from bulk_reset.core.actions import ACTION_FIELD, action_named
from bulk_reset.core.custom_fields import COMMENT_FIELD, field_of
from bulk_reset.core.field_types import FieldType
from bulk_reset.core.fields import FIELDS, ID_FIELD, SEVERITIES, SEVERITY_FIELD, TEXT_LENGTHS
from bulk_reset.core.incident_ids import ID_DIGITS, Readings
from bulk_reset.core.look_alikes import is_invisible
from bulk_reset.core.row_error import RowError
from bulk_reset.sheets.cell_rules import (
    FORMULA_ERRORS,
    CellError,
    further_error,
    id_error,
    severity_error,
    shorten,
    text_error,
)
from bulk_reset.sheets.cell_texts import has_control
from bulk_reset.sheets.chunk import INCOMPLETE_CHARACTER, Chunk, origin_of
from bulk_reset.sheets.columns import Columns
from bulk_reset.sheets.comment_times import comment_since
from bulk_reset.sheets.pulled_rows import (
    Broken,
    json_names_by_place,
    other_types,
    refused_rows,
    untouched_rows,
)
from bulk_reset.sheets.pulled_values import pulled_value
from bulk_reset.sheets.typed_cells import broken_types, typed_values
from bulk_reset.sheets.workbooks.merged_cells import MERGED_ABOVE, MERGED_LEFT
from bulk_reset.sheets.workbooks.workbook_xml import NEVER_CALCULATED

_PLAIN: Final = frozenset(FIELDS)
_FORMULA_STARTS: Final = frozenset({"=", *(error[0] for error in FORMULA_ERRORS)})
_START: Final = itemgetter(slice(1))
_FIX_OF: Final = {
    **dict.fromkeys((MERGED_ABOVE, MERGED_LEFT), "Unmerge the cells, then enter the text in each"),
    NEVER_CALCULATED: "Save the workbook in a spreadsheet program, or enter the text itself",
    INCOMPLETE_CHARACTER: "Enter the complete character",
}
"""The fix of a cell's problem, where it is not the format of the cell."""
_MAPPABLE: Final = frozenset({"severity", "too_short"})
"""Errors of texts that a profile may map."""
_VALID_SEVERITIES: Final = frozenset({"", *SEVERITIES})


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
        types: column -> the custom field that it sets.
        origin: returns the rules of a profile that a cell is from: place, field -> text.
        content: the cells of the rows as the file has them, see ``AsRead``; None if a cell of
            ``columns`` may differ from them.
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
    origin: Callable[[int, str], str] | None = None
    types: Mapping[str, FieldType] = field(default_factory=dict)
    content: bytes | None = None

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
        """Whether there are only columns of ``FIELDS``, and nothing is known of their values."""
        is_known = self.was or self.is_remembered or self.expected or self.origin
        return not is_known and self.columns.keys() <= _PLAIN

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

    def origins(self, place: int) -> dict[str, str] | None:
        """Return field -> the rules of a profile that its value is from; None without a profile."""
        if self.origin is None:
            return None
        found = {name: self.origin(place, name) for name in self.columns}
        return {field_of(name): rules for name, rules in found.items() if rules}

    def values(self, place: int) -> dict[str, str]:
        """Return the values that the row at this place sets: column -> text."""
        json_names = self.json_names.get(place, ())
        return {
            f"{name}:json" if name in json_names else name: cells[place]
            for name, cells in self.columns.items()
            if name != ID_FIELD and cells[place]
        }

    def typed_values(self, place: int) -> dict[str, str]:
        """Return the values that the row sets, as the types of custom fields have them."""
        values = self.values(place)
        return typed_values(values, self.types) if self.types else values


def check_chunk(chunk: Chunk, columns: Columns) -> CheckedChunk:
    """Check all rules for single rows."""
    cells = {name: chunk.columns[position] for name, position in columns.position.items()}
    raw_ids = cells[ID_FIELD]
    readings = Readings()
    if not (are_ids := _are_ids(raw_ids)):
        lowered = [text.strip().lower() for text in raw_ids]
        cells[ID_FIELD] = columns.numbers.read(lowered, readings)
    if COMMENT_FIELD in cells:
        # The server does the same, and counts the characters then. White space alone is an error.
        cells[COMMENT_FIELD] = [text.strip() or text for text in cells[COMMENT_FIELD]]
    if ACTION_FIELD in cells:
        cells[ACTION_FIELD] = [action_named(text) or text for text in cells[ACTION_FIELD]]
    json_names = json_names_by_place(chunk, cells)
    found = [
        *_odd_cells(chunk, columns),
        *_profile_faults(chunk, columns),
        *((p, ID_FIELD, *error) for p, error in columns.numbers.faults(cells[ID_FIELD])),
        *refused_rows(chunk),
        *(() if columns.is_exact else other_types(_untyped(cells, columns), chunk, json_names)),
    ]
    odd = {(place, name) for place, name, *_ in found}
    for name, texts in cells.items():
        if columns.is_exact and (name in TEXT_LENGTHS or name.endswith(":json")):
            continue
        if name == ID_FIELD and are_ids:
            continue
        broken = _broken_cells(name, texts, chunk, columns)
        found += (entry for entry in broken if (entry[0], name) not in odd)
    found += _broken_rules(cells, chunk, columns, {(place, name) for place, name, *_ in found})
    invalid, untouched = {place for place, *_ in found}, frozenset[int]()
    if chunk.row_faults:
        invalid |= {p for p, number in enumerate(chunk.numbers) if number in chunk.row_faults}
    if chunk.recalled is not None:
        untouched = frozenset(untouched_rows(cells, chunk) - invalid)
    found += _check_emptiness(cells, invalid | untouched)
    order = list(cells)
    found.sort(key=lambda entry: (entry[0], order.index(entry[1])))
    row_errors = [
        _row_error(entry, raw_ids if entry[1] == ID_FIELD else cells[entry[1]], chunk, columns)
        for entry in found
    ]
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
        comment_since(chunk, columns),
        _expected(chunk, columns),
        partial(_origin, chunk, columns) if chunk.origins else None,
        columns.types,
        _content(cells, chunk, columns),
    )


def _content(cells: dict[str, list[str]], chunk: Chunk, columns: Columns) -> bytes | None:
    """Return the file's own cells if every checked column is a list that was read from it."""
    if (read := chunk.as_read) is None:
        return None
    is_same = all(
        # A template of a profile makes a column behind those of the file.
        place < len(read.columns) and cells[name] is read.columns[place]
        for name, place in columns.position.items()
    )
    return read.content if is_same else None


def _untyped(cells: dict[str, list[str]], columns: Columns) -> dict[str, list[str]]:
    """Return the cells of which only the pulled value shows the type."""
    if not columns.types:
        return cells
    return {
        name: [""] * len(texts) if name in columns.types else texts for name, texts in cells.items()
    }


def _broken_rules(
    cells: Mapping[str, list[str]],
    chunk: Chunk,
    columns: Columns,
    broken_before: Container[tuple[int, str]],
) -> Broken:
    """Find cells that break the user's own rules, and no other."""
    if columns.rules is None:
        return
    for entry in columns.rules.errors(cells, chunk.was):
        if entry[:2] not in broken_before:
            yield entry


def _row_error(
    entry: tuple[int, str, str, str, str], texts: Sequence[str], chunk: Chunk, columns: Columns
) -> RowError:
    place, name, kind, problem, fix = entry
    if chunk.origins and (rule := origin_of(chunk, columns.position[name], place)):
        problem += f" (from {rule})"
    if name in columns.mapped_values and kind in _MAPPABLE:
        fix += f", or map it in [values.{name}] of the profile"
    value = shorten(texts[place])
    return RowError(chunk.numbers[place], columns.name(name), kind, value, problem, fix)


def _origin(chunk: Chunk, columns: Columns, place: int, name: str) -> str:
    return origin_of(chunk, columns.position[name], place)


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


def _with_faults(row_errors: list[RowError], chunk: Chunk) -> list[RowError]:
    """Return the errors with those of uncertain rows, in place of errors of their cells."""
    faults = chunk.row_faults
    kept = [row_error for row_error in row_errors if row_error.row_number not in faults]
    kept += [
        RowError(number, fault.column, fault.kind, shorten(fault.value), fault.problem, fault.fix)
        for number, fault in faults.items()
    ]
    return sorted(kept, key=lambda row_error: row_error.row_number)


def _broken_cells(name: str, texts: list[str], chunk: Chunk, columns: Columns) -> Broken:
    """Yield the cells of a column that break its rules or, if none of these, its field's type."""
    broken = list(_check_column(name, texts, may_have_controls=chunk.may_have_controls))
    yield from broken
    if name in columns.types:
        wrong = {entry[0] for entry in broken}
        typed = broken_types(name, texts, columns.types[name])
        yield from (entry for entry in typed if entry[0] not in wrong)


def _check_column(name: str, texts: list[str], *, may_have_controls: bool) -> Broken:
    """Find cells that may be invalid with fast tests of the whole column, then check only those."""
    suspects: Sequence[int]
    error_in: Callable[[str], CellError | None]
    if name == ID_FIELD:
        suspects, error_in = range(len(texts)), id_error
    elif name == SEVERITY_FIELD:
        suspects = () if _VALID_SEVERITIES.issuperset(texts) else range(len(texts))
        error_in = severity_error
    elif name not in TEXT_LENGTHS:
        suspects, error_in = range(len(texts)), partial(further_error, name)
    else:
        is_searched = may_have_controls and has_control("".join(texts).encode("utf-8", "replace"))
        suspects = range(len(texts)) if is_searched else _suspects(texts, *TEXT_LENGTHS[name])
        error_in = partial(text_error, name)
    for place in suspects:
        found = error_in(texts[place])
        if found is not None:
            yield place, name, *found


def _suspects(texts: list[str], shortest: int, longest: int) -> list[int]:
    """Return the places of texts that may be invalid, if none has a control character."""
    starts = {start for start in set(map(_START, texts)) if _is_odd_start(start)}
    lengths = set(map(len, texts)) - {0}
    if not starts and (not lengths or (min(lengths) >= shortest and max(lengths) <= longest)):
        return []
    return [
        place
        for place, text in enumerate(texts)
        if text and (text[0] in starts or not shortest <= len(text) <= longest)
    ]


def _is_odd_start(start: str) -> bool:
    """Return whether the formula of a spreadsheet, or an invisible text, may begin with it."""
    return start in _FORMULA_STARTS or is_invisible(start)


def _are_ids(texts: list[str]) -> bool:
    """Return whether every text is 24 hexadecimal digits in lower case."""
    if set(map(len, texts)) != {ID_DIGITS}:
        return False
    joined = "".join(texts)
    if joined != joined.lower():
        return False
    try:
        # fromhex skips spaces, so the lengths are compared.
        return len(bytes.fromhex(joined)) * 2 == len(joined)
    except ValueError:
        return False


def _check_emptiness(columns: dict[str, list[str]], invalid: set[int]) -> Broken:
    settable = [cells for name, cells in columns.items() if name != ID_FIELD]
    if any("" not in cells for cells in settable):
        return
    for place in range(len(columns[ID_FIELD])):
        if place not in invalid and not any(cells[place] for cells in settable):
            fix = "Fill in a field, or remove the row"
            yield place, ID_FIELD, "nothing_to_set", "the row has no field to update", fix


def _profile_faults(chunk: Chunk, columns: Columns) -> Broken:
    """Find cells for which the profile has no text."""
    if not chunk.profile_faults:
        return
    name_at = {position: name for name, position in columns.position.items()}
    place_of = {number: place for place, number in enumerate(chunk.numbers)}
    for (number, position), fault in chunk.profile_faults.items():
        if position in name_at and number in place_of:
            yield place_of[number], name_at[position], *fault


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
