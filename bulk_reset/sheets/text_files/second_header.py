"""Finds headers below the header, as in files that were joined.

Below a header with other columns, the cells belong to other fields.
"""

from __future__ import annotations

from typing import Final

from bulk_reset.core.errors import SheetError
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.core.incident_ids import ID_DIGITS
from bulk_reset.sheets.chunk import Chunk, RowFault
from bulk_reset.sheets.columns import Columns, field_named, is_header, is_one_name

_LONGEST_NAME: Final = 100
"""A longer text in the ID's column is not the column's name."""


def report_headers(chunk: Chunk, columns: Columns, label: str) -> None:
    """Add a fault for each row that repeats the header.

    Raises:
        SheetError: a row is a header with other columns.
    """
    name = columns.name(ID_FIELD)
    ids = chunk.columns[columns.position[ID_FIELD]]
    if not set(map(len, ids)) - {ID_DIGITS}:
        return
    short = {text for text in ids if 0 < len(text) <= _LONGEST_NAME and len(text) != ID_DIGITS}
    names = {text for text in short if field_named(text) is not None or is_one_name(text, name)}
    for place, text in enumerate(ids if names else ()):
        if text in names:
            cells = tuple(column[place] for column in chunk.columns)
            number = chunk.numbers[place]
            if _repeats_header(cells, columns):
                fault = RowFault(
                    "second_header", name, text, "the row repeats the header", "Remove the row"
                )
                chunk.row_faults.setdefault(number, fault)
            elif is_header(cells):
                raise SheetError(
                    f"{label}: row {number:,} is a second header, with other columns. "
                    "Save the rows from there on as a sheet of their own."
                )


def _repeats_header(cells: tuple[str, ...], columns: Columns) -> bool:
    # Columns that a profile makes are not in the file.
    used = [position for position in columns.position.values() if position < len(cells)]
    return all(is_one_name(cells[position], columns.header[position]) for position in used)
