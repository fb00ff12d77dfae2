"""Reads lines of a file by their numbers, many at a time where that is faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import IO, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
D = TypeVar("D", bound=np.generic)
FEW: Final = 64
"""Lines that are read together; each may have a hundred kilobytes."""
MANY: Final = 4096
"""Lines that are found together: what is derived from an array may take more memory than it."""
_DENSE: Final = 4
"""Lines are read one by one where all bytes between them are more than this many times theirs."""
_MOST_NARROW: Final = 1 << 32
Offsets = npt.NDArray[np.integer[Any]]


def narrow(numbers: npt.NDArray[np.int64]) -> Offsets:
    """Return natural numbers with 4 bytes each if these suffice, as in nearly all files."""
    return numbers.astype(np.uint32) if numbers.max(initial=0) < _MOST_NARROW else numbers


def pieces(array: npt.NDArray[D]) -> Iterator[npt.NDArray[D]]:
    """Yield an array in pieces."""
    for start in range(0, len(array), MANY):
        yield array[start : start + MANY]


def lines_at(file: IO[bytes], starts: Offsets, lines: Sequence[int]) -> list[bytes]:
    """Return the content of lines, in this order.

    Args:
        starts: where each line of the file begins, and the end of the last one.
        lines: their numbers, a few.
    """
    places = np.array(lines, np.intp)
    begins, ends = starts[places], starts[places + 1]
    start = int(begins.min(initial=starts[-1]))
    size = int(ends.max(initial=start)) - start
    if size > _DENSE * int((ends - begins).sum()):
        return [_read(file, *place) for place in zip(begins.tolist(), ends.tolist(), strict=True)]
    content = _read(file, start, start + size)
    shifted = zip((begins - start).tolist(), (ends - start).tolist(), strict=True)
    return [content[begin:end] for begin, end in shifted]


def _read(file: IO[bytes], begin: int, end: int) -> bytes:
    file.seek(begin)
    return file.read(end - begin)


def read_groups(
    read: Callable[[Sequence[int]], Iterator[T]],
    order: npt.NDArray[Any],
    starts: npt.NDArray[Any],
    ends: npt.NDArray[Any],
) -> Iterator[list[T]]:
    """Yield what is read of the lines ``order[start:end]``, for each of these starts and ends.

    Args:
        read: yields what lines contain, in the order of their numbers.
    """
    for n in range(0, len(starts), FEW):
        begins = starts[n : n + FEW].astype(np.intp)
        sizes = ends[n : n + FEW] - begins
        if (sizes == 1).all():  # as in most files
            yield from ([one] for one in read(order[begins].tolist()))
            continue
        # Of each group, the place in ``order`` less that among all lines that are read here.
        shifts = np.repeat(begins - (np.cumsum(sizes) - sizes), sizes)
        found = read(order[shifts + np.arange(len(shifts))].tolist())
        yield from [list(islice(found, size)) for size in sizes.tolist()]
