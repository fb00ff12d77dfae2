"""A run's share of the account's permits: what the ledger has granted it and it has not used.

A small stock is asked for before it is needed, so that a request does not wait for the store. The
store of this machine is called at once; one on another machine is called in a thread.

Permits are good until a deadline that is counted from before they were asked for, by a clock that
also runs while the machine is suspended. While the store cannot be reached, the stock is used
until then, and nothing starts afterwards.

State: the counters, guarded by ``_guard``; ``_calling`` guards the store: one call at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from bulk_reset.core.counting import counted
from bulk_reset.core.defaults import TIMEOUT_S, Priority
from bulk_reset.core.errors import LockedError
from bulk_reset.core.option_names import option
from bulk_reset.quota.incident_claims import IncidentClaims
from bulk_reset.quota.permit_ledger import (
    LONGEST_WAIT_US,
    WEIGHTS,
    PermitAnswer,
    PermitRequest,
)
from bulk_reset.quota.permit_store import Store, StoreUnreachableError
from bulk_reset.quota.windows import Window

LEASE_S: Final = 5.0
POLL_S: Final = 0.5
_RETRY_S: Final = 0.5
_BATCHES_PER_WINDOW: Final = 5
_LARGE_QUOTA: Final = 10_000
_RESERVE: Final = 50
"""A run with more than a minute's work leaves a fiftieth of the minute to short runs."""
_MARGIN_S: Final = 0.05
_DRIFT: Final = 1e-3
"""More than the rate at which a clock is adjusted gradually."""
_NEVER: Final = float("-inf")


boot_time_s: Final[Callable[[], float]] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    if hasattr(time, "CLOCK_BOOTTIME")
    else time.monotonic
)
"""Returns the seconds since the machine started, suspension included where that is known."""


class PermitShare:
    """The permits of one run; close it to return them.

    Args:
        label: what is running, shown by ``bulk-reset account``.
        expected: requests that the run will make; none for a run that does not know.

    Attributes:
        claims: of the incidents that the run works on.
        calls: how often the store was called.
        epochs: how often the store has lost its memory.
        others: how many other runs held permits at the last call.
        failure: why the store could not be reached last; None while it answers.
        failing_since: when that began, by ``clock``.
        waited_s, rejected: of the run so far, for ``bulk-reset account``.
    """

    def __init__(  # noqa: PLR0913  (a run's options meet here)
        self,
        store: Store,
        windows: Sequence[Window],
        *,
        priority: Priority = Priority.NORMAL,
        timeout_s: float = TIMEOUT_S,
        is_exclusive: bool = False,
        label: str = "",
        clock: Callable[[], float] = boot_time_s,
    ) -> None:
        self._store, self._clock = store, clock
        self._windows = sorted(windows, key=lambda window: window.window_s)
        self._weight, self._has_priority = WEIGHTS[priority], priority == Priority.HIGH
        self._timeout_s, self._is_exclusive, self._label = timeout_s, is_exclusive, label
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._guard, self._calling = threading.Lock(), threading.Lock()
        self._answer: PermitAnswer | None = None
        self._granted = self._answered = self._used = self._orphans = 0
        self._unreported: list[float] = []
        self._peaks = (0,) * len(self._windows)
        self._deadline = self._ask_at = self._free_at = self._asked_at = _NEVER
        self._doubted = 0
        self._task: asyncio.Task[None] | None = None
        self._batch = max(1, self._windows[0].limit // _BATCHES_PER_WINDOW)
        self._low = self._batch // 2 if store.is_remote else 0
        self.claims = IncidentClaims(store, self._holder)
        self.expected: int | None = None
        self.calls = self.others = self.rejected = 0
        self.waited_s = 0.0
        self.failure: StoreUnreachableError | None = None
        self.failing_since = float("inf")

    @property
    def epochs(self) -> int:
        """How often the store has lost its memory."""
        return self._answer.epochs if self._answer is not None else 0

    @property
    def closed_s(self) -> float:
        """For how long nothing starts because the store has lost its memory, in seconds."""
        is_lost = self._answer is not None and self._answer.cause == "lost"
        return max(0.0, self._free_at - self._clock()) if is_lost else 0.0

    @property
    def unreachable_s(self) -> float:
        """For how long the store has not answered, in seconds."""
        return max(0.0, self._clock() - self.failing_since)

    @property
    def stock(self) -> int:
        """How many permits can be used now."""
        return self._granted - self._used if self._clock() < self._deadline else 0

    def ask(self, wake: Callable[[], None], requests: int) -> None:
        """Ask the ledger for more, if there are few; ``wake`` is called when it has answered.

        A stock that lasts long is kept by asking for as many as were used: when a lease ends, all
        its permits count as used.
        """
        left, now = self._granted - self._used, self._clock()
        if (left > self._low and now < self._deadline - LEASE_S / 2) or now < self._ask_at:
            return
        want, stock = self._want(requests), self.stock
        batch = self._batch if stock <= self._low else max(0, self._batch - stock)
        if not self._store.is_remote:
            self.exchange(want, batch)
        elif self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ask_in_thread(wake, want, batch))

    async def _ask_in_thread(self, wake: Callable[[], None], want: int, batch: int) -> None:
        try:
            await asyncio.to_thread(self.exchange, want, batch)
        finally:
            wake()

    def _want(self, requests: int) -> int:
        if self.expected is None:
            return 10 * self._windows[-1].limit
        return max(1, self.expected - requests)

    def delay(self) -> tuple[float, str] | None:
        """Return how long to wait for a permit, in seconds, and why; None if there is one."""
        if self.stock > 0:
            return None
        wait_s = max(0.001, self._ask_at - self._clock())
        is_asking = self._task is not None and not self._task.done()
        if self.failure is not None:
            return max(wait_s, 0.1), "quota store unreachable"
        cause = self._answer.cause if self._answer is not None else ""
        return (1.0 if is_asking else wait_s), self._cause(cause)

    def outlook(self) -> tuple[float, str]:
        """Return in how many seconds a permit may be free, and why not now; 0 if there is one."""
        found = self.delay()
        return (0.0, "") if found is None else (max(0.0, self._free_at - self._clock()), found[1])

    def _cause(self, cause: str) -> str:
        if cause.startswith("window "):
            return str(self._windows[int(cause.removeprefix("window "))])
        if cause == "lost":
            return "quota store without memory"
        return "exclusive run of the account" if cause == "exclusive" else "other runs"

    def take(self) -> None:
        """Use a permit; call only when ``delay`` is None."""
        with self._guard:
            self._used += 1

    def end(self, credit_s: float) -> None:
        """Report a request that was answered or has failed."""
        with self._guard:
            if self._orphans:
                # Requests of a lease that is void. Whichever ends first counts as theirs: the
                # permits of the present lease then return later, never earlier.
                self._orphans -= 1
                return
            self._answered += 1
            self._unreported.append(self._clock() - credit_s)

    def peaks(self) -> tuple[int, ...]:
        """Return the most requests of the account that counted in each window."""
        return self._peaks

    def exchange(self, want: int, batch: int | None = None) -> PermitAnswer | None:
        """Call the store now; return its answer, or None if it cannot be reached.

        Args:
            want: requests left to send.
            batch: up to so many permits are asked for; by default as many as at the start.

        Raises:
            InputError: the store cannot be used at all.
        """
        with self._calling:
            asked_at = self._clock()
            with self._guard:
                request = self._request(want, self._batch if batch is None else batch, asked_at)
            try:
                answer = self._store.exchange(request)
            except StoreUnreachableError as error:
                self.failure, now = error, self._clock()
                self.failing_since = min(self.failing_since, asked_at)
                self._ask_at = now + _RETRY_S
                return None
            self.failure, self.failing_since = None, float("inf")
            with self._guard:
                self._apply(request, answer, asked_at)
            return answer

    def _request(self, want: int, batch: int, now: float) -> PermitRequest:
        old, windows = self._answer, self._windows
        self.calls += 1
        widest = windows[-1].limit
        reserve = max(1, widest // _RESERVE) if len(windows) > 1 else 0
        is_long = want > widest + reserve and not self._has_priority
        return PermitRequest(
            holder=self._holder,
            call=self.calls,
            limits=tuple(window.limit for window in windows),
            windows_us=tuple(int(window.window_s * 1_000_000) for window in windows),
            epoch=old.epoch if old else 0,
            seen=old.sequence if old else 0,
            doubted=self._doubted,
            generation=old.generation if old else 0,
            granted=self._granted if want else self._used,
            answered=self._answered,
            ages_us=tuple(int((now - at) * 1_000_000) for at in self._unreported),
            want=want,
            batch=batch,
            weight=self._weight,
            reserve=reserve if is_long else 0,
            # The last call ends the lease at once, so that no later run waits for this one.
            lease_us=int(LEASE_S * 1_000_000) if want else 0,
            timeout_us=int(self._timeout_s * 1_000_000),
            slot_us=1_000 if widest <= _LARGE_QUOTA else 10_000,
            is_exclusive=self._is_exclusive,
            can_be_new=self._store.can_be_new,
            waited_us=int(self.waited_s * 1_000_000),
            rejected=self.rejected,
            label=self._label,
        )

    def _apply(self, request: PermitRequest, answer: PermitAnswer, asked_at: float) -> None:
        old = self._answer
        if old is not None and old.epoch == answer.epoch:
            passed_s = (answer.now_us - old.now_us) / 1_000_000
            longest_s = self._clock() - self._asked_at
            if passed_s > longest_s * (1 + _DRIFT) + _MARGIN_S:
                # Permits may have returned early, so this answer is not used.
                self._doubted, self._deadline, self._ask_at = answer.epoch, _NEVER, _NEVER
                return
        self._asked_at = asked_at
        if old is None or (old.epoch, old.generation) != (answer.epoch, answer.generation):
            self._orphans += self._used - self._answered
            self._used = self._answered = 0
            self._unreported.clear()
        else:
            del self._unreported[: len(request.ages_us)]
        self._answer, self._granted, self.others = answer, answer.granted, answer.others
        self._deadline = asked_at + LEASE_S - _MARGIN_S
        self._free_at = asked_at + answer.wait_us / 1_000_000
        self._ask_at = min(self._free_at, self._clock() + LONGEST_WAIT_US / 1_000_000)
        self._peaks = tuple(map(max, self._peaks, answer.used or self._peaks))

    def is_blocked(self) -> bool:
        """Return whether this run, or an earlier one, must be alone and is not yet."""
        return (answer := self.exchange(1)) is not None and answer.cause == "exclusive"

    def close(self) -> None:
        """Report what was sent, return unused permits, and close the store."""
        if self._answer is not None and self.failure is None:
            with contextlib.suppress(StoreUnreachableError):
                # Otherwise they end by themselves.
                self.claims.close()
            self.exchange(0)
        self._store.close()


def wait_for_others(
    permits: PermitShare, *, waits: bool, notify: Callable[[str], None]
) -> Iterator[float]:
    """Wait until no run of the account is active that excludes this one.

    Yields: seconds to wait before the next attempt.

    Raises:
        LockedError: there is one, and ``waits`` is False; nothing was sent.
    """
    is_notified = False
    while permits.is_blocked():
        if not waits:
            raise LockedError(
                f"the account is in use by {counted(permits.others, 'other run')}. Wait until they "
                f"have ended, or do not use {option('waits', False)}."
            )
        if not is_notified:
            others = counted(permits.others, "other run")
            notify(f"the account is in use by {others}; waiting until it is free")
            is_notified = True
        yield POLL_S
