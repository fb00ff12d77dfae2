"""Totals: the result of a whole run, its progress, and the result of reading back.

Units: ``*_s`` seconds. ``row_number`` is 1-based and counts the header, as Excel does.
"""

from __future__ import annotations

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


class StatusCounts(dict[Status, int]):
    """Rows by status; ``counts["updated"]`` is the same as ``counts[Status.UPDATED]``."""

    if TYPE_CHECKING:  # a Status is a str, so only the types differ from a dict's

        def __getitem__(self, status: str, /) -> int: ...

        def get(self, status: str, default: int = 0, /) -> int:  # type: ignore[override]
            """Return the rows of a status."""
            ...


@dataclass(frozen=True, slots=True)
class Peak:
    """The most requests that were started within one window, beside its limit."""

    window_s: float
    limit: int
    started: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A run seen from outside at one moment."""

    rows: int
    counts: StatusCounts
    left_s: float
    """Seconds to the end if every request is answered at once and none fails; 0 while the API
    looks down, when nobody knows."""
    waiting_for: str
    """What holds the next request back: ``minute window: 12 s``, or empty."""
    recorded: dict[Status, int] = field(default_factory=dict)
    """The rows among ``counts`` that have come to their end since the sending began."""
    requests: int = 0
    """Since the sending began; what is sent after a canary begins anew."""
    throttled: int = 0
    """Answers among them that said the quota was used up (HTTP 429)."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A field that is not as a run wrote it."""

    row_number: int
    incident_id: str
    field: str
    wanted: Any
    found: Any
    """None where there is nothing, or no such incident."""
    link: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What reading back has shown.

    Attributes:
        rows: those that were read back.
        mismatches: what is not as it was written, in the sheet's order.
        settled: rows whose outcome was unknown, by what they turned out to be.
        not_known: rows written without a look, so that nobody knows what they wrote.
        requests: how many it took.
        unsettled: rows that stay unknown: they are to be sent again.
    """

    report: str
    rows: int
    mismatches: tuple[Mismatch, ...]
    settled: dict[Status, int] = field(default_factory=dict)
    not_known: int = 0
    requests: int = 0
    unsettled: int = 0

    @property
    def is_right(self) -> bool:
        """Whether all that was written is there."""
        return not (
            self.mismatches or self.settled.get(Status.FAILED) or self.not_known or self.unsettled
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """What became of a whole sheet, once a run has ended.

    ``counts`` has every status, and their sum is ``rows``: checked before it is returned.
    """

    sheet: str
    rows: int
    counts: StatusCounts
    done_before: int = 0
    """Rows that an earlier run had finished; part of ``counts``."""
    held_back: int = 0
    """Rows left pending because a limit on the number of rows was asked for."""
    blank_rows: int = 0
    requests: int = 0
    throttled: int = 0
    """Answers that said the quota was used up (HTTP 429)."""
    elapsed_s: float = 0.0
    peaks: tuple[Peak, ...] = ()
    waited_s: dict[str, float] = field(default_factory=dict)
    """Cause -> seconds in which nothing could start because of it."""
    errors: tuple[ErrorGroup, ...] = ()
    stop: Stop | None = None
    report: str = ""
    failed: str = ""
    """The file with the rows to mend and run again; empty where there are none."""
    before: str = ""
    """The file with what stood in the incidents before; empty where nothing was read."""
    is_dry_run: bool = False
    verification: Verification | None = None
    """What reading back has shown, where it was asked for."""
    row_errors: tuple[RowError, ...] = field(default=(), repr=False)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that this run deserves."""
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
