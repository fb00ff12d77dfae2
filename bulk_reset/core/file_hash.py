"""The SHA-256 and the size of a file, which identify it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from bulk_reset.core.input_file import open_input


class FileHash(NamedTuple):
    """The hash and size of a file at the time it was read."""

    sha256: str
    """In hexadecimal."""
    size_bytes: int


def hash_file(path: Path) -> FileHash:
    """Hash a file in blocks; raises OSError."""
    with open_input(path) as file:
        return FileHash(hashlib.file_digest(file, "sha256").hexdigest(), file.tell())
