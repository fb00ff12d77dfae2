"""``answer``: a copy of the user's sheet as a workbook, with the result beside each row."""

from __future__ import annotations

from pathlib import Path

from bulk_reset.core.argument_types import or_default, require_path
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option
from bulk_reset.engine.options import Options, PathLike
from bulk_reset.records.report_reader import beside, read_report
from bulk_reset.reports.answer_workbook import write_answer
from bulk_reset.reports.answers import answers_of
from bulk_reset.workflows.number_lookup import recall_numbers
from bulk_reset.workflows.sheet_opening import opened_sheet


def answer(
    report: PathLike,
    sheet: PathLike | None = None,
    options: Options | None = None,
    callbacks: Callbacks | None = None,
) -> Path:
    """Write the results of a report into a copy of its sheet.

    Args:
        sheet: found by the report's name when None.

    Returns: the workbook, ``NAME.answer.xlsx`` beside the report.

    Raises:
        InputError: no such report or sheet, or the workbook cannot be written.
    """
    options = or_default("options", options, Options)
    callbacks = or_default("callbacks", callbacks, Callbacks)
    require_path("report", report)
    path = Path(report)
    with opened_sheet(sheet or _sheet_of(path), options, callbacks) as table:
        recall_numbers(table, read_report(path))
        target = beside(path, "answer.xlsx")
        for notice in write_answer(table, target, answers_of(path, table)):
            callbacks.on_notice(f"{target}: {notice}")
    return target


def _sheet_of(report: Path) -> Path:
    stem = beside(report, "").name.removesuffix(".").removesuffix(".sandbox")
    places = [
        report.with_name(stem + ending)
        for ending in (".xlsx", ".xlsm", ".csv", ".tsv", ".ods", ".xlsb", ".parquet")
    ]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise InputError(f"{report}: its sheet is not beside it. Use {option('of', 'SHEET')}.")
    return found
