"""Check, run and report as plain functions, shared by the command and by Python callers.

It wires the parts: sheet -> survey -> feed -> engine -> report -> totals. Nothing here
prints; who wants to see gives callbacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from bulk_reset.account import Account, queue_up
from bulk_reset.client import check_base_url
from bulk_reset.credentials import DEFAULT_BASE_URL, AppKey, Credentials, find_credentials
from bulk_reset.errors import (
    CredentialsError,
    InputError,
    InvalidRowsError,
    StoppedError,
)
from bulk_reset.failed import failed_path, write_failed
from bulk_reset.feed import Feed, outcomes_by_row
from bulk_reset.history import History
from bulk_reset.load import STDIN, Sheet, open_sheet
from bulk_reset.model import NOT_DONE, SETTABLE_FIELDS, Mistake, Outcome, Status, Totals
from bulk_reset.options import Options, Watcher
from bulk_reset.quota import ideal_s
from bulk_reset.replay import read_history, read_report
from bulk_reset.report import Report
from bulk_reset.sending import SANDBOX, Sending
from bulk_reset.survey import Survey, survey_sheet
from bulk_reset.validate import CheckedChunk

T = TypeVar("T")
SheetLike = str | Path | pd.DataFrame
"""A path, ``-`` for CSV on standard input, or a pandas DataFrame."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a look at a sheet tells, with nothing sent.

    Attributes:
        to_send: requests that a first run would make at least.
        estimate_s: the time they need, computed from the quota.
        fields: field -> rows that set it.
    """

    sheet: str
    rows: int
    blank_rows: int
    skipped: int
    to_send: int
    estimate_s: float
    fields: dict[str, int]
    mistakes: tuple[Mistake, ...]


def check(
    sheet: SheetLike, options: Options | None = None, watcher: Watcher | None = None
) -> CheckResult:
    """Check every row of a sheet; nothing is sent, and no key is needed.

    Raises:
        SheetError: the sheet cannot be read as a table of incidents.
    """
    options, watcher = options or Options(), watcher or Watcher()
    with _opened(sheet, options, watcher) as table:
        fields: Counter[str] = Counter()

        def see(checked: CheckedChunk) -> None:
            for name, cells in checked.columns.items():
                fields[name] += len(cells) - cells.count("")

        survey = _surveyed(table, options, watcher, see)
        wrong = len({mistake.row_number for mistake in survey.mistakes})
        skipped = sum(r.status is Status.SKIPPED for r in survey.rulings.values())
        to_send = survey.rows - wrong - skipped
        return CheckResult(
            table.label,
            survey.rows,
            survey.blank_rows,
            skipped,
            to_send,
            ideal_s(to_send, options.windows()),
            {name: fields[name] for name in SETTABLE_FIELDS if fields[name]},
            survey.mistakes,
        )


def run(
    sheet: SheetLike,
    options: Options | None = None,
    watcher: Watcher | None = None,
    *,
    handles_signals: bool = False,
) -> Totals:
    """Update the incidents of a sheet; what an earlier run finished is not sent again.

    Args:
        handles_signals: let Ctrl-C and SIGTERM end the run softly (main thread only).

    Returns: what became of every row; see ``Totals.stop`` and ``Totals.exit_code``.

    Raises:
        InputError: nothing was sent: the sheet, the options or the key are to be mended.
        LockedError: another run writes the same report, or has the account and is not
            waited for; nothing was sent.
        RunError: the report could not be written; what was done stands in it.
    """
    options, watcher = options or Options(), watcher or Watcher()
    with contextlib.ExitStack() as stack:
        return _run(sheet, options, watcher, stack, handles_signals=handles_signals).totals


def run_frame(
    frame: pd.DataFrame, options: Options | None = None, watcher: Watcher | None = None
) -> pd.DataFrame:
    """Update the incidents of a data frame; without ``options.report`` nothing is kept.

    Returns: a copy with the columns ``status``, ``attempts``, ``error_code``,
        ``error_message`` and ``request_id``; a row that was not reached is ``pending``, a
        blank one has an empty status.

    Raises: as ``run``; and StoppedError when it ended early, with the frame as its ``frame``.
    """
    options, watcher = options or Options(), watcher or Watcher()
    with contextlib.ExitStack() as stack:
        ended = _run(frame, options, watcher, stack, handles_signals=False)
        by_row = ended.outcomes_by_row()
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


# --- The parts of a run ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ended:
    """A run that has ended, and what became of each row, should somebody ask."""

    totals: Totals
    outcomes_by_row: Callable[[], dict[int, Outcome | None]]


def _run(
    sheet: SheetLike,
    options: Options,
    watcher: Watcher,
    stack: contextlib.ExitStack,
    *,
    handles_signals: bool,
) -> _Ended:
    credentials = find_account(options)
    if credentials.warning:
        watcher.on_notice(credentials.warning)
    scope = SANDBOX if options.sandbox else credentials.base_url
    table = stack.enter_context(_opened(sheet, options, watcher))
    path = _report_path(sheet, options)
    _keep_sheet(table.path, path)
    # An old report is opened first: who holds it is known before the sheet is read for long.
    is_kept = path is not None and not options.dry_run
    report = stack.enter_context(Report(path)) if path and is_kept and path.exists() else None
    for notice in report.notices if report else ():
        watcher.on_notice(notice)
    history = report.history if report else _history_of(path)
    new_feed = functools.partial(
        Feed,
        table,
        scope=scope,
        history=history,
        retries_failed=options.retry_failed,
        limit=options.limit,
    )
    # What is left to do is counted in the same look at the sheet, as if no two rows had to do
    # with each other; where some have, they are looked at once more.
    plan = new_feed(Survey())
    survey = _surveyed(table, options, watcher, plan.take if history else lambda _: None)
    if survey.mistakes and not options.skip_invalid:
        raise InvalidRowsError(table.label, survey.mistakes, survey.rows)
    if survey.rulings or not history:
        plan = new_feed(survey)
        plan.count()
    plan.survey = survey
    _say_plan(plan, path, watcher)
    if report is None and path is not None and is_kept:
        report = stack.enter_context(Report(path))
    by_row = functools.partial(outcomes_by_row, table, survey, scope)
    if options.dry_run:
        return _Ended(_dry_totals(plan, options), functools.partial(by_row, ()))
    if plan.sent or plan.settled:
        # What sends nothing waits for nobody.
        is_alone = options.sandbox or not plan.sent
        account = None if is_alone else _held(options, credentials, table, watcher, stack)
        feed = new_feed(survey)
        sending = Sending(options, credentials, feed, plan.sent, report, watcher, account)
        stop = _in_new_loop(lambda: sending.send(handles_signals=handles_signals))
    else:
        sending, stop = Sending(options, credentials, plan, 0, report, watcher), None
    if report is None:
        return _Ended(sending.totals(stop), functools.partial(by_row, sending.outcomes))
    report.close()
    report.check_written()
    totals = sending.totals(stop)
    has_failed = any(totals.counts[status] for status in NOT_DONE)
    try:
        written = write_failed(table, survey, scope, report.path, has_failed=has_failed)
        failed = str(written or "")
    except (InputError, OSError) as error:
        # All is sent and reported; only the convenience of that file is missing.
        failed = ""
        watcher.on_notice(f"{failed_path(report.path)}: could not be written: {error}")
    return _Ended(replace(totals, failed=failed), lambda: by_row(read_report(report.path)))


@contextlib.contextmanager
def _opened(sheet: SheetLike, options: Options, watcher: Watcher) -> Iterator[Sheet]:
    with open_sheet(
        sheet,
        mapping=options.mapping,
        delimiter=options.delimiter,
        encoding=options.encoding,
        sheet_name=options.sheet_name,
        header_row=options.header_row,
        say=watcher.on_notice,
    ) as table:
        for notice in table.notices:
            watcher.on_notice(notice)
        yield table


def _surveyed(
    table: Sheet,
    options: Options,
    watcher: Watcher,
    see: Callable[[CheckedChunk], object] = lambda _: None,
) -> Survey:
    rows = 0

    def on_chunk(checked: CheckedChunk) -> None:
        nonlocal rows
        rows += len(checked)
        watcher.on_read(rows)
        see(checked)

    survey = survey_sheet(table, options.on_conflict, on_chunk)
    for notice in survey.readings.notices:
        watcher.on_notice(f"{table.label}: {notice}")
    if survey.blank_rows:
        watcher.on_notice(f"{table.label}: {survey.blank_rows} blank rows left out")
    if not survey.rows:
        raise InputError(f"{table.label}: a header and no rows. Add a row for each incident.")
    return survey


def find_account(options: Options) -> Credentials:
    """Return whom to send to and with which key.

    Raises:
        InputError: no key, or an address that cannot be used.
    """
    try:
        found = find_credentials(app_key_file=options.app_key_file, base_url=options.base_url)
    except CredentialsError:
        if not (options.sandbox or options.dry_run):
            raise
        found = Credentials(AppKey("-"), options.base_url or DEFAULT_BASE_URL, "no key is needed")
    where = "--base-url" if options.base_url else f"{found.source}: base_url"
    return replace(found, base_url=check_base_url(found.base_url, where))


def _held(
    options: Options,
    credentials: Credentials,
    table: Sheet,
    watcher: Watcher,
    stack: contextlib.ExitStack,
) -> Account:
    """Hold the account until the run has ended; wait for another run that has it."""
    account = stack.enter_context(Account(credentials, options.account))
    for wait_s in queue_up(account, table.label, waits=options.waits, say=watcher.on_notice):
        time.sleep(wait_s)
    return account


def _report_path(sheet: SheetLike, options: Options) -> Path | None:
    if options.report is not None or isinstance(sheet, pd.DataFrame):
        return options.report
    path = Path("stdin.csv") if str(sheet) == STDIN else Path(sheet)
    # A rehearsal must never pass for the work done.
    return path.with_name(f"{path.stem}{'.sandbox' if options.sandbox else ''}.report.csv")


def _keep_sheet(sheet: Path | None, report: Path | None) -> None:
    """Refuse a report that would be written over the sheet, by whatever name."""
    if sheet is None or report is None:
        return
    if _is_one_file(report, sheet):
        raise InputError(f"--report {report}: that is the sheet itself. Choose another.")
    if _is_one_file(failed_path(report), sheet):
        raise InputError(
            f"--report {report}: its failed rows would replace {sheet}. Choose another."
        )


def _is_one_file(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        return one.samefile(other)
    return False


def _history_of(path: Path | None) -> History:
    return read_history(path) if path is not None and path.exists() else History()


def _say_plan(plan: Feed, path: Path | None, watcher: Watcher) -> None:
    """Say what earlier runs have done already, before anything is sent."""
    rows = plan.survey.rows
    if plan.history and not plan.known:
        raise InputError(
            f"{path}: no row of it is in {plan.sheet.label} for this API, so they are not mixed. "
            "Say --report FILE for another report, or move this one away."
        )
    if plan.history:
        done = sum(n for status, n in plan.resumed.items() if status.is_done)
        watcher.on_notice(f"{path}: {done} of {rows} rows were done already")
    if plan.resumed[Status.FAILED]:
        failed = plan.resumed[Status.FAILED]
        watcher.on_notice(f"{path}: {failed} rows failed before (send them again: --retry-failed)")


def _dry_totals(plan: Feed, options: Options) -> Totals:
    counts = plan.resumed + plan.settled
    counts[Status.PENDING] = plan.sent + plan.held_back
    return Totals(
        sheet=plan.sheet.label,
        rows=plan.survey.rows,
        counts={status: counts[status] for status in Status},
        done_before=plan.resumed.total(),
        held_back=plan.held_back,
        blank_rows=plan.survey.blank_rows,
        requests=plan.sent,
        elapsed_s=ideal_s(plan.sent, options.windows()),
        is_dry_run=True,
        mistakes=plan.survey.mistakes,
    )


def _in_new_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end, from inside a notebook's running loop too."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run_loop(main)
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(_run_loop, main).result()


def _run_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as loop_factory  # noqa: PLC0415  (not before)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())
