"""A pseudo-terminal: the output of a command there, and keyboard input."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fork_server import Forked
from programs import KEY, clean_environment


@contextmanager
def terminal(columns: int) -> Iterator[tuple[int, int]]:
    """Open a terminal; yield the test's end and the program's end."""
    own_end, program_end = pty.openpty()
    try:
        termios.tcsetwinsize(program_end, (24, columns))
        yield own_end, program_end
    finally:
        os.close(own_end)


def seen_on_a_terminal(
    arguments: list[str], folder: Path, columns: int = 100, **environment: str
) -> tuple[int, str]:
    """Run ``bulk-reset`` on a terminal; return its exit code and its output."""
    environment = {**clean_environment(FLASHDUTY_APP_KEY=KEY), "COLUMNS": "", **environment}
    with terminal(columns) as (own_end, program_end):
        process = Forked(arguments, folder, environment, terminal=program_end)
        os.close(program_end)
        seen = rest_of(own_end)
        process.communicate(timeout=60)
        return process.wait(), seen.decode()


def rest_of(own_end: int) -> bytes:
    """Return the output that is left on a terminal until the program closes it."""
    seen = b""
    with contextlib.suppress(OSError):  # the program has closed its end
        while select.select([own_end], [], [], 60)[0]:
            seen += os.read(own_end, 1 << 16)
    return seen
