"""The rows and errors of a task's sheet, in a SQLite file: to filter, to page through, to edit.

It is made by reading the whole sheet once, and made again when it is lost. What the user enters is
kept apart from it, in the task's file of corrections, which the plan reads.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.core.outcome import Status
from bulk_reset.core.row_error import RowError
from bulk_reset.engine.options import Options
from bulk_reset.sheets.chunk import Chunk
from bulk_reset.sheets.columns import Columns, is_own
from bulk_reset.sheets.corrections import Corrections
from bulk_reset.sheets.sheet import CHUNK_ROWS, Sheet
from bulk_reset.sheets.sheet_check import SheetCheck
from bulk_reset.sheets.validation import check_chunk
from bulk_reset.web.work import Work
from bulk_reset.workflows.sheet_opening import check_sheet, opened_sheet

PAGE: Final = 100
_SCHEMA: Final = """
CREATE TABLE rows (row INTEGER PRIMARY KEY, cells TEXT NOT NULL, odd TEXT NOT NULL);
CREATE TABLE errors (row INTEGER NOT NULL, position INTEGER NOT NULL, kind TEXT NOT NULL,
  value TEXT NOT NULL, problem TEXT NOT NULL, fix TEXT NOT NULL);
CREATE INDEX errors_by_row ON errors (row);
CREATE INDEX errors_by_kind ON errors (kind, position, row);
CREATE TABLE edits (step INTEGER NOT NULL, row INTEGER NOT NULL, position INTEGER NOT NULL,
  old TEXT NOT NULL, new TEXT NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
Cells = list[str]


@dataclass(frozen=True, slots=True)
class Kind:
    """Errors of one kind in one column, and how many there are."""

    kind: str
    position: int
    count: int
    problem: str


@dataclass(frozen=True, slots=True)
class IndexedRow:
    """A row of the sheet with its errors: position of the column -> error."""

    number: int
    cells: Cells
    errors: dict[int, RowError]


class SheetIndex:
    """The index of a sheet; use it as a context manager.

    Attributes:
        header: the names of the columns.
        shown: the positions of the columns that the grid shows: those that are used.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)
        facts = dict(self._connection.execute("SELECT name, value FROM facts"))
        self.header: list[str] = json.loads(facts["header"])
        self.positions: dict[str, int] = json.loads(facts["positions"])
        self.notices: list[str] = json.loads(facts["notices"])
        self.rows = int(facts["rows"])
        self._duplicates: list[tuple[int, str]] = json.loads(facts.get("duplicates", "[]"))
        self.is_pulled = facts["is_pulled"] == "1"
        expected: dict[str, int] = json.loads(facts["expected"])
        self._expected = expected
        self.shown = sorted({*self.positions.values(), *expected.values()})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @property
    def columns(self) -> Columns:
        """The columns of the fields, as a check of a row needs them."""
        return Columns(self.positions, tuple(self.header), expected=self._expected)

    def field_at(self, position: int) -> str:
        """Return the field of a column; empty if it has none."""
        return next((name for name, place in self.positions.items() if place == position), "")

    # --- Reading -----------------------------------------------------------------------------

    def kinds(self) -> list[Kind]:
        """Return the kinds of errors, the most frequent first."""
        found = self._connection.execute(
            "SELECT kind, position, count(*), min(problem) FROM errors"
            " GROUP BY kind, position ORDER BY 3 DESC, 1, 2"
        )
        return [Kind(*row) for row in found]

    def invalid_rows(self) -> int:
        """Return how many rows have errors."""
        query = "SELECT count(DISTINCT row) FROM errors"
        return int(self._connection.execute(query).fetchone()[0])

    def duplicates(self) -> tuple[int, list[tuple[int, str, str]]]:
        """Return how many rows are not sent because of another row; of the first, id and why."""
        place = self.positions[ID_FIELD]
        first = self._duplicates[:PAGE]
        listed = [(row, self._cells(row)[0][place], reason) for row, reason in first]
        return len(self._duplicates), listed

    def page(
        self, after: int, *, kind: str = "", position: int = -1, all_rows: bool
    ) -> list[IndexedRow]:
        """Return the next rows: invalid ones of a kind, all invalid ones, or all.

        Args:
            after: the number of the last row that was shown.
        """
        query, values = "SELECT row FROM rows WHERE row > ?", list[object]([after])
        if not all_rows:
            query = "SELECT DISTINCT row FROM errors WHERE row > ?"
        if kind and not all_rows:
            query, values = f"{query} AND kind = ? AND position = ?", [after, kind, position]
        found = self._connection.execute(f"{query} ORDER BY row LIMIT {PAGE}", values)
        return [self.row(number) for (number,) in found.fetchall()]

    def row(self, number: int) -> IndexedRow:
        """Return a row; raises KeyError if there is none."""
        cells, _ = self._cells(number)
        return IndexedRow(number, cells, dict(self._errors(number)))

    def _cells(self, number: int) -> tuple[Cells, dict[int, str]]:
        found = self._connection.execute(
            "SELECT cells, odd FROM rows WHERE row = ?", (number,)
        ).fetchone()
        if found is None:
            raise KeyError(number)
        odd = {int(place): text for place, text in json.loads(found[1]).items()}
        return json.loads(found[0]), odd

    def _errors(self, number: int) -> Iterator[tuple[int, RowError]]:
        found = self._connection.execute(
            "SELECT position, kind, value, problem, fix FROM errors WHERE row = ?"
            " ORDER BY rowid DESC",
            (number,),
        )
        for position, kind, value, problem, fix in found:
            name = self.header[position] if 0 <= position < len(self.header) else ""
            yield position, RowError(number, name, kind, value, problem, fix)

    def alike(self, number: int, position: int) -> list[int]:
        """Return the invalid rows with the text that a cell had before it was edited."""
        edit = self._connection.execute(
            "SELECT old FROM edits WHERE row = ? AND position = ? ORDER BY step DESC LIMIT 1",
            (number, position),
        ).fetchone()
        if edit is None:
            return []
        found = self._connection.execute(
            "SELECT DISTINCT r.row, r.cells FROM errors e JOIN rows r ON r.row = e.row"
            " WHERE e.position = ?",
            (position,),
        )
        return [row for row, cells in found if json.loads(cells)[position] == edit[0]]

    def values_of(self, kind: Kind, most: int) -> list[tuple[str, int, str]]:
        """Return the texts with errors of a kind, their rows and fix, the most frequent first."""
        found = self._connection.execute(
            "SELECT json_extract(r.cells, ?), count(*), min(e.fix) FROM errors e"
            " JOIN rows r ON r.row = e.row WHERE e.kind = ? AND e.position = ?"
            " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?",
            (f"$[{kind.position}]", kind.kind, kind.position, most),
        )
        return [(str(text), rows, fix) for text, rows, fix in found]

    def rows_with(self, position: int, text: str) -> list[int]:
        """Return the rows in which a column has a text."""
        found = self._connection.execute(
            "SELECT row FROM rows WHERE json_extract(cells, ?) = ?", (f"$[{position}]", text)
        )
        return [row for (row,) in found]

    def all_cells(self) -> Iterator[tuple[int, Cells]]:
        """Yield each row's number and cells."""
        for row, cells in self._connection.execute("SELECT row, cells FROM rows ORDER BY row"):
            yield row, json.loads(cells)

    # --- Editing -----------------------------------------------------------------------------

    def edit(self, numbers: Sequence[int], position: int, text: str) -> None:
        """Set a cell of some rows, as one step that can be undone, and check these rows again."""
        with self._connection as connection:
            step = connection.execute("SELECT coalesce(max(step), 0) + 1 FROM edits").fetchone()[0]
            for number in numbers:
                cells, odd = self._cells(number)
                if not 0 <= position < len(cells):
                    raise KeyError(position)
                if cells[position] == text and position not in odd:
                    continue
                connection.execute(
                    "INSERT INTO edits VALUES (?, ?, ?, ?, ?)",
                    (step, number, position, cells[position], text),
                )
                cells[position] = text
                odd.pop(position, None)
                self._store(number, cells, odd, position)

    def undo_edit(self) -> bool:
        """Undo the last step; return whether there was one."""
        with self._connection as connection:
            found = connection.execute(
                "SELECT rowid, row, position, old FROM edits"
                " WHERE step = (SELECT max(step) FROM edits) ORDER BY rowid DESC"
            ).fetchall()
            for rowid, number, position, old in found:
                cells, odd = self._cells(number)
                cells[position] = old
                self._store(number, cells, odd, position)
                connection.execute("DELETE FROM edits WHERE rowid = ?", (rowid,))
        return bool(found)

    def edited(self) -> dict[int, dict[int, str]]:
        """Return the text of each cell that was edited: row -> position -> text."""
        found: dict[int, dict[int, str]] = {}
        query = "SELECT row, position, new FROM edits ORDER BY step, rowid"
        for row, position, new in self._connection.execute(query):
            found.setdefault(row, {})[position] = new
        return found

    def _store(self, number: int, cells: Cells, odd: dict[int, str], position: int) -> None:
        connection = self._connection
        connection.execute(
            "UPDATE rows SET cells = ?, odd = ? WHERE row = ?", (_json(cells), _json(odd), number)
        )
        if self.is_pulled:
            # What was not edited since the pull is not checked: the whole check decides.
            connection.execute(
                "DELETE FROM errors WHERE row = ? AND position = ?", (number, position)
            )
            return
        chunk = Chunk([number], [[cell] for cell in cells], {(number, at): odd[at] for at in odd})
        connection.execute("DELETE FROM errors WHERE row = ?", (number,))
        _add_errors(connection, check_chunk(chunk, self.columns).row_errors, self.header)


def build(path: Path, sheet: Path, options: Options, work: Work) -> dict[str, Any]:
    """Read and check a sheet into a new index; return the facts of the check.

    Args:
        options: with the choices for reading the sheet, corrections among them.

    Raises:
        InputError: the sheet cannot be read as a table of incidents.
    """
    fresh = path.with_name(f"{path.name}~")
    fresh.unlink(missing_ok=True)
    notices: list[str] = []
    callbacks = Callbacks(on_notice=notices.append, on_read=lambda rows: work.show(rows, 0))
    with (
        opened_sheet(sheet, options, callbacks) as table,
        contextlib.closing(sqlite3.connect(fresh)) as connection,
    ):
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        connection.executescript(_SCHEMA)
        _add_rows(connection, table)
        if options.only_fields:
            table.restrict(options.only_fields)
        checked = check_sheet(table, options, callbacks)
        _add_errors(connection, checked.row_errors, table.source.header)
        _keep_edits(connection, path, options, table.path)
        facts = {
            "header": _json(list(table.source.header)),
            "positions": _json(table.columns.position),
            "expected": _json(table.columns.expected),
            "notices": _json([one.removeprefix(f"{table.label}: ") for one in notices]),
            "rows": str(checked.rows),
            "duplicates": _json(_duplicates(checked)),
            "is_pulled": str(int(table.memory is not None)),
        }
        connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
        connection.commit()
    fresh.replace(path)
    return {"rows": checked.rows, "errors": len(checked.row_errors)}


def _duplicates(checked: SheetCheck) -> list[tuple[int, str]]:
    """Return the rows that are not sent because of another row, and why."""
    decisions = sorted(checked.decisions.items())
    return [(row, one.reason) for row, one in decisions if one.status is Status.SKIPPED]


def _keep_edits(
    connection: sqlite3.Connection, path: Path, options: Options, sheet: Path | None
) -> None:
    """Keep the steps of an earlier index; of a lost one, the corrections become one step."""
    if options.corrections is None:
        return
    if path.exists():
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as old:
            edits = old.execute("SELECT * FROM edits ORDER BY rowid").fetchall()
            connection.executemany("INSERT INTO edits VALUES (?, ?, ?, ?, ?)", edits)
            return
    corrections = Corrections.read(Path(options.corrections), sheet)
    edits = [
        (1, row, position, text, text)
        for row, texts in corrections.cells.items()
        for position, text in texts.items()
    ]
    connection.executemany("INSERT INTO edits VALUES (?, ?, ?, ?, ?)", edits)


def _add_rows(connection: sqlite3.Connection, table: Sheet) -> None:
    own = {place for place, name in enumerate(table.source.header) if is_own(name)}
    for chunk in table.source.read(CHUNK_ROWS):
        odd: dict[int, dict[int, str]] = {}
        for (number, place), text in chunk.odd_cells.items():
            odd.setdefault(number, {})[place] = text
        connection.executemany(
            "INSERT OR REPLACE INTO rows VALUES (?, ?, ?)",
            (
                (number, _json(cells), _json(odd.get(number, {})))
                for number, cells in _numbered(chunk)
                if any(str(cell).strip() for place, cell in enumerate(cells) if place not in own)
            ),
        )


def _numbered(chunk: Chunk) -> Iterator[tuple[int, Cells]]:
    rows = zip(*chunk.columns, strict=True) if chunk.columns else iter(())
    return zip(chunk.numbers, map(list, rows), strict=False)


def _add_errors(
    connection: sqlite3.Connection, errors: Sequence[RowError], header: Sequence[str]
) -> None:
    positions = {name: place for place, name in reversed(list(enumerate(header)))}
    connection.executemany(
        "INSERT INTO errors VALUES (?, ?, ?, ?, ?, ?)",
        (
            (e.row_number, positions.get(e.column, -1), e.kind, e.value, e.problem, e.fix)
            for e in errors
        ),
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
