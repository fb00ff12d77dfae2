"""Totals: the result of a whole run, its progress, and the result of verifying it.

Units: ``*_s`` seconds. ``row_number`` is 1-based and counts the header, as Excel does.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bulk_reset.core.errors import ExitCode
from bulk_reset.core.outcome import NOT_DONE, ErrorGroup, Status, Stop, StopReason
from bulk_reset.core.row_error import RowError

_EXIT_OF_STOP: Final = {
    StopReason.INTERRUPTED: ExitCode.INTERRUPTED,
    StopReason.TERMINATED: ExitCode.TERMINATED,
    StopReason.HUNG_UP: ExitCode.HUNG_UP,
}


def _warn_renamed(old: str, new: str) -> None:
    text = f"{old} is deprecated since 0.2.0. Use {new}."
    warnings.warn(text, DeprecationWarning, stacklevel=3)


class StatusCounts(dict[Status, int]):
    """Rows by status; ``counts["updated"]`` is the same as ``counts[Status.UPDATED]``."""

    if TYPE_CHECKING:  # a Status is a str, so only the types differ from a dict's

        def __getitem__(self, status: str, /) -> int: ...

        def get(self, status: str, default: int = 0, /) -> int:  # type: ignore[override]
            """Return the rows of a status."""
            ...


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest number of requests started within one window, and the window's limit."""

    window_s: float
    limit: int
    started: int


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a run at one point in time."""

    rows: int
    counts: StatusCounts
    left_s: float
    """Estimated seconds to the end if responses are immediate and no request fails; 0 (unknown)
    while the API is unavailable."""
    waiting_for: str
    """Why the next request waits: ``minute window: 12 s``; empty if it does not."""
    recorded: dict[Status, int] = field(default_factory=dict)
    """The rows among ``counts`` that were finished since sending started."""
    requests: int = 0
    """Requests since sending started; counted from 0 again after a canary."""
    throttled: int = 0
    """Responses among them that reported an exceeded quota (HTTP 429)."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A field whose current value differs from the value that a run wrote."""

    row_number: int
    incident_id: str
    field: str
    wanted: Any
    found: Any
    """None if the field is empty or the incident does not exist."""
    link: str


@dataclass(frozen=True, slots=True)
class LogFinding:
    """A row whose request the provider's log does not have, or has otherwise.

    Attributes:
        problem: what differs, in a phrase.
    """

    row_number: int
    incident_id: str
    request_id: str
    problem: str


@dataclass(frozen=True, slots=True)
class LogCheck:
    """What the provider's audit log has of the requests of a run.

    Attributes:
        rows: rows whose request was looked for.
        findings: those of them that the log does not have, or has otherwise.
        unknown: rows that were not looked for: without a request id, older than the log, or beyond
            the pages that were read.
    """

    rows: int
    findings: tuple[LogFinding, ...] = ()
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of reading the incidents of a run and comparing them with what it wrote.

    Attributes:
        rows: number of rows that were compared.
        mismatches: fields with other values than were written, in the sheet's order.
        settled: status -> rows whose result was unknown and is known now.
        values_unknown: rows written without a record of their values, so they cannot be compared.
        requests: number of requests used.
        unsettled: rows whose result is still unknown; they must be sent again.
        not_applied: rows that the API confirmed and that were read back with other values right
            after the run; they are failed now.
        log: what the provider's log has; None if it was not read.
    """

    report: str
    rows: int
    mismatches: tuple[Mismatch, ...]
    settled: dict[Status, int] = field(default_factory=dict)
    values_unknown: int = 0
    requests: int = 0
    unsettled: int = 0
    not_applied: int = 0
    log: LogCheck | None = None

    @property
    def not_known(self) -> int:
        """Deprecated name of ``values_unknown``."""
        _warn_renamed("not_known", "values_unknown")
        return self.values_unknown

    @property
    def is_right(self) -> bool:
        """Whether every written value was found."""
        return not (
            self.mismatches
            or self.settled.get(Status.FAILED)
            or self.values_unknown
            or self.unsettled
            or (self.log is not None and self.log.findings)
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """The result of a whole run.

    ``counts`` has every status, and their sum is ``rows``; this is checked before it is returned.
    """

    sheet: str
    rows: int
    counts: StatusCounts
    done_before: int = 0
    """Rows that an earlier run had finished; part of ``counts``."""
    recorded: dict[Status, int] = field(default_factory=dict)
    """Rows that this run finished, by status; the others of ``counts`` are of earlier runs."""
    beyond_limit: int = 0
    """Rows that are pending because of the option ``limit``."""
    left_out: int = 0
    """Rows that are pending because they were not selected."""
    not_edited: int = 0
    """Rows in which nothing was edited since the pull; part of ``counts``, as ``unchanged``."""
    blank_rows: int = 0
    requests: int = 0
    throttled: int = 0
    """Responses that reported an exceeded quota (HTTP 429)."""
    elapsed_s: float = 0.0
    peaks: tuple[Peak, ...] = ()
    waited_s: dict[str, float] = field(default_factory=dict)
    """Cause -> seconds during which no request could start because of it."""
    errors: tuple[ErrorGroup, ...] = ()
    stop: Stop | None = None
    report: str = ""
    failed: str = ""
    """The file with the rows to fix and run again; empty if there are none."""
    before: str = ""
    """The file with the previous values; empty if they were not read."""
    is_dry_run: bool = False
    verification: Verification | None = None
    """The result of verifying, if that was requested."""
    row_errors: tuple[RowError, ...] = field(default=(), repr=False)

    @property
    def held_back(self) -> int:
        """Deprecated name of ``beyond_limit``."""
        _warn_renamed("held_back", "beyond_limit")
        return self.beyond_limit

    @property
    def exit_code(self) -> ExitCode:
        """The exit code for this run."""
        if self.stop is not None:
            return _EXIT_OF_STOP.get(self.stop.reason, ExitCode.STOPPED)
        is_right = self.verification is None or self.verification.is_right
        if not is_right or any(self.counts.get(status, 0) for status in NOT_DONE):
            return ExitCode.NOT_ALL
        return ExitCode.DONE

    def _repr_html_(self) -> str:
        """Return a small table, which notebooks show."""
        from bulk_reset.core.totals_html import totals_as_html  # noqa: PLC0415  (needs this module)

        return totals_as_html(self)
