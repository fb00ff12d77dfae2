"""Atomic writing: a file replaces the existing one only when it is complete.

Until then, and after an error, the existing file is unchanged.

A new file gets no more permissions than the files that its content comes from: a sheet that only
its owner can read has no report that others can read.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from bulk_reset.core.errors import InputError


def opener_like(*likes: Path | None) -> Callable[[str, int], int]:
    """Return an ``opener`` for ``open``: a new file is not readable by more users than these files.

    Args:
        likes: files that may not exist. A file that is opened to append can be opened again by
            its owner.
    """

    def opener(path: str, flags: int) -> int:
        found = [like.stat() for like in likes if like is not None and like.is_file()]
        mode = 0o666
        for one in found:
            mode &= one.st_mode
        descriptor = os.open(path, flags, mode | 0o600 if flags & os.O_APPEND else mode)
        try:
            _without_other_group(descriptor, {one.st_gid for one in found})
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    return opener


def _without_other_group(descriptor: int, groups: set[int]) -> None:
    """Take a new file from a group that is not the one of the files that it is like."""
    own = os.fstat(descriptor)
    if own.st_size == 0 and groups - {own.st_gid} and hasattr(os, "fchmod"):
        os.fchmod(descriptor, stat.S_IMODE(own.st_mode) & ~stat.S_IRWXG)


class AtomicFile:
    """A temporary file that ``keep`` renames to its final name. Always call ``discard`` at the end.

    Args:
        like: a file; the new one gets no more permissions than it and the one it replaces.

    Attributes:
        file: the open file to write to.

    Raises:
        OSError: the file cannot be created.
    """

    def __init__(self, path: Path, like: Path | None = None) -> None:
        self._path, self._fresh = path, _reserved(path)
        self._is_discarded = False
        try:
            # A killed run may have left one; or someone may have placed a link there.
            self._fresh.unlink(missing_ok=True)
            opener = opener_like(path, like)
            self.file: BinaryIO = open(self._fresh, "xb", opener=opener)  # noqa: SIM115
        except BaseException:
            _in_use.discard(self._fresh)
            raise

    def sync(self) -> None:
        """Write all data to the disk; raises OSError."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def keep(self) -> None:
        """Write all data to the disk, then replace the existing file; raises OSError."""
        self.sync()
        self.file.close()
        self._fresh.replace(self._path)

    def discard(self) -> None:
        """Delete the temporary file, unless it was kept; only the first call has an effect."""
        if self._is_discarded:
            return
        self._is_discarded = True
        # Closing fails if buffered data does not fit on the disk; that data is not needed.
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            self._fresh.unlink(missing_ok=True)
        _in_use.discard(self._fresh)


_in_use: Final[set[Path]] = set()
"""The temporary files that this process writes now: several threads may write one file."""
_guard: Final = threading.Lock()


def _reserved(path: Path) -> Path:
    """Return the name of a temporary file beside a file, which no other thread uses."""
    target = path.absolute()
    with _guard:
        for n in itertools.count(1):
            fresh = target.with_name(f"{path.name}.tmp" if n == 1 else f"{path.name}.{n}.tmp")
            if fresh not in _in_use:
                break
        _in_use.add(fresh)
        return fresh


@contextlib.contextmanager
def atomic_file(path: Path, like: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file for atomic writing; see ``AtomicFile``.

    Raises:
        InputError: it cannot be written; an existing file is unchanged.
    """
    try:
        fresh = AtomicFile(path, like)
        try:
            yield fresh.file
            fresh.keep()
        finally:
            fresh.discard()
    except OSError as exc:
        raise InputError(
            f"{path}: cannot be written ({exc.strerror or exc}). Free disk space, or close the "
            "file in other programs."
        ) from exc
