"""``verify``: read back what a run wrote, and compare.

The file of previous values has what a run wrote; its report has the outcome of each row. The
current values decide rows whose outcome is unknown, with a line more in the report.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bulk_reset.core.argument_types import or_default, require_path
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.custom_fields import COMMENT_FIELD, has_value, live_value
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.totals import Mismatch, Verification
from bulk_reset.engine.connection import Connection, connect, lock_account
from bulk_reset.engine.event_loop import in_new_loop, interruptible
from bulk_reset.engine.incident_reader import open_incident_reader
from bulk_reset.engine.options import Options, PathLike
from bulk_reset.records.previous_values import BEFORE, PreviousValues, read_previous_values
from bulk_reset.records.report_file import Report
from bulk_reset.records.report_reader import beside, read_report
from bulk_reset.records.written_fields import NOT_APPLIED, read_back_text
from bulk_reset.workflows.report_destination import refuse_other_destination

_WRITTEN: Final = frozenset({Status.UPDATED, Status.UNKNOWN, Status.UNCHANGED})
Field = tuple[str, str]
"""incident_id, field"""


class FreshRun(NamedTuple):
    """A run that has just ended: its rows that are not as written are failed, not modified since.

    Attributes:
        first_value: the place of its first previous values in their file.
        is_alone: whether only its rows are verified.
        on_failure: called with each row that was not applied.
    """

    first_value: int
    is_alone: bool
    on_failure: Callable[[Outcome], None]


def verify(
    report: PathLike, options: Options | None = None, callbacks: Callbacks | None = None
) -> Verification:
    """Read back what the rows of a report wrote, and compare.

    Raises:
        InputError: no report, or of another API; or no previous values beside it.
        LockedError: another run uses the report or the account.
        RunError: the incidents could not be read.
    """
    options = or_default("options", options, Options)
    callbacks = or_default("callbacks", callbacks, Callbacks)
    require_path("report", report)
    refuse_other_destination(Path(report), options, command="verify")
    with (
        interruptible(),
        connect(options, callbacks) as connection,
        lock_account(connection, options, str(report), callbacks) as locked,
    ):
        return verify_report(Path(report), locked, options, callbacks.on_incidents_read)


def verify_report(
    path: Path,
    connection: Connection,
    options: Options,
    on_read: Callable[[int, int], None],
    fresh: FreshRun | None = None,
) -> Verification:
    """Read back what the rows of a report wrote; raises as ``verify``.

    Args:
        connection: with the account locked.
        on_read: called with how many incidents were read, of how many.
        fresh: the run that has just ended, if it has.
    """
    first_value = fresh.first_value if fresh is not None and fresh.is_alone else 0
    before_path = beside(path, BEFORE)
    last = {outcome.digest: outcome for outcome in read_report(path)}
    if not before_path.exists():
        if not any(outcome.status in _WRITTEN and outcome.attempts for outcome in last.values()):
            return Verification(str(path), 0, ())
        raise InputError(
            f"{before_path}: no such file, so what {path} wrote is unknown: its run used "
            f"{option('before', value=False)}, or the file was moved. Move it back."
        )
    values = list(read_previous_values(before_path, first_value))
    expected, of_row = _expected(values, last)
    found, links, requests = _read(expected, connection, options, on_read)
    mismatches = tuple(
        Mismatch(one.row_number, *key, one.wrote[key[1]], found.get(key), links.get(key[0], ""))
        for key, one in expected.items()
        if not has_value(key[1], found.get(key), one.wrote[key[1]])
    )
    wrong = {(mismatch.incident_id, mismatch.field) for mismatch in mismatches}
    own = values[fresh.first_value - first_value :] if fresh is not None else []
    settled, not_applied = _settle(path, last, of_row, wrong, {one.digest for one in own})
    if fresh is not None:
        for outcome in not_applied:
            fresh.on_failure(outcome)
    values_unknown = unsettled_rows = 0
    if not first_value:
        known = {one.digest for one in values}
        values_unknown = sum(
            outcome.status is Status.UPDATED and outcome.digest not in known
            for outcome in last.values()
        )
        unsettled_rows = sum(o.status is Status.UNKNOWN for o in last.values())
        unsettled_rows -= sum(settled.values())
    unsettled = {digest for digest in of_row if last.get(digest, _NONE).status is Status.UNKNOWN}
    return Verification(
        str(path),
        len(of_row),
        tuple(m for m in mismatches if expected[m.incident_id, m.field].digest not in unsettled),
        settled,
        values_unknown,
        requests,
        unsettled_rows,
        len(not_applied),
    )


def _read(
    fields: Iterable[Field],
    connection: Connection,
    options: Options,
    on_read: Callable[[int, int], None],
) -> tuple[dict[Field, Any], dict[str, str], int]:
    """Return the current values, the pages of the incidents, and how many requests it took."""
    names: dict[str, list[str]] = {}
    for incident_id, name in fields:
        names.setdefault(incident_id, []).append(name)
    found: dict[Field, Any] = {}
    links: dict[str, str] = {}

    async def read() -> int:
        async with open_incident_reader(connection, options) as reader:
            done = 0
            async for incidents in reader.each(list(names)):
                done += len(incidents)
                on_read(done, len(names))
                for incident_id, incident in incidents.items():
                    links[incident_id] = str(incident.get("detail_url") or "")
                    for name in names[incident_id]:
                        found[incident_id, name] = live_value(incident, name)
            return reader.limiter.requests

    return found, links, in_new_loop(read) if names else 0


_NONE: Final = Outcome(0, "", Status.PENDING, (), "")


def _expected(
    values: Iterable[PreviousValues], last: Mapping[str, Outcome]
) -> tuple[dict[Field, PreviousValues], dict[str, set[Field]]]:
    """Return the row that wrote each field last, and the fields that each row wrote last."""
    expected: dict[Field, PreviousValues] = {}
    for one in values:
        if last.get(one.digest, _NONE).status in _WRITTEN:
            expected |= {(one.incident_id, name): one for name in one.wrote}
    of_row: dict[str, set[Field]] = {}
    for key, one in expected.items():
        of_row.setdefault(one.digest, set()).add(key)
    return expected, of_row


def _settle(
    path: Path,
    last: Mapping[str, Outcome],
    of_row: Mapping[str, set[Field]],
    wrong: set[Field],
    fresh: Collection[str],
) -> tuple[dict[Status, int], list[Outcome]]:
    """Add a line to the report for each row whose outcome was unknown, or was not applied.

    Args:
        fresh: digests of the rows of the run that has just ended.

    Returns: status -> rows that were unknown, and those that were confirmed but not applied.
    """
    settled: Counter[Status] = Counter()
    not_applied, lines = list[Outcome](), list[Outcome]()
    for digest, fields in of_row.items():
        outcome, differing = last[digest], sorted(name for _, name in fields & wrong)
        if outcome.status is Status.UNKNOWN:
            # A comment is sent last, so it was not added; nor can it be read back.
            if differing or COMMENT_FIELD not in outcome.fields:
                lines.append(_settled(outcome, differing, outcome.error_code))
                settled[lines[-1].status] += 1
        elif outcome.status is Status.UPDATED and differing and digest in fresh:
            not_applied.append(_settled(outcome, differing, NOT_APPLIED))
    if lines or not_applied:
        with Report(path) as report:
            for line in [*lines, *not_applied]:
                report.write(line)
            report.flush()
            report.sync()
    return dict(settled), not_applied


def _settled(outcome: Outcome, differing: Sequence[str], code: str) -> Outcome:
    return outcome._replace(
        status=Status.FAILED if differing else Status.UPDATED,
        error_code=code if differing else "",
        error_message=f"{outcome.error_message}; {read_back_text(differing)}".lstrip("; "),
        finished_at=time.time(),
    )
