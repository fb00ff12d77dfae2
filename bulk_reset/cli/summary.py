"""How a run ended, for people and for scripts: counts, errors, the quota's proof, what next."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from bulk_reset.cli.console import SHOWN_MISTAKES, Output, counted, duration, new_table, say_red
from bulk_reset.core.defaults import PACE
from bulk_reset.core.outcome import MEANING_OF, ErrorGroup, Status, StopReason
from bulk_reset.core.safe_text import one_line
from bulk_reset.core.totals import Totals, Verification

if TYPE_CHECKING:
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


def show_totals(output: Output, totals: Totals, sheet: str) -> None:
    """Print the summary of a run."""
    if totals.is_dry_run:
        _show_dry_run(output, totals)
        return
    output.say()
    _show_counts(output, totals.counts, totals.rows)
    _show_errors(output, totals.errors)
    if totals.requests or totals.stop:
        output.say(_pace(totals))
        for peak in totals.peaks:
            output.say(
                f"Most requests started in any {peak.window_s:g} s: "
                f"{peak.started:,} (limit {peak.limit:,})"
            )
        waits = [
            f"{duration(seconds)} for {cause}"
            for cause, seconds in totals.waited_s.items()
            if seconds >= 1 and cause != PACE
        ]
        if waits:
            output.say(f"Waited {', '.join(waits)}")
    else:
        output.say("Nothing was left to send.")
    files = {
        "Report": totals.report,
        "Before": totals.before if totals.counts[Status.UPDATED] else "",
        "Rows to mend": totals.failed,
    }
    for name, path in files.items():
        if path:
            output.say(f"{name}: {path}")
    if totals.verification is not None:
        show_verification(output, totals.verification)
    if totals.stop is not None:
        # An early end is said even when all else is quiet.
        _say_stop(totals)
    for line in _next_steps(totals, sheet):
        output.say(line)


def _say_stop(totals: Totals) -> None:
    assert totals.stop is not None  # noqa: S101  (checked by the caller)
    pending = totals.counts[Status.PENDING]
    say_red(f"stopped: {totals.stop.message}. {pending:,} rows are pending.")


def _show_dry_run(output: Output, totals: Totals) -> None:
    before = f", {totals.done_before:,} done before" if totals.done_before else ""
    skipped = totals.counts[Status.SKIPPED] + totals.counts[Status.REJECTED]
    needless = f", {skipped:,} not to be sent" if skipped else ""
    output.say(
        f"{totals.rows:,} rows{before}{needless}: {totals.requests:,} requests would take "
        f"{duration(totals.elapsed_s)} at the least. Nothing was sent."
    )


def _show_counts(output: Output, counts: dict[Status, int], rows: int) -> None:
    table = new_table("status", "rows", "", right={"rows"})
    for status, meaning in MEANING_OF.items():
        if counts.get(status):
            table.add_row(
                f"[{_STYLE.get(status, 'none')}]{status.value}[/]", f"{counts[status]:,}", meaning
            )
    if rows:
        table.add_section()
        table.add_row("all rows", f"{rows:,}", "")
    output.table(table)


def _show_errors(output: Output, errors: tuple[ErrorGroup, ...]) -> None:
    from rich.markup import escape  # noqa: PLC0415  (a message like [db] is not markup)

    from bulk_reset.records.summary import advice_on  # noqa: PLC0415  (brings numpy along)

    if not errors:
        return
    table = new_table("error", "rows", "first row", "message", "what to do", right={"rows"})
    for group in errors:
        table.add_row(
            escape(group.code),
            f"{group.rows:,}",
            str(group.row_number),
            escape(group.message),
            advice_on(group),
        )
    output.table(table)


def _pace(totals: Totals) -> str:
    rate = totals.requests / totals.elapsed_s if totals.elapsed_s else 0.0
    throttled = f", {totals.throttled:,} over the quota (429)" if totals.throttled else ""
    return (
        f"{totals.requests:,} requests{throttled} in {duration(totals.elapsed_s)}, "
        f"{rate:.1f} a second"
    )


def _next_steps(totals: Totals, sheet: str) -> list[str]:
    steps = []
    again = shlex.join(["bulk-reset", *sys.argv[1:]])
    is_canary = totals.stop is not None and totals.stop.reason is StopReason.CANARY
    if is_canary:
        steps.append(f"Next: go on with the rest: {again}{' --yes' * ('--yes' not in sys.argv)}")
        steps.append(f"Or back: bulk-reset undo {shlex.quote(totals.report)}")
    elif totals.stop is not None and totals.stop.reason is StopReason.FATAL:
        steps.append(f"Next: mend that, then the same again: {again}")
    elif totals.counts[Status.PENDING]:
        steps.append(f"Next: go on with the rest: {again}")
    elif totals.counts[Status.UNKNOWN]:
        steps.append(f"Next: send the unknown rows again: {again}")
    if totals.counts[Status.CONFLICT]:
        steps.append(f"Next: send what is held back anyway: {again} --retry-failed --overwrite")
    if totals.failed and totals.counts[Status.FAILED] + totals.counts[Status.REJECTED]:
        steps.append(f"Next: mend {totals.failed}, then: {_run_of(totals.failed, sheet)}")
    return steps


def _run_of(failed: str, sheet: str) -> str:
    """Return this very command for the file of failed rows, which is a CSV of its own."""
    words, skips_next = ["bulk-reset"], False
    not_for_it = {"--report", "--sheet", "--delimiter", "--encoding", "--limit"}
    for word in sys.argv[1:]:
        if skips_next or word == "--skip-invalid" or word.split("=")[0] in not_for_it:
            skips_next = not skips_next and word in not_for_it
            continue
        words.append(failed if word == sheet else word)
    return shlex.join(words)


def show_verification(output: Output, verification: Verification) -> None:
    """Print what reading back has shown."""
    wrong = verification.mismatches
    if wrong:
        table = new_table("row", "incident", "field", "wanted", "found", right={"row"})
        for one in wrong[:SHOWN_MISTAKES]:
            cells = (one.incident_id, one.field, shorten(one.wanted), shorten(one.found))
            table.add_row(str(one.row_number), *cells)
        output.table(table)
        more = len(wrong) - SHOWN_MISTAKES
        if more > 0:
            output.say(f"… and {more:,} more; --json lists all.")
    rows = len({one.row_number for one in wrong})
    told = f"{verification.rows:,} rows read back in {counted(verification.requests, 'request')}: "
    told += f"{rows:,} are not as they were written" if rows else "all are as they were written"
    output.say(told)
    for status, count in verification.settled.items():
        output.say(f"{count:,} rows whose outcome was unknown are {status.value}")
    if verification.unsettled:
        output.say(f"{verification.unsettled:,} rows stay unknown: run the sheet again")
    if verification.not_known:
        output.say(f"{verification.not_known:,} rows were sent without a look (--no-before)")


def show_lost(output: Output, way: UndoSheet) -> None:
    """Print what an undo cannot restore."""
    if way.comments:
        output.say(f"{way.comments:,} comments stay: a comment cannot be taken back")
    if way.not_known:
        output.say(
            f"{way.not_known:,} rows were sent without a look (--no-before): nobody knows what "
            "stood there, and they stay as they are"
        )
    if not way.lost:
        return
    table = new_table("incident", "field", "it was", "it is", "why it stays")
    for one in way.lost[:_SHOWN_LOST]:
        cells = (shorten(one.was), shorten(one.wrote))
        table.add_row(one.incident_id, one.field, *cells, one.reason)
    output.table(table)
    output.say(
        f"{len(way.lost):,} of {way.values:,} values cannot be restored. "
        f"All of them, with links: {way.lost_file}"
    )


def shorten(value: object) -> str:
    """Return a value on one short line, as a table's cell takes it."""
    from rich.markup import escape  # noqa: PLC0415  (a title like [db] is not markup)

    text = one_line("" if value is None else str(value))
    return escape(text if len(text) <= _SHOWN_VALUE else f"{text[: _SHOWN_VALUE - 1]}…")


def show_report(output: Output, summary: ReportSummary) -> None:
    """Print what a report file tells."""
    _show_counts(output, summary.counts, sum(summary.counts.values()))
    _show_errors(output, summary.errors)
    if summary.last_at:
        first, last = (
            datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
            for at in (summary.first_at or summary.last_at, summary.last_at)
        )
        output.say(f"{summary.requests:,} requests from {first} to {last} UTC")
        output.say(f"Over the quota (429): {summary.throttled:,}")
        for seconds, most in summary.most_started.items():
            output.say(f"Most requests started in any {seconds} s: {most:,}")
        if summary.waits:
            times = f"{summary.waits:,} time{'s' if summary.waits > 1 else ''}"
            output.say(f"Waited {duration(summary.waited_s)}, {times} for more than a second")
    output.say(
        "Rows of the sheet that have no line here are pending: run the sheet again. "
        "Lines of rows whose text has changed since are counted too."
    )


def totals_as_json(totals: Totals) -> dict[str, Any]:
    """Return a run's totals for scripts: plain values, counts by status, the exit code."""
    return {**dataclasses.asdict(totals), "exit_code": int(totals.exit_code)}
