"""Rows per second without a quota, compared with other clients that send the same sheet.

In each round every client sends once, one after the other, so that a slow machine slows all of
them; a ratio compares two runs of the same round. Only the sending is measured. A client that
reads the current values first is compared with a bare loop that reads as many.

The time of bulk-reset includes more than that of the others: a second reading of the sheet,
digests, the quota's records, previous values, and writing and syncing the report.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import starmap
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Final

from processes import HERE, QUOTA_LIFTED, Server, measure_as_client, serving, where
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
        peer: the name of the client that it is compared with.
        bound: at least this share of the peer's rows per second; 0 for none.
        reads: its other requests.
        rates: rows per second.
        cpu_us: its processor time for a row, in microseconds.
        busy: the share of its time that the server was busy, 0 to 1.
    """

    name: str
    command: Callable[[str, Path, int, Path], list[str]]
    rows: int
    peer: str = "bare"
    bound: float = 0.0
    reads: int = 0
    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
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
        facts = json.loads(measured.stdout)
        self.rates.append(self.rows / facts["seconds"])
        self.cpu_us.append(1e6 * facts["cpu_s"] / self.rows)
        self.busy.append(work.cpu_s / facts["seconds"])


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
    few, reads = max(1, rows // _SLOW), -(-rows // 100)
    own = [
        _own("bulk-reset", "plain", rows, "bare-reading", 0.85, reads=reads),
        _own("bulk-reset --no-before", "plain", rows, "bare", 0.95),
    ]
    if not _missing():
        own += [
            _own("bulk-reset[fast]", "fast", rows, "bare-reading", reads=reads),
            _own("bulk-reset[fast] --no-before", "fast", rows, "bare", 1.15),
        ]
    return [
        _peer("bare", rows),
        _peer("bare-reading", rows, reads=reads),
        *own,
        _peer("bare-lean", rows),
        _peer("requests", few),
        _peer("cookbook", few),
    ]


def _own(name: str, way: str, rows: int, peer: str, bound: float = 0.0, reads: int = 0) -> Client:
    def command(url: str, sheet: Path, _: int, report: Path) -> list[str]:
        return sending(way, sheet, url, report, *name.split()[1:])

    return Client(name, command, rows, peer, bound, reads)


def sending(way: str, sheet: Path, url: str, report: Path, *more: str) -> list[str]:
    """Return the command line of a run without a quota whose sending is measured."""
    arguments = ("run", sheet, "--base-url", url, "--report", report, "--json", *more)
    program = (sys.executable, HERE / "send_profile.py", way)
    return [*map(str, (*program, *arguments, *QUOTA_LIFTED))]


def _peer(name: str, rows: int, reads: int = 0) -> Client:
    def command(url: str, sheet: Path, count: int, _: Path) -> list[str]:
        return [sys.executable, str(HERE / "peers.py"), name, url, str(sheet), str(count)]

    return Client(name, command, rows, reads=reads)


def _missing() -> list[str]:
    return [name for name in ("uvloop", "orjson") if importlib.util.find_spec(name) is None]


def _table(clients: list[Client], rows: int, rounds: int) -> Table:
    notes = [
        f"Medians of the sending; rounds: {rounds}; {where()}.",
        f"requests and cookbook send {max(1, rows // _SLOW):,} rows.",
        "The other clients use neither uvloop nor orjson, and their time",
        "includes neither reading the sheet nor writing a report.",
        "CPU: of a row; server: how busy it was.",
    ]
    if missing := _missing():
        notes.append(f"No line for [fast]: not installed: {', '.join(missing)}.")
    table = new_table(
        f"Sending {rows:,} rows without a quota",
        *("client", "rows/s", "from", "to", "peer", "of peer", "bound"),
        *("CPU µs", "of peer", "server"),
        caption=escape("\n".join(notes)),
    )
    by_name = {client.name: client for client in clients}
    for client in clients:
        peer = by_name[client.peer]
        rates = (median(client.rates), min(client.rates), max(client.rates))
        table.add_row(
            escape(client.name),
            *(f"{rate:,.0f}" for rate in rates),
            client.peer,
            f"{_share(client.rates, peer.rates):.2f}",
            f"{client.bound:.2f}" if client.bound else "",
            f"{median(client.cpu_us):,.0f}",
            f"{_share(peer.cpu_us, client.cpu_us):.2f}",
            f"{median(client.busy):.0%}",
        )
    return table


def _share(ours: list[float], theirs: list[float]) -> float:
    """Return the median ratio of two clients in the same round."""
    return median(starmap(truediv, zip(ours, theirs, strict=True)))
