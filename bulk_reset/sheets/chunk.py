"""A chunk: rows of a sheet that are read together, stored by column."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

_SHOWN: Final = 40
INCOMPLETE_CHARACTER: Final = "contains an incomplete character"
"""The problem of a text with half of a surrogate pair."""


class Recalled(NamedTuple):
    """The pulled values of some rows.

    Attributes:
        was: field -> its pulled values, a text for each row.
        checks: the check of each row.
        problems: place of a row whose pulled values cannot be used -> (problem, fix).
    """

    was: dict[str, list[str]]
    checks: list[str]
    problems: dict[int, tuple[str, str]]


class RowFault(NamedTuple):
    """Why the cells of a row are uncertain; such a row is never sent.

    Attributes:
        kind: a stable code for scripts, as of a ``RowError``.
        column: the name of the column where it was found.
        value: the text that was found there.
    """

    kind: str
    column: str
    value: str
    problem: str
    fix: str


class Origin(NamedTuple):
    """A rule of a profile that made or replaced the cells of a column.

    Attributes:
        position: the 0-based column.
        rule: ``templates.title``, ``values.incident_severity``.
        before: the cells before it; None for a column that it made.
        after: the cells that it made.
    """

    position: int
    rule: str
    before: list[str] | None
    after: list[str]


class ProfileFault(NamedTuple):
    """Why a rule of a profile has no text for a cell."""

    kind: str
    problem: str
    fix: str


class AsRead(NamedTuple):
    """The cells of some rows as the file has them.

    Attributes:
        columns: the cells of each column of the header.
        content: all of them, row by row, each with a mark that no cell contains; UTF-8. The first
            chunk of a block has the content of the block, the others have none.
    """

    columns: tuple[list[str], ...]
    content: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that are read together, stored by column.

    Attributes:
        numbers: the row numbers, without blank rows.
        columns: the text cells of each column of the header; each as long as ``numbers``.
        odd_cells: (row_number, column) -> the problem of a cell whose text is uncertain (a date,
            a fraction, a failed formula).
        blank_rows: number of blank rows that were left out.
        was: field -> cells with the pulled values, if the sheet was pulled. Cells of ``columns``
            with the pulled value are empty, so that their fields are not sent.
        emptied: number of cells that had a pulled value and are empty now.
        read_only_edits: number of rows with an edit in a column that is never sent.
        refused: row_number -> (problem, fix), of rows whose own columns cannot be used.
        recalled: everything that the sheet remembers of these rows; None if it was not pulled.
        is_remembered: whether every row has pulled values, even if all of them are empty.
        row_faults: row_number -> why all cells of the row are uncertain.
        formatted: (row_number, column) of dates and numbers whose text is in a given format.
        origins: the rules of the profile, in the order in which they were used.
        profile_faults: (row_number, column) -> why the profile has no text for the cell.
        may_have_controls: whether a cell of the sheet may contain a control character.
        as_read: the cells before anything was done to them; None if that is not known.
    """

    numbers: Sequence[int]
    columns: list[list[str]]
    odd_cells: dict[tuple[int, int], str] = field(default_factory=dict)
    blank_rows: int = 0
    was: dict[str, list[str]] = field(default_factory=dict)
    emptied: int = 0
    read_only_edits: int = 0
    refused: dict[int, tuple[str, str]] = field(default_factory=dict)
    recalled: Recalled | None = None
    is_remembered: bool = False
    row_faults: dict[int, RowFault] = field(default_factory=dict)
    formatted: frozenset[tuple[int, int]] = frozenset()
    origins: tuple[Origin, ...] = ()
    profile_faults: dict[tuple[int, int], ProfileFault] = field(default_factory=dict)
    may_have_controls: bool = True
    as_read: AsRead | None = None

    def rows_at(self, places: Sequence[int], names: Container[str]) -> Chunk:
        """Return some rows alone, with the pulled values of some fields."""
        if len(places) == len(self.numbers) and all(name in names for name in self.was):
            return self

        def some(cells: Sequence[str]) -> list[str]:
            return [cells[place] for place in places]

        recalled = self.recalled
        if recalled is not None:
            place_of = {place: at for at, place in enumerate(places)}
            recalled = Recalled(
                {name: some(cells) for name, cells in recalled.was.items()},
                some(recalled.checks),
                {place_of[at]: one for at, one in recalled.problems.items() if at in place_of},
            )
        return replace(
            self,
            numbers=[self.numbers[place] for place in places],
            columns=[some(cells) for cells in self.columns],
            was={name: some(cells) for name, cells in self.was.items() if name in names},
            recalled=recalled,
            origins=tuple(
                one._replace(before=one.before and some(one.before), after=some(one.after))
                for one in self.origins
            ),
        )

    def rows(self) -> Iterator[tuple[int | str, ...]]:
        """Yield each row: its number, then its cells."""
        return zip(self.numbers, *self.columns, strict=True)


def origin_of(chunk: Chunk, position: int, place: int) -> str:
    """Return the rules of the profile that made a cell; empty if it is the sheet's own.

    A rule that replaced a text is shown with it: ``values.incident_severity 'SEV1'``.
    """
    rules = []
    for one in chunk.origins:
        if one.position == position and one.after[place]:
            before = "" if one.before is None else one.before[place]
            if before == one.after[place]:
                continue
            rules.append(f"{one.rule} {_shown(before)}" if before else one.rule)
    return ", ".join(rules)


def _shown(text: str) -> str:
    """Return a text in quotes, cut to a length that suits a list."""
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")
