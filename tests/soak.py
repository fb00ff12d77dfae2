"""Kill a run again and again, at any moment, and hold the server's books against the report.

``python tests/soak.py`` does it at length, in some three minutes; a test does it in short.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from programs import (
    FAST,
    KEY,
    SandboxProcess,
    clean_environment,
    read_csv,
    run_sandbox,
    seed_id,
    write_sheet,
)

WORKERS: Final = 64
_LATENCY_S: Final = 0.8
"""Far enough for all workers to be on their way when the kill comes."""
_LIFE_S: Final = 3.0
"""Kills come within so many seconds: while it imports, checks, sends, or has ended."""
FAULTS: Final = [{"every": 13, "error": "InternalError"}, {"every": 31, "reset": "before"}]


@dataclass(frozen=True)
class Books:
    """What the kills have come to.

    Attributes:
        kills: runs that were killed before they had ended.
        applied: updates that the server made; ``repeats`` of them more than there are rows.
        lost: rows that the server does not have as the sheet wants them.
        told_wrong: rows whose lines in the report are not one single ``updated``.
        most_lines: the most that were in the report at any kill, to see that kills were spread.
    """

    rows: int
    kills: int
    applied: int
    repeats: int
    lost: int
    told_wrong: int
    lines_at_kills: tuple[int, ...]

    @property
    def is_kept(self) -> bool:
        """Whether every promise was kept."""
        return self.lost == self.told_wrong == 0 and self.repeats <= WORKERS * self.kills


def soak(folder: Path, sandbox: SandboxProcess, rows: int, kills: int, seed: int) -> Books:
    """Kill runs of one sheet so many times, then let one end."""
    sheet = write_sheet(folder / "incidents.csv", rows)
    report = folder / "incidents.report.csv"
    command = [sys.executable, "-m", "bulk_reset", "run", sheet.name, "--quiet"]
    command += ["--base-url", sandbox.url, "--workers", str(WORKERS), *FAST]
    chance, killed, lines = random.Random(seed), 0, []  # noqa: S311  (repeatable)
    is_last = False
    while not is_last:
        is_last = killed == kills
        process = subprocess.Popen(
            command, cwd=folder, env=clean_environment(FLASHDUTY_APP_KEY=KEY)
        )
        try:
            process.wait(timeout=300 if is_last else chance.uniform(0, _LIFE_S))
        except subprocess.TimeoutExpired:
            process.kill()
            killed += process.wait() != 0
            lines.append(report.read_bytes().count(b"\n") if report.exists() else 0)
        assert not is_last or process.returncode == 0
    incidents = sandbox.get("/_incidents")
    told = Counter((line["incident_id"], line["status"]) for line in read_csv(report))
    applied = sum(incident["applied"] for incident in incidents.values())
    wanted = {seed_id(n): f"Renamed service {n}" for n in range(1, rows + 1)}
    return Books(
        rows,
        killed,
        applied,
        applied - rows,
        sum(incidents[one]["title"] != title for one, title in wanted.items()),
        len(told.keys() ^ {(one, "updated") for one in wanted}) + told.total() - len(told),
        tuple(lines),
    )


@contextmanager
def slow_sandbox(folder: Path, rows: int, faults: list[dict[str, object]]) -> Iterator:
    """Run a sandbox that takes its time, and has every row of the sheet."""
    path = folder / "faults.json"
    path.write_text(json.dumps(faults))
    options = ["--seed-incidents", str(rows), "--latency", str(_LATENCY_S), *FAST]
    with run_sandbox(*options, "--faults", str(path)) as sandbox:
        yield sandbox


def main() -> int:
    """Soak at length; exit code 1 where a promise was broken."""
    is_kept = True
    print("faults   seed   rows  kills  applied  repeats  lost  told wrong  seconds")  # noqa: T201
    for name, faults, seed in (("none", [], 1), ("some", FAULTS, 2)):
        with (
            tempfile.TemporaryDirectory() as place,
            slow_sandbox(folder := Path(place), 2_000, faults) as sandbox,
        ):
            began_at = time.monotonic()
            books = soak(folder, sandbox, 2_000, 50, seed)
        is_kept = is_kept and books.is_kept
        print(  # noqa: T201
            f"{name:6} {seed:6} {books.rows:6} {books.kills:6} {books.applied:8} {books.repeats:8} "
            f"{books.lost:5} {books.told_wrong:11} {time.monotonic() - began_at:8.0f}\n"
            f"       lines in the report at the kills: {' '.join(map(str, books.lines_at_kills))}",
            flush=True,
        )
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
