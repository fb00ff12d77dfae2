"""Finds previous values by row and by incident, without holding them in memory.

Digests, ids and places of lines are in memory, 50 bytes a line; a line is read when it is asked
for. A file that another program has saved is first copied to a temporary file, in the format of a
run.
"""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
import weakref
from array import array
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Final, Self

import numpy as np
import numpy.typing as npt

from bulk_reset.core.custom_fields import trimmed
from bulk_reset.core.errors import InputError
from bulk_reset.core.input_file import open_input
from bulk_reset.core.row_keys import NUMBER, Numbers
from bulk_reset.core.temporary_folder import temporary_folder
from bulk_reset.records.previous_values import (
    COLUMNS,
    HEADER,
    LONGEST_CELL,
    PreviousValues,
    cells_of,
    edited,
    end_of_last_line,
    read_previous_values,
    values_of,
)
from bulk_reset.records.report_index import DigestOrder, each

_OWN_CELLS: Final = 5
_DIGEST: Final = len(COLUMNS) - _OWN_CELLS + 1
_ERRORS: Final = (ValueError, TypeError, AttributeError, RecursionError, csv.Error)


class PreviousIndex:
    """The lines of a file of previous values; a context manager, in which the file is open.

    Args:
        path: of the file; without one, there are no previous values. A torn last line is ignored.
        skipped: lines at the start that do not count.

    Attributes:
        exists: whether there is a file.
        digests, incidents: of each line, in the file's order.

    Raises:
        InputError: another file, or an invalid line; also by what reads lines.
    """

    def __init__(self, path: Path, skipped: int = 0) -> None:
        self.path = path
        self.exists, self._skipped = path.exists(), skipped
        self._starts = array("Q", [0])
        self.digests = self.incidents = np.empty(0, NUMBER)
        self._file: IO[bytes] = io.BytesIO()
        try:
            if self.exists:
                self._read()
        except OSError as exc:
            self.close()
            raise InputError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.digests)

    @cached_property
    def by_digest(self) -> DigestOrder:
        """The lines by digest, of their row."""
        return DigestOrder(self.digests)

    @cached_property
    def _by_incident(self) -> DigestOrder:
        return DigestOrder(self.incidents)

    def values(self, line: int) -> PreviousValues:
        """Return the previous values of a line, by its number."""
        self._file.seek(self._starts[line])
        content = self._file.read(self._starts[line + 1] - self._starts[line])
        try:
            with _long_cells():
                cells = next(csv.reader([content.decode()]))
            return values_of(cells[0], *cells[-_OWN_CELLS:])
        except _ERRORS as exc:
            raise edited(self.path, self._skipped + line + 1) from exc

    def of_rows(self, digests: Numbers) -> Iterator[list[PreviousValues]]:
        """Yield the previous values of each of these rows, in their order."""
        order = self.by_digest.order
        starts, ends = self.by_digest.ranges(digests)
        for start, end in zip(each(starts), each(ends), strict=True):
            yield [self.values(line) for line in order[start:end].tolist()] if start < end else []

    def of_incident(self, incident_id: str) -> list[PreviousValues]:
        """Return the previous values of an incident, in their order."""
        return [self.values(line) for line in self._by_incident.lines_of(incident_id)]

    def incidents_in_order(
        self, is_wanted: npt.NDArray[np.bool_] | None = None, *, newest_first: bool = False
    ) -> Iterator[list[PreviousValues]]:
        """Yield the previous values of each incident, in their order.

        Args:
            is_wanted: for each line, whether it is read; all by default.
            newest_first: begin with the incident whose last line is the last of the file; by
                default, with the incident of the first line.
        """
        lines = np.arange(len(self)) if is_wanted is None else np.flatnonzero(is_wanted)
        by_incident = DigestOrder(self.incidents[lines])
        order, borders = lines[by_incident.order], by_incident.borders
        places = by_incident.last() if newest_first else by_incident.first()
        turns = np.argsort(places)[:: -1 if newest_first else 1]
        for n in each(turns):
            yield [self.values(line) for line in order[borders[n] : borders[n + 1]].tolist()]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    # --- Reading ---------------------------------------------------------------------------

    def _read(self) -> None:
        self._file = open_input(self.path)
        end = end_of_last_line(self.path) or 0
        if self._file.readline(len(HEADER)) != HEADER:
            self._file.close()
            self._file = tempfile.TemporaryFile(dir=temporary_folder())  # noqa: SIM115
            self._file.write(HEADER)
            for values in read_previous_values(self.path):
                text = io.StringIO(newline="")
                csv.writer(text).writerow(cells_of(values))
                self._file.write(text.getvalue().encode())
            end = self._file.tell()
            self._file.seek(len(HEADER))
        digests, incidents = bytearray(), bytearray()
        self._starts = array("Q", [len(HEADER)])
        try:
            with _long_cells():
                for cells in self._each_line(end):
                    digests += bytes.fromhex(cells[_DIGEST])
                    incidents += bytes.fromhex(cells[0])
                    size = NUMBER.itemsize * (len(self._starts) - 1)
                    if not len(digests) == len(incidents) == size:
                        raise ValueError(cells[0])
        except (*_ERRORS, IndexError) as exc:
            raise edited(self.path, len(self._starts) - 1) from exc
        self._starts = self._starts[self._skipped :] or array("Q", [0])
        self.digests, self.incidents = (
            np.frombuffer(bytes(one), NUMBER)[self._skipped :] for one in (digests, incidents)
        )

    def _each_line(self, end: int) -> Iterator[list[str]]:
        """Yield the cells of each line up to a place in the file, whose end is in ``_starts``."""
        place = len(HEADER)

        def texts() -> Iterator[str]:
            nonlocal place
            for line in self._file:
                place += len(line)
                if place > end:
                    return
                yield line.decode()

        for cells in csv.reader(texts()):
            self._starts.append(place)
            yield cells


class LastWritten:
    """The last written value of each field, from a file of previous values; indexed on first use.

    Args:
        path: of the file; None or no file for no values.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._index: PreviousIndex | None = None

    def is_last(self, incident_id: str, name: str, value: object) -> bool:
        """Return whether a value was written last; raises as ``read_previous_values``."""
        written = [one.wrote[name] for one in self._lines(incident_id) if name in one.wrote]
        return bool(written) and _mark(written[-1]) == _mark(value)

    def is_replaced(self, incident_id: str, name: str, value: object) -> bool:
        """Return whether this value was replaced by another, which was written last.

        Raises as ``read_previous_values``.
        """
        lines = [one for one in self._lines(incident_id) if name in one.wrote]
        wanted = _mark(value)
        return (
            bool(lines)
            and _mark(lines[-1].wrote[name]) != wanted
            and any(_mark(one.before[name]) == wanted for one in lines)
        )

    def _lines(self, incident_id: str) -> list[PreviousValues]:
        if self._path is None or (self._index is None and not self._path.exists()):
            return []
        if self._index is None:
            self._index = PreviousIndex(self._path)
            weakref.finalize(self, self._index.close)
        return self._index.of_incident(incident_id)


def _mark(value: object) -> str:
    """Return a text for a value; the API may trim a text, which is no other value."""
    return repr(trimmed(value))


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(limit)
