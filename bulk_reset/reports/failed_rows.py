"""``NAME.failed.csv``: every row that is not done, with the reason; a sheet to fix and run.

Made at the end of a run from the sheet and the report file alone. No spreadsheet runs one of its
cells as a formula, and every cell is read back as it was: the columns added here identify the
file.
"""

from __future__ import annotations

import csv
import filecmp
import os
from pathlib import Path
from typing import Final, TextIO

from bulk_reset.core.fields import ID_FIELD
from bulk_reset.core.outcome import Outcome
from bulk_reset.core.safe_text import escape_formula, guard_formula
from bulk_reset.records.report_reader import beside, read_report
from bulk_reset.sheets.columns import OWN_PREFIX, WAS_PREFIX
from bulk_reset.sheets.sheet import Sheet
from bulk_reset.sheets.sheet_check import DecidedChunk, SheetCheck
from bulk_reset.sheets.validation import check_chunk

_OWN_COLUMNS: Final = tuple(OWN_PREFIX + name for name in ("row", "status", "reason"))


def failed_path(report_path: Path) -> Path:
    """Return the path of the failed rows, beside the report."""
    return beside(report_path, "failed.csv")


def write_failed(
    sheet: Sheet, sheet_check: SheetCheck, scope: str, report_path: Path, *, has_failed: bool = True
) -> Path | None:
    """Write the rows that were rejected, failed or have an unknown outcome.

    An older file of that name that differs (the user may have edited it) is kept with a ``~``, and
    the new one is not readable by more users than the older one. A link is replaced, not followed.

    Args:
        has_failed: whether there are such rows at all; without any, the report is not read.

    Returns: the file, or None where every row is done or pending.
    """
    target = failed_path(report_path)
    not_done = _not_done(report_path) if has_failed else {}
    fresh = target.with_name(f"{target.name}.tmp")
    # A run that was killed may have left one; or it may be a link to another file.
    fresh.unlink(missing_ok=True)
    try:
        with fresh.open("x", encoding="utf-8-sig", newline="") as file:
            if target.is_file():
                fresh.chmod(fresh.stat().st_mode & target.stat().st_mode)
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


def _not_done(report_path: Path) -> dict[str, Outcome]:
    not_done: dict[str, Outcome] = {}
    for outcome in read_report(report_path):
        if outcome.status.is_done:
            not_done.pop(outcome.digest, None)
        else:
            not_done[outcome.digest] = outcome
    return not_done


def _write(
    sheet: Sheet, sheet_check: SheetCheck, scope: str, not_done: dict[str, Outcome], file: TextIO
) -> int:
    header = sheet.columns.header
    kept = [
        position
        for position, name in enumerate(header)
        if not name.startswith(OWN_PREFIX) or name.startswith(WAS_PREFIX)
    ]
    # Cells that were not edited are empty in the chunks; the file shows their values.
    was_at = {sheet.columns.position[name]: p for name, p in sheet.columns.was.items()}
    id_at = sheet.columns.position[ID_FIELD]
    rows = 0
    writer = csv.writer(file)
    writer.writerow([*(guard_formula(header[p]) for p in kept), *_OWN_COLUMNS])
    for chunk in sheet.chunks() if not_done else ():
        decided = DecidedChunk(check_chunk(chunk, sheet.columns), sheet_check, scope)
        for place, digest in enumerate(decided.digests):
            outcome = not_done.get(digest.hex())
            if outcome is None:
                continue
            rows += 1
            number = chunk.numbers[place]
            # A cell whose text is not certain must not be sent as if it were certain.
            is_odd_row = number in chunk.row_faults
            cells = [
                ""
                if (number, p) in chunk.odd_cells or (is_odd_row and p != id_at)
                else guard_formula(
                    chunk.columns[p][place] or chunk.columns[was_at.get(p, p)][place]
                )
                for p in kept
            ]
            reason = f"{outcome.error_code}: {outcome.error_message}".removeprefix(": ")
            writer.writerow([*cells, number, outcome.status.value, escape_formula(reason)])
    return rows
