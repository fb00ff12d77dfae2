"""What a pulled sheet remembers: the value of each field when its incident was pulled.

The pulled values belong to an incident. A workbook has them in a worksheet of its own, hidden and
protected, where no search and no sorting reaches; a CSV has them in columns beside the cells. Both
have a check for each incident: a hash of its id and all its pulled values. A row whose check does
not fit is refused, because its edits cannot be told from its pulled values.

Sheets of version 0.1.0 have columns without a check; they are read with a notice.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from bulk_reset.core.custom_fields import custom_column, field_of, header_of, is_same, value_of
from bulk_reset.core.errors import SheetError
from bulk_reset.core.fields import ID_FIELD, SETTABLE_FIELDS
from bulk_reset.core.incident_ids import Readings, is_id, read_ids
from bulk_reset.core.safe_text import guard_formula, without_invalid
from bulk_reset.sheets.chunk import Chunk, Recalled
from bulk_reset.sheets.columns import CHECK_COLUMN, GUARDED_COLUMN, WAS_PREFIX, was_positions
from bulk_reset.sheets.guards import DAMAGED

MEMORY_SHEET: Final = "bulk-reset pulled values"
"""The worksheet with the pulled values."""
STARTED: Final = "Started ("
"""Start of the name of a read-only column; the time zone follows."""
READ_ONLY: Final = ("Number", "Progress", "Channel", "Link")
"""The names of the other read-only columns of a pulled sheet."""
READ_ONLY_EDITED: Final = READ_ONLY[:3]
"""Those whose edits are reported, because they look as if they could be edited."""
_CHANGED: Final = (
    "the pulled values of this row were changed or moved",
    "Pull again, or undo what changed them (replace all, or sorting some of the columns)",
)
_MISSING: Final = (
    "the pulled values of this row are missing",
    "Pull again, or move the row to a sheet of its own",
)
_UNSTABLE: Final = re.compile(
    "_?x[0-9A-Fa-f]{4}_|[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd\ud800-\udfff\ufffe\uffff]"
)
"""What file formats change in a text: escapes of a workbook, control and invalid characters."""
_CHECK_BYTES: Final = 9
_READ_ONLY_MARK: Final = "r:"


class Remembered(Protocol):
    """Which values of a sheet were pulled."""

    @property
    def names(self) -> tuple[str, ...]:
        """The remembered fields, as columns: ``title``, ``field:NAME``, ``field:NAME:json``."""

    @property
    def is_checked(self) -> bool:
        """Whether they have checks."""


class Memory(Remembered, Protocol):
    """The pulled values of a sheet."""

    def recall(self, ids: Sequence[str], columns: Sequence[Sequence[str]]) -> Recalled:
        """Return the pulled values of rows.

        Args:
            ids: the incident id of each row.
            columns: the cells of the rows, by column of the sheet.
        """
        ...


def check_of(incident_id: str, was: Mapping[str, str], json_names: Iterable[str] = ()) -> str:
    """Return the check of an incident's pulled values.

    Args:
        was: column -> pulled text.
        json_names: the columns whose value was not a text, but a list, a number …
    """
    names = sorted(was)
    return _check(incident_id, names, [_stable(was[name]) for name in names], sorted(json_names))


def _check(
    incident_id: str, names: Sequence[str], texts: Sequence[str], marked: Sequence[str]
) -> str:
    # No part contains the separator: ``_stable`` removes it.
    text = "\0".join([incident_id, *marked, "", *names, "", *texts]).encode("utf-8", "replace")
    digest = hashlib.blake2b(text, digest_size=_CHECK_BYTES, person=b"pulled 1").hexdigest()
    # It begins with a letter, so that no spreadsheet reads it as a number.
    return " ".join([f"k{digest}", *marked]) if marked else f"k{digest}"


def _recalled(ids: Sequence[str], was: dict[str, list[str]], checks: list[str]) -> Recalled:
    """Return pulled values with the problems of those whose check does not fit."""
    names = sorted(was)
    stable = [_stable_column(was[name]) for name in names]
    rows = zip(*stable, strict=True) if stable else itertools.repeat((), len(ids))
    problems = {}
    for place, (incident_id, check, texts) in enumerate(zip(ids, checks, rows, strict=True)):
        if check != _check(incident_id, names, texts, _marks_of(check)):
            problems[place] = _CHANGED if check or any(texts) else _MISSING
    return Recalled(was, checks, problems)


def json_names_of(check: str) -> list[str]:
    """Return the columns whose pulled value was not a text."""
    return [mark for mark in _marks_of(check) if not mark.startswith(_READ_ONLY_MARK)]


def _marks_of(check: str) -> list[str]:
    return check.split(" ")[1:] if " " in check else []


def _read_only_mark(cells: Iterable[str]) -> str:
    """Return a short hash of the cells that are shown and never sent."""
    # Spreadsheets remove the zeros at the start of a number in a CSV.
    texts = (_stable(cell).strip().lstrip("0") for cell in cells)
    text = "\0".join(texts).encode("utf-8", "replace")
    digest = hashlib.blake2b(text, digest_size=4, person=b"read only").hexdigest()
    return f"{_READ_ONLY_MARK}{digest}"


def _read_only_edits(checks: Iterable[str], columns: Sequence[Sequence[str]]) -> int:
    """Return the number of rows whose read-only cells are not as they were pulled."""
    edits = 0
    for check, *cells in zip(checks, *columns, strict=True) if columns else ():
        marks = [mark for mark in _marks_of(check) if mark.startswith(_READ_ONLY_MARK)]
        edits += bool(marks) and marks != [_read_only_mark(cells)]
    return edits


def _stable(text: str) -> str:
    """Return the part of a text that every file format keeps.

    Some programs write white space alone as an empty cell.
    """
    if text.isprintable() and "_" not in text and "\ufffd" not in text and not text.isspace():
        return text
    if text.isspace():
        return ""
    return _UNSTABLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _stable_column(texts: Sequence[str]) -> Sequence[str]:
    joined = "".join(texts)
    if joined.isprintable() and not any(mark in joined for mark in "_\ufffd"):
        return texts if not any(map(str.isspace, texts)) else list(map(_stable, texts))
    return list(map(_stable, texts))


def memory_header(names: Iterable[str]) -> list[str]:
    """Return the columns that a CSV has for its pulled values, from remembered fields."""
    return [*(WAS_PREFIX + header_of(name) for name in names), CHECK_COLUMN]


class ColumnMemory:
    """Pulled values in columns of the sheet itself."""

    def __init__(self, header: tuple[str, ...]) -> None:
        self._was = was_positions(header)
        self._check = header.index(CHECK_COLUMN) if CHECK_COLUMN in header else None
        self.names, self.is_checked = tuple(self._was), self._check is not None

    def recall(self, ids: Sequence[str], columns: Sequence[Sequence[str]]) -> Recalled:
        """Return the pulled values of rows; see ``Memory``."""
        was = {name: list(columns[at]) for name, at in self._was.items()}
        if self._check is None:
            return Recalled(was, [""] * len(ids), {})
        return _recalled(ids, was, list(columns[self._check]))


class SheetMemory:
    """Pulled values in a worksheet of their own, by incident.

    Args:
        rows: of the worksheet, with its header.
    """

    is_checked = True

    def __init__(self, rows: Iterable[Sequence[Any]]) -> None:
        iterator = iter(rows)
        header = [str(name) for name in next(iterator, ())]
        names = header[1:-1] if header[:1] == [ID_FIELD] and header[-1:] == [CHECK_COLUMN] else []
        self.names = tuple(custom_column(name) or name for name in names)
        self._row_of = dict(self._rows(iterator)) if names else {}

    def _rows(self, rows: Iterator[Sequence[Any]]) -> Iterator[tuple[str, tuple[str, ...]]]:
        width = len(self.names) + 1
        for cells in rows:
            incident_id, *texts = map(str, cells or [""])
            yield incident_id, (*texts[:width], *[""] * (width - len(texts)))

    def recall(self, ids: Sequence[str], columns: Sequence[Sequence[str]]) -> Recalled:
        """Return the pulled values of rows; see ``Memory``."""
        del columns
        nothing = ("",) * (len(self.names) + 1)
        found = [self._row_of.get(incident_id, nothing) for incident_id in ids]
        by_column = list(zip(*found, strict=True)) or [()] * len(nothing)
        *was, checks = map(list, by_column)
        return _recalled(ids, dict(zip(self.names, was, strict=True)), checks)


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """The pulled values of one incident, to be written.

    Attributes:
        was: column -> pulled text, of every remembered field.
    """

    incident_id: str
    was: Mapping[str, str]
    check: str

    @classmethod
    def of(
        cls,
        incident_id: str,
        was: Mapping[str, str],
        json_names: Iterable[str],
        read_only: Iterable[str],
    ) -> MemoryRow:
        """Make a row from its texts; characters that no file can hold become U+FFFD.

        Args:
            read_only: the cells of ``READ_ONLY_EDITED``, in their order.
        """
        texts = {name: without_invalid(text) for name, text in was.items()}
        marks = [*json_names, _read_only_mark(map(without_invalid, read_only))]
        return cls(incident_id, texts, check_of(incident_id, texts, marks))

    def cells(self) -> list[str]:
        """Return the row of the worksheet ``MEMORY_SHEET``."""
        return [self.incident_id, *self.was.values(), self.check]


def memory_sheet_header(names: Iterable[str]) -> list[str]:
    """Return the header of the worksheet ``MEMORY_SHEET``, from remembered fields."""
    return [ID_FIELD, *map(header_of, names), CHECK_COLUMN]


def memory_of(
    header: tuple[str, ...], hidden_rows: Iterable[Sequence[Any]] | None, label: str
) -> Memory | None:
    """Return the pulled values of a sheet; None for a sheet that was not pulled.

    Args:
        hidden_rows: of the worksheet ``MEMORY_SHEET``, if there is one.

    Raises:
        SheetError: it was pulled, and the pulled values are gone.
    """
    has_columns = bool(was_positions(header))
    has_check = CHECK_COLUMN in header
    if has_columns and (has_check or GUARDED_COLUMN not in header):
        return ColumnMemory(header)
    if has_columns or has_check:
        gone = f"{WAS_PREFIX}…" if has_check else CHECK_COLUMN
        raise SheetError(
            f"{label}: the column {gone!r}, which belongs to the pulled values, was removed or "
            "renamed. Undo that, or pull again."
        )
    if hidden_rows is not None:
        memory = SheetMemory(hidden_rows)
        if set(SETTABLE_FIELDS) <= set(memory.names):
            return memory
        raise SheetError(
            f"{label}: worksheet {MEMORY_SHEET!r} was changed. Undo that, or pull again."
        )
    started = next((name for name in header if name.startswith(STARTED)), None)
    if started is not None and not set(READ_ONLY).isdisjoint(header):
        raise SheetError(
            f"{label}: the sheet was pulled, but its pulled values are missing. Use the file as it "
            f"was pulled, or pull again. To send every cell, remove the column {started!r}."
        )
    return None


def unchecked_notice(memory: Remembered | None) -> str:
    """Return a notice if the pulled values have no checks; else an empty text."""
    if memory is None or memory.is_checked:
        return ""
    return (
        "pulled by an older version, so changes of its pulled values cannot be detected; pull "
        "again to be safe"
    )


IsRewritten = Callable[[str, str, object], bool]
"""Takes an incident id, a field and its pulled value; whether a run wrote another value since."""


def without_unedited(
    chunk: Chunk,
    position: Mapping[str, int],
    memory: Memory,
    is_rewritten: IsRewritten | None = None,
    read_only: Sequence[int] = (),
) -> Chunk:
    """Clear the cells that still have the pulled value, so that they are not sent.

    Args:
        position: field -> 0-based column.
        read_only: the columns of ``READ_ONLY_EDITED``; none if one of them was removed.
        is_rewritten: a cell that was set back to the pulled value after a run is sent.
    """
    ids = [text.strip().lower() for text in chunk.columns[position[ID_FIELD]]]
    if not all(map(is_id, ids)):
        ids = read_ids(ids, Readings())
    recalled = memory.recall(ids, chunk.columns)
    texts, odd_cells, emptied = list(chunk.columns), dict(chunk.odd_cells), 0
    was = {name: recalled.was[name] for name in position if name in recalled.was}
    for name, old in was.items():
        now = chunk.columns[position[name]]
        same = [is_same(text, pulled) for text, pulled in zip(now, old, strict=True)]
        if isinstance(memory, ColumnMemory):
            _find_unrecorded_guards(now, old, recalled)
        for place in recalled.problems:
            same[place] = False
        if is_rewritten is not None:
            for place in (place for place, is_old in enumerate(same) if is_old):
                value = pulled_value(name, old[place], json_names_of(recalled.checks[place]))
                same[place] = not is_rewritten(ids[place], field_of(name), value)
        texts[position[name]] = [
            "" if is_old else text for text, is_old in zip(now, same, strict=True)
        ]
        for place, number in enumerate(chunk.numbers):
            if same[place]:
                odd_cells.pop((number, position[name]), None)
            elif old[place] and not now[place]:
                emptied += 1
    problems = {chunk.numbers[place]: found for place, found in recalled.problems.items()}
    return replace(
        chunk,
        columns=texts,
        odd_cells=odd_cells,
        was=was,
        emptied=emptied,
        read_only_edits=_read_only_edits(
            recalled.checks, [chunk.columns[column] for column in read_only]
        ),
        refused=chunk.refused | problems,
        recalled=recalled,
        is_remembered=memory.is_checked,
    )


def _find_unrecorded_guards(now: Sequence[str], old: Sequence[str], recalled: Recalled) -> None:
    """Refuse rows with a guarded cell that the record of their guards does not have."""
    for place, (text, pulled) in enumerate(zip(now, old, strict=True)):
        if text != pulled and text == guard_formula(pulled):
            recalled.problems.setdefault(place, DAMAGED)


def pulled_value(name: str, text: str, json_names: Iterable[str]) -> Any:  # noqa: ANN401  (JSON)
    """Return the pulled value of a column from its text."""
    column = name if name.endswith(":json") or name not in json_names else f"{name}:json"
    try:
        return value_of(column, text)
    except (ValueError, RecursionError):
        return text


def shown_columns(chunk: Chunk, position: Mapping[str, int]) -> list[list[str]]:
    """Return the cells of each column; those that were not edited have their pulled values."""
    columns = list(chunk.columns)
    for name, old in chunk.was.items():
        cells = columns[position[name]]
        columns[position[name]] = [text or pulled for text, pulled in zip(cells, old, strict=True)]
    return columns
