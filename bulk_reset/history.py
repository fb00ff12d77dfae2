"""What earlier runs made of rows, from a report's lines in their order.

A row is known by its digest. That alone is not enough to say that it is done: a title that was
set to A, then to B, has to be set again if the sheet says A once more. So it is also
known who wrote each field of an incident last.

Kept in arrays, sorted once: 22 bytes a line, where dictionaries take some 160.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from bulk_reset.model import SETTABLE_FIELDS, Outcome, Status

_STATUSES: Final = tuple(Status)
_CODE_OF: Final = {status: code for code, status in enumerate(_STATUSES)}
_NO_LINE: Final = _CODE_OF[Status.PENDING]
_WRITES: Final = frozenset({Status.UPDATED, Status.UNKNOWN})
_DONE_AND_SENT: Final = (_CODE_OF[Status.UPDATED], _CODE_OF[Status.UNCHANGED])
_BIT_OF: Final = {name: 1 << bit for bit, name in enumerate(SETTABLE_FIELDS)}
_BLOCK_LINES: Final = 50_000
_NUMBER: Final = np.dtype([("high", ">u8"), ("low", ">u4")])
"""24 hexadecimal digits, be they a digest or an incident's id, as two numbers."""
_LINE: Final = np.dtype(
    [("digest", "u8"), ("rest", "u4"), ("incident", "u8"), ("fields", "u1"), ("status", "u1")]
)
_Lines = npt.NDArray[np.void]


def keys_of(texts: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Return a number for each id or digest; two of one number are rare, and possible.

    Raises:
        ValueError: one of them is not 24 hexadecimal digits.
    """
    return _keys(_numbers(texts))


def _numbers(texts: Iterable[str]) -> npt.NDArray[np.void]:
    return np.frombuffer(bytes.fromhex("".join(texts)), _NUMBER)


def _keys(numbers: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    mixed = numbers["low"].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return numbers["high"].astype(np.uint64) ^ mixed


Line = tuple[str, str, tuple[str, ...], Status]
"""digest, incident id, fields, status"""


class History:
    """The last word on every row of a report, and the last writer of every field.

    Args:
        lines: the report's, in its order.

    Raises:
        ValueError: a digest, or the id of an incident that was written, is not 24
            hexadecimal digits.
    """

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        iterator = iter(lines)
        blocks = [np.empty(0, _LINE)]
        while block := list(itertools.islice(iterator, _BLOCK_LINES)):
            blocks.append(_packed(block))
        packed = np.concatenate(blocks)
        self._writers = _writers(packed)
        # Stable, so the last of the lines with one digest is the last in the file.
        packed = packed[np.argsort(packed["digest"], kind="stable")]
        is_last = np.ones(len(packed), bool)
        is_last[:-1] = packed["digest"][1:] != packed["digest"][:-1]
        self._lines = packed[is_last]

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Self:
        """Return the history that these outcomes make, in their order."""
        return cls((o.digest, o.incident_id, o.fields, o.status) for o in outcomes)

    def __len__(self) -> int:
        return len(self._lines)

    def counts(self) -> dict[Status, int]:
        """Return the rows by status."""
        counts = np.bincount(self._lines["status"], minlength=len(_STATUSES)).tolist()
        return dict(zip(_STATUSES, counts, strict=True))

    def codes(self, digests: Sequence[bytes]) -> npt.NDArray[np.uint8]:
        """Return what became of each row, as a number; see ``status_of``."""
        numbers = np.frombuffer(b"".join(digests), _NUMBER)
        if not len(self._lines):
            return np.full(len(numbers), _NO_LINE, np.uint8)
        wanted = _keys(numbers)
        places = np.minimum(np.searchsorted(self._lines["digest"], wanted), len(self._lines) - 1)
        found = self._lines[places]
        is_known = (found["digest"] == wanted) & (found["rest"] == numbers["low"])
        codes: npt.NDArray[np.uint8] = np.where(is_known, found["status"], np.uint8(_NO_LINE))
        return codes

    def counts_if_all_sent(self, codes: npt.NDArray[np.uint8]) -> dict[Status, int] | None:
        """Return the rows by status if every one of them was sent, and none written over since."""
        counts = np.bincount(codes, minlength=len(_STATUSES))
        if self._writers or sum(counts[code] for code in _DONE_AND_SENT) < len(codes):
            return None
        return {_STATUSES[code]: int(counts[code]) for code in _DONE_AND_SENT if counts[code]}

    def stands(self, incident_id: str, digest: str, fields: Iterable[str]) -> bool:
        """Tell whether no later line wrote these fields of the incident otherwise."""
        if not self._writers:
            return True
        last = self._writers.get(int(keys_of([incident_id])[0]))
        wanted = int(keys_of([digest])[0])
        return last is None or all(last.get(name, wanted) == wanted for name in fields)


def status_of(code: int) -> Status | None:
    """Return what a code of ``History.codes`` means, None where the row has no line."""
    return _STATUSES[code] if code != _NO_LINE else None


def _packed(lines: Sequence[Line]) -> _Lines:
    digests, ids, fields, statuses = zip(*lines, strict=True)
    packed = np.zeros(len(lines), _LINE)
    numbers = _numbers(digests)
    packed["digest"], packed["rest"] = _keys(numbers), numbers["low"]
    packed["status"] = [_CODE_OF[status] for status in statuses]
    is_write = np.array([status in _WRITES for status in statuses])
    masks = {names: sum(_BIT_OF.get(name, 0) for name in names) for names in set(fields)}
    packed["fields"] = is_write * np.array([masks[names] for names in fields], np.uint8)
    packed["incident"][is_write] = keys_of(itertools.compress(ids, is_write))
    return packed


def _writers(lines: _Lines) -> dict[int, dict[str, int]]:
    """Return incident -> field -> its last writer's digest, where rows differ in what they set."""
    written = np.flatnonzero(lines["fields"])
    order = written[np.argsort(lines["incident"][written], kind="stable")]
    incidents, digests = lines["incident"][order], lines["digest"][order]
    is_shared = (incidents[1:] == incidents[:-1]) & (digests[1:] != digests[:-1])
    shared = np.unique(incidents[1:][is_shared])
    writers: dict[int, dict[str, int]] = {}
    for line in lines[order[np.isin(incidents, shared)]]:
        last = writers.setdefault(int(line["incident"]), {})
        names = (name for name, bit in _BIT_OF.items() if int(line["fields"]) & bit)
        last.update(dict.fromkeys(names, int(line["digest"])))
    return writers
