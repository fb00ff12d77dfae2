"""Finds double quotes that do not enclose a cell, and rows that a cell took in.

Programs disagree about such text: one takes a quote for part of the text, another for the end of
a cell, so the text to send is not certain.

Source of the rules: RFC 4180, 2.5 to 2.7. A double quote opens a cell only at its start, closes
it only at its end, and is written twice inside of it. A cell without enclosing quotes may contain
pairs of them (``5" and 7" disks``), because every program reads them alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from bulk_reset.core.counting import counted

_QUOTED: Final = re.compile(r'"[^"]*+(?:""[^"]*+)*+"')
_JSON_STARTS: Final = ("[", "{")
"""Starts of a cell in which a backslash before a quote is part of the value."""
_LINES: Final = re.compile(r"\r\n|\r|\n")
_ID: Final = re.compile(
    r"[0-9a-f]{20,28}|https?://\S*[0-9a-f]{24}\S*|[0-9]+([.,][0-9]+)?e\+[0-9]+", re.IGNORECASE
)
"""An incident ID, a link to one, or what is left of an ID in a spreadsheet."""
_MAY_BE_ID: Final = re.compile(r"[0-9a-fA-F]{20}|[0-9][eE]\+[0-9]")
_WRITE_TWICE: Final = (
    "Put the cell in double quotes, and write each double quote inside of it twice"
)


class QuoteFault(NamedTuple):
    """A double quote in the wrong place.

    Attributes:
        column: 0-based.
    """

    column: int
    problem: str
    fix: str


def _cells(record: str, delimiter: str) -> Iterator[tuple[int, int, bool]]:
    """Yield start, end and whether it is enclosed in quotes, of each cell of a record.

    The end is that of the well-formed part; where a delimiter is missing after it, it stops.
    """
    last = len(record.rstrip("\r\n"))
    start = 0
    while start <= last:
        found = _QUOTED.match(record, start)
        if found is None:
            end = record.find(delimiter, start)
            end = last if end < 0 else end
        else:
            end = found.end()
        yield start, end, found is not None
        if end < last and record[end] != delimiter:
            return
        start = end + 1


def unparsable_quote(record: str, delimiter: str) -> QuoteFault:
    """Return the fault of a record that cannot be parsed.

    Args:
        record: the text up to the end of the line with the fault.
    """
    column, start, end = -1, 0, 0
    for start, end, _ in _cells(record, delimiter):
        column += 1
        if record[start:end].startswith('"') and record[end : end + 1] not in {delimiter, ""}:
            break
    lines = len(_LINES.findall(record[start:end]))
    if record[end - 2 : end] == '\\"':
        return QuoteFault(
            column,
            "a backslash before a double quote does not make it part of the text",
            'Write the double quote twice ("") instead',
        )
    if lines:
        return QuoteFault(
            column,
            f"a double quote is not closed, or not paired, so the cell takes in the next "
            f"{counted(lines, 'line')} of the file",
            "Close the double quote at the end of its cell, or write it twice if it is part of "
            "the text",
        )
    return QuoteFault(column, "text follows the closing double quote", _WRITE_TWICE)


def misplaced_quote(record: str, delimiter: str) -> QuoteFault | None:
    """Return the first fault in the cells without enclosing quotes of a parsable record."""
    for column, (start, end, is_enclosed) in enumerate(_cells(record, delimiter)):
        cell = record[start:end]
        if is_enclosed or '"' not in cell:
            continue
        if cell.lstrip().startswith('"'):
            problem = "spaces before a double quote make it part of the text"
            return QuoteFault(column, problem, "Remove the spaces before the double quote")
        if cell.count('"') % 2:
            return QuoteFault(column, "a double quote is not paired", _WRITE_TWICE)
        if '\\"' in cell and not cell.startswith(_JSON_STARTS):
            problem = "a backslash before a double quote is part of the text"
            return QuoteFault(column, problem, f"{_WRITE_TWICE}, without the backslash")
    return None


def id_search(delimiter: str, column: int, id_column: int) -> Callable[[str], object]:
    """Return a quick test of cells of a column: whether ``swallowed_row`` may find a row in one.

    Args:
        column: 0-based, as ``id_column``.
    """
    if column < id_column:
        # The first line of the cell may have the ID too, and this takes longer.
        return _MAY_BE_ID.search
    other = f"[^{re.escape(delimiter)}\r\n]*{re.escape(delimiter)}"
    start = "[ \t\"'\ufeff]*(?:[0-9a-fA-F]{20}|https?:|[0-9.,]+[eE][+])"
    return re.compile(f"\n(?:{other}){{{id_column}}}{start}").search


def swallowed_row(cells: Sequence[str], delimiter: str, id_column: int) -> QuoteFault | None:
    """Return the fault of a record in which a line of a cell is a row with an incident ID.

    Args:
        id_column: 0-based.
    """
    for column, cell in enumerate(cells):
        if delimiter not in cell:
            continue
        first, *others = _LINES.split(cell)
        # The first line of the cell continues the row in which the cell begins.
        rows = [(first, column), *((line, 0) for line in others)]
        if others and any(_has_id(line, delimiter, id_column, left) for line, left in rows):
            return QuoteFault(
                column,
                f"the cell takes in {counted(len(others), 'line')} of the file that look like rows",
                "Close the double quote at the end of its cell. If the lines are part of the "
                "text, save the sheet as .xlsx",
            )
    return None


def _has_id(line: str, delimiter: str, id_column: int, left: int) -> bool:
    """Return whether a line is a row with an ID, and not only a list of IDs.

    Args:
        left: the column of the line's first cell.
    """
    pieces = [piece.strip(" \t\"'\ufeff") for piece in line.split(delimiter)]
    is_id = [_ID.fullmatch(piece) is not None for piece in pieces]
    if len(pieces) == 1 or all(is_id):
        return False
    place = id_column - left
    return (place > 0 or left == 0) and 0 <= place < len(pieces) and is_id[place]
