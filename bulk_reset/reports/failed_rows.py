"""``NAME.failed.csv``: every row that is not done, with the reason; a sheet to fix and run.

Made at the end of a run from the sheet and the report file alone. No spreadsheet runs one of its
cells as a formula, and every cell is read back as it was: the columns added here identify the
file.
"""

from __future__ import annotations

import csv
import filecmp
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from bulk_reset.core.atomic_file import opener_like
from bulk_reset.core.custom_fields import COMMENT_FIELD
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.core.outcome import IN_DOUBT, Outcome, Status
from bulk_reset.core.safe_text import escape_formula, guard_formula
from bulk_reset.records.report_columns import as_text
from bulk_reset.records.report_reader import beside, first_sent_at, read_report
from bulk_reset.sheets.chunk import Chunk
from bulk_reset.sheets.columns import (
    COMMENT_SENT,
    FAILED_COLUMNS,
    GUARDED_COLUMN,
    field_named,
    is_own,
    was_field,
)
from bulk_reset.sheets.guards import guarded_row
from bulk_reset.sheets.plan_source import PLAN_CHECK
from bulk_reset.sheets.pulled_values import (
    check_of,
    json_names_of,
    memory_header,
    shown_columns,
)
from bulk_reset.sheets.sheet import Sheet
from bulk_reset.sheets.sheet_check import DecidedChunk, SheetCheck
from bulk_reset.sheets.validation import check_chunk

_REJECTIONS: Final = range(400, 500)
"""HTTP statuses of requests that were not applied."""


def failed_path(report_path: Path) -> Path:
    """Return the path of the failed rows, beside the report."""
    return beside(report_path, "failed.csv")


def write_failed(
    sheet: Sheet, sheet_check: SheetCheck, scope: str, report_path: Path, *, has_failed: bool = True
) -> Path | None:
    """Write the rows that were rejected, failed or have an unknown outcome.

    An older file of that name that differs (the user may have edited it) is kept with a ``~``, and
    the new one is not readable by more users than the older one, the sheet and the report. A link
    is replaced, not followed.

    Args:
        has_failed: whether there are such rows at all; without any, the report is not read.

    Returns: the file, or None where every row is done or pending.
    """
    target = failed_path(report_path)
    not_done = _NotDone.of(report_path) if has_failed else _NotDone({}, 0.0)
    fresh = target.with_name(f"{target.name}.tmp")
    # A run that was killed may have left one; or it may be a link to another file.
    fresh.unlink(missing_ok=True)
    try:
        opener = opener_like(target, report_path, sheet.path)
        with open(fresh, "x", encoding="utf-8-sig", newline="", opener=opener) as file:
            rows = _write(sheet, sheet_check, scope, not_done, file)
            file.flush()
            os.fsync(file.fileno())
        if target.exists() and (not rows or not filecmp.cmp(fresh, target, shallow=False)):
            target.replace(f"{target}~")
        if rows:
            fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    return target if rows else None


class _NotDone(NamedTuple):
    """The rows that are not done.

    Attributes:
        outcomes: by digest.
        first_sent_at: a time before the first request.
    """

    outcomes: dict[str, Outcome]
    first_sent_at: float

    @classmethod
    def of(cls, report_path: Path) -> _NotDone:
        outcomes: dict[str, Outcome] = {}
        for outcome in read_report(report_path):
            if outcome.status.is_done:
                outcomes.pop(outcome.digest, None)
            else:
                outcomes[outcome.digest] = outcome
        return cls(outcomes, first_sent_at(report_path))


def _write(
    sheet: Sheet, sheet_check: SheetCheck, scope: str, not_done: _NotDone, file: TextIO
) -> int:
    header = sheet.columns.header
    is_legacy = sheet.memory is not None and not sheet.memory.is_checked
    kept = [
        position
        for position, name in enumerate(header)
        if not is_own(name) or (is_legacy and was_field(name))
    ]
    names = _names(sheet, kept)
    remembered = sheet.memory.names if sheet.memory is not None and not is_legacy else ()
    has_comments = COMMENT_FIELD in sheet.columns.position
    own = [*(memory_header(remembered) if remembered else ()), *FAILED_COLUMNS]
    own += [COMMENT_SENT] if has_comments else []
    # Without the last column, guards are removed everywhere, as in the sheet itself.
    own += [] if is_legacy else [GUARDED_COLUMN]
    id_at = sheet.columns.position[ID_FIELD]
    rows = 0
    writer = csv.writer(file)
    writer.writerow([*map(guard_formula, names), *map(guard_formula, own)])
    for chunk in sheet.chunks() if not_done.outcomes else ():
        checked = check_chunk(chunk, sheet.columns)
        decided = DecidedChunk(checked, sheet_check, scope)
        shown = shown_columns(chunk, sheet.columns.position)
        for place, digest in enumerate(decided.digests):
            outcome = not_done.outcomes.get(digest.hex())
            if outcome is None:
                continue
            rows += 1
            number = chunk.numbers[place]
            # A cell whose text is not certain must not be sent as if it were certain.
            is_odd_row = number in chunk.row_faults
            texts = [
                ""
                if (number, p) in chunk.odd_cells or (is_odd_row and p != id_at)
                else shown[p][place]
                for p in kept
            ]
            *cells, record = guarded_row(names, texts)
            cells += _memory_cells(chunk, remembered, place, checked.ids[place])
            reason = f"{outcome.error_code}: {outcome.error_message}".removeprefix(": ")
            cells += [str(number), outcome.status.value, escape_formula(reason)]
            if has_comments:
                since = checked.comment_since.get(place) or _comment_since(outcome, not_done)
                cells.append(as_text(since))
            writer.writerow(cells if is_legacy else [*cells, record])
    return rows


def _names(sheet: Sheet, kept: Sequence[int]) -> list[str]:
    """Return the names of the columns; of a profile's sheet, those that need no profile."""
    header = sheet.columns.header
    if sheet.profile is None:
        return [header[position] for position in kept]
    field_at = {position: name for name, position in sheet.columns.position.items()}
    return [
        field_at.get(position)
        or (f"sheet: {header[position]}" if field_named(header[position]) else header[position])
        for position in kept
    ]


def _memory_cells(
    chunk: Chunk, remembered: Sequence[str], place: int, incident_id: str
) -> list[str]:
    """Return the pulled values of a row and their check, as the sheet has them."""
    if not remembered or chunk.recalled is None:
        return []
    was = {name: chunk.recalled.was[name][place] for name in remembered}
    check = chunk.recalled.checks[place]
    if check.split(" ")[0] == PLAN_CHECK:
        # The hash of the plan protected all rows together; here each row is alone.
        check = check_of(incident_id, was, json_names_of(check))
    return [*map(guard_formula, was.values()), check]


def _comment_since(outcome: Outcome, not_done: _NotDone) -> float:
    """Return the earliest time at which a row's comment may have been added; 0 if it was not."""
    is_rejected = outcome.http_status in _REJECTIONS and outcome.error_code != IN_DOUBT
    was_sent = outcome.status in (Status.FAILED, Status.UNKNOWN) and not is_rejected
    return not_done.first_sent_at if was_sent and COMMENT_FIELD in outcome.fields else 0.0
