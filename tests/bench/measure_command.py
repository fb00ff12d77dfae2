"""Run a command and measure it: ``python measure_command.py COMMAND ARGUMENT...``.

It is a program of its own with few imports, because on Linux a process starts with the peak memory
of its parent: only below a small parent is the peak that of the command.

The command's output is passed on; one JSON line follows it: ``seconds`` from start to exit,
``cpu_s`` of
processor time, ``peak_bytes`` of resident memory, ``exit_code``.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Start the command, wait for its end, and print the measurements."""
    started_at = time.perf_counter()
    pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started_at
    # macOS counts bytes, the others KiB.
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    measured = {
        "seconds": seconds,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * unit_bytes,
        "exit_code": os.waitstatus_to_exitcode(status),
    }
    sys.stdout.write(f"\n{json.dumps(measured)}\n")


if __name__ == "__main__":
    main()
