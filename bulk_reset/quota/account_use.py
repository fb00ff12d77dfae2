"""Who uses an account now: its runs, and how much of each window counts.

It is computed from what a store has, and changes nothing there. All times are durations, because
the ledger's clock is not that of the reader.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bulk_reset.quota.permit_ledger import (
    WEIGHTS,
    Lease,
    LedgerState,
    PermitLedger,
    first_of,
)
from bulk_reset.quota.windows import Window

_MICRO: Final = 1_000_000
_PRIORITIES: Final = {weight: priority.value for priority, weight in WEIGHTS.items()}


@dataclass(frozen=True, slots=True)
class WindowUse:
    """A window of the quota.

    Attributes:
        used: requests that count in it.
        held: permits that runs have and have not used, or whose answer is not reported yet.
    """

    window_s: float
    limit: int
    used: int
    held: int


@dataclass(frozen=True, slots=True)
class RunUse:
    """A run that uses the account.

    Attributes:
        since_s: how long ago it began.
        held: permits that it has now.
        left: requests that it has left to send; an estimate.
        waited_s: time in which it could start nothing.
        rejected: its requests that the API rejected because the quota was exceeded.
        silent_s: how long ago it called the store last.
    """

    label: str
    host: str
    process: int
    since_s: float
    priority: str
    is_exclusive: bool
    held: int
    left: int
    waited_s: float
    rejected: int
    silent_s: float


@dataclass(frozen=True, slots=True)
class AccountUse:
    """An account as its store has it.

    Attributes:
        runs: the oldest first.
        rejected: of all runs that this store has seen.
        losses: how often the store has lost its memory.
        closed_s: for how long nothing starts because of that.
    """

    windows: tuple[WindowUse, ...]
    runs: tuple[RunUse, ...] = ()
    rejected: int = 0
    losses: int = 0
    closed_s: float = 0.0

    @property
    def share(self) -> float:
        """The fraction of the tightest window that is in use, 0 to 1."""
        return max(min(1.0, (one.used + one.held) / one.limit) for one in self.windows)


@dataclass(slots=True)
class _ListedCooling:
    """Permits whose request was answered, in memory."""

    counts: dict[int, int]

    def add(self, at_us: int, count: int) -> None:
        self.counts[at_us] = self.counts.get(at_us, 0) + count

    def used(self, since_us: int) -> int:
        return sum(count for at_us, count in self.counts.items() if at_us > since_us)

    def first(self, since_us: int, count: int = 1) -> int | None:
        return first_of(sorted(one for one in self.counts.items() if one[0] > since_us), count)

    def trim(self, until_us: int) -> None:
        self.counts = {at: count for at, count in self.counts.items() if at > until_us}


def unused(windows: Sequence[Window]) -> AccountUse:
    """Return an account that no run has used."""
    return AccountUse(tuple(WindowUse(one.window_s, one.limit, 0, 0) for one in windows))


def use_of(state: LedgerState, windows: Sequence[Window]) -> AccountUse:
    """Return who uses an account; ``windows`` are those of its whole quota."""
    cooling = _ListedCooling(dict(state.cooling))
    ledger = PermitLedger(cooling, copy.copy(state.meta), dict(state.leases))
    now = ledger.tell_time(state.clock_us)
    ledger.expire(now)
    held = sum(lease.out for lease in ledger.leases.values())
    runs = sorted(ledger.leases.items(), key=lambda one: one[1].since_us)
    return AccountUse(
        tuple(
            WindowUse(one.window_s, one.limit, cooling.used(now - int(one.window_s * _MICRO)), held)
            for one in windows
        ),
        tuple(_run(holder, lease, now) for holder, lease in runs),
        ledger.meta.rejected,
        ledger.meta.epochs,
        max(0, ledger.meta.closed_until_us - now) / _MICRO,
    )


def _run(holder: str, lease: Lease, now: int) -> RunUse:
    host, process, _ = holder.rsplit(":", 2)
    return RunUse(
        label=lease.label,
        host=host,
        process=int(process),
        since_s=(now - lease.since_us) / _MICRO,
        priority=_PRIORITIES.get(lease.weight, str(lease.weight)),
        is_exclusive=bool(lease.is_exclusive),
        held=lease.out,
        left=lease.want,
        waited_s=lease.waited_us / _MICRO,
        rejected=lease.rejected,
        silent_s=(now - lease.asked_us) / _MICRO,
    )
