"""A pseudo-terminal: what a command shows there, and what is typed."""

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
    """Open a terminal; yield our end of it, and the program's."""
    ours, theirs = pty.openpty()
    try:
        termios.tcsetwinsize(theirs, (24, columns))
        yield ours, theirs
    finally:
        os.close(ours)


def seen_on_a_terminal(
    arguments: list[str], folder: Path, columns: int = 100, **environment: str
) -> tuple[int, str]:
    """Run ``bulk-reset`` on a terminal; return its exit code and all that it showed."""
    environment = {**clean_environment(FLASHDUTY_APP_KEY=KEY), "COLUMNS": "", **environment}
    with terminal(columns) as (ours, theirs):
        process = Forked(arguments, folder, environment, terminal=theirs)
        os.close(theirs)
        seen = rest_of(ours)
        process.communicate(timeout=60)
        return process.wait(), seen.decode()


def rest_of(ours: int) -> bytes:
    """Return all that is still shown on a terminal before the program closes it."""
    seen = b""
    with contextlib.suppress(OSError):  # the program has closed its end
        while select.select([ours], [], [], 60)[0]:
            seen += os.read(ours, 1 << 16)
    return seen
