"""Where the processor time of a row goes, by a profile of every function.

A profile makes functions that do little look slower than they are, so the time of each is scaled:
all together take as long as a run without a profile.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from engine import sending
from peers import HUNDRED
from processes import measure_as_client, serving
from rich.table import Table
from sheets import write_csv
from table_style import new_table

_MOST: Final = 15
_WRITING: Final = "previous values, in a thread"
_OWN: Final = re.compile(r".*/bulk_reset/(.+)\.py$")
_LIBRARY: Final = re.compile(r".*/(?:site-packages|python3\.\d+)/(\w+)")


class Function(NamedTuple):
    """A function of the profile.

    Attributes:
        module: ``engine/attempts`` where it is of bulk-reset; else a library's name.
        us: its own processor time for a row, in microseconds.
        calls: for a row.
    """

    module: str
    name: str
    us: float
    calls: float

    @property
    def is_own(self) -> bool:
        """Whether it is of bulk-reset."""
        return "/" in self.module

    @property
    def place(self) -> str:
        """Return ``bulk_reset.engine``, or a library's name."""
        return f"bulk_reset.{self.module.partition('/')[0]}" if self.is_own else self.module


def tables(rows: int, log: Callable[[str], None]) -> list[Table]:
    """Profile a run that reads current values first, and return its time by place and function."""
    log(f"engine: profile of {rows:,} rows")
    with tempfile.TemporaryDirectory() as folder, serving() as server:
        sheet = write_csv(Path(folder, "sheet.csv"), rows)
        facts = {
            way: json.loads(
                measure_as_client(
                    sending(way, sheet, server.url, Path(folder, f"{way}.csv"))
                ).stdout
            )
            for way in ("plain", "plain-profile")
        }
    plain, profiled = facts["plain"], facts["plain-profile"]["functions"]
    writing_us = 1e6 * plain["writing_s"] / rows
    measured_us = 1e6 * plain["cpu_s"] / rows
    scale = (measured_us - writing_us) / sum(own_s for *_, own_s in profiled)
    functions = [
        Function(_module_of(file), name, own_s * scale, calls / rows)
        for file, name, calls, own_s in profiled
    ]
    functions.append(Function(_WRITING, "", writing_us, 1 / HUNDRED))
    return [_places(functions, measured_us), _functions(functions)]


def _module_of(file: str) -> str:
    if own := _OWN.match(file):
        return own[1]
    library = _LIBRARY.match(file)
    return library[1] if library else "functions in C"


def _places(functions: list[Function], measured_us: float) -> Table:
    places: dict[str, list[Function]] = defaultdict(list)
    for function in functions:
        places[function.place].append(function)
    table = new_table(
        f"Processor time of a row that is read first: {measured_us:,.0f} µs",
        *("place", "own µs", "share", "calls"),
    )
    for place, some in sorted(places.items(), key=lambda one: -_us(one[1])):
        if _us(some) < measured_us / 200:
            continue
        calls = sum(one.calls for one in some)
        table.add_row(place, f"{_us(some):,.0f}", f"{_us(some) / measured_us:.0%}", f"{calls:,.1f}")
    return table


def _us(functions: list[Function]) -> float:
    return sum(one.us for one in functions)


def _functions(functions: list[Function]) -> Table:
    own = sorted((one for one in functions if one.is_own), key=lambda one: -one.us)
    table = new_table(
        f"The {_MOST} functions of bulk-reset that take longest",
        *("function", "own µs", "calls"),
    )
    for one in own[:_MOST]:
        table.add_row(f"{one.module} {one.name}", f"{one.us:.1f}", f"{one.calls:.2f}")
    return table
