"""A folder for temporary files where the system has none, as in a container without ``/tmp``."""

from __future__ import annotations

import os
import tempfile

from bulk_reset.core.errors import InputError
from bulk_reset.jobs.state_folder import StateFolder


def use_temporary_folder(state: StateFolder) -> None:
    """Let this process, and those that it starts, use ``STATE/tmp`` if there is no other folder.

    Raises:
        InputError: it cannot be created.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        folder = state.path / "tmp"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as exc:
            raise InputError(
                f"{folder}: cannot be created ({exc.strerror}). Set TMPDIR to a folder that can be "
                "written."
            ) from exc
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
