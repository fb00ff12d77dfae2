"""A sequence of values on the disk, for what may have a million rows."""

from __future__ import annotations

import pickle
import tempfile
import threading
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

from bulk_reset.core.temporary_folder import temporary_folder

T = TypeVar("T")


class Spool(Sequence[T], Generic[T]):
    """Values that were appended, in a temporary file without a name: 8 bytes each in memory.

    May be read by several threads. The file is removed when the spool is no longer used.

    Raises:
        OSError: by every method, if there is no room for the file.
    """

    def __init__(self, values: Iterable[T] = ()) -> None:
        self._file = tempfile.TemporaryFile(dir=temporary_folder())  # noqa: SIM115  (below)
        weakref.finalize(self, self._file.close)
        self._ends = array("Q", [0])
        self._lock = threading.Lock()
        self.extend(values)

    def append(self, value: T) -> None:
        """Add a value at the end."""
        self.extend([value])

    def extend(self, values: Iterable[T]) -> None:
        """Add values at the end."""
        for value in values:
            content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            with self._lock:
                self._file.seek(self._ends[-1])
                self._file.write(content)
                self._ends.append(self._ends[-1] + len(content))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...
    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        if isinstance(place, slice):
            return [self[n] for n in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        place %= len(self)
        start, end = self._ends[place], self._ends[place + 1]
        with self._lock:
            self._file.seek(start)
            content = self._file.read(end - start)
        value: Any = pickle.loads(content)  # noqa: S301  (of this process, in a file without a name)
        return value  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[T]:
        return (self[place] for place in range(len(self)))
