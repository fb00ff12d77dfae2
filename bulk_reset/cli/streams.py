"""Standard output and error that may be closed, broken, full or a plain terminal.

A failure to print must not change what is sent.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Final, TextIO

_PLAIN_TERMINALS: Final = frozenset({"dumb", "unknown"})


class _Lasting(io.TextIOWrapper):
    """A stream that ignores write errors: later output is lost, and the run continues."""

    def write(self, text: str) -> int:
        """Write the text if possible."""
        try:
            return super().write(text)
        except OSError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """Flush if possible."""
        try:
            super().flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        # Python flushes again when it exits, and must not fail then either.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def make_streams_last() -> None:
    """Let standard output and error be written to in any state."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Otherwise the next file opened, such as the report, gets this number.
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding
            lasting = _Lasting(
                stream.detach(), encoding, errors="backslashreplace", line_buffering=True
            )
            setattr(sys, name, lasting)


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can move the cursor."""
    return stream.isatty() and os.environ.get("TERM", "") not in _PLAIN_TERMINALS


def has_colour(stream: TextIO) -> bool:
    """Return whether to print colours. Source: https://no-color.org."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")
