"""Finds the lines of a report by row and by digest, without holding them in memory.

Digests, row numbers and places of lines are in memory, 40 bytes a line; a line is read when it is
asked for. A report that another program has saved is first copied to a temporary file, in the
format of a run.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, Self

import numpy as np
import numpy.typing as npt

from bulk_reset.core.argument_types import require_path
from bulk_reset.core.errors import InputError
from bulk_reset.core.input_file import open_input
from bulk_reset.core.outcome import Outcome
from bulk_reset.core.row_keys import NUMBER, Numbers, numbers_at, numbers_of
from bulk_reset.core.temporary_folder import temporary_folder
from bulk_reset.records.history import code_of
from bulk_reset.records.line_reader import FEW, lines_at, narrow, pieces, read_groups
from bulk_reset.records.report_block import Block
from bulk_reset.records.report_columns import (
    DIGEST_LENGTH,
    HEADER,
    line_of,
    outcome_of,
    outcome_of_plain,
)
from bulk_reset.records.report_reader import (
    HEADERS,
    LONGEST_HEADER,
    blocks_of,
    read_report,
)

_BLOCK_BYTES: Final = 1 << 21
_LONGEST_NUMBER: Final = 15
Places = npt.NDArray[np.uint32]
"""Numbers of lines; a report has fewer than four thousand million."""


class DigestOrder:
    """The numbers of lines, sorted by digest, then by place.

    Args:
        digests: of the lines, in their order; ids of incidents are digests, too.
    """

    def __init__(self, digests: Numbers) -> None:
        self.order: Places = np.lexsort((digests["low"], digests["high"])).astype(np.uint32)
        ordered = _exact(digests[self.order])
        is_first = np.ones(len(ordered) + 1, bool)
        is_first[1:-1] = ordered[1:] != ordered[:-1]
        self.borders: Places = np.flatnonzero(is_first).astype(np.uint32)
        """Where the lines of a digest begin in ``order``, and the end."""
        # In most files each digest has one line; a copy would be the largest part of the order.
        self._exact = ordered if len(self) == len(ordered) else ordered[self.borders[:-1]]

    def __len__(self) -> int:
        return len(self.borders) - 1

    def first(self) -> Places:
        """Return the first line of each digest."""
        return self.order[self.borders[:-1]]

    def last(self) -> Places:
        """Return the last line of each digest."""
        return self.order[self.borders[1:] - 1]

    def lines_of(self, digest: str) -> list[int]:
        """Return the lines of a digest, in their order."""
        starts, ends = self.ranges(numbers_of([digest]))
        lines: list[int] = self.order[starts[0] : ends[0]].tolist()
        return lines

    def ranges(self, digests: Numbers) -> tuple[Places, Places]:
        """Return where the lines of each of these digests begin and end in ``order``."""
        places = np.searchsorted(self._exact, _exact(digests))
        known = np.zeros(len(digests), bool)
        inside = places < len(self)
        known[inside] = self._exact[places[inside]] == _exact(digests)[inside]
        borders = self.borders
        starts, ends = (borders[np.minimum(places + n, len(self))] for n in (0, 1))
        return starts, np.where(known, ends, starts)

    def has(self, digests: Numbers) -> npt.NDArray[np.bool_]:
        """Return for each of these digests whether it has a line."""
        found = (np.less(*self.ranges(some)) for some in pieces(digests))
        return np.concatenate([np.empty(0, bool), *found])


def each(numbers: npt.NDArray[Any]) -> Iterator[Any]:
    """Yield the values of an array, which a list of all of them would hold in memory."""
    for some in pieces(numbers):
        yield from some.tolist()


def _exact(numbers: Numbers) -> npt.NDArray[np.bytes_]:
    """Return digests as texts of 12 bytes, which are sorted as their numbers are."""
    exact: npt.NDArray[np.bytes_] = np.ascontiguousarray(numbers, NUMBER).view("S12")
    return exact


class ReportIndex:
    """The lines of a report; a context manager, in which the file is open.

    Args:
        path: of the report. A torn last line is ignored.

    Attributes:
        digests, rows: digest and row number of each line, in the report's order.

    Raises:
        InputError: no such file, not a report, or an invalid line; also by what reads lines.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        require_path("path", path)
        self.path = Path(path)
        try:
            self._file: IO[bytes] = open_input(self.path)
            try:
                self._read()
            except BaseException:
                self._file.close()
                raise
        except OSError as exc:
            raise InputError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self.digests)

    @cached_property
    def by_digest(self) -> DigestOrder:
        """The lines by digest."""
        return DigestOrder(self.digests)

    def is_last(self) -> npt.NDArray[np.bool_]:
        """Return for each line whether it is the last of its row, so that it counts."""
        found = np.zeros(len(self), bool)
        found[self.by_digest.last()] = True
        return found

    def of_rows(self, digests: Numbers) -> Iterator[list[Outcome]]:
        """Yield the outcomes of each of these rows, in the report's order."""
        for some in pieces(digests):
            yield from read_groups(self.at, self.by_digest.order, *self.by_digest.ranges(some))

    def at(self, lines: Iterable[int]) -> Iterator[Outcome]:
        """Yield the outcomes of lines, by their numbers, in this order."""
        numbers = iter(lines)
        while some := list(islice(numbers, FEW)):
            yield from map(self._outcome, lines_at(self._file, self._starts, some))

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcome of every line, in the report's order."""
        self._file.seek(self._starts[0])
        for _ in range(len(self)):
            yield self._outcome(self._file.readline())

    def blocks(self) -> Iterator[Block]:
        """Yield all lines by column, many at a time, in the report's order."""
        line, (place, end) = 0, self._starts[[0, -1]].tolist()
        while content := self._whole_lines(place, end):
            count = content.count(b"\n")
            try:
                yield Block.read(content)
            except (ValueError, csv.Error):
                yield Block.of(self.at(range(line, line + count)))
            line, place = line + count, place + len(content)

    def _whole_lines(self, place: int, end: int) -> bytes:
        self._file.seek(place)
        # Fewer bytes than for arrays: the cells are objects, which take more memory than the file.
        content = self._file.read(min(_BLOCK_BYTES // 8, end - place))
        is_cut = content and not content.endswith(b"\n")
        return content + self._file.readline() if is_cut else content

    def codes(self) -> npt.NDArray[np.uint8]:
        """Return the status of each line (``code_of``), in the report's order."""
        self._file.seek(self._starts[0])
        try:
            found = [lines.statuses for lines in blocks_of(self._file)]
        except (ValueError, csv.Error):
            each_code = (code_of(one.status) for one in self.outcomes())
            return np.fromiter(each_code, np.uint8, len(self))
        # A run may have added lines meanwhile.
        return np.concatenate([np.empty(0, np.uint8), *found])[: len(self)]

    def last_outcomes(self) -> Iterator[Outcome]:
        """Yield the last outcome of each row, in the order of the report."""
        for is_last, outcome in zip(each(self.is_last()), self.outcomes(), strict=True):
            if is_last:
                yield outcome

    def lines_in_order(self) -> Places:
        """Return the last line of each row, in the order of the sheet."""
        last, first = self.by_digest.last(), self.by_digest.first()
        lines: Places = last[np.lexsort((first, self.rows[last]))]
        return lines

    def rows_in_order(self) -> Iterator[Outcome]:
        """Yield the last outcome of each row, in the order of the sheet."""
        return self.at(each(self.lines_in_order()))

    def _outcome(self, content: bytes) -> Outcome:
        text = content[:-1].decode(errors="replace")
        try:
            return outcome_of(next(csv.reader([text]))) if '"' in text else outcome_of_plain(text)
        except (ValueError, csv.Error):
            # Reading the whole file names the line, and how to fix it.
            for _ in read_report(self.path):
                pass
            raise

    # --- Reading ---------------------------------------------------------------------------

    def _read(self) -> None:
        header = self._file.readline(LONGEST_HEADER)
        is_own = header in HEADERS
        if is_own:
            try:
                self._index(len(header))
            except ValueError:
                is_own = (
                    False  # empty lines, or an invalid one, which reading it line by line finds
                )
        if not is_own:
            self._file.close()
            self._file = tempfile.TemporaryFile(dir=temporary_folder())  # noqa: SIM115
            self._file.write(HEADER)
            self._file.writelines(line_of(one).encode() for one in read_report(self.path))
            self._file.seek(len(HEADER))
            self._index(len(HEADER))

    def _index(self, start: int) -> None:
        starts, digests, rows = [np.array([start])], list[Numbers](), list[npt.NDArray[np.int64]]()
        rest = b""
        while block := self._file.read(_BLOCK_BYTES):
            whole, newline, rest = (rest + block).rpartition(b"\n")
            if not newline:
                continue
            text = np.frombuffer(whole + newline, np.uint8)
            ends = np.flatnonzero(text == ord("\n")) + 1
            begins = np.concatenate([[0], ends[:-1]])
            if (ends - begins <= DIGEST_LENGTH + 1).any():
                raise ValueError("a line without a digest")
            digests.append(numbers_at(text, ends - 1 - DIGEST_LENGTH))
            rows.append(_row_numbers(text, begins))
            starts.append(start + ends)
            start += len(text)
        self._starts = narrow(np.concatenate(starts))
        self.digests = np.concatenate([np.empty(0, NUMBER), *digests])
        self.rows = narrow(np.concatenate([np.empty(0, np.int64), *rows]))


def _row_numbers(
    text: npt.NDArray[np.uint8], begins: npt.NDArray[np.intp]
) -> npt.NDArray[np.int64]:
    """Return the numbers that lines begin with; raises ValueError for other texts."""
    numbers = np.zeros(len(begins), np.int64)
    places, open_lines = begins.copy(), np.arange(len(begins))
    for _ in range(_LONGEST_NUMBER + 1):
        digits = text[places[open_lines]].astype(np.int64) - ord("0")
        is_comma = digits == ord(",") - ord("0")
        digits, open_lines = digits[~is_comma], open_lines[~is_comma]
        if not len(open_lines):
            return numbers
        if ((digits < 0) | (digits > 9)).any():  # noqa: PLR2004  (no digit)
            break
        numbers[open_lines] = numbers[open_lines] * 10 + digits
        places[open_lines] += 1
    raise ValueError("not a number")
