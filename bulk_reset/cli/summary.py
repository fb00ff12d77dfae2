"""The result of a command, for people and for scripts: counts, errors, quota, files, next steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bulk_reset.cli import next_steps
from bulk_reset.cli.console import (
    SHOWN_ERRORS,
    Output,
    cell,
    new_table,
    print_error,
    shorten,
)
from bulk_reset.core.counting import counted, duration
from bulk_reset.core.defaults import PACE
from bulk_reset.core.outcome import MEANING_OF, ErrorGroup, Status, StopReason, meaning_of
from bulk_reset.core.saved_plan import is_saved_plan
from bulk_reset.core.totals import LogCheck, Totals, Verification

if TYPE_CHECKING:
    from rich.text import Text

    from bulk_reset.records.summary import ReportSummary
    from bulk_reset.workflows.undo_sheet import UndoSheet

_SHOWN_VALUE: Final = 40
_SHOWN_LOST: Final = 10
_STYLE: Final = {
    Status.UPDATED: "green",
    Status.FAILED: "red",
    Status.REJECTED: "red",
    Status.CONFLICT: "yellow",
    Status.UNKNOWN: "yellow",
    Status.PENDING: "yellow",
}


def show_totals(output: Output, totals: Totals, *, is_declined: bool = False) -> None:
    """Print the summary of a run.

    Args:
        is_declined: whether the user did not confirm to continue after the canary.
    """
    if totals.is_dry_run:
        _show_dry_run(output, totals)
        return
    output.line()
    recorded = totals.recorded if totals.done_before else None
    _show_counts(output, totals.counts, totals.rows, totals.not_edited, recorded)
    _show_errors(output, totals.errors)
    _show_requests(output, totals)
    if totals.left_out:
        output.line(f"{counted(totals.left_out, 'row')} not selected; pending.")
    has_updates = bool(totals.before and totals.counts[Status.UPDATED])
    files = {
        "Report": totals.report,
        "Previous values": totals.before if has_updates else "",
        "Failed rows": totals.failed,
    }
    for name, path in files.items():
        if path:
            output.line(f"{name}: {path}")
    if totals.verification is not None:
        show_verification(output, totals.verification)
    if totals.stop is not None:
        # An early end is printed with --quiet, too.
        pending = counted(totals.counts[Status.PENDING], "row")
        verb = "is" if totals.counts[Status.PENDING] == 1 else "are"
        print_error(f"stopped: {totals.stop.message.rstrip('.')}. {pending} {verb} pending.")
    for line in _next_steps(totals, has_updates=has_updates, is_declined=is_declined):
        output.line(line)


def _show_dry_run(output: Output, totals: Totals) -> None:
    parts = [counted(totals.rows, "row")]
    if totals.done_before:
        parts.append(f"{totals.done_before:,} settled in an earlier run")
    if totals.left_out:
        parts.append(f"{totals.left_out:,} not selected")
    not_sent = totals.counts[Status.SKIPPED] + totals.counts[Status.REJECTED]
    if not_sent:
        parts.append(f"{not_sent:,} will not be sent")
    verb = "takes" if totals.requests == 1 else "take"
    output.line(
        f"{', '.join(parts)}: {counted(totals.requests, 'request')} {verb} at least "
        f"{duration(totals.elapsed_s)}. Nothing was sent."
    )
    if totals.requests:
        output.line(f"Next: {next_steps.same_command(without={'dry-run'})}")


def _show_counts(
    output: Output,
    counts: dict[Status, int],
    rows: int,
    not_edited: int,
    recorded: dict[Status, int] | None = None,
) -> None:
    """Print the rows by status.

    Args:
        not_edited: unchanged rows that still have the pulled values.
        recorded: those of this run, where some are of earlier runs.
    """
    table = new_table("status", "rows", "meaning", right={"rows"})
    for status in MEANING_OF:
        if counts.get(status):
            count = f"{counts[status]:,}"
            of_run = recorded.get(status, 0) if recorded else counts[status]
            if of_run != counts[status] and status is not Status.PENDING:
                count += f" ({of_run:,} in this run)"
            meaning = meaning_of(status, counts[status], not_edited)
            table.add_row(cell(status.value, _STYLE.get(status, "")), count, meaning)
    if rows:
        table.add_section()
        table.add_row("all rows", f"{rows:,}", "")
    output.table(table)


def _show_errors(output: Output, errors: tuple[ErrorGroup, ...]) -> None:
    from bulk_reset.records.summary import advice_on  # noqa: PLC0415  (imports numpy)

    if not errors:
        return
    table = new_table("error", "rows", "first row", "message", "how to fix", right={"rows"})
    for group in errors:
        table.add_row(
            cell(group.code),
            f"{group.rows:,}",
            str(group.row_number),
            cell(group.message),
            cell(advice_on(group)),
        )
    output.table(table)


def _show_requests(output: Output, totals: Totals) -> None:
    if not totals.requests and totals.stop is None:
        output.line("No row needed to be sent.")
        return
    rate = totals.requests / totals.elapsed_s if totals.elapsed_s else 0.0
    throttled = f", {totals.throttled:,} over the quota (429)" if totals.throttled else ""
    output.line(
        f"{counted(totals.requests, 'request')}{throttled} in {duration(totals.elapsed_s)}, "
        f"{rate:.1f} per second"
    )
    for peak in totals.peaks:
        output.line(
            f"Most requests started in any {peak.window_s:g} s: "
            f"{peak.started:,} (limit {peak.limit:,})"
        )
    waits = [
        f"{duration(seconds)} for {cause}"
        for cause, seconds in totals.waited_s.items()
        if seconds >= 1 and cause != PACE
    ]
    if waits:
        output.line(f"Waited {', '.join(waits)}")


def _next_steps(totals: Totals, *, has_updates: bool, is_declined: bool) -> Iterator[str]:
    reason = totals.stop.reason if totals.stop is not None else None
    if reason is StopReason.CANARY:
        yield from _after_canary(totals, is_declined=is_declined)
    elif reason is StopReason.FATAL:
        yield f"Next: fix the error, then run again: {next_steps.same_command()}"
    elif totals.counts[Status.PENDING] > totals.left_out:
        yield f"To resume: {next_steps.same_command()}"
    elif totals.counts[Status.UNKNOWN]:
        yield f"Next: send the unconfirmed rows again: {next_steps.same_command()}"
    if totals.counts[Status.CONFLICT] and reason is None:
        yield _after_conflicts(totals.sheet)
    has_failed = totals.failed and reason is not StopReason.CANARY
    if has_failed and totals.counts[Status.FAILED] + totals.counts[Status.REJECTED]:
        again = next_steps.run_of_failed_rows(totals.failed)
        yield f"Next: fix the rows in {totals.failed}, then: {again}"
    is_read_back = totals.verification is not None or reason is StopReason.CANARY
    if has_updates and not is_read_back and (verify := next_steps.verify_of(totals.report)):
        yield f"To verify: {verify}"
    if has_updates and (undo := next_steps.undo_of(totals.report)):
        yield f"To undo: {undo}"


def _after_conflicts(sheet: str) -> str:
    if is_saved_plan(Path(sheet)):
        return "Next: the incidents were modified since the plan; make the plan again"
    again = next_steps.same_command(plus={"overwrite": ""})
    return f"Next: to overwrite the modified incidents: {again}"


def _after_canary(totals: Totals, *, is_declined: bool) -> Iterator[str]:
    """Yield the next step; a failed canary must not be followed by the other rows at once."""
    if is_declined:
        yield f"To resume: {next_steps.same_command(plus={'yes': ''})}"
    elif totals.failed:
        yield f"Compare the rows in {totals.failed} with their incidents before you run again."


def show_verification(output: Output, verification: Verification) -> None:
    """Print the result of reading back."""
    wrong = verification.mismatches
    if wrong:
        table = new_table("row", "incident", "field", "expected", "found", right={"row"})
        for one in wrong[:SHOWN_ERRORS]:
            table.add_row(
                str(one.row_number),
                cell(one.incident_id),
                cell(one.field),
                _value_cell(one.wanted),
                _value_cell(one.found),
            )
        output.table(table)
        more = len(wrong) - SHOWN_ERRORS
        if more > 0:
            output.line(f"… and {more:,} more; --json lists all.")
    rows = len({one.row_number for one in wrong})
    read = f"{counted(verification.rows, 'row')} read back"
    read += f" in {counted(verification.requests, 'request')}: "
    if rows:
        read += f"{counted(rows, 'row')} {'differs' if rows == 1 else 'differ'}"
    elif verification.rows or not verification.values_unknown:
        read += "all verified"
    else:
        read += "nothing verified"
    output.line(read)
    if verification.log is not None:
        _show_log(output, verification.log)
    for status, count in verification.settled.items():
        output.line(f"{counted(count, 'unconfirmed row')} now confirmed as {status.value}")
    if verification.unsettled:
        rows_left = counted(verification.unsettled, "row")
        remain = "remains" if verification.unsettled == 1 else "remain"
        output.line(f"{rows_left} {remain} unconfirmed. Run the sheet again to send the rest.")
    if verification.values_unknown:
        rows_unknown = counted(verification.values_unknown, "row")
        output.line(
            f"{rows_unknown} cannot be verified: their values are not in the "
            "file of previous values (sent with --no-before, or the file was cut)"
        )


def _show_log(output: Output, log: LogCheck) -> None:
    """Print what the provider's audit log has of the requests of a run."""
    if log.findings:
        table = new_table("row", "incident", "request", "audit log", right={"row"})
        for one in log.findings[:SHOWN_ERRORS]:
            ids = cell(one.incident_id), cell(one.request_id)
            table.add_row(str(one.row_number), *ids, cell(one.problem))
        output.table(table)
        more = len(log.findings) - SHOWN_ERRORS
        if more > 0:
            output.line(f"… and {more:,} more; --json lists all.")
    has = log.rows - len(log.findings)
    output.line(f"{has:,} of {counted(log.rows, 'row')} confirmed by the provider's audit log")
    if log.unknown:
        output.line(
            f"{counted(log.unknown, 'row')} not looked for in the log: without a request id, older "
            "than 90 days, or beyond the pages that were read"
        )


def show_lost(output: Output, sheet: UndoSheet) -> None:
    """Print what an undo cannot restore."""
    if sheet.comments:
        verb = "remains" if sheet.comments == 1 else "remain"
        output.line(f"{counted(sheet.comments, 'comment')} {verb}: a comment cannot be removed")
    if sheet.values_unknown:
        output.line(
            f"{counted(sheet.values_unknown, 'row')} cannot be restored: their values are not in "
            "the file of previous values (sent with --no-before, or the file was cut)"
        )
    if not sheet.lost:
        return
    verb = "was" if len(sheet.lost) == 1 else "were"
    table = new_table("incident", "field", "previous value", "the run wrote", "reason")
    for one in sheet.lost[:_SHOWN_LOST]:
        table.add_row(
            cell(one.incident_id),
            cell(one.field),
            _value_cell(one.was),
            _value_cell(one.wrote),
            cell(one.reason),
        )
    output.table(table)
    output.line(
        f"{len(sheet.lost):,} of {counted(sheet.values, 'value')} {verb} not restored. "
        f"All of them, with links: {sheet.lost_file}"
    )


def _value_cell(value: object) -> Text:
    return cell(shorten(" ".join(("" if value is None else str(value)).split()), _SHOWN_VALUE))


def show_report(output: Output, summary: ReportSummary) -> None:
    """Print the summary of a report file."""
    _show_counts(output, summary.counts, sum(summary.counts.values()), summary.not_edited)
    _show_errors(output, summary.errors)
    if summary.last_at:
        first, last = (
            datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
            for at in (summary.first_at or summary.last_at, summary.last_at)
        )
        output.line(f"{counted(summary.requests, 'request')} from {first} to {last} UTC")
        output.line(f"Over the quota (429): {summary.throttled:,}")
        for seconds, most in summary.most_started.items():
            output.line(f"Most requests started in any {seconds} s: {most:,}")
        if summary.waits:
            waits = counted(summary.waits, "pause")
            output.line(f"Waited {duration(summary.waited_s)} in {waits} of more than a second")
    output.line(
        "Rows of the sheet without a line in the report are pending; run the sheet again to send "
        "them. Lines of rows that were edited since are counted as well."
    )


def totals_as_json(totals: Totals) -> dict[str, Any]:
    """Return a run's totals for scripts: plain values, counts by status, the exit code."""
    return {**dataclasses.asdict(totals), "exit_code": int(totals.exit_code)}
