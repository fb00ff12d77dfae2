"""The canary: a few rows are sent and verified before the rest is sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from bulk_reset.core.counting import counted
from bulk_reset.core.outcome import NOT_DONE, Stop, StopReason
from bulk_reset.core.totals import Totals
from bulk_reset.workflows.run_session import RunResult, RunSession


def send_with_canary(session: RunSession, *, handles_signals: bool) -> RunResult:
    """Send what is left: the canary first, where the options ask for one."""
    count = session.options.canary
    if count is None or session.options.dry_run:
        return session.send(handles_signals=handles_signals)
    canary = session.send(handles_signals=handles_signals, canary=count)
    totals = canary.totals
    if totals.stop is not None or not totals.beyond_limit:
        return canary
    stop = _check(session, canary)
    if stop is not None:
        return replace(canary, totals=replace(totals, stop=stop, beyond_limit=0))
    rest = session.send(handles_signals=handles_signals)
    return replace(rest, totals=_added(totals, rest.totals))


def _check(session: RunSession, canary: RunResult) -> Stop | None:
    """Verify the canary and ask whether to continue; return why not."""
    totals, sent = canary.totals, canary.sent.total()
    if failed := sum(canary.sent[status] for status in NOT_DONE):
        message = f"Canary failed: {failed:,} of {counted(sent, 'row')} not updated"
        return Stop(StopReason.CANARY, message)
    verification = session.verify(totals, canary.first_value)
    if not verification.is_right:
        wrong = len({mismatch.row_number for mismatch in verification.mismatches})
        message = f"Canary failed: {wrong:,} of {counted(sent, 'row')} not as written"
        return Stop(StopReason.CANARY, message)
    unchanged = sent - verification.rows
    needless = f"; {counted(unchanged, 'row')} needed no change" if unchanged else ""
    remain = "row remains" if totals.beyond_limit == 1 else "rows remain"
    text = (
        f"Canary passed: {counted(verification.rows, 'row')} sent and verified{needless}. "
        f"{totals.beyond_limit:,} {remain}."
    )
    if not session.callbacks.confirm(text):
        message = f"{text} Not confirmed"
        return Stop(StopReason.CANARY, message)
    return None


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
        requests=canary.requests + rest.requests,
        throttled=canary.throttled + rest.throttled,
        elapsed_s=elapsed_s,
        peaks=peaks or canary.peaks,
        waited_s=dict(waited_s),
        before=rest.before or canary.before,
    )
