"""``verify``: read back what a run wrote, and compare.

The file of previous values has what a run wrote; its report has the outcome of each row. The
current values decide rows whose outcome is unknown, with a line more in the report.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bulk_reset.core.argument_types import or_default, require_path
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.custom_fields import COMMENT_FIELD, has_value, live_value
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.row_keys import numbers_of
from bulk_reset.core.totals import LogCheck, Mismatch, Verification
from bulk_reset.engine.connection import Connection, connect, lock_account
from bulk_reset.engine.event_loop import in_new_loop, interruptible
from bulk_reset.engine.incident_reader import open_incident_reader
from bulk_reset.engine.options import Options, PathLike
from bulk_reset.records.history import code_of
from bulk_reset.records.previous_index import PreviousIndex
from bulk_reset.records.previous_values import BEFORE, PreviousValues
from bulk_reset.records.report_file import Report
from bulk_reset.records.report_index import DigestOrder, ReportIndex
from bulk_reset.records.report_reader import beside
from bulk_reset.records.written_fields import NOT_APPLIED, read_back_text
from bulk_reset.workflows.provider_log import check_log
from bulk_reset.workflows.report_destination import refuse_other_destination

_WRITTEN: Final = frozenset({Status.UPDATED, Status.UNKNOWN, Status.UNCHANGED})


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
    report: PathLike,
    options: Options | None = None,
    callbacks: Callbacks | None = None,
    *,
    audit: bool = False,
) -> Verification:
    """Read back what the rows of a report wrote, and compare.

    Args:
        audit: also look for the requests in the provider's audit log.

    Raises:
        InputError: no report, or of another API; or no previous values beside it.
        LockedError: another run uses the report or the account.
        RunError: the incidents could not be read.
    """
    options = or_default("options", options, Options)
    callbacks = or_default("callbacks", callbacks, Callbacks)
    require_path("report", report)
    if audit and options.is_rehearsal:
        raise InputError(
            f"{option('audit', value=True)}: a sandbox that ends with the command has no log. "
            "Remove this option."
        )
    refuse_other_destination(Path(report), options, command="verify")
    with (
        interruptible(),
        connect(options, callbacks) as connection,
        lock_account(connection, options, str(report), callbacks) as locked,
    ):
        found = verify_report(Path(report), locked, options, callbacks.on_incidents_read)
        if not audit:
            return found
        with ReportIndex(Path(report)) as lines:
            last = list(lines.last_outcomes())

        async def read() -> tuple[LogCheck, int]:
            async with open_incident_reader(locked, options) as reader:
                return await check_log(last, reader), reader.limiter.requests

        log, requests = in_new_loop(read)
        return replace(found, log=log, requests=found.requests + requests)


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
    skipped = fresh.first_value if fresh is not None and fresh.is_alone else 0
    with ReportIndex(path) as lines, PreviousIndex(beside(path, BEFORE), skipped) as before:
        codes = lines.codes()
        if not before.exists:
            _require_nothing_written(lines, before.path)
            return Verification(str(path), 0, ())
        own = before.digests[fresh.first_value - skipped :] if fresh else before.digests[:0]
        comparison = _Comparison(lines, before, codes, DigestOrder(own))
        requests = comparison.read(connection, options, on_read)
        last = lines.by_digest.last()
        last_codes, known = codes[last], before.by_digest.has(lines.digests[last])
    comparison.write(path)
    if fresh is not None:
        for outcome in comparison.not_applied:
            fresh.on_failure(outcome)
    values_unknown = int(((last_codes == code_of(Status.UPDATED)) & ~known).sum())
    unsettled_rows = int((last_codes == code_of(Status.UNKNOWN)).sum())
    return Verification(
        str(path),
        comparison.rows,
        tuple(comparison.mismatches),
        dict(comparison.settled),
        values_unknown * (not skipped),
        requests,
        (unsettled_rows - comparison.settled.total()) * (not skipped),
        len(comparison.not_applied),
    )


def _require_nothing_written(lines: ReportIndex, before: Path) -> None:
    if any(one.status in _WRITTEN and one.attempts for one in lines.last_outcomes()):
        raise InputError(
            f"{before}: no such file, so what {lines.path} wrote is unknown: its run used "
            f"{option('before', value=False)}, or the file was moved. Move it back."
        )


class _Comparison:
    """Compares what a report's rows wrote with the current values, incident by incident.

    Args:
        codes: the status of each line of the report.
        fresh: the rows of the run that has just ended.

    Attributes:
        rows: that wrote a value which no later row replaced.
        mismatches: values that are not as they were written, but for rows that were unknown.
        settled: status -> rows that were unknown.
        not_applied: fresh rows that were confirmed, but not applied.
    """

    def __init__(
        self,
        lines: ReportIndex,
        before: PreviousIndex,
        codes: npt.NDArray[np.uint8],
        fresh: DigestOrder,
    ) -> None:
        self._lines, self._before, self._fresh = lines, before, fresh
        starts, ends = lines.by_digest.ranges(before.digests)
        has_line, last = (
            starts < ends,
            np.append(lines.by_digest.order, 0)[ends.astype(np.intp) - 1],
        )
        written = np.isin(np.append(codes, 0)[last], [code_of(status) for status in _WRITTEN])
        self._is_wanted = has_line & written
        self.rows = 0
        self.mismatches: list[Mismatch] = []
        self.settled: Counter[Status] = Counter()
        self.not_applied: list[Outcome] = []
        self._settlements: list[Outcome] = []

    def read(
        self, connection: Connection, options: Options, on_read: Callable[[int, int], None]
    ) -> int:
        """Read all incidents and compare them; return how many requests it took."""
        total = len(DigestOrder(self._before.incidents[self._is_wanted]))
        written: dict[str, list[PreviousValues]] = {}

        def ids() -> Iterator[str]:
            for values in self._before.incidents_in_order(self._is_wanted):
                written[values[0].incident_id] = values
                yield values[0].incident_id

        async def read() -> int:
            async with open_incident_reader(connection, options) as reader:
                done = 0
                async for part, incidents in reader.each(ids()):
                    done += len(incidents)
                    on_read(done, total)
                    self._compare_each([written.pop(one) for one in part], incidents)
                return reader.limiter.requests

        return in_new_loop(read) if total else 0

    def _compare_each(
        self,
        written: Sequence[Sequence[PreviousValues]],
        incidents: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Compare incidents with what rows wrote to them, in their order."""
        digests = dict.fromkeys(one.digest for values in written for one in values)
        lines = self._lines.of_rows(numbers_of(digests))
        # Each has a line, else it is not wanted.
        outcomes = {digest: own[-1] for digest, own in zip(digests, lines, strict=True)}
        for values in written:
            self._compare(values, incidents.get(values[0].incident_id, {}), outcomes)

    def _compare(
        self,
        written: Sequence[PreviousValues],
        incident: Mapping[str, Any],
        outcomes: Mapping[str, Outcome],
    ) -> None:
        last = {name: one for one in written for name in one.wrote}
        link = str(incident.get("detail_url") or "")
        wrong: dict[str, list[Mismatch]] = {one.digest: [] for one in last.values()}
        for name, one in last.items():
            found = live_value(incident, name) if incident else None
            if not has_value(name, found, one.wrote[name]):
                wrong[one.digest].append(
                    Mismatch(one.row_number, one.incident_id, name, one.wrote[name], found, link)
                )
        for digest, mismatches in wrong.items():
            outcome = outcomes[digest]
            self.rows += 1
            self._settle(outcome, sorted(one.field for one in mismatches))
            if outcome.status is not Status.UNKNOWN:
                self.mismatches += mismatches

    def _settle(self, outcome: Outcome, differing: Sequence[str]) -> None:
        """Find out whether a row was applied whose outcome is unknown, or not confirmed."""
        if outcome.status is Status.UNKNOWN:
            # A comment is sent last, so it was not added; nor can it be read back.
            if differing or COMMENT_FIELD not in outcome.fields:
                self._settlements.append(_settled(outcome, differing, outcome.error_code))
                self.settled[self._settlements[-1].status] += 1
        elif (
            outcome.status is Status.UPDATED and differing and self._fresh.lines_of(outcome.digest)
        ):
            self.not_applied.append(_settled(outcome, differing, NOT_APPLIED))

    def write(self, path: Path) -> None:
        """Add a line to the report for each row that was unknown, or not applied."""
        if self._settlements or self.not_applied:
            with Report(path) as report:
                for line in [*self._settlements, *self.not_applied]:
                    report.write(line)
                report.flush()
                report.sync()


def _settled(outcome: Outcome, differing: Sequence[str], code: str) -> Outcome:
    return outcome._replace(
        status=Status.FAILED if differing else Status.UPDATED,
        error_code=code if differing else "",
        error_message=f"{outcome.error_message}; {read_back_text(differing)}".lstrip("; "),
        finished_at=time.time(),
    )
