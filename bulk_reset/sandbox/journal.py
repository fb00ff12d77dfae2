"""The changes of a sandbox since its state was saved: a sandbox that is killed loses none.

``STATE.journal`` has the SHA-256 of the state that it continues, then a line of JSON for each
change: the incident with all of its values. A line is written before its request is answered. The
journal of another state is ignored, so a state that was replaced by hand is what counts.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Final

if TYPE_CHECKING:
    from pathlib import Path


class StateError(ValueError):
    """A state that cannot be read, is none, or cannot be written; the file is as it was."""


_MOST_BYTES: Final = 64 << 20
"""A journal that is longer is full: the state should be saved."""


class Journal:
    """The journal of a state, open to be written.

    Args:
        state: the file of the state, which has been saved.
        sha256: of that file.

    Raises:
        StateError: it cannot be written.
    """

    def __init__(self, state: Path, sha256: str) -> None:
        self._path = journal_of(state)
        mode = state.stat().st_mode & 0o666
        try:
            self._file: BinaryIO = open(  # noqa: SIM115  (until ``close``)
                self._path, "wb", buffering=0, opener=lambda path, flags: os.open(path, flags, mode)
            )
            try:
                self._written = self._file.write(f"{sha256}\n".encode())
            except OSError:
                self.close()
                raise
        except OSError as exc:
            raise StateError(
                f"{self._path}: cannot be written ({exc.strerror}). Give another file."
            ) from exc

    @property
    def is_full(self) -> bool:
        """Whether it is so long that the state should be saved."""
        return self._written > _MOST_BYTES

    def add(self, incident: dict[str, Any]) -> None:
        """Add an incident as it is after a change.

        On a full disk it is in memory alone, until the state is saved.
        """
        line = json.dumps(incident, ensure_ascii=False, sort_keys=True)
        with suppress(OSError):
            self._written += self._file.write(f"{line}\n".encode(errors="backslashreplace"))

    def close(self) -> None:
        """Close the file, which stays for the next sandbox of this state."""
        self._file.close()

    def remove(self) -> None:
        """Remove it: the state has all of its changes."""
        self.close()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def journal_of(state: Path) -> Path:
    """Return where the journal of a state is."""
    target = state.resolve()
    return target.with_name(f"{target.name}.journal")


def changes_since(state: Path, sha256: str) -> list[Any]:
    """Return the JSON of each change since a state was saved; lines that are torn are left out.

    Args:
        sha256: of the state's file.
    """
    try:
        first, *lines = journal_of(state).read_bytes().split(b"\n")
    except OSError:
        return []
    changes = []
    for line in lines if first == sha256.encode() else ():
        with suppress(ValueError, RecursionError):
            changes.append(json.loads(line))
    return changes
