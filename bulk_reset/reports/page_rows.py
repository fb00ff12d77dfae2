"""Rows of a report as its page holds them: one text a row, packed many to a block.

A page of 100,000 rows must open at once and be searched as one types, so rows are not elements
but texts: the script searches them as they are, and makes elements of those in sight. Blocks are
gzipped, which makes a tenth of them, and in base64, which no text can break out of.

A row's text is what can be searched, then what cannot, each a list of cells. What separates them
are control characters: no cell holds one, because ``shown`` leaves none but tab and line feed.

Units: ``*_at`` UTC epoch seconds. Lengths are UTF-16 code units, as JavaScript counts.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from bulk_reset.core.custom_fields import text_of
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.safe_text import is_link, shown
from bulk_reset.core.word_diff import Op, ends_kept, words_changed

ROW_END: Final = "\x1e"
PART_END: Final = "\x1d"
CELL_END: Final = "\x1f"
STATUSES: Final = tuple(Status)
"""A row's status is its place in here."""
BLOCK_ROWS: Final = 4096
_AROUND: Final = 80
_SIGN_OF: Final[dict[Op, str]] = {"same": "=", "old": "-", "new": "+"}
_CUT: Final = "~"
"""Of what stays the same, a stretch that is not shown unless asked for."""


class FieldRow(NamedTuple):
    """A field that a row sets.

    Attributes:
        ops: which stretches stay (``=9``, or ``~400`` where they are long), go (``-3``) and
            come (``+4``), in the order of reading.
        lost: why the old value cannot be restored; empty where it can.
    """

    field: str
    old: str
    new: str
    ops: str
    lost: str


class PageRow(NamedTuple):
    """A row as it is packed.

    Attributes:
        group: the place of its error in the page's table of errors; empty where it has none.
        names: the fields of which nobody knows what stood there; separated by spaces.
        note: how it was sent, in words.
    """

    row_number: str
    incident_id: str
    error_code: str
    error_message: str
    request_id: str
    names: str
    fields: tuple[FieldRow, ...]
    status: int
    group: str
    link: str
    note: str


def packed_row(outcome: Outcome, group: str, image: Mapping[str, Any]) -> str:
    """Return the text of a row: what became of it, and what it changed.

    Args:
        group: see ``PageRow``.
        image: what stood there and what was set, by field, as ``before`` and ``wrote``; why
            values are ``lost``; the ``link`` to the incident.
    """
    before, wrote, link = image["before"], image["wrote"], image["link"]
    fields = [
        _field(name, old, wrote[name], image["lost"].get(name, "")) for name, old in before.items()
    ]
    names = " ".join(name for name in outcome.fields if name not in before)
    can_be_searched = [
        str(outcome.row_number),
        *map(shown, (outcome.incident_id, outcome.error_code, outcome.error_message)),
        *map(shown, (outcome.request_id, names)),
        *(text for field in fields for text in field[:3]),
    ]
    cannot = [
        f"{STATUSES.index(outcome.status)}{group}",
        link if is_link(link) else "",
        _note(outcome),
        *(text for field in fields for text in field[3:]),
    ]
    return CELL_END.join(can_be_searched) + PART_END + CELL_END.join(cannot)


def unpacked_row(text: str) -> PageRow:
    """Return a row from its text, as the script of the page does."""
    can_be_searched, _, cannot = text.partition(PART_END)
    row_number, incident_id, code, message, request_id, names, *values = can_be_searched.split(
        CELL_END
    )
    place, link, note, *marks = cannot.split(CELL_END)
    return PageRow(
        *(row_number, incident_id, code, message, request_id, names),
        tuple(
            FieldRow(*values[3 * n : 3 * n + 3], *marks[2 * n : 2 * n + 2])
            for n in range(len(values) // 3)
        ),
        *(int(place[0]), place[1:], link, note),
    )


def _note(outcome: Outcome) -> str:
    sent = outcome.attempts + outcome.throttled
    told = [] if sent <= 1 else [f"sent {sent} times"]
    if outcome.http_status:
        told.append(f"HTTP {outcome.http_status}")
    if outcome.started_at:
        # To the millisecond, as the report has it.
        at, after_ms = divmod(round(outcome.started_at * 1000), 1000)
        started = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}.{after_ms:03}"
        elapsed_ms = round((outcome.finished_at - outcome.started_at) * 1000)
        told.append(f"started {started} UTC, known {elapsed_ms:,} ms later")
    return " · ".join(told)


def _field(name: str, old: object, new: object, lost: str) -> FieldRow:
    was, will = shown(text_of(name, old)), shown(text_of(name, new))
    return FieldRow(shown(name), was, will, _ops(was, will), lost)


@lru_cache(maxsize=1024)
def _ops(old: str, new: str) -> str:
    parts = words_changed(old, new)
    ops = []
    for (op, text), (head, tail) in zip(parts, ends_kept(parts, _AROUND), strict=True):
        end = len(text) - tail
        ops.append((_SIGN_OF[op], text[:head]))
        ops.append((_CUT, text[head:end]))
        ops.append((_SIGN_OF[op], text[end:]))
    return "".join(f"{sign}{_units(text)}" for sign, text in ops if text)


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def stretches(field: FieldRow) -> Iterator[tuple[str, str]]:
    """Yield (sign, text) of each stretch of a field's change, in the order of reading."""
    old, new = (text.encode("utf-16-le") for text in (field.old, field.new))
    old_at = new_at = 0
    for op in _each_op(field.ops):
        sign, length = op[0], 2 * int(op[1:])
        text, at = (new, new_at) if sign == "+" else (old, old_at)
        old_at += length * (sign != "+")
        new_at += length * (sign != "-")
        yield sign, text[at : at + length].decode("utf-16-le")


def _each_op(ops: str) -> Iterator[str]:
    start = 0
    for place, char in enumerate(ops):
        if place and not char.isdigit():
            yield ops[start:place]
            start = place
    if ops:
        yield ops[start:]


def block_of(rows: Sequence[str]) -> str:
    """Return the texts of rows as a block in base64."""
    # The same rows give the same page, so no time is in it.
    packed = gzip.compress(ROW_END.join(rows).encode(), 6, mtime=0)
    return base64.b64encode(packed).decode()
