"""The permit ledger of an account: how runs share its permits, on one machine or on many.

A run *asks* the ledger for permits, uses each for one request, and reports how long ago each
request was answered. A permit is out from its grant until a whole window after its answer, so
all runs together never exceed the limit. The rules:

* The ledger alone reads a clock. A holder sends ages, never times. A clock that is set back does
  not take the ledger back.
* A holder's permits are a *lease* with a deadline. When it passes, each permit that is still out
  counts as used at the deadline and answered a timeout later.
* Holders send totals (granted, answered), so a call that is repeated changes nothing twice, and a
  grant whose answer was lost returns at the next call.
* A ledger that has lost its memory begins a new *epoch*: all leases are void, and nothing is
  granted until everything that may have been sent counts no more. The same holds where a holder
  finds that more time has passed for the ledger than for itself: its clock was set forward.
* Free permits are divided by weight among those that ask. A run that has more than a minute's
  work leaves a *reserve*, so that a short run can start at once.

``PermitLedger`` decides; a store keeps its state. ``exchange.lua`` is the same for Redis.

Units: microseconds, integers (``*_us``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from bulk_reset.core.defaults import Priority

ASKS_FOR_US: Final = 500_000
"""How long a holder that asked counts as waiting: twice the longest time between two calls."""
LONGEST_WAIT_US: Final = 250_000
_TURN_WAIT_US: Final = 5_000
_LEASED_WAIT_US: Final = 20_000
_TURN_SCALE: Final = 1_000
_QUIET_FRACTION: Final = 30
"""The reserve is released in the last thirtieth of a window in which nothing is sent."""
KEEP_US: Final = 60_000_000
WEIGHTS: Final = {Priority.HIGH: 8, Priority.NORMAL: 2, Priority.LOW: 1}
"""How free permits are divided among runs that ask at the same time."""


@dataclass(frozen=True, slots=True)
class PermitRequest:
    """A holder's call.

    Attributes:
        holder: its name, unique for each run.
        epoch, seen, generation: of the last answer; 0 at first.
        doubted: an epoch in which the ledger's clock was set forward; 0 if none.
        call: its number; a call that arrives after a later one is ignored.
        granted: how many permits it knows of in this generation; unused ones that it returns are
            subtracted.
        answered: how many of its requests have ended in this generation.
        ages_us: how long ago the last of them ended, oldest first; permits of ages that were
            reported before are not counted again.
        want: requests left to send.
        batch: up to so many permits are granted.
        limits, windows_us: the quota, the shortest window first.
        reserve: so many permits of the longest window are left to others.
        can_be_new: whether a ledger without memory is that of a new account.
        waited_us, rejected: of the run so far: time in which nothing could start, and requests
            that the API rejected because the quota was exceeded.
    """

    holder: str
    call: int
    limits: tuple[int, ...]
    windows_us: tuple[int, ...]
    epoch: int = 0
    seen: int = 0
    doubted: int = 0
    generation: int = 0
    granted: int = 0
    answered: int = 0
    ages_us: tuple[int, ...] = ()
    want: int = 0
    batch: int = 1
    weight: int = 2
    reserve: int = 0
    lease_us: int = 5_000_000
    timeout_us: int = 30_000_000
    slot_us: int = 1_000
    is_exclusive: bool = False
    can_be_new: bool = False
    waited_us: int = 0
    rejected: int = 0
    label: str = ""


@dataclass(frozen=True, slots=True)
class PermitAnswer:
    """The ledger's answer.

    Attributes:
        granted: the holder's total of this generation.
        wait_us: when a permit may be free, if nothing was granted; asking earlier is allowed, and
            a run that does not ask for half a second has no claim on what becomes free.
        cause: why nothing was granted: ``lost``, ``exclusive``, ``turn``, ``leased``, ``window 0``.
        used: for each window, how many requests of the account count in it.
        others: how many other runs hold a lease.
        epochs: how often the ledger has lost its memory.
        now_us: the ledger's time.
    """

    epoch: int
    sequence: int
    generation: int
    granted: int
    wait_us: int
    cause: str
    used: tuple[int, ...]
    others: int
    epochs: int
    now_us: int


@dataclass(slots=True)
class Meta:
    """The state of the ledger as a whole."""

    epoch: int = 0
    sequence: int = 0
    last_us: int = 0
    offset_us: int = 0
    """Added to the store's clock, so that the ledger's never goes back."""
    closed_until_us: int = 0
    epochs: int = 0
    rejected: int = 0
    """Of all runs of the account."""


@dataclass(slots=True)
class Lease:
    """The permits that one holder has."""

    generation: int
    since_us: int
    call: int = 0
    granted: int = 0
    answered: int = 0
    deadline_us: int = 0
    timeout_us: int = 0
    weight: int = 1
    want: int = 0
    asked_us: int = 0
    turn: int = 0
    reserve: int = 0
    is_exclusive: int = 0
    waited_us: int = 0
    rejected: int = 0
    limits: tuple[int, ...] = ()
    label: str = ""

    @property
    def out(self) -> int:
        """How many of its permits are in stock or in flight."""
        return self.granted - self.answered


class Cooling(Protocol):
    """Permits whose request was answered, by the time of the answer."""

    def add(self, at_us: int, count: int) -> None:
        """Add permits."""

    def used(self, since_us: int) -> int:
        """Return how many were answered after a time."""
        ...

    def first(self, since_us: int, count: int = 1) -> int | None:
        """Return when so many permits had been answered after a time; None for fewer."""
        ...

    def trim(self, until_us: int) -> None:
        """Forget what was answered until a time."""


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What a store has of an account, read at one time.

    Attributes:
        cooling: permits whose request was answered: time of the answer, and how many.
        clock_us: the store's clock.
    """

    meta: Meta
    leases: dict[str, Lease]
    cooling: tuple[tuple[int, int], ...]
    clock_us: int


@dataclass(slots=True)
class PermitLedger:
    """The state of one account while a call is served; the store loads and saves it."""

    cooling: Cooling
    meta: Meta = field(default_factory=Meta)
    leases: dict[str, Lease] = field(default_factory=dict)

    def exchange(self, request: PermitRequest, clock_us: int) -> PermitAnswer:
        """Serve one call; change the state."""
        now = self.tell_time(clock_us)
        self._check_memory(request, now)
        self.meta.sequence += 1
        self.expire(now)
        lease = self._lease(request, now)
        if request.call <= lease.call:
            return self._answer(request, lease, (), 0, "stale")
        self._note(request, lease, now)
        self.cooling.trim(now - max(KEEP_US, request.windows_us[-1]))
        used = tuple(self.cooling.used(now - window) for window in request.windows_us)
        count, wait_us, cause = self._grant(request, lease, used, now)
        lease.granted += count
        lease.turn += count * _TURN_SCALE // lease.weight
        return self._answer(request, lease, used, wait_us, cause)

    def tell_time(self, clock_us: int) -> int:
        """Return the ledger's time, which never goes back."""
        meta = self.meta
        now = clock_us + meta.offset_us
        if now < meta.last_us:
            meta.offset_us += meta.last_us - now
            now = meta.last_us
        meta.last_us = now
        return now

    def _check_memory(self, request: PermitRequest, now: int) -> None:
        """Begin a new epoch where the state is absent, or older than what the holder has seen."""
        meta = self.meta
        is_older = request.epoch > meta.epoch or (
            request.epoch == meta.epoch and request.seen > meta.sequence
        )
        # A ledger that was taken for that of a new account, though a run knows an earlier one.
        is_replaced = 0 < request.epoch < meta.epoch and not meta.closed_until_us
        is_doubted = request.doubted == meta.epoch
        if meta.epoch and not (is_older or is_replaced or is_doubted):
            return
        is_new = request.can_be_new and not request.epoch and not meta.epoch
        meta.epoch = max(now, meta.epoch + 1, request.epoch + 1)
        meta.sequence = 0
        if not is_new:
            meta.epochs += 1
            waits_us = request.windows_us[-1] + request.timeout_us + request.lease_us
            meta.closed_until_us = now + waits_us
        self.leases.clear()

    def expire(self, now: int) -> None:
        """End the leases whose deadline has passed."""
        for holder, lease in sorted(self.leases.items()):
            if lease.deadline_us <= now:
                self._bury(lease)
                del self.leases[holder]

    def _bury(self, lease: Lease) -> None:
        """Count a dead holder's permits as answered as late as they can be."""
        if lease.out > 0:
            self.cooling.add(lease.deadline_us + lease.timeout_us, lease.out)

    def _lease(self, request: PermitRequest, now: int) -> Lease:
        lease = self.leases.get(request.holder)
        if lease is not None and self._knows(request, lease):
            return lease
        if lease is not None:
            self._bury(lease)
            del self.leases[request.holder]
        lease = Lease(self.meta.sequence, now, rejected=request.rejected)
        self.leases[request.holder] = lease
        return lease

    def _knows(self, request: PermitRequest, lease: Lease) -> bool:
        """Return whether the holder reports of this lease; each epoch numbers its own."""
        return (request.epoch, request.generation) == (self.meta.epoch, lease.generation)

    def _note(self, request: PermitRequest, lease: Lease, now: int) -> None:
        """Store what the holder reports."""
        if self._knows(request, lease):
            lease.granted = min(lease.granted, request.granted)
            new = min(request.answered - lease.answered, len(request.ages_us))
            slot_us = request.slot_us
            ages_us = request.ages_us[len(request.ages_us) - new :] if new > 0 else ()
            slots = Counter(-(-(now - max(0, age_us)) // slot_us) for age_us in ages_us)
            for slot, count in slots.items():
                self.cooling.add(slot * slot_us, count)
            lease.answered = max(lease.answered, request.answered)
        if lease.asked_us < now - ASKS_FOR_US:
            # It did not ask meanwhile, so it has no claim on what others were granted.
            lease.turn = max(lease.turn, self._first_turn(lease, now))
        lease.call, lease.want, lease.asked_us = request.call, request.want, now
        lease.deadline_us, lease.timeout_us = now + request.lease_us, request.timeout_us
        lease.weight, lease.reserve, lease.limits = request.weight, request.reserve, request.limits
        lease.is_exclusive, lease.label = int(request.is_exclusive), request.label
        self.meta.rejected += max(0, request.rejected - lease.rejected)
        lease.waited_us, lease.rejected = request.waited_us, request.rejected

    def _first_turn(self, lease: Lease, now: int) -> int:
        asking = (
            one.turn
            for one in self.leases.values()
            if one is not lease and one.want > 0 and one.asked_us >= now - ASKS_FOR_US
        )
        return min(asking, default=0)

    def _grant(
        self, request: PermitRequest, lease: Lease, used: tuple[int, ...], now: int
    ) -> tuple[int, int, str]:
        """Return how many permits are granted, else when to ask again and why."""
        if now < self.meta.closed_until_us:
            return 0, self.meta.closed_until_us - now, "lost"
        others = [one for one in self.leases.values() if one is not lease]
        older = [one for one in others if one.generation < lease.generation]
        if any(one.is_exclusive or lease.is_exclusive for one in older):
            return 0, LONGEST_WAIT_US, "exclusive"
        out = sum(one.out for one in self.leases.values())
        is_quiet = self._is_quiet(request, used, out, now)
        free = _free(lease, used, out, releases_reserve=is_quiet)
        most = min(free, request.want, request.batch)
        if request.want <= 0:
            return 0, LONGEST_WAIT_US, ""
        if free <= 0:
            return 0, *self._window_wait(request, lease, used, out, now)
        waiting = [
            one
            for one in others
            if one.want > 0
            and one.asked_us >= now - ASKS_FOR_US
            and not (one.is_exclusive and one.generation > lease.generation)
            and _free(one, used, out, releases_reserve=is_quiet) > 0
        ]
        if waiting:
            first = min(one.turn for one in waiting)
            if lease.turn > first:
                return 0, _TURN_WAIT_US, "turn"
            weights = lease.weight + sum(one.weight for one in waiting)
            most = min(most, -(-free * lease.weight // weights))
        return most, 0, ""

    def _is_quiet(self, request: PermitRequest, used: tuple[int, ...], out: int, now: int) -> bool:
        if out or used[0]:
            return False
        longest_us = request.windows_us[-1]
        first = self.cooling.first(now - longest_us)
        return first is None or first + longest_us - now <= longest_us // _QUIET_FRACTION

    def _window_wait(
        self, request: PermitRequest, lease: Lease, used: tuple[int, ...], out: int, now: int
    ) -> tuple[int, str]:
        wait_us, cause = 0, "leased"
        last = len(used) - 1
        for place, window_us in enumerate(request.windows_us):
            reserve = lease.reserve if place == last else 0
            missing = 1 + used[place] + out + reserve - lease.limits[place]
            if missing <= 0:
                continue
            # When permits in stock or in flight return is unknown.
            last_us = self.cooling.first(now - window_us, min(missing, used[place]))
            if last_us is not None and last_us + window_us - now > wait_us:
                wait_us, cause = last_us + window_us - now, f"window {place}"
        return wait_us or _LEASED_WAIT_US, cause

    def _answer(
        self, request: PermitRequest, lease: Lease, used: tuple[int, ...], wait_us: int, cause: str
    ) -> PermitAnswer:
        meta = self.meta
        others = len(self.leases) - (request.holder in self.leases)
        return PermitAnswer(
            meta.epoch,
            meta.sequence,
            lease.generation,
            lease.granted,
            wait_us,
            cause,
            used,
            others,
            meta.epochs,
            meta.last_us,
        )


def first_of(answered: Iterable[tuple[int, int]], count: int) -> int | None:
    """Return when so many permits had been answered, of times and counts in order of time."""
    for at_us, answers in answered:
        count -= answers
        if count <= 0:
            return int(at_us)
    return None


def _free(lease: Lease, used: tuple[int, ...], out: int, *, releases_reserve: bool) -> int:
    """Return how many permits a holder may be granted; the reserve is of the longest window."""
    free = [limit - count - out for limit, count in zip(lease.limits, used, strict=False)]
    free[-1] -= 0 if releases_reserve else lease.reserve
    return min(free)
