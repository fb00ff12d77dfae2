"""Opens files that users name, so that a named pipe never makes a command wait forever.

A pipe that no program writes to blocks its reader, and a device may have no end.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import stat
from pathlib import Path
from typing import IO, Final

PIPE_TIMEOUT_S: Final = 10.0
"""How long a pipe may take to start, for example a password manager that asks for a PIN."""
_AT_ONCE: Final = getattr(os, "O_NONBLOCK", 0)
"""Without it, opening a named pipe waits for the program at its other end."""
_ZERO_SHARE: Final = 3
_START_BYTES: Final = 1 << 10


def open_input(path: Path, *, accepts_pipe: bool = False) -> io.BufferedReader:
    """Open a file for reading, in bytes.

    Args:
        accepts_pipe: a pipe is read as well, if another program starts to write to it in time.

    Raises:
        OSError: it cannot be read, or it is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | _AT_ONCE | getattr(os, "O_BINARY", 0))
    problem = _problem_of(descriptor, accepts_pipe=accepts_pipe)
    if problem is not None:
        os.close(descriptor)
        raise problem
    return os.fdopen(descriptor, "rb")


def _problem_of(descriptor: int, *, accepts_pipe: bool) -> OSError | None:
    """Return why an open file is not read; wait until a pipe has something to read."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not (accepts_pipe and stat.S_ISFIFO(mode)):
        return OSError(errno.EINVAL, "a pipe or a device, not a file")
    if not select.select([descriptor], [], [], PIPE_TIMEOUT_S)[0]:
        return OSError(errno.ETIMEDOUT, "no program writes to this pipe")
    os.set_blocking(descriptor, True)
    return None


def open_output(path: Path) -> IO[str]:
    """Open a file to append text in UTF-8.

    Raises:
        OSError: it cannot be written, or it is a pipe that no program reads.
    """

    def opened(name: str, flags: int) -> int:
        descriptor = os.open(name, flags | _AT_ONCE, 0o666)
        if _AT_ONCE:
            os.set_blocking(descriptor, True)
        return descriptor

    # Path.open takes no opener.
    return open(path, "a", encoding="utf-8", newline="\n", opener=opened)


def why_not_text(start: bytes) -> str:
    """Return why the first bytes of a file are not text in UTF-8; empty if they may be.

    Spreadsheets save "Unicode text" in UTF-16, where every second byte of ASCII text is zero.
    """
    some = start[:_START_BYTES]
    if some.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "saved in UTF-16"
    return "binary data, or saved in UTF-16" if some.count(0) * _ZERO_SHARE > len(some) else ""
