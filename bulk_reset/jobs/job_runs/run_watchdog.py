"""Ends a run that exceeds its time, for example while it reads a sheet or a server hangs.

The sending stops by itself when the deadline is reached; this is for all else. It sends SIGTERM to
its own process, which then ends as it does for any other SIGTERM.

Units: ``*_s`` seconds.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

GRACE_S: Final = 30.0
"""How long a run may take to stop by itself."""


@dataclass(slots=True)
class Watchdog:
    """Watches the time of one run.

    Attributes:
        has_fired: whether it has ended the run.
    """

    has_fired: bool = False

    @contextlib.contextmanager
    def watching(self, left_s: float | None) -> Iterator[None]:
        """End the run if the block takes longer than this, plus ``GRACE_S``; never when None."""
        main = threading.main_thread()
        if left_s is None or threading.current_thread() is not main or main.ident is None:
            yield
            return
        timer = threading.Timer(max(0.0, left_s) + GRACE_S, self._fire, (main.ident,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _fire(self, thread: int) -> None:
        self.has_fired = True
        # To the main thread: a signal that another thread gets does not wake it up.
        signal.pthread_kill(thread, signal.SIGTERM)
