"""Requests and time for equal comments, which share requests, and for different ones.

A sheet of different comments costs what every sheet cost before comments were grouped: one request
each. Both are sent to the accepting server without a quota, one after the other in each round; the
time under the quota is computed from the requests.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from processes import Server, measure_as_client, our_run, serving, where
from rich.table import Table
from sheets import row
from table_style import new_table

from bulk_reset.quota.windows import Window, ideal_s

ROWS: Final = 5_000
ROUNDS: Final = 3
_QUOTA: Final = (Window(50, 1.0), Window(1_000, 60.0))


@dataclass(slots=True)
class Sheet:
    """A sheet of comments, with its measurements, one per round."""

    name: str
    text: Callable[[int], str]
    requests: int = 0
    seconds: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def send(self, server: Server, rows: int) -> None:
        """Send it once; the incidents' values are not read."""
        with tempfile.TemporaryDirectory() as folder:
            sheet = Path(folder, "comments.csv")
            with sheet.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(("incident_id", "comment"))
                writer.writerows((row(n)[0], self.text(n)) for n in range(rows))
            before = server.work()
            report = Path(folder, "comments.report.csv")
            measured = measure_as_client(our_run(sheet, server.url, report, "--no-before"))
            self.requests = (server.work() - before).requests
        self.seconds.append(measured.seconds)
        self.cpu_s.append(measured.cpu_s)


def tables(rows: int, rounds: int, log: Callable[[str], None]) -> list[Table]:
    """Measure both sheets in every round and return one table."""
    sheets = [
        Sheet("equal comments", lambda _: "Closed by the monthly review"),
        Sheet("different comments", lambda n: f"Closed by the monthly review, item {n}"),
    ]
    with serving() as server:
        for number in range(1, rounds + 1):
            log(f"comments: round {number} of {rounds}, {rows:,} rows each")
            for sheet in sheets:
                sheet.send(server, rows)
    table = new_table(
        f"{rows:,} comments",
        *("sheet", "requests", "s under the quota", "s without", "CPU s"),
        caption=f"Medians; rounds: {rounds}; --no-before; {where()}.",
    )
    for sheet in sheets:
        table.add_row(
            sheet.name,
            f"{sheet.requests:,}",
            f"{ideal_s(sheet.requests, _QUOTA):,.1f}",
            f"{median(sheet.seconds):.1f}",
            f"{median(sheet.cpu_s):.1f}",
        )
    return [table]
