"""Kill a run repeatedly, at random times, and compare the server's records with the report.

``python tests/soak.py`` does it with many kills, in 3 minutes; a test does it with few.
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

sys.path.insert(0, str(Path(__file__).parent / "doubles"))

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
"""Long enough for all workers to have an in-flight request when the kill comes."""
_LIFE_S: Final = 3.0
"""Kills come within this many seconds: during imports, the check, sending, or after the end."""
FAULTS: Final = [{"every": 13, "error": "InternalError"}, {"every": 31, "reset": "before"}]


@dataclass(frozen=True)
class SoakResult:
    """The result of a soak test.

    Attributes:
        kills: runs that were killed before their end.
        applied: updates that the server made.
        repeats: the number of updates beyond one per row.
        lost: rows that the server does not have as in the sheet.
        misreported: rows that do not have exactly one line ``updated`` in the report.
        lines_at_kills: the lines in the report at each kill, to see that kills were spread.
    """

    rows: int
    kills: int
    applied: int
    repeats: int
    lost: int
    misreported: int
    lines_at_kills: tuple[int, ...]

    @property
    def is_correct(self) -> bool:
        """Whether no row was lost, and no more was repeated than was in flight at the kills."""
        return self.lost == self.misreported == 0 and self.repeats <= WORKERS * self.kills


def soak(folder: Path, sandbox: SandboxProcess, rows: int, kills: int, seed: int) -> SoakResult:
    """Kill runs of one sheet this many times, then wait for the end of one."""
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
    reported = Counter((line["incident_id"], line["status"]) for line in read_csv(report))
    applied = sum(incident["applied"] for incident in incidents.values())
    wanted = {seed_id(n): f"Renamed service {n}" for n in range(1, rows + 1)}
    return SoakResult(
        rows,
        killed,
        applied,
        applied - rows,
        sum(incidents[one]["title"] != title for one, title in wanted.items()),
        len(reported.keys() ^ {(one, "updated") for one in wanted})
        + reported.total()
        - len(reported),
        tuple(lines),
    )


@contextmanager
def slow_sandbox(folder: Path, rows: int, faults: list[dict[str, object]]) -> Iterator:
    """Run a slow sandbox that has every row of the sheet."""
    path = folder / "faults.json"
    path.write_text(json.dumps(faults))
    options = ["--seed-incidents", str(rows), "--latency", str(_LATENCY_S), *FAST]
    with run_sandbox(*options, "--faults", str(path)) as sandbox:
        yield sandbox


def main() -> int:
    """Test with many kills; exit code 1 if a result is not correct."""
    is_correct = True
    print("faults   seed   rows  kills  applied  repeats  lost  misreported  seconds")  # noqa: T201
    for name, faults, seed in (("none", [], 1), ("some", FAULTS, 2)):
        with (
            tempfile.TemporaryDirectory() as place,
            slow_sandbox(folder := Path(place), 2_000, faults) as sandbox,
        ):
            began_at = time.monotonic()
            result = soak(folder, sandbox, 2_000, 50, seed)
        is_correct = is_correct and result.is_correct
        print(  # noqa: T201
            f"{name:6} {seed:6} {result.rows:6} {result.kills:6} {result.applied:8} "
            f"{result.repeats:8} {result.lost:5} {result.misreported:12} "
            f"{time.monotonic() - began_at:8.0f}\n"
            f"       lines in the report at the kills: {' '.join(map(str, result.lines_at_kills))}",
            flush=True,
        )
    return 0 if is_correct else 1


if __name__ == "__main__":
    sys.exit(main())
