"""Writing and applying a saved plan of many rows, compared with the check of its sheet."""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from processes import measure, our_command
from rich.table import Table
from table_style import new_table

from bulk_reset.api.credentials import DEFAULT_BASE_URL
from bulk_reset.core.plan import FieldPlan, PlanTotals, RowPlan
from bulk_reset.core.saved_plan import PlanHeader
from bulk_reset.reports.saved_plan_file import SavedPlanFile

ROWS: Final = 1_000_000
ROUNDS: Final = 3
THRESHOLDS: Final = (50_000, 50, 50)
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
    """Yield rows as a planning makes them, which takes about as long as writing them."""
    for n in range(rows):
        old, new = f"CPU usage high - host-{n:07}", _new(n)
        fields = (FieldPlan("title", old, new, None, "", old, new),)
        link = f"{DEFAULT_BASE_URL}/incident/detail/{n:024x}"
        yield RowPlan(n + 2, f"{n:024x}", "update", fields, link)


def _new(number: int) -> str:
    return f"CPU saturated - host-{number:07}"


def tables(rows: int, rounds: int, log: Callable[[str], None]) -> list[Table]:
    """Measure whole processes by turns and return one table."""
    log(f"plans: {rounds} rounds of {rows:,} rows")
    with tempfile.TemporaryDirectory() as folder:
        sheet, plan = Path(folder, "x.csv"), Path(folder, "x.plan")
        write_sheet(sheet, rows)
        steps = {
            "check of the sheet": our_command("check", str(sheet), "--quiet"),
            "make the rows of the plan": [sys.executable, __file__, "rows", str(rows)],
            "make and write them": [sys.executable, __file__, str(plan), str(rows)],
            "apply: run --dry-run": our_command("run", str(plan), "--sandbox", "--dry-run"),
        }
        found: dict[str, list[tuple[float, int]]] = {name: [] for name in steps}
        for _ in range(rounds):
            for name, command in steps.items():
                ended = measure(command)
                found[name].append((ended.seconds, ended.peak_bytes))
        size_mb = plan.stat().st_size / 1e6
    table = new_table(
        f"A saved plan of {rows:,} rows",
        *("step", "seconds", "of check", "MB"),
        caption=f"The fastest of {rounds}. The file has {size_mb:.1f} MB.",
    )
    check_s = min(found["check of the sheet"])[0]
    for name, results in found.items():
        seconds, peak_bytes = min(results)
        ratio, memory_mb = f"{seconds / check_s:.2f}", f"{peak_bytes / 1e6:,.0f}"
        table.add_row(name, f"{seconds:.1f}", ratio, memory_mb)
    return [table]


if __name__ == "__main__":
    gc.set_threshold(*THRESHOLDS)
    if sys.argv[1] == "rows":
        deque(planned_rows(int(sys.argv[2])), maxlen=0)
    else:
        write_plan(Path(sys.argv[1]), int(sys.argv[2]))
