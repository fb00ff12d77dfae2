"""Changes: the values that a row sets in its incident, and the digest that identifies the row."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from bulk_reset.core.actions import ACTION_FIELD, PROGRESS_AFTER
from bulk_reset.core.custom_fields import Part, field_of, is_custom, part_of
from bulk_reset.core.fields import ID_FIELD, SETTABLE_FIELDS
from bulk_reset.core.json_codec import dumps, loads

DIGEST_BYTES: Final = 12
_PLAIN: Final = frozenset(SETTABLE_FIELDS)


class Change(NamedTuple):
    """The values that one row sets in one incident; usually one request.

    A named tuple, because one is created for every row: it takes a third of a dataclass's time.
    """

    row_number: int
    incident_id: str
    """24 hexadecimal digits, lower case."""
    fields: tuple[str, ...]
    """The fields that are set, in the order of ``SETTABLE_FIELDS``, then custom fields."""
    body: bytes
    """The request's JSON, encoded once; empty if none of ``SETTABLE_FIELDS`` is set."""
    digest: str
    rest: tuple[Part, ...] = ()
    """The other requests, in their order: custom fields, the action, then the comment."""
    was: Mapping[str, Any] | None = None
    """Field -> pulled value, for the fields that are set; None if the sheet was not pulled."""
    comment_since: float = 0.0
    """The earliest time at which an earlier run may have added the comment; 0 if none has."""
    expected: Mapping[str, str] | None = None
    """Field -> the text that the incident must have now, else the row is a conflict."""
    origins: Mapping[str, str] | None = None
    """Field -> the rules of a profile that its value is from."""

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
        """Build a change from the values of its row: column -> text."""
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
        """Build a change from its values and its digest; see ``of``."""
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
        """Return field -> value that the row sets, of an action the progress; no comment."""
        values: dict[str, Any] = loads(self.body) if self.body else {}
        values.pop(ID_FIELD, None)
        for part in self.rest:
            if is_custom(part.field):
                values[part.field] = loads(part.body)["field_value"]
            elif part.field == ACTION_FIELD:
                values[part.field] = PROGRESS_AFTER[loads(part.body)[ACTION_FIELD]]
        return values

    def only(self, fields: Collection[str]) -> Change:
        """Return the change restricted to these fields."""
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
    """Computes the digests of rows: 12 bytes that identify this content at this API.

    The API's address (the scope) is part of it, so rows that were sent to the sandbox are not
    taken as done at the production API. The hexadecimal form begins with a letter: without
    that, a spreadsheet reads one digest in 25,000 as a number (``6.9E+23``).
    """

    def __init__(self, scope: str) -> None:
        self._start = hashlib.blake2b(scope.encode(), digest_size=DIGEST_BYTES)
        self._start.update(_SEPARATOR.encode())

    def of(self, cells: Sequence[str], mark: str = "") -> bytes:
        """Return the digest of a row.

        Args:
            cells: the text of each of ``FIELDS``; empty if it is not set.
            mark: distinguishes rows with the same cells.
        """
        return next(self.each([cells], mark))

    def each(self, rows: Iterable[Sequence[str]], mark: str = "") -> Iterator[bytes]:
        """Yield the digest of each row; see ``of``."""
        copy_start, join = self._start.copy, _SEPARATOR.join
        end = mark.encode("utf-8", "replace")
        for cells in rows:
            content = join(cells).encode("utf-8", "replace")
            if content.count(0) >= len(cells):
                content = repr(cells).encode("utf-8", "replace")  # escapes the separator
            digest = copy_start()
            digest.update(content + end)
            found = digest.digest()
            yield _LETTER_FIRST[found[0]] + found[1:]

    def joined(self, columns: Sequence[Sequence[str]]) -> bytes:
        """Return the digests of a table's rows as one text, in two thirds of the time of ``each``.

        They are taken apart by ``separated``.

        Args:
            columns: the texts of each of ``FIELDS``.
        """
        try:
            # Texts alone are encoded faster than joined ones, because most of them are ASCII.
            encoded = [list(map(str.encode, texts)) for texts in columns]
        except UnicodeEncodeError:  # half of a character
            encoded = []
        if not encoded or any(b"\0" in b"".join(texts) for texts in encoded):
            return b"".join(self.each(zip(*columns, strict=True)))
        copy_start, found = self._start.copy, []
        for content in map(b"\0".join, zip(*encoded, strict=True)):
            digest = copy_start()
            digest.update(content)
            found.append(digest.digest())
        made = bytearray(b"".join(found))
        made[::DIGEST_BYTES] = made[::DIGEST_BYTES].translate(_WITH_LETTER)
        return bytes(made)


def separated(digests: bytes) -> list[bytes]:
    """Return each digest of ``Digests.joined``."""
    return [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]


_SEPARATOR: Final = "\0"
_WITH_LETTER: Final = bytes(byte | 0xA0 for byte in range(256))
_LETTER_FIRST: Final = [bytes([byte]) for byte in _WITH_LETTER]


def further_mark(values: Mapping[str, str]) -> str:
    """Return a mark for the values outside ``SETTABLE_FIELDS``: column -> text."""
    further = sorted((name, text) for name, text in values.items() if text and name not in _PLAIN)
    return f"{_SEPARATOR}{further!r}" if further else ""


def occurrence_mark(occurrence: int) -> str:
    """Return a mark for the n-th row with the same values; empty for the first."""
    return f"{_SEPARATOR}{occurrence}" if occurrence > 1 else ""
