"""Finds previous values by row and by incident, without holding them in memory.

Digests, ids and places of lines are in memory, 50 bytes a line; a line is read when it is asked
for. A file that another program has saved is first copied to a temporary file, in the format of a
run.
"""

from __future__ import annotations

import csv
import io
import tempfile
from array import array
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import numpy as np

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
from bulk_reset.records.report_index import DigestOrder

_OWN_CELLS: Final = 5
_DIGEST: Final = len(COLUMNS) - _OWN_CELLS + 1
_ERRORS: Final = (ValueError, TypeError, AttributeError, RecursionError, csv.Error)


class PreviousIndex:
    """The lines of a file of previous values; a context manager, in which the file is open.

    Args:
        path: of the file; without one, there are no previous values. A torn last line is ignored.

    Attributes:
        exists: whether there is a file.
        digests, incidents: of each line, in the file's order.

    Raises:
        InputError: another file, or an invalid line; also by what reads lines.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.exists = path.exists()
        self._starts = array("Q", [0])
        self.digests = self.incidents = np.empty(0, NUMBER)
        self._file: IO[bytes] = io.BytesIO()
        self._limit = csv.field_size_limit(LONGEST_CELL)
        try:
            if self.exists:
                self._read()
        except OSError as exc:
            self._close()
            raise InputError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def __len__(self) -> int:
        return len(self.digests)

    @cached_property
    def by_digest(self) -> DigestOrder:
        """The lines by digest, of their row."""
        return DigestOrder(self.digests)

    @cached_property
    def by_incident(self) -> DigestOrder:
        """The lines by incident."""
        return DigestOrder(self.incidents)

    def values(self, line: int) -> PreviousValues:
        """Return the previous values of a line, by its number."""
        self._file.seek(self._starts[line])
        content = self._file.read(self._starts[line + 1] - self._starts[line])
        try:
            cells = next(csv.reader([content.decode()]))
            return values_of(cells[0], *cells[-_OWN_CELLS:])
        except _ERRORS as exc:
            raise edited(self.path, line + 1) from exc

    def of_rows(self, digests: Numbers) -> Iterator[list[PreviousValues]]:
        """Yield the previous values of each of these rows, in their order."""
        order = self.by_digest.order
        starts, ends = self.by_digest.ranges(digests)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            yield [self.values(line) for line in order[start:end].tolist()] if start < end else []

    def incidents_in_order(self, *, by_last: bool = False) -> Iterator[list[PreviousValues]]:
        """Yield the previous values of each incident, in the order of their first or last line."""
        order, borders = self.by_incident.order, self.by_incident.borders
        keys = self.by_incident.last() if by_last else self.by_incident.first()
        for n in np.argsort(keys).tolist():
            lines = order[borders[n] : borders[n + 1]].tolist()
            yield [self.values(line) for line in lines]

    def _close(self) -> None:
        csv.field_size_limit(self._limit)
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
            for cells in self._each_line(end):
                digests += bytes.fromhex(cells[_DIGEST])
                incidents += bytes.fromhex(cells[0])
                if not len(digests) == len(incidents) == NUMBER.itemsize * (len(self._starts) - 1):
                    raise ValueError(cells[0])
        except (*_ERRORS, IndexError) as exc:
            raise edited(self.path, len(self._starts) - 1) from exc
        self.digests, self.incidents = _numbers(digests), _numbers(incidents)

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


def _numbers(content: bytearray) -> Numbers:
    return np.frombuffer(bytes(content), NUMBER)
