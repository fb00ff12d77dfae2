"""What tells a file from any other: its SHA-256, and its size."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple


class Fingerprint(NamedTuple):
    """A file as it was when it was read."""

    sha256: str
    """In hexadecimal."""
    size_bytes: int


def fingerprint_of(path: Path) -> Fingerprint:
    """Read a file to its end, a piece at a time; raises OSError."""
    with path.open("rb") as file:
        return Fingerprint(hashlib.file_digest(file, "sha256").hexdigest(), file.tell())
