"""Recognises a sheet of which every row is done, without looking up each row in the report.

A run after which every row is done adds two hashes to its line of the audit: of the sheet's rows
and of the report. While both are the same, the result of every row is the same. The hash of the
rows covers every cell of the file, the columns of the fields, the API and the version; a sheet
whose rows depend on anything else has none.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bulk_reset.core.outcome import Status
from bulk_reset.core.totals import Totals
from bulk_reset.records.audit import read_audit
from bulk_reset.records.report_file import Report
from bulk_reset.sheets.sheet import Sheet
from bulk_reset.sheets.sheet_check import SheetCheck
from bulk_reset.sheets.validation import CheckedChunk

_DONE: Final = frozenset({Status.UPDATED, Status.UNCHANGED})
_KEY: Final = "finished"


class RowsHash:
    """The SHA-256 of a sheet's rows; of valid rows of a CSV file that are sent as they are.

    Args:
        scope: the API's address, or ``sandbox``.
    """

    def __init__(self, sheet: Sheet, scope: str) -> None:
        columns = sheet.columns
        made_by = [version("bulk-reset"), scope, columns.header, columns.position]
        self._hash = hashlib.sha256(json.dumps(made_by).encode())
        self._is_known = True

    def add(self, checked: CheckedChunk) -> None:
        """Add the next rows."""
        if checked.content is None or not checked.is_plain:
            self._is_known = False
        elif self._is_known:
            self._hash.update(checked.content)

    def value(self, sheet_check: SheetCheck) -> str:
        """Return the hash in hexadecimal, of rows that were all added; empty if there is none."""
        is_certain = not (sheet_check.row_errors or sheet_check.decisions)
        return self._hash.hexdigest() if self._is_known and is_certain else ""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What the audit has of a run after which every row was done.

    Attributes:
        rows_sha256: see ``RowsHash``.
        report_sha256: of the report.
        counts: the rows by status.
    """

    rows_sha256: str
    report_sha256: str
    counts: Counter[Status]

    def has(self, rows: int, rows_sha256: str) -> bool:
        """Return whether it had exactly these rows."""
        return self.rows_sha256 == rows_sha256 and self.counts.total() == rows


def finished_run(report: Path, sheet: Sheet) -> FinishedRun | None:
    """Return the last run of a report if every row was done after it; None if not.

    None as well for a sheet of another size: it was edited, so its hash need not be computed.

    Raises:
        InputError: the audit cannot be read.
    """
    records = read_audit(report)
    record = records[-1] if records else {}
    facts, counts = record.get(_KEY) or {}, record.get("counts") or {}
    if not counts.keys() <= _DONE or not _has_size(sheet.path, record.get("sheet_bytes")):
        return None
    rows_sha256, report_sha256 = (facts.get(name) for name in ("rows_sha256", "report_sha256"))
    if not rows_sha256 or not report_sha256:
        return None
    by_status = Counter({Status(name): rows for name, rows in counts.items()})
    return FinishedRun(rows_sha256, report_sha256, by_status)


def _has_size(path: Path | None, size_bytes: int | None) -> bool:
    try:
        return path is not None and path.stat().st_size == size_bytes
    except OSError:
        return False


def facts_of(totals: Totals, rows_sha256: str, report: Report) -> Mapping[str, object]:
    """Return what the audit gets about a run; nothing if a row is not done.

    Args:
        report: locked, so that no other run can change it.
    """
    done = sum(totals.counts[status] for status in _DONE)
    if not rows_sha256 or done < totals.rows or totals.stop is not None:
        return {}
    try:
        return {_KEY: {"rows_sha256": rows_sha256, "report_sha256": report.sha256()}}
    except OSError:
        return {}  # It is only faster with it.
