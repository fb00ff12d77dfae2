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
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Final, Self

import numpy as np
import numpy.typing as npt

from bulk_reset.core.custom_fields import trimmed
from bulk_reset.core.errors import InputError
from bulk_reset.core.input_file import open_input
from bulk_reset.core.row_keys import NUMBER, Numbers, numbers_at, numbers_of
from bulk_reset.core.temporary_folder import temporary_folder
from bulk_reset.records.line_reader import FEW, lines_at, narrow, pieces, read_groups
from bulk_reset.records.previous_values import (
    COLUMNS,
    HEADER,
    LONGEST_CELL,
    PreviousValues,
    edited,
    end_of_last_line,
    line_of,
    read_previous_values,
    values_of,
)
from bulk_reset.records.report_columns import DIGEST_LENGTH
from bulk_reset.records.report_index import DigestOrder

_OWN_CELLS: Final = 5
_DIGEST: Final = len(COLUMNS) - _OWN_CELLS + 1
_BLOCK_BYTES: Final = 1 << 21
_NONE: Final = np.empty(0, NUMBER)
_Offsets = npt.NDArray[np.intp]
_Columns = tuple[npt.NDArray[np.int64], Numbers, Numbers]
_ERRORS: Final = (ValueError, TypeError, AttributeError, RecursionError, csv.Error)


class PreviousIndex:
    """The lines of a file of previous values; a context manager, in which the file is open.

    Args:
        path: of the file; without one, there are no previous values. A torn last line is ignored.
        skipped: lines at the start that do not count.
        has_incidents: whether lines are found by incident, too.

    Attributes:
        exists: whether there is a file.
        digests, incidents: of each line, in the file's order; no incidents without
            ``has_incidents``.

    Raises:
        InputError: another file, or an invalid line; also by what reads lines.
    """

    def __init__(self, path: Path, skipped: int = 0, *, has_incidents: bool = True) -> None:
        self.path, self._has_incidents = path, has_incidents
        self.exists, self._skipped = path.exists(), skipped
        self._starts = narrow(np.zeros(1, np.int64))
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
        try:
            (values,) = _parsed(lines_at(self._file, self._starts, [line]))
        except _ERRORS as exc:
            raise edited(self.path, self._skipped + line + 1) from exc
        return values

    def of_rows(self, digests: Numbers) -> Iterator[list[PreviousValues]]:
        """Yield the previous values of each of these rows, in their order."""
        for some in pieces(digests):
            yield from read_groups(self._each, self.by_digest.order, *self.by_digest.ranges(some))

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
        incidents = self.incidents if is_wanted is None else self.incidents[is_wanted]
        by_incident = DigestOrder(incidents)
        order, borders = by_incident.order, by_incident.borders
        if is_wanted is not None:
            order = np.flatnonzero(is_wanted).astype(np.uint32)[order]
        places = by_incident.last() if newest_first else by_incident.first()
        del by_incident, incidents  # 12 bytes a line, before the next arrays are made
        turns = np.argsort(places)[:: -1 if newest_first else 1]
        return read_groups(self._each, order, borders[turns], borders[turns + 1])

    def _each(self, lines: Sequence[int]) -> Iterator[PreviousValues]:
        """Yield the previous values of lines, in this order."""
        for n in range(0, len(lines), FEW):
            some = lines[n : n + FEW]
            try:
                yield from _parsed(lines_at(self._file, self._starts, some))
            except _ERRORS:
                yield from map(self.values, some)  # finds the invalid line

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    # --- Reading ---------------------------------------------------------------------------

    def _read(self) -> None:
        self._file = open_input(self.path)
        if self._file.readline(len(HEADER)) != HEADER:
            self._file.close()
            self._file = tempfile.TemporaryFile(dir=temporary_folder())  # noqa: SIM115
            self._file.write(HEADER)
            self._file.writelines(line_of(one).encode() for one in read_previous_values(self.path))
            self._file.seek(len(HEADER))
        try:
            starts, digests, incidents = self._columns(len(HEADER))
        except ValueError:
            # Cells that a run writes in another way, or an invalid line.
            starts, digests, incidents = self._columns_line_by_line()
        self._starts = narrow(starts[min(self._skipped, len(starts) - 1) :])
        self.digests, self.incidents = digests[self._skipped :], incidents[self._skipped :]

    def _columns(self, start: int) -> _Columns:
        """Return where lines start, their digests and incidents; many lines at a time.

        Raises:
            ValueError: a line is not as a run writes it.
        """
        starts, digests, incidents = [np.array([start])], [_NONE], [_NONE]
        rest = b""
        # The blocks grow with the rest, so that a very long line takes linear time.
        while block := self._file.read(max(_BLOCK_BYTES, len(rest))):
            content = rest + block
            text = np.frombuffer(content, np.uint8)
            begins, borders = _borders(text)
            digests.append(_numbers_between(text, borders[:, _DIGEST - 1] + 1, borders[:, _DIGEST]))
            if self._has_incidents:
                incidents.append(_numbers_between(text, begins[:-1], borders[:, 0]))
            starts.append(start + begins[1:])
            start += int(begins[-1])
            rest = content[begins[-1] :]
        return np.concatenate(starts), np.concatenate(digests), np.concatenate(incidents)

    def _columns_line_by_line(self) -> _Columns:
        end = end_of_last_line(self.path) or 0
        starts, digests, incidents = [len(HEADER)], bytearray(), bytearray()
        self._file.seek(len(HEADER))
        try:
            with _long_cells():
                for place, cells in self._each_line(end):
                    digests += numbers_of([cells[_DIGEST]]).tobytes()
                    incidents += numbers_of([cells[0]]).tobytes()
                    starts.append(place)
        except (*_ERRORS, IndexError) as exc:
            raise edited(self.path, len(starts)) from exc
        return (
            np.array(starts),
            np.frombuffer(bytes(digests), NUMBER),
            np.frombuffer(bytes(incidents), NUMBER),
        )

    def _each_line(self, end: int) -> Iterator[tuple[int, list[str]]]:
        """Yield where each line ends, up to a place in the file, and its cells."""
        place = len(HEADER)

        def texts() -> Iterator[str]:
            nonlocal place
            for line in self._file:
                place += len(line)
                if place > end:
                    return
                yield line.decode()

        for cells in csv.reader(texts()):
            yield place, cells


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


def _parsed(lines: Iterable[bytes]) -> list[PreviousValues]:
    """Return the previous values of complete lines; raises ``_ERRORS``."""
    texts = [line.decode() for line in lines]
    with _long_cells():
        rows = list(csv.reader(texts))
    if len(rows) != len(texts):
        raise ValueError("a line with an open quote")
    return [values_of(cells[0], *cells[-_OWN_CELLS:]) for cells in rows]


def _borders(text: npt.NDArray[np.uint8]) -> tuple[_Offsets, _Offsets]:
    """Return where the lines of a text begin and the last one ends, and the commas of each line.

    Raises:
        ValueError: a line has more or fewer cells, or an unquoted cell has a quote.
    """
    quotes = np.flatnonzero(text == ord('"'))
    # A cell in quotes may contain what ends lines and cells: an odd number of quotes precedes it.
    ends, commas = (
        places[np.searchsorted(quotes, places) % 2 == 0]
        for places in (np.flatnonzero(text == ord(char)) for char in "\n,")
    )
    begins = np.concatenate([[0], ends + 1])
    commas = commas[: np.searchsorted(commas, begins[-1])]
    before = text[quotes[: np.searchsorted(quotes, begins[-1]) : 2] - 1]
    borders = commas.reshape(len(ends), -1) if len(ends) else commas.reshape(0, len(COLUMNS) - 1)
    if (
        borders.shape[1] != len(COLUMNS) - 1
        or (borders[:, 0] < begins[:-1]).any()
        or (borders[:, -1] > ends).any()
        or not ((before == ord(",")) | (before == ord('"'))).all()
    ):
        raise ValueError("cells of another kind")
    return begins, borders


def _numbers_between(text: npt.NDArray[np.uint8], starts: _Offsets, ends: _Offsets) -> Numbers:
    if (ends - starts != DIGEST_LENGTH).any():
        raise ValueError("an id of another length")
    return numbers_at(text, starts)
