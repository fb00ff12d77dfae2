"""Signals that stop a run: the first one gracefully, the second one at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import Any, Final

from bulk_reset.core.outcome import Stop, StopReason
from bulk_reset.engine.worker_pool import WorkerPool

CTRL_C: Final = Stop(StopReason.INTERRUPTED, "Ctrl-C")
STOPPED: Final = Stop(StopReason.INTERRUPTED, "stopped by the program")
_STOPS: Final = {
    "SIGINT": CTRL_C,
    "SIGTERM": Stop(StopReason.TERMINATED, "SIGTERM"),
    "SIGHUP": Stop(StopReason.HUNG_UP, "the terminal was closed"),
}


@contextlib.contextmanager
def stop_on_signals(pool: WorkerPool) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP stop the pool until the block ends."""
    loop = asyncio.get_running_loop()

    def on_signal(stop: Stop) -> None:
        if pool.stopped is None:
            pool.stop(stop)
        else:
            pool.abort()

    handled: dict[int, Any] = {}
    # Where this does not work (Windows, not the main thread), Ctrl-C cancels as in any program.
    with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
        for name, stop in _STOPS.items():
            number = getattr(signal, name, None)
            # Under nohup, SIGHUP stays ignored.
            if number is not None and (before := signal.getsignal(number)) is not signal.SIG_IGN:
                loop.add_signal_handler(number, on_signal, stop)
                handled[number] = before
    try:
        yield
    finally:
        for number, before in handled.items():
            loop.remove_signal_handler(number)
            signal.signal(number, before)
        if pool.stopped is not None and signal.SIGINT in handled:
            # The run is ending already: another Ctrl-C must not interrupt its last writes.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
