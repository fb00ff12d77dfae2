"""The file of a saved plan: written by ``plan --out``, shown, picked from, approved and run.

    bulk-reset plan 1                 the magic line with the version of the format
    (gzip)                            JSON lines: a header, one line a row, a footer
    sha256 HEX                        the last line: the hash of all bytes before it

The lines have sorted keys, so that equal plans are equal bytes. The hash
of the whole file is checked when it is opened, so a plan that was altered or cut is refused.

Units: ``*_at`` UTC epoch seconds.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self

from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.custom_fields import COMMENT_FIELD
from bulk_reset.core.errors import SheetError
from bulk_reset.core.fields import SETTABLE_FIELDS
from bulk_reset.core.input_file import open_input
from bulk_reset.core.json_codec import loads
from bulk_reset.core.plan import NOTHING

_NAME: Final = b"bulk-reset plan "
FORMAT: Final = 1
MAGIC: Final = b"%s%d\n" % (_NAME, FORMAT)
_END: Final = re.compile(rb"\nsha256 ([0-9a-f]{64})\n")
_END_BYTES: Final = len("\nsha256 ") + 64 + len("\n")
GZIP: Final = 31
"""zlib's word for a gzip header; its time is always 0, so equal plans are equal bytes."""
_BLOCK_BYTES: Final = 1 << 18
_LONGEST_LINE: Final = 1 << 24
_TEXT: Final = {str}
DAMAGES: Final = (LookupError, TypeError, ValueError, AttributeError)
"""What reading a row raises that this program did not write."""
_AGAIN: Final = "Make the plan again."
_LAST: Final = len(SETTABLE_FIELDS)
_PLACE_OF: Final = {ACTION_FIELD: _LAST + 1, COMMENT_FIELD: _LAST + 2}
VERDICTS: Final = frozenset({"update", "unchanged", "conflict", "missing", "rejected"})
"""What a row of a plan can be; see ``core.plan``."""


class PlanFileError(SheetError):
    """A saved plan cannot be used: altered, incomplete, expired or made for another account."""

    topic = "plans"


@dataclass(frozen=True, slots=True)
class PlanHeader:
    """What a plan was made of and for.

    Attributes:
        sheet: the name of the sheet.
        sheet_sha256: hash of its file, in hexadecimal; empty for standard input.
        columns: field -> the name of its column in the sheet.
        options: the options that decide what is sent, if they are not at their default.
        version: of bulk-reset.
        address: the API's address, or ``sandbox``.
        account: a hash of the account's key or name; empty for a sandbox.
        made_at, expires_at: when the plan was made, and from when on it is refused.
        made_by: the login of the user who made the plan; of a plan that was thinned out, of the
            first one.
    """

    sheet: str
    sheet_sha256: str
    columns: Mapping[str, str]
    options: Mapping[str, Any]
    version: str
    address: str
    account: str
    made_at: float
    expires_at: float
    made_by: str = ""


@dataclass(frozen=True, slots=True)
class PlanFooter:
    """The totals of a plan; see ``PlanTotals``.

    Attributes:
        lines: how many rows are in the file.
    """

    lines: int
    rows: int
    counts: Mapping[str, int]
    fields: Mapping[str, int]
    lost: int
    requests: int
    estimate_s: float
    not_edited: int


class SavedField(NamedTuple):
    """The planned change of a field: its values, as JSON has them; see ``FieldPlan``.

    A named tuple, as ``SavedRow``, because one is made for every row.
    """

    field: str
    old: Any
    new: Any
    was: str | None = None
    lost: str = ""


class SavedRow(NamedTuple):
    """A row of a plan; see ``RowPlan``."""

    row_number: int
    incident_id: str
    verdict: str
    fields: tuple[SavedField, ...] = ()
    link: str = ""
    reason: str = ""
    expected: Mapping[str, str] = NOTHING

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Read a row from its line.

        Raises:
            DAMAGES: this program did not write it.
        """
        number, incident_id, verdict = values["row"], values["id"], values["verdict"]
        found = values["fields"]
        items = found.items() if len(found) == 1 else sorted(found.items(), key=_place_of)
        fields = [
            SavedField(name, one["old"], one["new"], one.get("was"), one.get("lost", ""))
            for name, one in items
        ]
        link, reason = values.get("link", ""), values.get("reason", "")
        expected = values.get("expected", NOTHING)
        if type(number) is not int or verdict not in VERDICTS:
            raise TypeError
        if not (type(incident_id) is type(link) is type(reason) is str):
            raise TypeError
        if expected and set(map(type, expected.values())) != _TEXT:
            raise TypeError
        return cls(number, incident_id, verdict, tuple(fields), link, reason, expected)


def _place_of(pair: tuple[str, Any]) -> tuple[int, str]:
    return field_place(pair[0])


def field_place(name: str) -> tuple[int, str]:
    """Return where a field is in the order of a row's requests; a comment is the last."""
    if name in SETTABLE_FIELDS:
        return SETTABLE_FIELDS.index(name), name
    return _PLACE_OF.get(name, _LAST), name


def is_saved_plan(path: Path) -> bool:
    """Return whether a file is a saved plan, whatever its name and the version of its format."""
    try:
        with open_input(path) as file:
            return file.read(len(_NAME)) == _NAME
    except OSError:
        return False


@dataclass(slots=True)
class SavedPlan:
    """A saved plan whose hash was checked; rows are read from the file each time.

    Attributes:
        sha256: the plan's hash.
        footer: after the rows were read once.
    """

    path: Path
    header: PlanHeader
    sha256: str
    footer: PlanFooter | None = None
    _end: int = field(default=0, repr=False)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Check the hash of the whole file, then read its header.

        Raises:
            PlanFileError: it was altered, is incomplete, or has a newer format.
            OSError: it cannot be read.
        """
        with open_input(path) as file:
            sha256, end = checked_hash(file, path)
        plan = cls(path, PlanHeader("", "", {}, {}, "", "", "", 0.0, 0.0), sha256, _end=end)
        first = next(plan._lines(), None)
        known = {one.name for one in fields(PlanHeader)}
        if isinstance(first, dict):
            first.setdefault("made_by", "")  # Plans of version 0.2.0 may have no maker.
        if not isinstance(first, dict) or first.keys() != known or not _are_typed(first):
            raise plan.damaged("its header is missing")
        plan.header = PlanHeader(**first)
        return plan

    def require_fresh(self, now: float) -> None:
        """Refuse an expired plan; raises PlanFileError."""
        if now >= self.header.expires_at:
            raise PlanFileError(
                f"{self.path}: the plan expired at {_time(self.header.expires_at)}. {_AGAIN}"
            )

    def rows(self) -> Iterator[SavedRow]:
        """Yield the rows in the sheet's order; ``footer`` is set at the end.

        Raises:
            PlanFileError: a row or the footer is damaged or missing.
        """
        for number, line in enumerate(self.lines(), 1):
            try:
                row = SavedRow.of(line)
            except DAMAGES as exc:
                raise self.damaged(f"its row {number:,} is damaged") from exc
            yield row

    def lines(self) -> Iterator[Any]:
        """Yield the JSON of each row, not checked; ``footer`` is set at the end.

        Raises:
            PlanFileError: the footer is damaged or missing.
        """
        lines = self._lines()
        next(lines, None)
        for number, line in enumerate(lines):
            if isinstance(line, dict) and "footer" in line:
                self.footer = self._footer_of(line, number)
                if next(lines, None) is not None:
                    raise self.damaged("there are lines behind its footer")
                return
            yield line
        raise self.damaged("its footer is missing")

    def damaged(self, what: str) -> PlanFileError:
        """Return the error of a plan whose contents cannot be used."""
        return PlanFileError(f"{self.path}: not a complete plan ({what}). {_AGAIN}")

    def _footer_of(self, line: Mapping[str, Any], lines: int) -> PlanFooter:
        try:
            footer = PlanFooter(**line["footer"])
        except TypeError as exc:
            raise self.damaged("its footer is damaged") from exc
        if footer.lines != lines:
            raise self.damaged(f"it has {lines:,} rows, and its footer counts {footer.lines}")
        return footer

    def _lines(self) -> Iterator[Any]:
        """Yield each line of JSON, decoded; blocks of a bounded size are in memory."""
        rest = b""
        try:
            for block in self._blocks():
                *whole, rest = (rest + block).split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    raise self.damaged("a line is too long")
                yield from map(loads, whole)
        except (zlib.error, ValueError, RecursionError) as exc:
            raise self.damaged("it cannot be unpacked") from exc
        if rest:
            raise self.damaged("its last line has no end")

    def _blocks(self) -> Iterator[bytes]:
        unpacker = zlib.decompressobj(GZIP)
        with open_input(self.path) as file:
            file.seek(len(MAGIC))
            left = self._end - len(MAGIC)
            while left > 0 and (packed := file.read(min(_BLOCK_BYTES, left))):
                left -= len(packed)
                while packed:
                    yield unpacker.decompress(packed, 4 * _BLOCK_BYTES)
                    packed = unpacker.unconsumed_tail
        yield unpacker.flush()
        if not unpacker.eof or unpacker.unused_data:
            raise self.damaged("its compressed data is incomplete")


def checked_hash(file: IO[bytes], path: Path) -> tuple[str, int]:
    """Return the hash of a plan and where its compressed data ends.

    Raises:
        PlanFileError: it was altered, is incomplete, or has a newer format.
    """
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(len(MAGIC))
    if start != MAGIC:
        raise PlanFileError(
            f"{path}: the plan has a format that this version cannot read. Use the version of "
            "bulk-reset that made it, or make the plan again."
        )
    end = size - _END_BYTES
    file.seek(max(0, end))
    last = _END.fullmatch(file.read())
    if last is None or end < len(MAGIC):
        raise PlanFileError(f"{path}: the plan is incomplete or was altered. {_AGAIN}")
    file.seek(0)
    digest, left = hashlib.sha256(), end + 1
    while left > 0 and (block := file.read(min(_BLOCK_BYTES, left))):
        digest.update(block)
        left -= len(block)
    if digest.hexdigest() != last[1].decode():
        raise PlanFileError(f"{path}: the plan was altered after it was made. {_AGAIN}")
    return digest.hexdigest(), end


def _are_typed(values: Mapping[str, Any]) -> bool:
    """Return whether the values of a header have the types of ``PlanHeader``."""
    texts = ("sheet", "sheet_sha256", "version", "address", "account", "made_by")
    return (
        all(isinstance(values[name], str) for name in texts)
        and all(isinstance(values[name], int | float) for name in ("made_at", "expires_at"))
        and all(isinstance(values[name], dict) for name in ("columns", "options"))
        and all(isinstance(name, str) for name in values["columns"].values())
    )


def _time(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
