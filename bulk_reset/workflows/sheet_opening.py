"""Opens and checks a sheet, and decides where its report is written: never over the sheet."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from bulk_reset.core.argument_types import require_path
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.counting import counted
from bulk_reset.core.defaults import OnConflict
from bulk_reset.core.errors import InputError, NoRowsError
from bulk_reset.core.option_names import option, option_name
from bulk_reset.core.saved_plan import is_saved_plan
from bulk_reset.engine.options import Options, PathLike, ReadingOptions
from bulk_reset.records.previous_values import BEFORE
from bulk_reset.records.report_reader import beside
from bulk_reset.reports.failed_rows import failed_path
from bulk_reset.sheets.corrections import CorrectedSource, Corrections
from bulk_reset.sheets.exact_table import ExactTable
from bulk_reset.sheets.frame_source import is_frame
from bulk_reset.sheets.open_sheet import STDIN, open_sheet
from bulk_reset.sheets.pulled_values import READ_ONLY_EDITED
from bulk_reset.sheets.sheet import Sheet
from bulk_reset.sheets.sheet_check import SheetCheck, check_rows
from bulk_reset.sheets.validation import CheckedChunk

if TYPE_CHECKING:
    import pandas as pd

SheetLike: TypeAlias = "PathLike | pd.DataFrame | ExactTable"
"""A path, ``-`` for CSV on standard input, a pandas DataFrame, or a table in memory."""


def require_sheet(sheet: object) -> None:
    """Check that an argument is a sheet.

    Raises:
        InputError: it is of another type.
    """
    if not isinstance(sheet, ExactTable) and not is_frame(sheet):
        require_path("sheet", sheet)


@contextlib.contextmanager
def opened_sheet(
    sheet: SheetLike, options: ReadingOptions, callbacks: Callbacks
) -> Iterator[Sheet]:
    """Open a sheet until the block ends; what was detected is sent to ``on_notice``."""
    require_sheet(sheet)
    with open_sheet(
        sheet,
        mapping=options.mapping,
        delimiter=options.delimiter,
        encoding=options.encoding,
        sheet_name=options.sheet_name,
        header_row=options.header_row,
        profile=options.profile,
        rules=options.rules,
        notify=callbacks.on_notice,
    ) as table:
        if options.corrections is not None:
            corrections = Corrections.read(options.corrections, table.path)
            table.source = CorrectedSource(table.source, corrections)
        for notice in table.notices:
            callbacks.on_notice(notice)
        yield table


def check_sheet(
    table: Sheet,
    options: ReadingOptions,
    callbacks: Callbacks,
    on_chunk: Callable[[CheckedChunk], object] = lambda _: None,
) -> SheetCheck:
    """Read and check a whole sheet; facts about it are sent to ``on_notice``.

    Args:
        on_chunk: called with each chunk once, in the sheet's order.

    Raises:
        NoRowsError: it has no rows.
        InputError: it has more than ``max_rows``.
    """
    rows = 0

    def count(checked: CheckedChunk) -> None:
        nonlocal rows
        rows += len(checked)
        callbacks.on_read(rows)
        on_chunk(checked)

    # The rows of a plan were decided when it was made, and stay in their order.
    policy = options.on_conflict if table.plan is None else OnConflict.IN_ORDER
    sheet_check = check_rows(table, policy, count)
    for fact in _facts(table, sheet_check):
        callbacks.on_notice(f"{table.label}: {fact}")
    if not sheet_check.rows and table.plan is None:
        raise NoRowsError(f"{table.label}: no rows below the header. Add a row for each incident.")
    if options.max_rows is not None and sheet_check.rows > options.max_rows:
        raise InputError(
            f"{table.label}: {counted(sheet_check.rows, 'row')}, more than "
            f"{option('max_rows', options.max_rows)} allows; nothing was sent. Check the sheet, or "
            f"use a higher {option_name('max_rows')}."
        )
    return sheet_check


def _facts(table: Sheet, sheet_check: SheetCheck) -> Iterator[str]:
    """Yield what the user should know about the rows of a sheet."""
    yield from sheet_check.readings.notices
    if sheet_check.emptied:
        yield (
            f"{counted(sheet_check.emptied, 'cell')} emptied since the pull; the API cannot empty "
            "a field, so the values stay"
        )
    if sheet_check.read_only_edits:
        yield (
            f"{counted(sheet_check.read_only_edits, 'row')} with edits in "
            f"{', '.join(READ_ONLY_EDITED[:-1])} or {READ_ONLY_EDITED[-1]}; these columns are "
            "never sent"
        )
    yield from table.profile_notices()
    if sheet_check.blank_rows:
        yield f"{counted(sheet_check.blank_rows, 'blank row')} ignored"
    if table.without_fields:
        yield (
            f"{counted(table.without_fields, 'row')} left out, because "
            f"{option_name('only_fields')} selects none of the fields"
        )
    if table.plan is not None and (others := table.others()):
        yield f"not in this run: {others}"


def report_path(sheet: SheetLike, options: Options) -> Path | None:
    """Return where the report is written: beside the sheet by default; None for a data frame."""
    if options.report is not None or not isinstance(sheet, (str, os.PathLike)):
        return options.report
    path = Path("stdin.csv") if str(sheet) == STDIN else Path(sheet)
    # A sheet and its plan are beside each other, and have other rows.
    name = path.name if is_saved_plan(path) else path.stem
    # A rehearsal has a report of its own, so that it never counts as work that was done.
    return path.with_name(f"{name}{'.sandbox' if options.is_rehearsal else ''}.report.csv")


def refuse_to_overwrite(sheet: Path | None, report: Path | None) -> None:
    """Refuse a report whose files would overwrite the sheet, under any name.

    Raises:
        InputError: they would.
    """
    if sheet is None or report is None:
        return
    where = option("report", str(report))
    if _is_one_file(report, sheet):
        raise InputError(f"{where}: this is the sheet itself. Choose another report.")
    if _is_one_file(failed_path(report), sheet):
        raise InputError(
            f"{where}: its file of failed rows would overwrite {sheet}. Choose another report."
        )
    if _is_one_file(beside(report, BEFORE), sheet):
        raise InputError(
            f"{where}: its file of previous values would be added to {sheet}. Choose another "
            "report."
        )


def _is_one_file(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        return one.samefile(other)
    return False
