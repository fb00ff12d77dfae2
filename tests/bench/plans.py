"""Writes and applies a saved plan of many rows; prints processor time, memory and size.

python tests/bench/plans.py 1000000
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from bulk_reset.api.credentials import DEFAULT_BASE_URL
from bulk_reset.core.plan import FieldPlan, PlanTotals, RowPlan
from bulk_reset.core.saved_plan import PlanHeader
from bulk_reset.reports.saved_plan_file import SavedPlanFile

_KIB = 1024
_TIMES = 3
"""The fastest counts: other programs use the machine, too."""
THRESHOLDS = (50_000, 50, 50)
"""As the command sets them."""


def write_sheet(path: Path, rows: int) -> None:
    """Write a sheet with the same rows as the plan."""
    with path.open("w", encoding="utf-8") as file:
        file.write("incident_id,title\n")
        file.writelines(f"{n:024x},{_new(n)}\n" for n in range(rows))


def write_plan(path: Path, rows: int) -> None:
    """Write a plan of the built-in sandbox."""
    now = time.time()
    header = PlanHeader("x.csv", "", {"title": "title"}, {}, "0", "sandbox", "", now, now + 86_400)
    totals = PlanTotals("x.csv", now, rows, {"update": rows}, {"title": rows}, 0, rows, 0.0)
    with SavedPlanFile(path, header) as file:
        for row in planned_rows(rows):
            file.add(row)
        file.finish(totals)


def planned_rows(rows: int) -> Iterator[RowPlan]:
    """Yield rows as a planning makes them, which takes longer than writing them."""
    for n in range(rows):
        old, new = f"CPU usage high - host-{n:07}", _new(n)
        fields = (FieldPlan("title", old, new, None, "", old, new),)
        link = f"{DEFAULT_BASE_URL}/incident/detail/{n:024x}"
        yield RowPlan(n + 2, f"{n:024x}", "update", fields, link)


def _new(number: int) -> str:
    return f"CPU saturated - host-{number:07}"


def measure(*words: str) -> tuple[float, float]:
    """Return the processor's seconds and the peak memory in MB of a process."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, words
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / _KIB


def main() -> None:
    """Measure, and print a line for each step."""
    if sys.argv[1] == "rows":
        gc.set_threshold(*THRESHOLDS)
        deque(planned_rows(int(sys.argv[2])), maxlen=0)
        return
    if sys.argv[1] == "write":
        gc.set_threshold(*THRESHOLDS)
        write_plan(Path(sys.argv[2]), int(sys.argv[3]))
        return
    rows = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        sheet, plan = Path(folder, "x.csv"), Path(folder, "x.plan")
        write_sheet(sheet, int(rows))
        steps = {
            "check": ("-m", "bulk_reset", "check", str(sheet), "--quiet"),
            "make the rows": (__file__, "rows", rows),
            "make and write them": (__file__, "write", str(plan), rows),
            "apply": ("-m", "bulk_reset", "run", str(plan), "--sandbox", "--dry-run"),
        }
        for name, words in steps.items():
            took_s, memory_mb = min(measure(*words) for _ in range(_TIMES))
            print(f"{name}: {took_s:.1f} s, {memory_mb:.0f} MB")  # noqa: T201
        print(f"size: {plan.stat().st_size / 1e6:.1f} MB")  # noqa: T201


if __name__ == "__main__":
    main()
