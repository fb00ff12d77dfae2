"""The rows of a task's plan, in a SQLite file: to filter, to page through, to deselect."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.plan import PlanTotals, RowPlan
from bulk_reset.core.saved_plan import SavedPlan
from bulk_reset.web.task import Task
from bulk_reset.workflows.plan_picking import pick_rows

PAGE: Final = 100
UPDATE: Final = "update"
_BATCH: Final = 1_000
_COLUMNS: Final = "rowid, row, id, verdict, link, reason, fields, out"
_SCHEMA: Final = """
CREATE TABLE rows (row INTEGER NOT NULL, id TEXT NOT NULL, verdict TEXT NOT NULL,
  link TEXT NOT NULL, reason TEXT NOT NULL, fields TEXT NOT NULL, out INTEGER NOT NULL DEFAULT 0);
CREATE INDEX rows_by_number ON rows (row);
CREATE TABLE fields (name TEXT PRIMARY KEY, rows INTEGER NOT NULL, out INTEGER NOT NULL DEFAULT 0);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class PlannedField:
    """A field's change as the page shows it."""

    field: str
    old: str
    new: str
    was: str | None
    lost: str
    meaning: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row of the plan; ``is_out`` if it was deselected."""

    place: int
    number: int
    incident_id: str
    verdict: str
    link: str
    reason: str
    fields: tuple[PlannedField, ...]
    is_out: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows are shown.

    Attributes:
        verdict: one of them; empty for all.
        field: rows that set it; empty for all.
        text: rows that have it in a value or the id, in any case.
    """

    verdict: str = ""
    field: str = ""
    text: str = ""

    def where(self) -> tuple[str, list[Any]]:
        """Return the condition and its values."""
        conditions, values = ["1"], list[Any]()
        if self.verdict:
            conditions.append("verdict = ?")
            values.append(self.verdict)
        if self.field:
            conditions.append("instr(fields, ?) > 0")
            values.append(json.dumps({"field": self.field}, ensure_ascii=False)[1:-1])
        if self.text:
            conditions.append("(instr(casefold(fields), ?) > 0 OR instr(id, ?) > 0)")
            inner = json.dumps(self.text.casefold(), ensure_ascii=False)[1:-1]
            values += [inner, self.text.casefold()]
        return " AND ".join(conditions), values


class PlanIndex:
    """The index of a plan; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)
        # SQLite's own lower() knows ASCII only.
        self._connection.create_function("casefold", 1, str.casefold, deterministic=True)
        facts = dict(self._connection.execute("SELECT name, value FROM facts"))
        self.totals: dict[str, Any] = json.loads(facts["totals"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def page(self, shown: Filter, after: int) -> list[PlannedRow]:
        """Return the next rows after a place."""
        where, values = shown.where()
        query = (
            f"SELECT {_COLUMNS} FROM rows"  # noqa: S608
            f" WHERE rowid > ? AND {where} ORDER BY rowid LIMIT {PAGE}"
        )
        return [_row(*found) for found in self._connection.execute(query, [after, *values])]

    def row(self, place: int) -> PlannedRow | None:
        """Return the row at a place."""
        query = (
            "SELECT rowid, row, id, verdict, link, reason, fields, out FROM rows WHERE rowid = ?"
        )
        found = self._connection.execute(query, (place,)).fetchone()
        return None if found is None else _row(*found)

    def count(self, shown: Filter) -> int:
        """Return how many rows are shown by a filter."""
        where, values = shown.where()
        query = f"SELECT count(*) FROM rows WHERE {where}"  # noqa: S608
        return int(self._connection.execute(query, values).fetchone()[0])

    def fields(self) -> dict[str, tuple[int, bool]]:
        """Return field -> rows that set it, and whether it is selected."""
        query = "SELECT name, rows, out FROM fields ORDER BY rowid"
        return {name: (rows, not out) for name, rows, out in self._connection.execute(query)}

    def select(self, place: int, *, is_selected: bool) -> None:
        """Select or deselect one row."""
        with self._connection as connection:
            query = "UPDATE rows SET out = ? WHERE rowid = ? AND verdict = ?"
            connection.execute(query, (not is_selected, place, UPDATE))

    def select_all(self, shown: Filter, *, is_selected: bool) -> None:
        """Select or deselect all rows that a filter shows."""
        where, values = shown.where()
        with self._connection as connection:
            query = f"UPDATE rows SET out = ? WHERE verdict = ? AND {where}"  # noqa: S608
            connection.execute(query, [not is_selected, UPDATE, *values])

    def select_field(self, name: str, *, is_selected: bool) -> None:
        """Select or deselect a field of all rows."""
        with self._connection as connection:
            query = "UPDATE fields SET out = ? WHERE name = ?"
            connection.execute(query, (not is_selected, name))

    def changes_of(self, numbers: Iterable[int]) -> list[dict[str, Any]]:
        """Return the selected changes of some rows, by row: row, field, old and new text."""
        selected = {name for name, (_, is_selected) in self.fields().items() if is_selected}
        query = f"SELECT {_COLUMNS} FROM rows WHERE row = ? AND verdict = ? AND NOT out"  # noqa: S608
        return [
            {"row": number, "field": one.field, "old": one.old, "new": one.new}
            for number in sorted(numbers)
            for found in self._connection.execute(query, (number, UPDATE))
            for one in _row(*found).fields
            if one.field in selected
        ]

    def deselected_rows(self) -> set[int]:
        """Return the numbers of the rows that were deselected."""
        return {row for (row,) in self._connection.execute("SELECT row FROM rows WHERE out")}

    def selected(self) -> int:
        """Return how many rows will be sent."""
        names = [name for name, (_, is_selected) in self.fields().items() if is_selected]
        places = [json.dumps({"field": name}, ensure_ascii=False)[1:-1] for name in names]
        has_one = " OR ".join(["instr(fields, ?) > 0"] * len(places)) or "0"
        query = f"SELECT count(*) FROM rows WHERE verdict = ? AND NOT out AND ({has_one})"  # noqa: S608
        return int(self._connection.execute(query, [UPDATE, *places]).fetchone()[0])


def _row(place: int, number: int, *values: Any) -> PlannedRow:  # noqa: ANN401  (columns)
    incident_id, verdict, link, reason, fields, out = values
    found = tuple(PlannedField(**one) for one in json.loads(fields))
    return PlannedRow(place, number, incident_id, verdict, link, reason, found, bool(out))


def build(path: Path, make: Callable[[Callable[[RowPlan], None]], PlanTotals]) -> PlanTotals:
    """Make a plan and index its rows; rows that were deselected in an earlier one stay so.

    Args:
        make: makes the plan; it is given a function to call with each row.
    """
    fresh = path.with_name(f"{path.name}~")
    fresh.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(fresh)) as connection:
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        connection.executescript(_SCHEMA)
        waiting: list[tuple[Any, ...]] = []

        def flush() -> None:
            connection.executemany(
                "INSERT INTO rows (row, id, verdict, link, reason, fields) VALUES (?,?,?,?,?,?)",
                waiting,
            )
            waiting.clear()

        def add(row: RowPlan) -> None:
            fields = [
                {
                    "field": one.field,
                    "old": one.old,
                    "new": one.new,
                    "was": one.was,
                    "lost": one.lost,
                    "meaning": one.meaning,
                    "origin": one.origin,
                }
                for one in row.fields
            ]
            texts = (row.row_number, row.incident_id, row.verdict, row.link, row.reason)
            waiting.append((*texts, json.dumps(fields, ensure_ascii=False)))
            if len(waiting) >= _BATCH:
                flush()

        totals = make(add)
        flush()
        connection.executemany(
            "INSERT INTO fields (name, rows) VALUES (?, ?)", list(totals.fields.items())
        )
        connection.execute("INSERT INTO facts VALUES ('totals', ?)", (json.dumps(asdict(totals)),))
        _keep_selection(connection, path)
        connection.commit()
    fresh.replace(path)
    return totals


def write_picked(task: Task) -> None:
    """Write the plan that is run: the whole plan without what was deselected."""
    with PlanIndex(task.plan_rows) as index:
        rows = index.deselected_rows()
        fields = [name for name, (_, is_selected) in index.fields().items() if not is_selected]
    if rows or fields:
        whole = SavedPlan.open(task.whole_plan)
        pick_rows(whole, task.plan, without_rows=rows, without_fields=fields)
    else:  # Byte by byte: an approval is of these bytes.
        with atomic_file(task.plan, like=task.whole_plan) as file:
            file.write(task.whole_plan.read_bytes())


def _keep_selection(connection: sqlite3.Connection, path: Path) -> None:
    if not path.exists():
        return
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as old:
        rows = old.execute("SELECT row, id FROM rows WHERE out").fetchall()
        fields = old.execute("SELECT name FROM fields WHERE out").fetchall()
        connection.executemany(
            f"UPDATE rows SET out = 1 WHERE row = ? AND id = ? AND verdict = '{UPDATE}'",  # noqa: S608
            rows,
        )
        connection.executemany("UPDATE fields SET out = 1 WHERE name = ?", fields)
