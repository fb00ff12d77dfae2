"""A file that gets its name when it is whole; until then, and on an error, the old one stays."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bulk_reset.core.errors import InputError


class AtomicFile:
    """A file beside the name that ``keep`` gives it; ``discard`` it in the end, come what may.

    Args:
        like: nobody may read it who could not read this one, if it is there.

    Attributes:
        file: to write to.

    Raises:
        OSError: it cannot be made there.
    """

    def __init__(self, path: Path, like: Path | None = None) -> None:
        self._path, self._fresh = path, path.with_name(f"{path.name}.tmp")
        # One may be left of a run that was killed; or it may be a link, laid out for us.
        self._fresh.unlink(missing_ok=True)
        self.file: BinaryIO = self._fresh.open("xb")
        try:
            if like is not None and like.is_file():
                self._fresh.chmod(self._fresh.stat().st_mode & like.stat().st_mode)
        except BaseException:
            self.discard()
            raise

    def sync(self) -> None:
        """See what was written onto the disk; raises OSError."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def keep(self) -> None:
        """Give it its name, in place of what has that, once it is on the disk; raises OSError."""
        self.sync()
        self.file.close()
        self._fresh.replace(self._path)

    def discard(self) -> None:
        """Leave nothing behind, unless it was kept."""
        # What a full disk did not take is not wanted any more.
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            self._fresh.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_file(path: Path, like: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file to be written as a whole; see ``AtomicFile``.

    Raises:
        InputError: it cannot be written; what was there is as it was.
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
            f"{path}: cannot be written ({exc.strerror or exc}). Make room, or close it where it "
            "is open."
        ) from exc
