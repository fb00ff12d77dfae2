"""Run a command and say what it took: ``python spent.py COMMAND ARGUMENT...``.

A program of its own, and one that imports next to nothing: a process starts with the peak memory
of the one that started it, so a small parent is what keeps the figure the command's own
(Linux copies it over ``exec``).

The command's output passes through; after it comes one JSON line of ours: ``seconds`` from start
to exit, ``peak_bytes`` of resident memory, ``exit_code``.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Start the command, wait for it, say what it took."""
    started_at = time.perf_counter()
    pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started_at
    # macOS counts bytes, the others KiB.
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    spent = {
        "seconds": seconds,
        "peak_bytes": usage.ru_maxrss * unit_bytes,
        "exit_code": os.waitstatus_to_exitcode(status),
    }
    sys.stdout.write(f"\n{json.dumps(spent)}\n")


if __name__ == "__main__":
    main()
