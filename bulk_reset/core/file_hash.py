"""What tells a file from any other: its SHA-256, and its size."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple


class FileHash(NamedTuple):
    """A file as it was when it was read."""

    sha256: str
    """In hexadecimal."""
    size_bytes: int


def hash_file(path: Path) -> FileHash:
    """Read a file to its end, a piece at a time; raises OSError."""
    with path.open("rb") as file:
        return FileHash(hashlib.file_digest(file, "sha256").hexdigest(), file.tell())
