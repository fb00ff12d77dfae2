"""Rows a second with the quota lifted, against other ways to send the same sheet.

In each round every way sends once, one after the other, so that what slows the machine down
slows all of them; a ratio compares two runs of one round.

Our own figure counts more than the peers': reading the sheet a second time, digests, the quota's
books, and the report written and synced.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from looks import new_table
from processes import HERE, Server, our_run, serving, spend_as_client, where
from rich.markup import escape
from rich.table import Table
from sheets import write_csv

ROWS: Final = 10_000
ROUNDS: Final = 9
_SLOW: Final = 10
"""A slow way sends so many times fewer rows: its ratio counts, and nobody waits for the rest."""


@dataclass(slots=True)
class Way:
    """One way to send a sheet, and what was measured of it, a figure a round.

    Attributes:
        command: of (server's URL, sheet, rows, a fresh report); ends with JSON on standard output.
        rows: how many it sends.
        reads: requests that it makes besides.
        rates: rows a second.
        busy: the share of its time that the server was busy, 0 to 1.
    """

    name: str
    command: Callable[[str, Path, int, Path], list[str]]
    rows: int
    reads: int = 0
    rates: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    def send(self, server: Server, sheet: Path) -> None:
        """Send once.

        Raises:
            RuntimeError: it failed, or not every row has arrived at the server.
        """
        before = server.work()
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "bench.report.csv")
            spent = spend_as_client(self.command(server.url, sheet, self.rows, report))
        work = server.work() - before
        if work.requests != self.rows + self.reads:
            raise RuntimeError(f"{self.name}: {work.requests} requests for {self.rows} rows")
        rate = _rows_per_s(spent.stdout)
        self.rates.append(rate)
        self.busy.append(work.cpu_s * rate / self.rows)


def tables(rows: int, rounds: int, say: Callable[[str], None]) -> list[Table]:
    """Measure every way, so many rounds, and return the one table."""
    ways = _ways(rows)
    with tempfile.TemporaryDirectory() as folder, serving() as server:
        sheet = write_csv(Path(folder, "sheet.csv"), rows)
        # A server that has seen no request yet is slower for a moment.
        _peer("bare", rows).send(server, sheet)
        for number in range(1, rounds + 1):
            say(f"engine: round {number} of {rounds}, {rows:,} rows each")
            for way in ways:
                way.send(server, sheet)
    return [_table(ways, rows, rounds)]


def _ways(rows: int) -> list[Way]:
    def looking(url: str, sheet: Path, _: int, report: Path) -> list[str]:
        return our_run(sheet, url, report, is_fast=False)

    def plain(url: str, sheet: Path, _: int, report: Path) -> list[str]:
        return our_run(sheet, url, report, "--no-before", is_fast=False)

    def fast(url: str, sheet: Path, _: int, report: Path) -> list[str]:
        return our_run(sheet, url, report, "--no-before")

    few = max(1, rows // _SLOW)
    ours = [
        Way("bulk-reset", looking, rows, -(-rows // 100)),
        Way("bulk-reset --no-before", plain, rows),
    ]
    if not _missing():
        ours.append(Way("bulk-reset[fast] --no-before", fast, rows))
    return [
        _peer("bare", rows),
        *ours,
        _peer("bare-lean", rows),
        _peer("requests", few),
        _peer("cookbook", few),
    ]


def _peer(name: str, rows: int) -> Way:
    def command(url: str, sheet: Path, count: int, _: Path) -> list[str]:
        return [sys.executable, str(HERE / "peers.py"), name, url, str(sheet), str(count)]

    return Way(name, command, rows)


def _missing() -> list[str]:
    return [name for name in ("uvloop", "orjson") if importlib.util.find_spec(name) is None]


def _rows_per_s(stdout: str) -> float:
    facts = json.loads(stdout)
    return float(facts.get("rows_per_s") or facts["requests"] / facts["elapsed_s"])


def _table(ways: list[Way], rows: int, rounds: int) -> Table:
    notes = [
        f"Medians; rounds: {rounds}; {where()}.",
        f"requests and cookbook send {max(1, rows // _SLOW):,} rows.",
        "No peer uses uvloop or orjson. Only ours reads the sheet",
        "within its time, and writes a report.",
    ]
    if missing := _missing():
        notes.append(f"No line for [fast]: not installed: {', '.join(missing)}.")
    table = new_table(
        f"Sending {rows:,} rows with the quota lifted",
        *("way", "rows/s", "from", "to", "of bare", "server busy"),
        caption=escape("\n".join(notes)),
    )
    bare = next(way for way in ways if way.name == "bare")
    for way in ways:
        ratio = median(a / b for a, b in zip(way.rates, bare.rates, strict=True))
        table.add_row(
            escape(way.name),
            *(f"{rate:,.0f}" for rate in (median(way.rates), min(way.rates), max(way.rates))),
            f"{ratio:.2f}",
            f"{median(way.busy):.0%}",
        )
    return table
