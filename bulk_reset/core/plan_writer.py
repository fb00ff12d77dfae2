"""Writes the file of a saved plan; see ``saved_plan`` for its format."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import IO, Any, Final

from bulk_reset.core.json_codec import dumps
from bulk_reset.core.plan import NOTHING
from bulk_reset.core.saved_plan import GZIP, MAGIC, PlanFooter, PlanHeader, SavedRow

_LEVEL: Final = 3
_LINES: Final = 256
"""So many rows are packed together."""


class PlanWriter:
    """Writes a plan into a file, line by line; ``sha256`` is its hash after ``finish``."""

    def __init__(self, file: IO[bytes], header: PlanHeader) -> None:
        self._file, self.lines, self.sha256 = file, 0, ""
        self._hash = hashlib.sha256()
        self._lines: list[bytes] = []
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, GZIP)
        self._write(MAGIC)
        self._lines.append(_encoded(_sorted(asdict(header))))

    def add(self, row: SavedRow) -> bool:
        """Add a row; return whether it is time to ``flush``."""
        return self.add_line(row_line(*row))

    def add_line(self, line: bytes) -> bool:
        """Add the line of a row; return whether it is time to ``flush``."""
        self.lines += 1
        self._lines.append(line)
        return len(self._lines) >= _LINES

    def flush(self) -> None:
        """Write the rows that were added; raises OSError."""
        lines, self._lines = self._lines, []
        lines.append(b"")
        packed = self._packer.compress(b"\n".join(lines))
        if packed:
            self._write(packed)

    def finish(self, footer: PlanFooter) -> None:
        """Write the footer and the hash; raises OSError."""
        self._lines.append(_encoded(_sorted({"footer": asdict(footer)})))
        self.flush()
        self._write(self._packer.flush())
        self._write(b"\n")
        self.sha256 = self._hash.hexdigest()
        self._file.write(b"sha256 %s\n" % self.sha256.encode())

    def _write(self, content: bytes) -> None:
        self._hash.update(content)
        self._file.write(content)


def row_line(  # noqa: PLR0913, PLR0917  (the values of ``SavedRow``)
    row_number: int,
    incident_id: str,
    verdict: str,
    fields: Sequence[tuple[str, Any, Any, str | None, str]],
    link: str = "",
    reason: str = "",
    expected: Mapping[str, str] = NOTHING,
) -> bytes:
    """Return a row as a line of JSON with sorted keys.

    Args:
        fields: name, old and new value, pulled value, reason; of each field.
    """
    values: dict[str, Any] = {}
    if expected:
        values["expected"] = _sorted(expected)
    changes = values["fields"] = {}
    for name, old, new, was, lost in fields if len(fields) == 1 else sorted(fields, key=_name_of):
        change = changes[name] = {"lost": lost} if lost else {}
        change["new"] = new
        change["old"] = old
        if was is not None:
            change["was"] = was
    values["id"] = incident_id
    if link:
        values["link"] = link
    if reason:
        values["reason"] = reason
    values["row"] = row_number
    values["verdict"] = verdict
    return _encoded(values)


def _name_of(field_change: tuple[str, Any, Any, str | None, str]) -> str:
    return field_change[0]


def _encoded(values: Mapping[str, Any]) -> bytes:
    """Return a line of JSON in UTF-8."""
    try:
        return dumps(values)
    except (TypeError, ValueError):
        # Half of a surrogate pair, or a whole number of more than 64 bits.
        return json.dumps(values, separators=(",", ":")).encode()


def _sorted(values: Any) -> Any:  # noqa: ANN401  (JSON)
    if isinstance(values, Mapping):
        return {key: _sorted(values[key]) for key in sorted(values)}
    return values
