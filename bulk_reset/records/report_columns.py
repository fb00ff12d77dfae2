"""The columns of the report file: their names, their text, and their values read back.

All that a new column needs is here: its name in ``COLUMNS``, its text in ``line_of`` and its value
in ``outcome_of``. The last one is the digest, by which a resume finds rows.
"""

from __future__ import annotations

import csv
import functools
import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.custom_fields import COMMENT_FIELD, is_custom
from bulk_reset.core.fields import SETTABLE_FIELDS
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.safe_text import escape_formula
from bulk_reset.records.history import WRITES

COLUMNS: Final = (
    "row",
    "incident_id",
    "status",
    "fields",
    "attempts",
    "throttled",
    "http_status",
    "error_code",
    "error_message",
    "request_id",
    "started_at",
    "finished_at",
    "digest",
)
BOM: Final = "\ufeff"
HEADER: Final = (BOM + ",".join(COLUMNS) + "\n").encode()
DIGEST_LENGTH: Final = 24
"""Hexadecimal digits of a digest, and of an incident's id."""
_IS_DIGEST: Final = re.compile(f"[0-9a-f]{{{DIGEST_LENGTH}}}").fullmatch
_FURTHER: Final = (ACTION_FIELD, COMMENT_FIELD)
_MOST_DIGITS: Final = 15
_WHOLE_NUMBER: Final = re.compile(rf"([0-9]{{1,{_MOST_DIGITS}}})(?:\.0)?")
"""As written here, or by pandas for a column with empty cells."""
_SECOND_LENGTH: Final = len("2026-01-31T12:00:00")
_MILLISECONDS: Final = {f".{n:03d}Z": n for n in range(1000)}
"""The end of a time as it is written -> its milliseconds."""
LATEST_AT: Final = 1e11
"""Seconds: the year 5138."""
_LONGEST_CELL: Final = 2_000
"""Far below the 131,072 characters beyond which the csv module cannot read a cell."""


def line_of(outcome: Outcome) -> str:
    """Return the line of the report, with its end; no cell of it contains a line break."""
    return (
        f"{outcome.row_number},{_cell(outcome.incident_id)},{outcome.status},"
        f"{' '.join(outcome.fields)},{outcome.attempts},{outcome.throttled},"
        f"{outcome.http_status or ''},{_cell(outcome.error_code)},{_cell(outcome.error_message)},"
        f"{_cell(outcome.request_id)},{as_text(outcome.started_at)},"
        f"{as_text(outcome.finished_at)},{outcome.digest}\n"
    )


class Ending(NamedTuple):
    """How a row ended: what many lines have in common, from ``status`` to ``error_message``."""

    status: Status
    fields: tuple[str, ...]
    attempts: int
    throttled: int
    http_status: int
    error_code: str
    error_message: str


def outcome_of(cells: list[str]) -> Outcome:
    """Return the outcome of a line's cells, which are in the order of ``COLUMNS``.

    Raises:
        ValueError: a cell that a resume needs is not as it was written.
    """
    return _outcome(_ending(cells[2:9]), [*cells[:2], *cells[9:]])


def outcome_of_plain(line: str) -> Outcome:
    """Return the outcome of a line without quotes and without its end; raises as ``outcome_of``."""
    row, incident_id, rest = line.split(",", 2)
    ending, *own = rest.rsplit(",", 4)
    return _outcome(ending_in(ending), [row, incident_id, *own])


def _outcome(ending: Ending, own: list[str]) -> Outcome:
    """Return the outcome of a line from what it has in common with others, and its own cells."""
    row, incident_id, request_id, started_at, finished_at, digest = own
    status, fields, attempts, throttled, http_status, code, message = ending
    if not _IS_DIGEST(digest) or (status in WRITES and not _IS_DIGEST(incident_id)):
        raise ValueError(digest)
    return Outcome(
        _as_number(row),
        incident_id,
        status,
        fields,
        digest,
        attempts,
        http_status,
        code,
        message,
        request_id,
        _as_epoch(started_at),
        _as_epoch(finished_at),
        throttled,
    )


def _ending(cells: list[str]) -> Ending:
    status_text, names, attempts, throttled, http_status, code, message = cells
    status, fields = status_and_fields(status_text, names)
    a, b, c = map(_as_small_number, (attempts, throttled, http_status))
    return Ending(status, fields, a, b, c, code, message)


@functools.lru_cache(maxsize=1024)
def ending_in(text: str) -> Ending:
    """Return the ending in a part of a line; raises ValueError or csv.Error as ``outcome_of``."""
    return _ending(next(csv.reader([text], strict=True)) if '"' in text else text.split(","))


def ending_of(outcome: Outcome) -> Ending:
    """Return how a row ended."""
    _, _, status, fields, _, attempts, http_status, code, message, *_, throttled = outcome
    return Ending(status, fields, attempts, throttled, http_status, code, message)


@functools.lru_cache(maxsize=1024)
def status_and_fields(status_text: str, names: str) -> tuple[Status, tuple[str, ...]]:
    """Return the values of the two columns ``status`` and ``fields``.

    Raises:
        ValueError: a status or a field that no report has.
    """
    status, fields = Status(status_text), tuple(names.split())
    are_known = all(
        name in SETTABLE_FIELDS or name in _FURTHER or is_custom(name) for name in fields
    )
    if not are_known or (status in WRITES and not fields):
        raise ValueError(names)
    return status, fields


def _cell(text: str) -> str:
    if not text or (text.isalnum() and len(text) <= _LONGEST_CELL):
        return text
    line = escape_formula(text)[:_LONGEST_CELL]
    return '"' + line.replace('"', '""') + '"' if '"' in line or "," in line else line


def as_text(at: float) -> str:
    """Return a time as reports show it: UTC with milliseconds; empty for 0."""
    if not at:
        return ""
    milliseconds = round(at * 1000)
    return f"{_second_text(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@functools.lru_cache(maxsize=8)
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat()


def _as_number(text: str) -> int:
    if len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit():
        return int(text)  # as nearly all; a report has one for each row
    found = _WHOLE_NUMBER.fullmatch(text)
    return int(found[1]) if found else 0


_as_small_number: Final = functools.lru_cache(maxsize=1024)(_as_number)


def _as_epoch(text: str) -> float:
    """Return a time as it was written here; 0 for one in a spreadsheet's format."""
    try:
        milliseconds = _MILLISECONDS.get(text[_SECOND_LENGTH:])
        if milliseconds is not None:
            at = (_second_at(text[:_SECOND_LENGTH]) * 1000 + milliseconds) / 1000
        else:
            at = datetime.fromisoformat(text).timestamp() if text else 0.0
    except (ValueError, OverflowError):
        return 0.0
    # Rounding the last time of a calendar leads out of it.
    return at if 0 <= at < LATEST_AT else 0.0


@functools.lru_cache(maxsize=64)
def _second_at(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}Z").timestamp())
