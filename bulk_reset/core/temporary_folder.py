"""The folder for temporary files, which a container with a read-only file system may not have."""

from __future__ import annotations

import os
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


def use_temporary_folder(state_folder: Path) -> None:
    """Let this process, and those that it starts, use ``tmp`` in a folder if there is no other.

    Raises:
        InputError: it cannot be created.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        folder = state_folder / "tmp"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as exc:
            raise InputError(
                f"{folder}: cannot be created ({exc.strerror}). Set TMPDIR to a folder that can be "
                "written."
            ) from exc
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
