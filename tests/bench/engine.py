"""Rows per second without a quota, compared with other clients that send the same sheet.

In each round every client sends once, one after the other, so that a slow machine slows all of
them; a ratio compares two runs of the same round.

The time of bulk-reset includes more than that of the others: a second reading of the sheet,
digests, the quota's records, and writing and syncing the report.
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

from processes import HERE, Server, measure_as_client, our_run, serving, where
from rich.markup import escape
from rich.table import Table
from sheets import write_csv
from table_style import new_table

ROWS: Final = 10_000
ROUNDS: Final = 9
_SLOW: Final = 10
"""A slow client sends this many times fewer rows: its ratio is enough."""


@dataclass(slots=True)
class Client:
    """A client that sends a sheet, with its measurements, one per round.

    Attributes:
        command: from (server's URL, sheet, rows, new report); prints JSON at the end.
        rows: the rows that it sends.
        reads: its other requests.
        rates: rows per second.
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
            RuntimeError: it failed, or not every row arrived at the server.
        """
        before = server.work()
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "bench.report.csv")
            measured = measure_as_client(self.command(server.url, sheet, self.rows, report))
        work = server.work() - before
        if work.requests != self.rows + self.reads:
            raise RuntimeError(f"{self.name}: {work.requests} requests for {self.rows} rows")
        rate = _rows_per_s(measured.stdout)
        self.rates.append(rate)
        self.busy.append(work.cpu_s * rate / self.rows)


def tables(rows: int, rounds: int, log: Callable[[str], None]) -> list[Table]:
    """Measure every client in every round and return one table."""
    clients = _clients(rows)
    with tempfile.TemporaryDirectory() as folder, serving() as server:
        sheet = write_csv(Path(folder, "sheet.csv"), rows)
        # The first requests to a new server are slower.
        _peer("bare", rows).send(server, sheet)
        for number in range(1, rounds + 1):
            log(f"engine: round {number} of {rounds}, {rows:,} rows each")
            for client in clients:
                client.send(server, sheet)
    return [_table(clients, rows, rounds)]


def _clients(rows: int) -> list[Client]:
    def reading_first(url: str, sheet: Path, _: int, report: Path) -> list[str]:
        return our_run(sheet, url, report, is_fast=False)

    def plain(url: str, sheet: Path, _: int, report: Path) -> list[str]:
        return our_run(sheet, url, report, "--no-before", is_fast=False)

    def fast(url: str, sheet: Path, _: int, report: Path) -> list[str]:
        return our_run(sheet, url, report, "--no-before")

    few = max(1, rows // _SLOW)
    own = [
        Client("bulk-reset", reading_first, rows, -(-rows // 100)),
        Client("bulk-reset --no-before", plain, rows),
    ]
    if not _missing():
        own.append(Client("bulk-reset[fast] --no-before", fast, rows))
    return [
        _peer("bare", rows),
        *own,
        _peer("bare-lean", rows),
        _peer("requests", few),
        _peer("cookbook", few),
    ]


def _peer(name: str, rows: int) -> Client:
    def command(url: str, sheet: Path, count: int, _: Path) -> list[str]:
        return [sys.executable, str(HERE / "peers.py"), name, url, str(sheet), str(count)]

    return Client(name, command, rows)


def _missing() -> list[str]:
    return [name for name in ("uvloop", "orjson") if importlib.util.find_spec(name) is None]


def _rows_per_s(stdout: str) -> float:
    facts = json.loads(stdout)
    return float(facts.get("rows_per_s") or facts["requests"] / facts["elapsed_s"])


def _table(clients: list[Client], rows: int, rounds: int) -> Table:
    notes = [
        f"Medians; rounds: {rounds}; {where()}.",
        f"requests and cookbook send {max(1, rows // _SLOW):,} rows.",
        "The other clients use neither uvloop nor orjson, and their time",
        "includes neither reading the sheet nor writing a report.",
    ]
    if missing := _missing():
        notes.append(f"No line for [fast]: not installed: {', '.join(missing)}.")
    table = new_table(
        f"Sending {rows:,} rows without a quota",
        *("client", "rows/s", "from", "to", "of bare", "server busy"),
        caption=escape("\n".join(notes)),
    )
    bare = next(client for client in clients if client.name == "bare")
    for client in clients:
        ratio = median(a / b for a, b in zip(client.rates, bare.rates, strict=True))
        table.add_row(
            escape(client.name),
            *(
                f"{rate:,.0f}"
                for rate in (median(client.rates), min(client.rates), max(client.rates))
            ),
            f"{ratio:.2f}",
            f"{median(client.busy):.0%}",
        )
    return table
