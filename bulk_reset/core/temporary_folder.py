"""The folder for temporary files, which a container with a read-only file system may not have."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bulk_reset.core.errors import InputError


def temporary_folder() -> Path:
    """Return the folder for temporary files: ``TMPDIR``, or that of the system.

    Raises:
        InputError: no such folder can be written.
    """
    try:
        return Path(tempfile.gettempdir())
    except OSError as exc:
        raise InputError(
            "no folder for temporary files can be written. Set TMPDIR to a folder that this user "
            "can write."
        ) from exc
