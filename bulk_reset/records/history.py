"""Results of earlier runs, from a report's lines in their order.

A row is identified by its digest. The digest alone does not show that a row is done: a title that
was A, then set to B, has to be set again if the sheet has A again. So the last line that may have
written a field of an incident is known as well, where an incident has lines of several rows.

Stored in arrays, sorted once: 17 bytes per line, where dictionaries take about 160.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from bulk_reset.core.custom_fields import COMMENT_FIELD
from bulk_reset.core.fields import SETTABLE_FIELDS
from bulk_reset.core.incident_ids import is_id
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.row_keys import NUMBER, Numbers, key_of_numbers, keys_of, numbers_of, place_of

_STATUSES: Final = tuple(Status)
_CODE_OF: Final = {status: code for code, status in enumerate(_STATUSES)}
_NO_LINE: Final = _CODE_OF[Status.PENDING]
WRITES: Final = frozenset({Status.UPDATED, Status.UNKNOWN})
"""The statuses of rows that were written, or may have been."""
_MAY_WRITE: Final = tuple(_CODE_OF[status] for status in (*WRITES, Status.FAILED))
"""A request of a failed row may have been applied, also after it was read back."""
_DONE_AND_SENT: Final = (_CODE_OF[Status.UPDATED], _CODE_OF[Status.UNCHANGED])
_BITS: Final = 32
_BIT_OF: Final = {name: 1 << bit for bit, name in enumerate(SETTABLE_FIELDS)}
"""The bit of each field; custom fields get bits when first read, and the last bit is shared."""
_BLOCK_LINES: Final = 10_000
_KEY_BITS: Final = 64
_MAX_STEPS: Final = 32
"""Digests are evenly distributed, so few have the same first bits; else they are bisected."""
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines of a report, by column.

    Attributes:
        incidents: only for lines with ``has_incident``.
        has_incident: whether the line is of ``may_be_current``, and its id is an id.
    """

    digests: Numbers
    incidents: Numbers
    has_incident: npt.NDArray[np.bool_]
    fields: npt.NDArray[np.uint32]
    """A bit for each; see ``mask_of``."""
    statuses: npt.NDArray[np.uint8]
    """See ``code_of``."""


_NO_LINES: Final = Lines(
    np.empty(0, NUMBER),
    np.empty(0, NUMBER),
    np.empty(0, np.bool_),
    np.empty(0, np.uint32),
    np.empty(0, np.uint8),
)


def may_be_written(outcome: Outcome) -> bool:
    """Return whether some field of a row was written, or may have been.

    A row of several requests may have failed after some of them were applied.
    """
    if outcome.status is Status.FAILED:
        return not set(SETTABLE_FIELDS).issuperset(outcome.fields)
    return outcome.status in WRITES


def code_of(status: Status) -> int:
    """Return the number of a status."""
    return _CODE_OF[status]


def mask_of(names: Iterable[str]) -> int:
    """Return the bits of fields."""
    mask = 0
    for name in names:
        mask |= _BIT_OF.get(name) or _BIT_OF.setdefault(name, 1 << min(len(_BIT_OF), _BITS - 1))
    return mask


def is_write(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return for each status whether the row was written, or may have been."""
    return np.isin(codes, [_CODE_OF[status] for status in WRITES])


def may_be_current(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return for each status whether the incident may have had the row's values after it."""
    return np.isin(codes, [*_MAY_WRITE, *_DONE_AND_SENT])


class History:
    """The last result of every row of a report, and the last writer of every field.

    Args:
        blocks: the report's lines, in its order.

    Raises:
        ValueError: a digest, or the id of an incident that was written, is not 24
            hexadecimal digits.
    """

    def __init__(self, blocks: Iterable[Lines] = ()) -> None:
        every = [_NO_LINES, *blocks]
        # Block by block: what is derived from all lines at once would double the memory.
        digests = np.concatenate([key_of_numbers(lines.digests) for lines in every])
        rest = np.concatenate([lines.digests["low"].astype(np.uint32) for lines in every])
        statuses = np.concatenate([lines.statuses for lines in every])
        self._writers = _writers(every, digests, np.isin(statuses, _MAY_WRITE))
        self._commented = _commented(every)
        order = np.argsort(digests)
        ordered = digests[order]
        if _has_repeated(ordered):
            # Stable, so of the lines with one digest the last in the file comes last.
            order = np.argsort(digests, kind="stable")
            is_last = np.append(ordered[1:] != ordered[:-1], True)
            order, ordered = order[is_last], ordered[is_last]
        self._digests, self._rest, self._statuses = ordered, rest[order], statuses[order]
        self._places = order.astype(np.uint32) if self._writers else np.empty(0, np.uint32)
        """The last line of each digest, counted from 0; needed only with ``_writers``."""
        bits = max(1, len(order).bit_length() - 1)
        self._shift = np.uint64(_KEY_BITS - bits)
        firsts = np.arange(1 << bits, dtype=np.uint64) << self._shift
        self._starts = np.searchsorted(self._digests, firsts).astype(np.uint32)
        """Where the keys with the same first bits begin."""

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Self:
        """Return the history of these outcomes, in their order."""
        return cls(lines_of(outcomes))

    def __len__(self) -> int:
        return len(self._statuses)

    def counts(self) -> dict[Status, int]:
        """Return the rows by status."""
        counts = np.bincount(self._statuses, minlength=len(_STATUSES)).tolist()
        return dict(zip(_STATUSES, counts, strict=True))

    def codes(self, digests: Iterable[bytes]) -> npt.NDArray[np.uint8]:
        """Return the result of each row, as a number; see ``status_of``.

        Args:
            digests: 12 bytes each, also several in one text.
        """
        numbers = np.frombuffer(b"".join(digests), NUMBER)
        if not len(self):
            return np.full(len(numbers), _NO_LINE, np.uint8)
        wanted = key_of_numbers(numbers)
        searched = np.minimum(wanted, self._digests[-1])
        places = self._starts[searched >> self._shift].astype(np.intp)
        for _ in range(_MAX_STEPS):
            is_later = self._digests[places] < searched
            if not is_later.any():
                break
            places += is_later
        else:
            places = np.searchsorted(self._digests, searched)
        is_known = (self._digests[places] == wanted) & (self._rest[places] == numbers["low"])
        codes: npt.NDArray[np.uint8] = np.where(
            is_known, self._statuses[places], np.uint8(_NO_LINE)
        )
        return codes

    def counts_if_all_sent(self, codes: npt.NDArray[np.uint8]) -> dict[Status, int] | None:
        """Return the rows by status if all of them are done and none was overwritten since."""
        counts = np.bincount(codes, minlength=len(_STATUSES))
        if self._writers or sum(counts[code] for code in _DONE_AND_SENT) < len(codes):
            return None
        return {_STATUSES[code]: int(counts[code]) for code in _DONE_AND_SENT if counts[code]}

    def is_done(self, digest: str) -> bool:
        """Return whether the last line of a row has a result that leaves nothing to do."""
        status = status_of(self.codes([bytes.fromhex(digest)])[0])
        return status is not None and status.is_done

    def is_current(self, incident_id: str, digest: str, fields: Iterable[str]) -> bool:
        """Return whether no later line wrote other values to these fields of the incident.

        The line of the digest may have fewer fields: the others had their value already.
        """
        if not self._writers:
            return True
        last = self._writers.get(int(keys_of([incident_id])[0]))
        if last is None:
            return True
        at = place_of(digest, self._digests)
        return at is not None and all(last.get(name, 0) <= self._places[at] for name in fields)

    def may_have_comment(self, incident_id: str) -> bool:
        """Return whether a line may have added a comment to the incident."""
        return len(self._commented) > 0 and place_of(incident_id, self._commented) is not None


def status_of(code: int) -> Status | None:
    """Return the status of a code of ``History.codes``; None if the row has no line."""
    return _STATUSES[code] if code != _NO_LINE else None


def lines_of(outcomes: Iterable[Outcome]) -> Iterator[Lines]:
    """Yield outcomes as lines, in their order."""
    iterator = iter(outcomes)
    while block := list(itertools.islice(iterator, _BLOCK_LINES)):
        codes = np.array([code_of(o.status) for o in block], np.uint8)
        has_incident = may_be_current(codes) & [is_id(o.incident_id) for o in block]
        yield Lines(
            numbers_of(o.digest for o in block),
            numbers_of(o.incident_id for o in itertools.compress(block, has_incident.tolist())),
            has_incident,
            np.array([mask_of(o.fields) for o in block], np.uint32),
            codes,
        )


def _commented(every: Sequence[Lines]) -> Keys:
    """Return the incidents with a line that may have added a comment, sorted."""
    comment = np.uint32(mask_of([COMMENT_FIELD]))
    found = [np.empty(0, np.uint64)]
    for lines in every:
        has_comment = (lines.fields & comment > 0) & np.isin(lines.statuses, _MAY_WRITE)
        if has_comment.any():
            found.append(key_of_numbers(lines.incidents)[has_comment[lines.has_incident]])
    return np.sort(np.concatenate(found))


def _has_repeated(keys: Keys) -> bool:
    """Return whether sorted keys have one twice."""
    return bool((keys[1:] == keys[:-1]).any())


def _writers(
    every: Sequence[Lines], digests: Keys, may_write: npt.NDArray[np.bool_]
) -> dict[int, dict[str, int]]:
    """Return incident -> field -> the last line that may have written it.

    Only for incidents with lines of several rows.
    """
    incidents = np.concatenate([key_of_numbers(lines.incidents) for lines in every])
    if not _has_repeated(np.sort(incidents)):
        return {}
    fields = np.concatenate([lines.fields for lines in every])
    order = np.argsort(incidents, kind="stable")
    incidents = incidents[order]
    places = np.flatnonzero(np.concatenate([lines.has_incident for lines in every]))[order]
    rows = digests[places]
    is_shared = (incidents[1:] == incidents[:-1]) & (rows[1:] != rows[:-1])
    is_listed = np.isin(incidents, incidents[1:][is_shared]) & may_write[places]
    incidents, places = incidents[is_listed], places[is_listed]
    writers: dict[int, dict[str, int]] = {}
    columns = (column.tolist() for column in (incidents, places, fields[places]))
    for incident, place, mask in zip(*columns, strict=True):
        names = (name for name, bit in _BIT_OF.items() if mask & bit)
        writers.setdefault(incident, {}).update(dict.fromkeys(names, place))
    return writers
