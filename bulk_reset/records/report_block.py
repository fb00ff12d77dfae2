"""Lines of a report by column, many at a time: a third of the time of reading them one by one.

Reading one by one remains for lines that a run does not write so, and names the invalid ones.

Units: ``starts`` and ``finishes`` are UTC epoch seconds.
"""

from __future__ import annotations

from binascii import hexlify, unhexlify
from collections.abc import Hashable, Iterable, Sequence
from itertools import compress
from typing import Final, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt

from bulk_reset.core.outcome import Outcome
from bulk_reset.records.history import WRITES
from bulk_reset.records.report_columns import (
    DIGEST_LENGTH,
    LATEST_AT,
    Ending,
    ending_in,
    ending_of,
)

K = TypeVar("K", bound=Hashable)
Times = npt.NDArray[np.float64]
_TIME: Final = np.frombuffer(b"0000-00-00T00:00:00.000Z", np.uint8)
_NOT_PLAIN: Final = (b"\r", b"\0")
"""In lines that are read one by one."""


class Block(NamedTuple):
    """Some lines of a report, by column.

    Attributes:
        endings: the different ones; ``ending_of`` is which of them each line has.
        request_ids: empty where nothing was sent.
        starts, finishes: 0 for none.
    """

    endings: list[Ending]
    ending_of: npt.NDArray[np.intp]
    request_ids: tuple[bytes, ...]
    starts: Times
    finishes: Times

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read complete lines.

        Raises:
            ValueError, csv.Error: some of them must be read one by one, or are invalid.
        """
        if any(byte in content for byte in _NOT_PLAIN):
            raise ValueError("control characters")
        content.decode()
        halves = [line.split(b",", 2) for line in content.removesuffix(b"\n").split(b"\n")]
        _, ids, rests = zip(*halves, strict=True)
        columns = zip(*[rest.rsplit(b",", 4) for rest in rests], strict=True)
        texts, request_ids, starts, finishes, digests = columns
        # In quotes, only the endings may have commas.
        if content.count(b'"') != b"".join(texts).count(b'"'):
            raise ValueError("quotes")
        kinds, kind_of = different(texts)
        endings = [ending_in(text.decode()) for text in kinds]
        is_written = np.array([ending.status in WRITES for ending in endings])[kind_of]
        _require_ids(list(compress(ids, is_written.tolist())))
        if set(map(len, digests)) != {DIGEST_LENGTH}:  # the index has read the digits
            raise ValueError("digests")
        return cls(endings, kind_of, request_ids, _times(starts), _times(finishes))

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Self:
        """Return the lines of outcomes, in their order."""
        lines = list(outcomes)
        return cls(
            *different([ending_of(one) for one in lines]),
            tuple([one.request_id.encode() for one in lines]),
            np.array([one.started_at for one in lines], np.float64),
            np.array([one.finished_at for one in lines], np.float64),
        )


def different(values: Sequence[K]) -> tuple[list[K], npt.NDArray[np.intp]]:
    """Return the different values, and for each value which of them it is."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return list(numbers), np.array([numbers[value] for value in values], np.intp)


def _require_ids(ids: Sequence[bytes]) -> None:
    """Raise ValueError if one is not 24 hexadecimal digits in lower case."""
    digits = b"".join(ids)
    if hexlify(unhexlify(digits)) != digits or any(len(one) != DIGEST_LENGTH for one in ids):
        raise ValueError("ids")


def _times(texts: Sequence[bytes]) -> Times:
    """Return times as a run writes them; raises ValueError for other texts."""
    is_given = np.array([text != b"" for text in texts])
    given = list(compress(texts, is_given.tolist()))
    characters = np.frombuffer(b"".join(given), np.uint8)
    if any(len(text) != len(_TIME) for text in given):
        raise ValueError("times")
    characters = characters.reshape(-1, len(_TIME))
    is_digit = (characters >= ord("0")) & (characters <= ord("9"))
    if not (np.where(is_digit, ord("0"), characters) == _TIME).all():
        raise ValueError("times")
    times = np.zeros(len(texts))
    times[is_given] = np.array(given, "S23").astype("M8[ms]").astype(np.int64) / 1000
    times[(times < 0) | (times >= LATEST_AT)] = 0
    return times
