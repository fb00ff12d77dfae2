"""A sequence of values on the disk, for what may have a million rows."""

from __future__ import annotations

import pickle
import tempfile
import threading
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Generic, TypeVar, overload

from bulk_reset.core.temporary_folder import temporary_folder

T = TypeVar("T")
_BLOCK_VALUES: Final = 64
"""Values that are written and read together, which takes a third of the time of one by one."""


class Spool(Sequence[T], Generic[T]):
    """Values that were appended, in a temporary file without a name; a block is in memory.

    May be read by several threads. The file is removed when the spool is no longer used.

    Raises:
        OSError: by every method, if there is no room for the file.
    """

    def __init__(self, values: Iterable[T] = ()) -> None:
        self._file = tempfile.TemporaryFile(dir=temporary_folder())  # noqa: SIM115  (below)
        weakref.finalize(self, self._file.close)
        self._ends = array("Q", [0])
        self._waiting: list[T] = []
        self._last_read: tuple[int, list[T]] = (-1, [])
        self._lock = threading.Lock()
        self.extend(values)

    def append(self, value: T) -> None:
        """Add a value at the end."""
        with self._lock:
            self._waiting.append(value)
            if len(self._waiting) == _BLOCK_VALUES:
                content = pickle.dumps(self._waiting, pickle.HIGHEST_PROTOCOL)
                self._file.seek(self._ends[-1])
                self._file.write(content)
                self._ends.append(self._ends[-1] + len(content))
                self._waiting = []

    def extend(self, values: Iterable[T]) -> None:
        """Add values at the end."""
        for value in values:
            self.append(value)

    def __len__(self) -> int:
        with self._lock:
            return _BLOCK_VALUES * (len(self._ends) - 1) + len(self._waiting)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...
    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        if isinstance(place, slice):
            return self._part(range(*place.indices(len(self))))
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        block, within = divmod(place % len(self), _BLOCK_VALUES)
        return self._block(block)[within]

    def __iter__(self) -> Iterator[T]:
        for block in range(len(self) // _BLOCK_VALUES + 1):
            yield from self._block(block)

    def _part(self, places: range) -> Sequence[T]:
        if not places:
            return []
        first, last = (place // _BLOCK_VALUES for place in sorted((places[0], places[-1])))
        values = [one for block in range(first, last + 1) for one in self._block(block)]
        return [values[place - first * _BLOCK_VALUES] for place in places]

    def _block(self, number: int) -> list[T]:
        """Return the values of a block; the last one is not in the file, and may be empty."""
        with self._lock:
            if number == len(self._ends) - 1:
                return self._waiting
            if number != self._last_read[0]:
                start, end = self._ends[number : number + 2]
                self._file.seek(start)
                # Of this process, in a file without a name.
                self._last_read = number, pickle.loads(self._file.read(end - start))  # noqa: S301
            return self._last_read[1]
