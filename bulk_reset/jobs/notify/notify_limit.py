"""How long notifications may take: as long as they need, and briefly once a stop is requested."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

STOP_GRACE_S: Final = 8.0
"""After SIGTERM, a process has 20 s in all: in-flight requests take up to 5 s of them."""
POLL_S: Final = 0.1
"""How often a notification that is being sent checks its limit."""


@dataclass(slots=True)
class NotifyLimit:
    """The time limit of all notifications of one process.

    Args:
        stop: set by a signal handler or another thread.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    _ends_at: float | None = None

    def is_over(self) -> bool:
        """Return whether a stop was requested ``STOP_GRACE_S`` ago."""
        if not self.stop.is_set():
            return False
        if self._ends_at is None:
            self._ends_at = time.monotonic() + STOP_GRACE_S
        return time.monotonic() >= self._ends_at


@contextlib.contextmanager
def stopped_by_signals(limit: NotifyLimit) -> Iterator[None]:
    """Let a signal start the grace period of notifications, and a second one end the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, _: object) -> None:
        if limit.stop.is_set():
            sys.exit(128 + number)
        limit.stop.set()

    handled: dict[int, Any] = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Under nohup, SIGHUP stays ignored.
        if number is not None and (before := signal.getsignal(number)) is not signal.SIG_IGN:
            signal.signal(number, on_signal)
            handled[number] = before
    try:
        yield
    finally:
        for number, before in handled.items():
            signal.signal(number, before)
