"""A file that gets its name when it is whole; until then, and on an error, the old one stays."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bulk_reset.errors import InputError


@contextlib.contextmanager
def whole_file(path: Path, like: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file to be written as a whole.

    Args:
        like: nobody may read it who could not read this one.

    Raises:
        InputError: it cannot be written; what was there is as it was.
    """
    fresh = path.with_name(f"{path.name}.tmp")
    try:
        # One may be left of a run that was killed; or it may be a link, laid out for us.
        fresh.unlink(missing_ok=True)
        with fresh.open("xb") as file:
            if like is not None:
                fresh.chmod(fresh.stat().st_mode & like.stat().st_mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as exc:
        raise InputError(
            f"{path}: cannot be written ({exc.strerror or exc}). Make room, or close it where it "
            "is open."
        ) from exc
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
