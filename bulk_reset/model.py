"""The values that flow through a run: sheet row -> Change -> Outcome -> Totals.

All are frozen and hold plain data only, so they can cross a queue, a report line or a
process boundary unchanged.

Units: ``*_s`` seconds, ``*_at`` UTC epoch seconds. ``row_number`` is 1-based and counts
the header, so it equals what Excel shows.

Source of the fields, lengths and severities: the Flashduty Open API's description of
``POST /incident/reset`` (``UpdateIncidentFieldsRequest``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from bulk_reset.codec import dumps, loads
from bulk_reset.customs import Part, field_of, is_custom, part_of
from bulk_reset.errors import ExitCode

ID_FIELD: Final = "incident_id"
SEVERITY_FIELD: Final = "incident_severity"
TEXT_LENGTHS: Final[dict[str, tuple[int, int]]] = {
    "title": (3, 200),
    "description": (3, 6144),
    "impact": (3, 6144),
    "root_cause": (3, 6144),
    "resolution": (3, 6144),
}
"""Shortest and longest text of each field, in characters (Unicode code points)."""
SEVERITIES: Final = ("Info", "Warning", "Critical")
SETTABLE_FIELDS: Final = (*TEXT_LENGTHS, SEVERITY_FIELD)
FIELDS: Final = (ID_FIELD, *SETTABLE_FIELDS)
_PLAIN: Final = frozenset(SETTABLE_FIELDS)

PER_SECOND: Final = 50
PER_MINUTE: Final = 1000
"""Limits of an account, all who use it together. Source: the API's page of the operation."""
PACE: Final = "the pace"
"""A cause of waiting: that of a window of a second, no more than what the limit means."""
WORKERS: Final = 64
TIMEOUT_S: Final = 30.0
ATTEMPTS: Final = 5
PATIENCE_S: Final = 900.0


class OnConflict(StrEnum):
    """What to do with rows that set one field of one incident to different values."""

    ERROR = "error"
    """They are mistakes."""
    LAST = "last"
    """The last row wins; rows that it makes needless are skipped."""
    IN_ORDER = "in-order"
    """All are sent, one after the other."""


class Status(StrEnum):
    """What became of a row, in the report's words."""

    UPDATED = "updated"
    """The API said yes."""
    UNCHANGED = "unchanged"
    """Already so; not sent."""
    REJECTED = "rejected"
    """Invalid; never sent."""
    SKIPPED = "skipped"
    """A twin of another row, which is sent; not sent itself."""
    FAILED = "failed"
    """The API said no, or what was sent was not there when it was read back."""
    CONFLICT = "conflict"
    """Somebody has changed it since the sheet was made; held back."""
    UNKNOWN = "unknown"
    """Sent, but no readable answer came, and reading it back failed too."""
    PENDING = "pending"
    """No line in the report yet; never written there."""

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to do for the row."""
        return self in _DONE


_DONE: Final = frozenset({Status.UPDATED, Status.UNCHANGED, Status.SKIPPED})
NOT_DONE: Final = (Status.REJECTED, Status.FAILED, Status.CONFLICT, Status.UNKNOWN)
"""What a run may have made of a row and what asks for somebody to look at it."""
MEANING_OF: Final = {
    Status.UPDATED: "the API said yes",
    Status.UNCHANGED: "already so; not sent",
    Status.SKIPPED: "another row sets the same",
    Status.REJECTED: "invalid; never sent",
    Status.FAILED: "the API said no, or it was not applied",
    Status.CONFLICT: "changed by somebody since; held back",
    Status.UNKNOWN: "sent, no readable answer; reading it failed too",
    Status.PENDING: "not done yet",
}
"""What people are told of each status, in the order of reading."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows read together, column by column.

    Attributes:
        numbers: the row numbers. Blank rows are not among them.
        columns: the text cells of each column of the header; each as long as ``numbers``.
        odd_cells: (row_number, column) -> what is wrong with a cell whose text is not
            certain (a date, a fraction, a formula's error).
        blank_rows: how many were left out.
        was: field -> cells, what the sheet was made from, where it says so. Cells of
            ``columns`` that still say the same are empty: they leave their field alone.
        emptied: cells that held something when the sheet was made, and nothing now.
    """

    numbers: Sequence[int]
    columns: list[list[str]]
    odd_cells: dict[tuple[int, int], str] = field(default_factory=dict)
    blank_rows: int = 0
    was: dict[str, list[str]] = field(default_factory=dict)
    emptied: int = 0

    def rows(self) -> Iterator[tuple[int | str, ...]]:
        """Yield each row: its number, then its cells."""
        return zip(self.numbers, *self.columns, strict=True)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One cell (or row) that breaks a rule, and how to mend it."""

    row_number: int
    column: str
    """The column as the sheet's header names it."""
    kind: str
    """A stable word for scripts: ``id_invalid``, ``too_long``, ``severity`` …"""
    value: str
    """The cell's text, cut to 60 characters."""
    problem: str
    mend: str


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


class Outcome(NamedTuple):
    """What became of one row: one line of the report. A named tuple, as ``Change`` is."""

    row_number: int
    incident_id: str
    status: Status
    fields: tuple[str, ...]
    digest: str
    attempts: int = 0
    http_status: int = 0
    error_code: str = ""
    error_message: str = ""
    request_id: str = ""
    started_at: float = 0.0
    """When the last attempt was started; 0 where nothing was sent."""
    finished_at: float = 0.0
    throttled: int = 0
    """Answers that said the quota was used up (HTTP 429); no attempts."""


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """All rows of a run that ended with one error code, and the first as the example."""

    code: str
    status: Status
    rows: int
    row_number: int
    message: str


class StopReason(StrEnum):
    """Why a run ended before its last row."""

    FATAL = "fatal"
    OUTAGE = "outage"
    MAX_FAILURES = "max-failures"
    CANARY = "canary"
    DEADLINE = "deadline"
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    HUNG_UP = "hung-up"


_EXIT_OF_STOP: Final = {
    StopReason.INTERRUPTED: ExitCode.INTERRUPTED,
    StopReason.TERMINATED: ExitCode.TERMINATED,
    StopReason.HUNG_UP: ExitCode.HUNG_UP,
}


@dataclass(frozen=True, slots=True)
class Stop:
    """That a run ended early: why, in a word for scripts and a sentence for people."""

    reason: StopReason
    message: str


@dataclass(frozen=True, slots=True)
class Peak:
    """The most requests that were started within one window, beside its limit."""

    window_s: float
    limit: int
    started: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A run seen from outside at one moment."""

    rows: int
    counts: dict[Status, int]
    left_s: float
    """Seconds to the end if every request is answered at once and none fails; 0 while the API
    looks down, when nobody knows."""
    waiting_for: str
    """What holds the next request back: ``minute window: 12 s``, or empty."""
    recorded: dict[Status, int] = field(default_factory=dict)
    """The rows among ``counts`` that have come to their end since the sending began."""
    requests: int = 0
    """Since the sending began; what is sent after a canary begins anew."""
    throttled: int = 0
    """Answers among them that said the quota was used up (HTTP 429)."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A field that is not as a run wrote it."""

    row_number: int
    incident_id: str
    field: str
    wanted: Any
    found: Any
    """None where there is nothing, or no such incident."""
    link: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What reading back has shown.

    Attributes:
        rows: those that were read back.
        mismatches: what is not as it was written, in the sheet's order.
        settled: rows whose outcome was unknown, by what they turned out to be.
        not_known: rows written without a look, so that nobody knows what they wrote.
        requests: how many it took.
        unsettled: rows that stay unknown: they are to be sent again.
    """

    report: str
    rows: int
    mismatches: tuple[Mismatch, ...]
    settled: dict[Status, int] = field(default_factory=dict)
    not_known: int = 0
    requests: int = 0
    unsettled: int = 0

    @property
    def is_right(self) -> bool:
        """Whether all that was written is there."""
        return not (
            self.mismatches or self.settled.get(Status.FAILED) or self.not_known or self.unsettled
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """What became of a whole sheet, once a run has ended.

    ``counts`` has every status, and their sum is ``rows``: checked before it is returned.
    """

    sheet: str
    rows: int
    counts: dict[Status, int]
    done_before: int = 0
    """Rows that an earlier run had finished; part of ``counts``."""
    held_back: int = 0
    """Rows left pending because a limit on the number of rows was asked for."""
    blank_rows: int = 0
    requests: int = 0
    throttled: int = 0
    """Answers that said the quota was used up (HTTP 429)."""
    elapsed_s: float = 0.0
    peaks: tuple[Peak, ...] = ()
    waited_s: dict[str, float] = field(default_factory=dict)
    """Cause -> seconds in which nothing could start because of it."""
    errors: tuple[ErrorGroup, ...] = ()
    stop: Stop | None = None
    report: str = ""
    failed: str = ""
    """The file with the rows to mend and run again; empty where there are none."""
    before: str = ""
    """The file with what stood in the incidents before; empty where nothing was read."""
    is_dry_run: bool = False
    verification: Verification | None = None
    """What reading back has shown, where it was asked for."""
    mistakes: tuple[Mistake, ...] = field(default=(), repr=False)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that this run deserves."""
        if self.stop is not None:
            return _EXIT_OF_STOP.get(self.stop.reason, ExitCode.STOPPED)
        is_right = self.verification is None or self.verification.is_right
        if not is_right or any(self.counts.get(status, 0) for status in NOT_DONE):
            return ExitCode.NOT_ALL
        return ExitCode.DONE
