"""Changes: what a row of a sheet sets on its incident, and the digest that identifies it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from bulk_reset.core.custom_fields import Part, field_of, is_custom, part_of
from bulk_reset.core.fields import ID_FIELD, SETTABLE_FIELDS
from bulk_reset.core.json_codec import dumps, loads

_PLAIN: Final = frozenset(SETTABLE_FIELDS)


class Change(NamedTuple):
    """What is to be set on one incident: one row of the sheet, mostly one request.

    One is made for every row, so it is a named tuple, made in a third of a dataclass's time.
    """

    row_number: int
    incident_id: str
    """24 hexadecimal digits, lower case."""
    fields: tuple[str, ...]
    """The fields that are set, in the order of ``SETTABLE_FIELDS``, custom ones behind."""
    body: bytes
    """The request's JSON, encoded once; empty where none of ``SETTABLE_FIELDS`` is set."""
    digest: str
    rest: tuple[Part, ...] = ()
    """The further requests, in their order: custom fields, then the comment."""
    was: Mapping[str, Any] | None = None
    """Field -> what the sheet was made from, where it says so; of the fields that are set."""

    @classmethod
    def of(
        cls,
        row_number: int,
        incident_id: str,
        values: dict[str, str],
        *,
        scope: str = "",
        occurrence: int = 1,
    ) -> Change:
        """Build a change from what its row sets: column -> text."""
        cells = [incident_id, *(values.get(name, "") for name in SETTABLE_FIELDS)]
        mark = further_mark(values) + occurrence_mark(occurrence)
        return cls.made(row_number, incident_id, values, Digests(scope).of(cells, mark).hex())

    @classmethod
    def made(
        cls,
        row_number: int,
        incident_id: str,
        values: Mapping[str, str],
        digest: str,
        was: Mapping[str, Any] | None = None,
    ) -> Change:
        """Build a change whose digest is known; see ``of``."""
        plain = {name: text for name, text in values.items() if name in _PLAIN}
        further = [name for name in values if name not in plain]
        return cls(
            row_number,
            incident_id,
            tuple(map(field_of, values)),
            dumps({ID_FIELD: incident_id, **plain}) if plain else b"",
            digest,
            tuple(part_of(incident_id, name, values[name]) for name in further),
            was,
        )

    def wanted(self) -> dict[str, Any]:
        """Return field -> the value it is to have; a comment is none."""
        values = loads(self.body) if self.body else {}
        values.pop(ID_FIELD, None)
        for part in self.rest:
            if is_custom(part.field):
                values[part.field] = loads(part.body)["field_value"]
        return dict(values)

    def only(self, fields: Collection[str]) -> Change:
        """Return the change without what it sets of other fields."""
        if len(fields) == len(self.fields):
            return self
        values = loads(self.body) if self.body else {}
        kept = {name: value for name, value in values.items() if name in fields}
        return self._replace(
            fields=tuple(name for name in self.fields if name in fields),
            body=dumps({ID_FIELD: self.incident_id, **kept}) if kept else b"",
            rest=tuple(part for part in self.rest if part.field in fields),
        )


class Digests:
    """Makes the digests of rows: 12 bytes that stand for this content at this API.

    The API's address (the scope) is part of it, so a rehearsal on one address never
    passes for the work done on another. Its hexadecimal digits begin with a letter: of those
    without, a spreadsheet takes one in 25,000 for a number (``6.9E+23``).
    """

    def __init__(self, scope: str) -> None:
        self._start = hashlib.blake2b(scope.encode(), digest_size=12)
        self._start.update(_SEPARATOR.encode())

    def of(self, cells: Sequence[str], mark: str = "") -> bytes:
        """Return the digest of a row.

        Args:
            cells: the text of each of ``FIELDS``, empty where it is not set.
            mark: tells rows apart that have the same cells.
        """
        return next(self.each([cells], mark))

    def each(self, rows: Iterable[Sequence[str]], mark: str = "") -> Iterator[bytes]:
        """Yield the digest of each row; see ``of``."""
        copy_start, join = self._start.copy, _SEPARATOR.join
        for cells in rows:
            text = join(cells)
            if text.count(_SEPARATOR) >= len(cells):
                text = repr(cells)  # in which it is written otherwise
            digest = copy_start()
            digest.update((text + mark).encode("utf-8", "replace"))
            found = digest.digest()
            yield _LETTER_FIRST[found[0]] + found[1:]


_SEPARATOR: Final = "\0"
_LETTER_FIRST: Final = [bytes([byte | 0xA0]) for byte in range(256)]


def further_mark(values: Mapping[str, str]) -> str:
    """Return what tells rows apart by what they set beside ``SETTABLE_FIELDS``: column -> text."""
    further = sorted((name, text) for name, text in values.items() if text and name not in _PLAIN)
    return f"{_SEPARATOR}{further!r}" if further else ""


def occurrence_mark(occurrence: int) -> str:
    """Return what tells the n-th row of the same values from the first."""
    return f"{_SEPARATOR}{occurrence}" if occurrence > 1 else ""
