"""The digest of a saved plan: what is printed, compared by people and approved.

The last line of a plan is ``sha256 HEX``, over all bytes before it. Here the digest is computed
from the file, so a plan that was modified never has the digest of the one that was approved.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Final

from bulk_reset.core.errors import InputError
from bulk_reset.core.input_file import open_input
from bulk_reset.core.option_names import option

MAGIC: Final = b"bulk-reset plan "
"""The start of the first line; the version of the format follows."""
_LAST_START: Final = b"sha256 "
_LAST_BYTES: Final = len(_LAST_START) + 2 * hashlib.sha256().digest_size + 1
_BLOCK_BYTES: Final = 1 << 20


def plan_digest(path: Path) -> str:
    """Return the digest of a plan, in hexadecimal.

    Raises:
        InputError: it cannot be read, is not a plan, is incomplete or was modified.
    """
    try:
        with open_input(path) as file:
            return _digest_of(file, path)
    except FileNotFoundError as exc:
        raise InputError(f"{path}: file not found. Check the name of the plan.") from exc
    except OSError as exc:
        raise InputError(
            f"{path}: cannot be read ({exc.strerror or exc}). Make the file readable for this user."
        ) from exc


def _digest_of(file: BinaryIO, path: Path) -> str:
    if file.read(len(MAGIC)) != MAGIC:
        raise InputError(
            f"{path}: not a saved plan. Make one by a plan with {option('out', 'FILE.plan')}."
        )
    end = max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES)
    file.seek(0)
    digest, left = hashlib.sha256(), end
    while left and (block := file.read(min(left, _BLOCK_BYTES))):
        digest.update(block)
        left -= len(block)
    if file.read(_LAST_BYTES + 1) != _LAST_START + digest.hexdigest().encode() + b"\n":
        raise InputError(
            f"{path}: incomplete, or modified after it was made; nothing was sent. Make a new plan."
        )
    return digest.hexdigest()
