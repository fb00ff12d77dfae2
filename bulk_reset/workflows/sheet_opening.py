"""A sheet is opened and surveyed, and where its report goes is found; it is never written over."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import InputError, NoRowsError
from bulk_reset.engine.options import Options
from bulk_reset.records.report_reader import beside
from bulk_reset.reports.failed_rows import failed_path
from bulk_reset.sheets.sheet import STDIN, Sheet, open_sheet
from bulk_reset.sheets.sheet_check import SheetCheck, check_rows
from bulk_reset.sheets.validation import CheckedChunk
from bulk_reset.workflows.verify import BEFORE

SheetLike = str | Path | pd.DataFrame
"""A path, ``-`` for CSV on standard input, or a pandas DataFrame."""


@contextlib.contextmanager
def opened_sheet(sheet: SheetLike, options: Options, callbacks: Callbacks) -> Iterator[Sheet]:
    """Open a sheet as the options say; what there is to know of it is told."""
    with open_sheet(
        sheet,
        mapping=options.mapping,
        delimiter=options.delimiter,
        encoding=options.encoding,
        sheet_name=options.sheet_name,
        header_row=options.header_row,
        notify=callbacks.on_notice,
    ) as table:
        for notice in table.notices:
            callbacks.on_notice(notice)
        yield table


def check_sheet(
    table: Sheet,
    options: Options,
    callbacks: Callbacks,
    see: Callable[[CheckedChunk], object] = lambda _: None,
) -> SheetCheck:
    """Read and check a whole sheet; what there is to know of it is told.

    Args:
        see: sees each chunk once, in the sheet's order.

    Raises:
        NoRowsError: it has no rows.
        InputError: it has more than are expected.
    """
    rows = 0

    def on_chunk(checked: CheckedChunk) -> None:
        nonlocal rows
        rows += len(checked)
        callbacks.on_read(rows)
        see(checked)

    sheet_check = check_rows(table, options.on_conflict, on_chunk)
    for notice in sheet_check.readings.notices:
        callbacks.on_notice(f"{table.label}: {notice}")
    if sheet_check.emptied:
        callbacks.on_notice(
            f"{table.label}: {sheet_check.emptied:,} cells were emptied, which leaves their "
            "fields as they are: the API cannot empty a field"
        )
    if sheet_check.blank_rows:
        callbacks.on_notice(f"{table.label}: {sheet_check.blank_rows} blank rows left out")
    if not sheet_check.rows:
        raise NoRowsError(f"{table.label}: a header and no rows. Add a row for each incident.")
    if options.max_rows is not None and sheet_check.rows > options.max_rows:
        raise InputError(
            f"{table.label}: {sheet_check.rows:,} rows, and more than {options.max_rows:,} are "
            "taken for a mistake (max_rows), so nothing was sent. Is it the right sheet?"
        )
    return sheet_check


def report_path(sheet: SheetLike, options: Options) -> Path | None:
    """Return where the report goes: beside the sheet unless it was said; None for a frame."""
    if options.report is not None or isinstance(sheet, pd.DataFrame):
        return options.report
    path = Path("stdin.csv") if str(sheet) == STDIN else Path(sheet)
    # A rehearsal must never pass for the work done.
    return path.with_name(f"{path.stem}{'.sandbox' if options.is_rehearsal else ''}.report.csv")


def keep_sheet(sheet: Path | None, report: Path | None) -> None:
    """Refuse a report that would be written over the sheet, by whatever name.

    Raises:
        InputError: it would.
    """
    if sheet is None or report is None:
        return
    if _is_one_file(report, sheet):
        raise InputError(f"--report {report}: that is the sheet itself. Choose another.")
    if _is_one_file(failed_path(report), sheet):
        raise InputError(
            f"--report {report}: its failed rows would replace {sheet}. Choose another."
        )
    if _is_one_file(beside(report, BEFORE), sheet):
        raise InputError(
            f"--report {report}: its before-images would be added to {sheet}. Choose another."
        )


def _is_one_file(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        return one.samefile(other)
    return False
