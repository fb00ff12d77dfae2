"""``run``: update the incidents of a sheet; ``run_frame``: those of a pandas data frame."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from bulk_reset.core.argument_types import described, or_default
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import InputError, StoppedError
from bulk_reset.core.file_hash import hash_file
from bulk_reset.core.outcome import Status, StopReason
from bulk_reset.core.totals import Totals
from bulk_reset.engine.options import Options
from bulk_reset.records.approvals import Approval
from bulk_reset.records.audit import EndAudit, audited
from bulk_reset.sheets.frame_source import is_frame
from bulk_reset.workflows.approve import require_approval
from bulk_reset.workflows.canary import send_with_canary
from bulk_reset.workflows.remote_sheet import source_of
from bulk_reset.workflows.run_session import RunSession, open_run
from bulk_reset.workflows.sheet_opening import SheetLike

if TYPE_CHECKING:
    import pandas as pd


def run(
    sheet: SheetLike,
    options: Options | None = None,
    callbacks: Callbacks | None = None,
    *,
    handles_signals: bool = False,
) -> Totals:
    """Update the incidents of a sheet; rows that an earlier run finished are not sent again.

    Ctrl-C in a program with a running event loop (a notebook, ``asyncio.run``) stops the run
    gracefully, then raises KeyboardInterrupt.

    Args:
        handles_signals: let Ctrl-C and SIGTERM stop the run gracefully, and return its totals
            (main thread only).

    Returns: the result of every row; see ``Totals.stop`` and ``Totals.exit_code``.

    Raises:
        InputError: nothing was sent; fix the sheet, the options or the key.
        LockedError: another run uses the report or the account; nothing was sent.
        RunError: the report could not be written; it has the rows that are finished.
        KeyboardInterrupt: Ctrl-C, without ``handles_signals``.
    """
    options = or_default("options", options, Options)
    callbacks = or_default("callbacks", callbacks, Callbacks)
    with (
        open_run(sheet, options, callbacks) as session,
        _audited(session, _approvals(session, sheet)) as write_audit,
    ):
        sent = send_with_canary(session, handles_signals=handles_signals)
        session.notice_pinned()
        totals = sent.totals
        if options.verify and totals.report and totals.stop is None and not options.dry_run:
            totals = session.verified(totals, sent.first_value, is_alone=False)
        write_audit(totals, sent.facts)
    is_interrupted = totals.stop is not None and totals.stop.reason is StopReason.INTERRUPTED
    if is_interrupted and not handles_signals:
        raise KeyboardInterrupt
    return totals


def _approvals(session: RunSession, sheet: SheetLike) -> tuple[Approval, ...]:
    """Return the approvals of an open plan; a sheet that changes after it was opened is not sent.

    Raises:
        InputError: an approval is required, and there is no valid one.
    """
    plan = session.table.plan
    opened = plan.sha256 if plan is not None else ""
    approvals = require_approval(sheet, session.options, opened_sha256=opened)
    for approval in approvals:
        session.callbacks.on_notice(f"{sheet}: approved by {approval}")
    return approvals


def _audited(
    session: RunSession, approvals: tuple[Approval, ...]
) -> AbstractContextManager[EndAudit]:
    options = session.options
    path = None if options.dry_run else session.path
    scope = session.connection.scope
    facts: dict[str, object] = _read_by(session)
    if (source := source_of(session.table.path)) is not None:
        facts["source"] = {"address": source.address, "read_at": source.read_at}
    if approvals:
        facts["approvals"] = [one.facts() for one in approvals]
    return audited(path, session.table, scope, options.changed(), session.callbacks, facts)


def _read_by(session: RunSession) -> dict[str, object]:
    """Return name and SHA-256 of the files that say how the sheet was read."""
    profile, rules = session.table.profile, session.options.rules
    files = {"profile": profile.path if profile is not None else None, "rules": rules}
    return {
        name: {"file": str(path), "sha256": hash_file(path).sha256}
        for name, path in files.items()
        if path is not None
    }


def run_frame(
    frame: pd.DataFrame, options: Options | None = None, callbacks: Callbacks | None = None
) -> pd.DataFrame:
    """Update the incidents of a data frame; without ``options.report`` no report is kept.

    Returns: a copy with the columns ``status``, ``attempts``, ``error_code``,
        ``error_message`` and ``request_id``; a row that was not sent is ``pending``, a
        blank one has an empty status.

    Raises: as ``run``; and StoppedError when it ended early, with the frame as its ``frame``.
    """
    options = or_default("options", options, Options)
    callbacks = or_default("callbacks", callbacks, Callbacks)
    if not is_frame(frame):
        raise InputError(f"frame: expected a pandas DataFrame, found {described(frame)}.")
    if options.verify:
        raise InputError("verify: not available in run_frame. Call verify(report) afterwards.")
    with (
        open_run(frame, options, callbacks) as session,
        _audited(session, require_approval(frame, options)) as write_audit,
    ):
        ended = send_with_canary(session, handles_signals=False)
        session.notice_pinned()
        by_row = ended.outcomes_by_row()
        write_audit(ended.totals, {})
    found = [by_row.get(row_number) for row_number in range(2, len(frame) + 2)]
    result = frame.copy()
    result["status"] = [
        outcome.status.value if outcome else Status.PENDING.value if row in by_row else ""
        for row, outcome in enumerate(found, 2)
    ]
    for name in ("attempts", "error_code", "error_message", "request_id"):
        empty: int | str = 0 if name == "attempts" else ""
        result[name] = [getattr(outcome, name) if outcome else empty for outcome in found]
    if ended.totals.stop is not None:
        raise StoppedError(f"stopped: {ended.totals.stop.message}.", result)
    return result
