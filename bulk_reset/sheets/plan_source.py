"""A saved plan as a sheet: the rows that it updates, with their previous values as pulled values.

So an incident that was modified since the plan is a conflict, and a run of a plan is resumed,
reported, verified and undone like a run of a sheet. Texts are sent exactly as they are planned.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bulk_reset.core.counting import counted
from bulk_reset.core.custom_fields import COMMENT_FIELD, field_of, header_of, text_of
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.core.saved_plan import DAMAGES, SavedPlan, field_place
from bulk_reset.sheets.chunk import Chunk, Recalled
from bulk_reset.sheets.columns import ONLY_IF

PLAN_CHECK = "plan"
"""The check of a planned row: the hash of the file protects all rows together."""


@dataclass(frozen=True, slots=True)
class PlanMemory:
    """The fields whose previous values a plan has, in its chunks; a ``Remembered``."""

    names: tuple[str, ...]
    is_checked: bool = True


class PlanSource:
    """The rows of a plan that will be updated; a ``Source``."""

    header_row = 1

    def __init__(self, plan: SavedPlan) -> None:
        self.plan = plan
        names = {name for name in plan.header.columns if not name.startswith(ONLY_IF)}
        self.fields = tuple(
            sorted({field_of(name) for name in names - {ID_FIELD}}, key=field_place)
        )
        self.expected = tuple(sorted(plan.header.columns.keys() - names))
        expected = (ONLY_IF + header_of(name.removeprefix(ONLY_IF)) for name in self.expected)
        self.header = (ID_FIELD, *map(header_of, self.fields), *expected)
        self.memory = PlanMemory(tuple(one for one in self.fields if one != COMMENT_FIELD))
        self.notice = f"plan of {plan.header.sheet}, SHA-256 {plan.sha256}"

    def read(self, chunk_rows: int) -> Iterator[Chunk]:
        """Yield chunks with pulled values; see ``Source``."""
        lines = filter(_is_update, self.plan.lines())
        try:
            while some := list(itertools.islice(lines, chunk_rows)):
                yield self._chunk(some)
        except DAMAGES as exc:
            raise self.plan.damaged("a row of it is damaged") from exc

    def left_out(self) -> str:
        """Return the rows of the plan that are not updated, after it was read; or nothing."""
        footer = self.plan.footer
        others = footer.counts if footer is not None else {}
        return ", ".join(
            f"{counted(rows, 'row')} {name}" for name, rows in others.items() if name != "update"
        )

    def _chunk(self, rows: Sequence[Mapping[str, Any]]) -> Chunk:
        """Return some rows; raises ``DAMAGES``.

        Rows are not read as ``SavedRow``, which would take as long as all other steps together.
        """
        new = {name: [""] * len(rows) for name in self.fields}
        was = {name: [""] * len(rows) for name in self.memory.names}
        expected = {name: [""] * len(rows) for name in self.expected}
        checks = [PLAN_CHECK] * len(rows)
        numbers, ids = [row["row"] for row in rows], [row["id"] for row in rows]
        if set(map(type, numbers)) != {int} or set(map(type, ids)) != {str}:
            raise TypeError
        for place, row in enumerate(rows):
            for name, one in row["fields"].items():
                set_to, old = one["new"], one["old"]
                if old is None:
                    old = ""
                if type(set_to) is not str or type(old) is not str:
                    checks[place] += f" {name}"
                    set_to, old = (text_of(f"{name}:json", one[key]) for key in ("new", "old"))
                new[name][place] = set_to
                if name in was:
                    was[name][place] = old
        for place, row in enumerate(rows) if expected else ():
            for name, text in row.get("expected", {}).items():
                if type(text) is not str:
                    raise TypeError
                expected[f"{ONLY_IF}{name}"][place] = text
        return Chunk(
            numbers,
            [ids, *new.values(), *expected.values()],
            was=was,
            recalled=Recalled(was, checks, {}),
            is_remembered=True,
        )


def _is_update(line: Mapping[str, Any]) -> bool:
    return bool(line["verdict"] == "update")
