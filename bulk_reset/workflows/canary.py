"""The canary: a few rows are sent and verified before the rest is sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from bulk_reset.core.counting import counted
from bulk_reset.core.errors import SheetChangedError
from bulk_reset.core.outcome import NOT_DONE, Status, Stop, StopReason
from bulk_reset.core.totals import Totals
from bulk_reset.workflows.run_session import Canary, RunResult, RunSession
from bulk_reset.workflows.selection import select_rows


def send_with_canary(session: RunSession, *, handles_signals: bool) -> RunResult:
    """Send what is left: the canary first, where the options ask for one."""
    select_rows(session)
    count = session.options.canary
    if count is None or session.options.dry_run:
        return session.send(handles_signals=handles_signals)
    try:
        canary = _send_canary(session, count, handles_signals=handles_signals)
        if canary.totals.stop is not None or not _remaining(session, canary.totals):
            return canary
        canary = _checked(session, canary)
        if canary.totals.stop is not None:
            return canary
        rest = session.send(handles_signals=handles_signals)
    except SheetChangedError as error:
        if session.last is None:
            raise
        return _stopped(session.last, StopReason.SHEET, str(error))
    return replace(rest, totals=_added(canary.totals, rest.totals), first_value=canary.first_value)


def _send_canary(session: RunSession, count: int, *, handles_signals: bool) -> RunResult:
    """Send a canary; where none of its rows needed a change, compare twice as many, and so on."""
    rows = count
    canary = session.send(handles_signals=handles_signals, canary=Canary(rows, count))
    while (
        canary.totals.stop is None
        and canary.sent.total() == canary.sent[Status.UNCHANGED]
        and _remaining(session, canary.totals)
    ):
        rows *= 2
        wider = session.send(handles_signals=handles_signals, canary=Canary(rows, count))
        canary = replace(
            wider,
            totals=_added(canary.totals, wider.totals),
            sent=canary.sent + wider.sent,
            first_value=canary.first_value,
        )
    return canary


def _remaining(session: RunSession, totals: Totals) -> int:
    """Return how many rows are sent after the canary."""
    pending, left = totals.counts[Status.PENDING] - totals.left_out, session.left_to_send
    return pending if left is None else min(pending, left)


def _checked(session: RunSession, canary: RunResult) -> RunResult:
    """Verify the canary and ask whether to continue; stop where it failed, or the answer is no."""
    sent = canary.sent.total()
    if failed := sum(canary.sent[status] for status in NOT_DONE):
        message = f"Canary failed: {failed:,} of {counted(sent, 'row')} not updated"
        return _stopped(canary, StopReason.CANARY, message + _first_of(canary.totals))
    totals = session.verified(canary.totals, canary.first_value, is_alone=True)
    verification = totals.verification
    canary = replace(canary, totals=replace(totals, verification=None))
    if verification is None or not verification.is_right:
        mismatches = verification.mismatches if verification is not None else ()
        wrong = len({mismatch.row_number for mismatch in mismatches})
        message = f"Canary failed: {wrong:,} of {counted(sent, 'row')} not as written"
        message += _first_of(totals)
        return _stopped(replace(canary, totals=totals), StopReason.CANARY, message)
    text = f"{_passed(canary, verification.rows)} {_remain(_remaining(session, totals))}."
    if not session.callbacks.confirm(text):
        return _stopped(canary, StopReason.CANARY, f"{text} Not confirmed")
    return canary


def _passed(canary: RunResult, verified: int) -> str:
    sent, unchanged = canary.sent[Status.UPDATED], canary.sent[Status.UNCHANGED]
    needless = f"; {counted(unchanged, 'row')} needed no change" if unchanged else ""
    if verified < sent:
        # Its comments and nothing else were sent.
        return (
            f"Canary: {counted(sent, 'row')} sent, {verified:,} of them verified, because comments "
            f"cannot be{needless}."
        )
    return f"Canary passed: {counted(verified, 'row')} sent and verified{needless}."


def _remain(rows: int) -> str:
    return f"{rows:,} {'row remains' if rows == 1 else 'rows remain'}"


def _first_of(totals: Totals) -> str:
    """Return the first row to look at."""
    if not totals.errors:
        return ""
    first = min(totals.errors, key=lambda group: group.row_number)
    return f" (first: row {first.row_number:,}, {first.code})"


def _stopped(result: RunResult, reason: StopReason, message: str) -> RunResult:
    totals = replace(result.totals, stop=Stop(reason, message), beyond_limit=0)
    return replace(result, totals=totals)


def _added(canary: Totals, rest: Totals) -> Totals:
    """Return the totals of a run, its canary included."""
    elapsed_s = canary.elapsed_s + rest.elapsed_s
    peaks = tuple(
        # Both can lie in one window: then their starts add up.
        replace(
            one,
            started=one.started + other.started
            if elapsed_s <= one.window_s
            else max(one.started, other.started),
        )
        for one, other in zip(rest.peaks, canary.peaks, strict=False)
    )
    waited_s = Counter(canary.waited_s) + Counter(rest.waited_s)
    return replace(
        rest,
        done_before=canary.done_before,
        recorded=dict(Counter(canary.recorded) + Counter(rest.recorded)),
        errors=rest.errors or canary.errors,
        requests=canary.requests + rest.requests,
        throttled=canary.throttled + rest.throttled,
        elapsed_s=elapsed_s,
        peaks=peaks or canary.peaks,
        waited_s=dict(waited_s),
        before=rest.before or canary.before,
    )
