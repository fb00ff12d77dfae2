"""Guards: the quotes that keep a spreadsheet from running cells of a CSV that bulk-reset wrote.

Such a file has a column with the guarded cells of each row, as they were written: JSON, column ->
cell. So a quote that a user types is told from a guard, and only guards are removed.

Files without that column (version 0.1.0) have guards wherever a text may have one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from bulk_reset.core.safe_text import guard_formula, unguard_edited, unguard_formula
from bulk_reset.sheets.chunk import Chunk
from bulk_reset.sheets.columns import (
    BEFORE_COLUMN,
    FAILED_COLUMNS,
    GUARDED_COLUMN,
    was_field,
    was_positions,
)

DAMAGED: Final = (
    f"{GUARDED_COLUMN!r} was changed, so quotes that guard cells against formulas are not known",
    "Undo the change, or use the file as it was written",
)


def guarded_row(header: Sequence[str], cells: Sequence[str]) -> list[str]:
    """Return the cells guarded, then the cell of ``GUARDED_COLUMN``."""
    guarded = list(map(guard_formula, cells))
    if guarded == list(cells):
        return [*guarded, ""]
    changed = {
        key: text
        for key, text, cell in zip(_keys(header), guarded, cells, strict=True)
        if text != cell
    }
    # Its texts are guarded, so it is no formula wherever a spreadsheet splits it.
    return [*guarded, json.dumps(changed, ensure_ascii=False)]


def _keys(header: Iterable[str]) -> Iterator[str]:
    """Yield a key for each column: its name; the second of a name has a number."""
    seen: dict[str, int] = {}
    for name in header:
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}\n{seen[name]}"


class Guards:
    """Removes the guards from the cells of a sheet.

    Attributes:
        header: the names of the columns, without guards.
    """

    def __init__(self, header: tuple[str, ...]) -> None:
        self._record = header.index(GUARDED_COLUMN) if GUARDED_COLUMN in header else None
        self._before = header.index(BEFORE_COLUMN) if BEFORE_COLUMN in header else None
        is_ours = set(FAILED_COLUMNS) <= set(header) or bool(was_positions(header))
        self._is_everywhere = is_ours and self._record is None
        is_guarded = self._is_everywhere or (self._record, self._before) != (None, None)
        self.header = tuple(map(unguard_formula, header)) if is_guarded else header
        self._place_of = {key: place for place, key in enumerate(_keys(self.header))}

    def remove(self, chunk: Chunk) -> None:
        """Remove the guards from the cells of a chunk."""
        is_everywhere = self._is_everywhere
        chunk.columns[:] = [
            list(map(unguard_formula, cells)) if is_everywhere or was_field(name) else cells
            for name, cells in zip(self.header, chunk.columns, strict=True)
        ]
        if self._record is not None:
            self._remove_recorded(chunk, chunk.columns[self._record])
        elif self._before is not None:
            self._remove_recorded(chunk, map(_as_record, chunk.columns[self._before]))

    def _remove_recorded(self, chunk: Chunk, records: Iterable[str]) -> None:
        for place, record in enumerate(records):
            if not record:
                continue
            guarded = _parsed(record)
            if guarded is None:
                chunk.refused[int(chunk.numbers[place])] = DAMAGED
                continue
            for name, text in guarded.items():
                column = self._place_of.get(name)
                if column is not None:
                    cells = chunk.columns[column]
                    cells[place] = unguard_edited(cells[place], text)


def _parsed(record: str) -> Mapping[str, str] | None:
    try:
        found = json.loads(record)
    except (ValueError, RecursionError):
        return None
    is_valid = isinstance(found, dict) and all(isinstance(text, str) for text in found.values())
    return found if is_valid else None


def _as_record(before: str) -> str:
    """Return the guarded cells of a line of previous values, from the values themselves."""
    values = _parsed_any(before)
    texts = {name: guard_formula(v) for name, v in values.items() if isinstance(v, str)}
    return json.dumps({name: text for name, text in texts.items() if text != values[name]})


def _parsed_any(text: str) -> Mapping[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
