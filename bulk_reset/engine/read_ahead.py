"""Reads the incidents of the next rows while rows are sent.

Later would leave the quota unused for a round trip, and earlier would make the values older: rows
are read ahead that are sent within half a second, up to a few hundred of them.

State: the reads that have begun, in the sheet's order; it belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import Any, Final

from bulk_reset.core.change import Change
from bulk_reset.core.fields import MAX_IDS
from bulk_reset.quota.windows import Window

FEWEST_AHEAD: Final = 25
_AHEAD_S: Final = 0.5
"""Longer than the API takes to answer a read."""
_MOST_READS: Final = 4
Compared = list[Change] | None
"""What is left to send of some rows; None where they could not be read."""
Compare = Callable[[list[Change], asyncio.Task[Any] | None], Coroutine[Any, Any, Compared]]
"""Reads the incidents of up to 100 rows and compares them once the task before has ended."""


class ReadAhead:
    """The rows that are left to send, a batch at a time.

    Args:
        hundreds: all rows, up to 100 at a time.
        rows_ahead: how many rows are read ahead.
        may_go_on: asked before more rows are read.
    """

    def __init__(
        self,
        hundreds: Iterator[list[Change]],
        compare: Compare,
        rows_ahead: int,
        may_go_on: Callable[[], bool],
    ) -> None:
        self._hundreds, self._compare, self._may_go_on = hundreds, compare, may_go_on
        whole, self._late_rows = divmod(rows_ahead, MAX_IDS)
        self._whole = min(whole, _MOST_READS)
        self._reads: deque[asyncio.Task[Compared]] = deque()

    async def batches(self) -> AsyncIterator[list[Change]]:
        """Yield what is left to send; more is read when the batch before has been taken."""
        self._read(1)
        while self._reads:
            to_send = await self._reads[0]
            self._reads.popleft()
            if to_send is None:
                return
            self._read(self._whole)
            if self._late_rows:
                early, to_send = to_send[: -self._late_rows], to_send[-self._late_rows :]
                if early:
                    yield early
                self._read(self._whole + 1)
            if to_send:
                yield to_send

    def _read(self, most: int) -> None:
        """Begin to read until so many reads are under way, or no rows are left."""
        while len(self._reads) < most and self._may_go_on():
            changes = next(self._hundreds, None)
            if changes is None:
                return
            before = self._reads[-1] if self._reads else None
            self._reads.append(asyncio.create_task(self._compare(changes, before)))

    def close(self) -> Sequence[asyncio.Task[Compared]]:
        """Cancel the reads and return them."""
        for read in self._reads:
            read.cancel()
        return tuple(self._reads)


def rows_ahead(windows: Sequence[Window]) -> int:
    """Return how many rows are sent in half a second, at least those of the usual quota."""
    narrow = min(windows, key=lambda window: window.window_s)
    return max(FEWEST_AHEAD, int(_AHEAD_S * narrow.limit / narrow.window_s))
