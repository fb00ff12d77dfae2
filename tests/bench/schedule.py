"""The cost of ``bulk-reset schedule`` while no job is due: start, processor and memory."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from processes import our_command
from rich.table import Table
from table_style import new_table

JOBS: Final = (1, 200)
_WATCHED_S: Final = 20.0
_JOB: Final = """
[source.pull]
since = "1d"
[set]
title = "[DRILL] {{{{ title }}}}"
[api]
sandbox = true
[schedule]
cron = "{minute} {hour} * * *"
time_zone = "Europe/Berlin"
"""


def tables(log: Callable[[str], None]) -> list[Table]:
    """Measure idle schedules of several sizes, one after the other, and return one table."""
    table = new_table(
        "A schedule with no job due",
        *("job files", "start, s", "processor", "memory, MB"),
        caption=f"Start: until the files are read; then measured for {_WATCHED_S:.0f} s.",
    )
    for jobs in JOBS:
        log(f"schedule: {jobs} job files, {_WATCHED_S:.0f} s")
        start_s, busy, memory_mb = _idle(jobs)
        table.add_row(f"{jobs:,}", f"{start_s:.2f}", f"{busy:.2%}", f"{memory_mb:.0f}")
    return [table]


def _idle(jobs: int) -> tuple[float, float, float]:
    """Return the seconds of the start, the share of a core, and the resident memory."""
    with tempfile.TemporaryDirectory() as folder:
        hour = (time.gmtime().tm_hour + 12) % 24  # far from now, in any zone of Europe
        for number in range(jobs):
            text = _JOB.format(minute=number % 60, hour=hour)
            Path(folder, f"job-{number}.toml").write_text(text, encoding="utf-8")
        started_at = time.perf_counter()
        process = subprocess.Popen(
            our_command("schedule", folder, "--state-dir", f"{folder}/state"),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if json.loads(line)["event"] == "jobs_loaded":
                    break
            start_s = time.perf_counter() - started_at
            before_s, at = processor_s(process.pid), time.perf_counter()
            time.sleep(_WATCHED_S)
            busy = (processor_s(process.pid) - before_s) / (time.perf_counter() - at)
            return start_s, busy, memory_mb(process.pid)
        finally:
            process.terminate()
            process.communicate(timeout=30)


def processor_s(pid: int) -> float:
    """Return the processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
