"""Check, run and report as plain functions, shared by the command and by Python callers.

It wires the parts: sheet -> survey -> feed -> engine -> report -> totals. Nothing here
prints; who wants to see gives callbacks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from bulk_reset.errors import StoppedError
from bulk_reset.model import Mistake, Status, Totals
from bulk_reset.options import Options, Watcher
from bulk_reset.quota import ideal_s
from bulk_reset.running import SheetLike, opened_run, opened_sheet, surveyed
from bulk_reset.validate import CheckedChunk


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
    with opened_sheet(sheet, options, watcher) as table:
        fields: Counter[str] = Counter()

        def see(checked: CheckedChunk) -> None:
            for name, cells in checked.columns.items():
                fields[name] += len(cells) - cells.count("")

        survey = surveyed(table, options, watcher, see)
        wrong = len({mistake.row_number for mistake in survey.mistakes})
        skipped = sum(r.status is Status.SKIPPED for r in survey.rulings.values())
        to_send = survey.rows - wrong - skipped - survey.untouched
        return CheckResult(
            table.label,
            survey.rows,
            survey.blank_rows,
            skipped,
            to_send,
            ideal_s(to_send, options.windows()),
            {name: n for name, n in fields.items() if n and name != ID_FIELD},
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
    with opened_run(sheet, options, watcher) as opened:
        totals = opened.send(handles_signals=handles_signals).totals
        if options.verify and totals.report and totals.stop is None and not options.dry_run:
            totals = opened.verified(totals)
        return totals


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
    with opened_run(frame, options, watcher) as opened:
        ended = opened.send(handles_signals=False)
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
