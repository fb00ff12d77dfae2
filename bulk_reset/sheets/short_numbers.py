"""Short numbers in the column of ids: the incidents that they mean, once these are looked up.

A short number, such as 0E83EE, is not unique, so that only the account knows its incident. Until
it is looked up, a made-up id stands in for it: a sheet can be checked without an account.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bulk_reset.core.incident_ids import ID_DIGITS, Readings, read_ids
from bulk_reset.sheets.cell_rules import CellError


@dataclass(frozen=True, slots=True)
class ShortNumbers:
    """What short numbers mean.

    Attributes:
        is_known: whether they were looked up.
        ids: number -> id of its incident.
        errors: number -> why it has no id.
    """

    is_known: bool = False
    ids: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, CellError] = field(default_factory=dict)

    def read(self, texts: list[str], readings: Readings) -> list[str]:
        """Return the id in each cell; see ``read_ids``."""

        def id_of(number: str) -> str:
            if not self.is_known:
                readings.numbers += 1
                return hashlib.blake2b(number.encode(), digest_size=ID_DIGITS // 2).hexdigest()
            readings.found += number in self.ids
            return self.ids.get(number, number)

        return read_ids(texts, readings, id_of)

    def faults(self, ids: Sequence[str]) -> list[tuple[int, CellError]]:
        """Return the places of the cells whose number has no id, with the error."""
        if not self.errors:
            return []
        return [(place, self.errors[one]) for place, one in enumerate(ids) if one in self.errors]
