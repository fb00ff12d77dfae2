"""Writes and applies a saved plan of many rows; prints times, memory and size.

python tests/bench/plans.py 1000000
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bulk_reset.api.credentials import DEFAULT_BASE_URL
from bulk_reset.core.plan import FieldPlan, PlanTotals, RowPlan
from bulk_reset.core.saved_plan import PlanHeader
from bulk_reset.reports.saved_plan_file import SavedPlanFile

_KIB = 1024


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
        for n in range(rows):
            old, new = f"CPU usage high - host-{n:07}", _new(n)
            fields = (FieldPlan("title", old, new, None, "", old, new),)
            link = f"{DEFAULT_BASE_URL}/incident/detail/{n:024x}"
            file.add(RowPlan(n + 2, f"{n:024x}", "update", fields, link))
        file.finish(totals)


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
    if sys.argv[1] == "write":
        write_plan(Path(sys.argv[2]), int(sys.argv[3]))
        return
    rows = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        sheet, plan = Path(folder, "x.csv"), Path(folder, "x.plan")
        write_sheet(sheet, int(rows))
        steps = {
            "check": ("-m", "bulk_reset", "check", str(sheet), "--quiet"),
            "write": (__file__, "write", str(plan), rows),
            "apply": ("-m", "bulk_reset", "run", str(plan), "--sandbox", "--dry-run"),
        }
        for name, words in steps.items():
            took_s, memory_mb = measure(*words)
            print(f"{name}: {took_s:.1f} s, {memory_mb:.0f} MB")  # noqa: T201
        print(f"size: {plan.stat().st_size / 1e6:.1f} MB")  # noqa: T201


if __name__ == "__main__":
    main()
