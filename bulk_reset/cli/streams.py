"""Standard output and error as they may really be: closed, broken, full, a plain terminal.

What becomes of the words must not change what becomes of the rows.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Final, TextIO

_PLAIN_TERMINALS: Final = frozenset({"dumb", "unknown"})


class _Lasting(io.TextIOWrapper):
    """A stream that outlives its other end: what is written from then on is lost, no more."""

    def write(self, text: str) -> int:
        """Write, or not."""
        try:
            return super().write(text)
        except OSError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """Flush, or not."""
        try:
            super().flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        # Python flushes what is left once more at its own end, and must not fail then either.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def make_streams_last() -> None:
    """Let standard output and error be written to whatever has become of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file opened, such as the report, would get this number.
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
    """Tell whether a stream is a terminal that can do more than print lines."""
    return stream.isatty() and os.environ.get("TERM", "") not in _PLAIN_TERMINALS


def has_colour(stream: TextIO) -> bool:
    """Tell whether colours are seen, and wanted. Source: https://no-color.org."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")
