"""Claims: of several schedulers, one at a time is responsible for a job.

    take ──▶ granted until a deadline ──renew──▶ later deadline ──release──▶ free
                      └── the holder died: free at the deadline, with a higher epoch

A store keeps a ``ClaimRecord`` for each job. It reads its own clock; a holder never sends a time,
and counts its own deadline from before it asked, so it stops before another can begin. The epoch
is the fence: a holder whose claim was taken over can neither renew nor release it.

A store that knows nothing of a job (it is new, or the store has lost its memory) grants no claim
for one lease: every earlier claim has ended by then.

State: ``Claims`` has the claims of one scheduler, and belongs to its event loop.
Units: ``*_s`` seconds; ``deadline_s`` of a record by the store's clock; ``*_at`` UTC epoch seconds.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Protocol

from bulk_reset.core.errors import BulkResetError
from bulk_reset.observability.run_log import RunLog

LEASE_S: Final = 60.0
RENEW_S: Final = 10.0
STOP_S: Final = 25.0
"""A run is stopped this long before its claim ends: it needs up to 20 s for that."""


class ClaimRecord(NamedTuple):
    """What a store knows of a job.

    Attributes:
        handled_at: the last due time that a holder has settled: run, or recorded as missed.
    """

    holder: str = ""
    epoch: int = 0
    deadline_s: float = 0.0
    handled_at: float = 0.0


class Answer(NamedTuple):
    """The answer of a store.

    Attributes:
        is_ours: whether the caller holds the claim now; after a release, whether it held it.
        wait_s: how long another holds it at least.
    """

    is_ours: bool
    epoch: int
    wait_s: float
    handled_at: float


class ClaimStore(Protocol):
    """Where claims are kept. Each call is atomic, and raises BulkResetError if it fails."""

    async def take(self, job: str, holder: str, lease_s: float) -> Answer:
        """Claim a job, or learn how long another holds it."""

    async def renew(self, job: str, holder: str, epoch: int, lease_s: float) -> Answer:
        """Move the deadline of a claim, if it is still the holder's."""

    async def release(self, job: str, holder: str, epoch: int, handled_at: float) -> Answer:
        """End a claim; the due times up to ``handled_at`` are settled."""

    async def close(self) -> None:
        """Close the connection."""


def taken(
    record: ClaimRecord | None, now_s: float, holder: str, lease_s: float
) -> tuple[ClaimRecord, Answer]:
    """Return the record after a take, and the answer; the record is None if there is none."""
    if record is None:
        record = ClaimRecord(deadline_s=now_s + lease_s)
    left_s = record.deadline_s - now_s
    if left_s > 0 and record.holder != holder:
        return record, Answer(is_ours=False, epoch=record.epoch, wait_s=left_s, handled_at=0.0)
    is_new = record.holder != holder or left_s <= 0
    record = replace_claim(record, holder, record.epoch + is_new, now_s + lease_s)
    return record, Answer(
        is_ours=True, epoch=record.epoch, wait_s=0.0, handled_at=record.handled_at
    )


def renewed(
    record: ClaimRecord | None, now_s: float, holder: str, epoch: int, lease_s: float
) -> tuple[ClaimRecord | None, Answer]:
    """Return the record after a renewal, and the answer."""
    if record is None or not _is_held(record, holder, epoch) or record.deadline_s <= now_s:
        return record, _not_ours(record)
    record = replace_claim(record, holder, epoch, now_s + lease_s)
    return record, Answer(is_ours=True, epoch=epoch, wait_s=0.0, handled_at=record.handled_at)


def released(
    record: ClaimRecord | None, holder: str, epoch: int, handled_at: float
) -> tuple[ClaimRecord | None, Answer]:
    """Return the record after a release, and the answer."""
    if record is None or not _is_held(record, holder, epoch):
        return record, _not_ours(record)
    settled_at = max(record.handled_at, handled_at)
    record = ClaimRecord("", epoch, 0.0, settled_at)
    return record, Answer(is_ours=True, epoch=epoch, wait_s=0.0, handled_at=settled_at)


def replace_claim(record: ClaimRecord, holder: str, epoch: int, deadline_s: float) -> ClaimRecord:
    """Return the record with another holder and deadline."""
    return record._replace(holder=holder, epoch=epoch, deadline_s=deadline_s)


def _is_held(record: ClaimRecord, holder: str, epoch: int) -> bool:
    return (record.holder, record.epoch) == (holder, epoch)


def _not_ours(record: ClaimRecord | None) -> Answer:
    epoch = record.epoch if record else 0
    return Answer(is_ours=False, epoch=epoch, wait_s=0.0, handled_at=0.0)


def machine_clock() -> float:
    """Return seconds since the machine started, the time in which it was suspended included."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


@dataclass(frozen=True, slots=True)
class _Held:
    epoch: int
    until_s: float
    """The deadline, on this machine's clock, counted from before the store was asked."""


class Taken(NamedTuple):
    """The result of an attempt to take a claim.

    Attributes:
        wait_s: when to try again; 0 if the claim is ours.
        is_new: whether another may have held it since this scheduler did.
        handled_at: the last due time that is settled.
    """

    wait_s: float
    is_new: bool = False
    handled_at: float = 0.0


@dataclass(slots=True)
class Claims:
    """The claims of one scheduler.

    Args:
        on_lost: called with the name of a job whose claim cannot be kept; its run must stop.
        clock: seconds, which count while the machine is suspended.
    """

    store: ClaimStore
    run_log: RunLog
    on_lost: Callable[[str], None]
    clock: Callable[[], float] = machine_clock
    holder: str = field(default_factory=lambda: uuid.uuid4().hex)
    _held: dict[str, _Held] = field(default_factory=dict)
    _is_failing: bool = False

    def holds(self, job: str) -> bool:
        """Return whether the claim of a job is ours, with time to stop its run."""
        held = self._held.get(job)
        return held is not None and self.clock() < held.until_s - STOP_S

    async def take(self, job: str) -> Taken:
        """Claim a job, or learn when to try again."""
        if self.holds(job):
            return Taken(0.0)
        asked_s = self.clock()
        try:
            answer = await self.store.take(job, self.holder, LEASE_S)
        except BulkResetError as error:
            self._failed(error)
            return Taken(RENEW_S)
        self._answered()
        if not answer.is_ours:
            return Taken(answer.wait_s)
        is_new = job not in self._held
        self._held[job] = _Held(answer.epoch, asked_s + LEASE_S)
        return Taken(0.0, is_new, answer.handled_at)

    async def release(self, job: str, handled_at: float) -> None:
        """End the claim of a job; another scheduler may take it at once."""
        held = self._held.pop(job, None)
        if held is None:
            return
        try:
            await self.store.release(job, self.holder, held.epoch, handled_at)
        except BulkResetError as error:
            self._failed(error)  # it ends at its deadline

    async def keep_renewing(self) -> None:
        """Renew all claims until cancelled."""
        while True:
            await asyncio.sleep(RENEW_S)
            for job in list(self._held):
                await self._renew(job)

    async def _renew(self, job: str) -> None:
        held = self._held[job]
        asked_s = self.clock()
        try:
            answer = await self.store.renew(job, self.holder, held.epoch, LEASE_S)
        except BulkResetError as error:
            self._failed(error)
            if not self.holds(job):
                self._lose(job, "the store of the claims does not respond")
            return
        self._answered()
        if self._held.get(job) != held:
            return  # released meanwhile
        if answer.is_ours:
            self._held[job] = replace(held, until_s=asked_s + LEASE_S)
        else:
            self._lose(job, "another scheduler has taken it over")

    def _lose(self, job: str, why: str) -> None:
        self._held.pop(job, None)
        self.run_log.warning("claim_lost", job=job, why=why)
        self.on_lost(job)

    def _failed(self, error: BulkResetError) -> None:
        if not self._is_failing:  # not every few seconds
            self.run_log.error("claims_unavailable", why=str(error))
        self._is_failing = True

    def _answered(self) -> None:
        if self._is_failing:
            self.run_log.info("claims_available")
        self._is_failing = False
