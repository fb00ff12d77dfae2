"""What a run reports about the store of its permits: no answer, an answer again, lost memory.

State: what was reported already; used by the run's event loop.
"""

from __future__ import annotations

from collections.abc import Callable

from bulk_reset.core.counting import duration
from bulk_reset.core.outcome import Stop, StopReason
from bulk_reset.quota.permit_share import PermitShare


class StoreWatch:
    """Reports each change once, and stops the run when its patience has ended.

    Args:
        notify: called with a text for the user.
    """

    def __init__(
        self, permits: PermitShare, patience_s: float, notify: Callable[[str], None]
    ) -> None:
        self._permits, self._patience_s, self._notify = permits, patience_s, notify
        self._failed_for_s = 0.0
        self._is_down = self._is_closed = False

    def check(self, stop: Callable[[Stop], None]) -> None:
        """Report what has changed since the last call."""
        permits = self._permits
        failure = permits.failure
        if failure is not None:
            self._failed_for_s = permits.unreachable_s
            if not self._is_down:
                self._is_down = True
                self._notify(
                    f"{failure.message.rstrip('.')}; waiting up to {duration(self._patience_s)}"
                )
            if self._failed_for_s >= self._patience_s:
                stop(Stop(StopReason.OUTAGE, failure.message.rstrip(".")))
        elif self._is_down:
            self._is_down = False
            self._notify(f"the quota store answers again, after {duration(self._failed_for_s)}")
        self._report_memory()

    def _report_memory(self) -> None:
        wait_s = self._permits.closed_s
        if wait_s > 0 and not self._is_closed:
            self._notify(
                "the quota store does not know what was sent in the last minute; waiting "
                f"{duration(wait_s)}"
            )
        self._is_closed = wait_s > 0
