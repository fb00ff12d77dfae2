"""Atomic writing: a file replaces the existing one only when it is complete.

Until then, and after an error, the existing file is unchanged.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bulk_reset.core.errors import InputError


class AtomicFile:
    """A temporary file that ``keep`` renames to its final name. Always call ``discard`` at the end.

    Args:
        like: an existing file; the new file gets no more permissions than this one.

    Attributes:
        file: the open file to write to.

    Raises:
        OSError: the file cannot be created.
    """

    def __init__(self, path: Path, like: Path | None = None) -> None:
        self._path, self._fresh = path, path.with_name(f"{path.name}.tmp")
        # A killed run may have left one; or someone may have placed a link there.
        self._fresh.unlink(missing_ok=True)
        self.file: BinaryIO = self._fresh.open("xb")
        try:
            if like is not None and like.is_file():
                self._fresh.chmod(self._fresh.stat().st_mode & like.stat().st_mode)
        except BaseException:
            self.discard()
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
        """Delete the temporary file, unless it was kept."""
        # Closing fails if buffered data does not fit on the disk; that data is not needed.
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            self._fresh.unlink(missing_ok=True)


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
