"""What earlier runs of a report mean for the next one: resume, refuse, or warn.

Nothing is written here.
"""

from __future__ import annotations

from pathlib import Path

from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.counting import counted
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option
from bulk_reset.core.outcome import Status
from bulk_reset.engine.work_source import WorkSource, checked_chunks
from bulk_reset.records.audit import destination_of, sheet_names_of
from bulk_reset.records.history import History
from bulk_reset.records.previous_values import SentDigests
from bulk_reset.records.report_reader import read_history, read_report
from bulk_reset.sheets.sheet_check import DecidedChunk
from bulk_reset.workflows.undo_reports import has_written, undo_reports, undone_by


def history_of(report: Path | None) -> History:
    """Return the results of earlier runs; none where there is no report yet."""
    return read_history(report) if report is not None and report.exists() else History()


def check_earlier_runs(work: WorkSource, report: Path | None, callbacks: Callbacks) -> None:
    """Send what earlier runs have done to ``on_notice``, before anything is sent.

    Args:
        work: counted already.

    Raises:
        InputError: the report belongs to another sheet or API, or its run was undone.
    """
    if report is None:
        return
    other = option("report", "FILE")
    if not work.history and not work.known:
        for undo in undo_reports(report):
            if has_written(undo):
                raise InputError(
                    f"{undo}: belongs to the undo of an older run, so this run could not be "
                    f"undone. Move it away, or use {other} for another report."
                )
        return
    if not work.known and not _is_edited_sheet(work, report):
        raise InputError(
            f"{report}: belongs to another sheet or API; it has no row of {work.sheet.label}. "
            f"Use {other} for another report, or move this one away."
        )
    undone = undone_by(report)
    if undone is not None:
        raise InputError(
            f"{report}: its run was undone (see {undone}), so it cannot be resumed. To send the "
            f"sheet again from scratch, use {other} for another report."
        ).with_next("To restore its changes", "undo", undone)
    done = sum(rows for status, rows in work.resumed.items() if status.is_done)
    rows = counted(work.sheet_check.rows, "row")
    callbacks.on_notice(f"{report}: resumed; {done:,} of {rows} already done")
    if failed := work.resumed[Status.FAILED]:
        callbacks.on_notice(
            f"{report}: {counted(failed, 'row')} failed before (use {option('retry_failed')} to "
            "send them again)"
        )


def _is_edited_sheet(work: WorkSource, report: Path) -> bool:
    """Return whether a report is of this sheet and this API, and every row was edited since."""
    there = destination_of(report)
    if there is None or there.scope != work.scope:
        return False
    if Path(work.sheet.label).name not in sheet_names_of(report):
        return False
    known = {outcome.incident_id for outcome in read_report(report)}
    ids = {one for checked in checked_chunks(work.sheet) for one in checked.ids}
    return 2 * len(ids & known) >= len(ids)


def refuse_foreign_values(path: Path, sent: SentDigests, work: WorkSource) -> None:
    """Refuse previous values of another sheet: an undo would mix two runs.

    Raises:
        InputError: none of them belongs to a row of this sheet.
    """
    for checked in checked_chunks(work.sheet):
        digests = DecidedChunk(checked, work.sheet_check, work.scope).digests
        if any(digest.hex() in sent for digest in digests):
            return
    raise InputError(
        f"{path}: has the previous values of another run, which an undo of this run would restore, "
        f"too. Move it away, or use {option('report', 'FILE')} for another report."
    )
