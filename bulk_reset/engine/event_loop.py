"""Runs a coroutine to its end from plain code, in a program with or without an event loop.

A notebook and ``asyncio.run`` have a running loop in the main thread. There the coroutine runs
in a thread of its own, while the main thread waits and handles Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextvars import copy_context
from typing import Any, Final, TypeVar

T = TypeVar("T")
_WAKE_UP_S: Final = 0.2
"""A signal that the system gives to another thread does not wake up a waiting main thread."""


class _Interrupts:
    """Turns Ctrl-C in the main thread into a request to the loop of another thread."""

    def __init__(self, stop: Callable[[], None] | None) -> None:
        self._stop = stop
        self._target: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None] | None = None
        self.count = 0

    def __call__(self, *_: object) -> None:
        """Take a signal: the first one stops gracefully where that is possible, others cancel."""
        self.count += 1
        self._send()

    def attach(self) -> None:
        """Send interrupts to the current task from now on, those before included."""
        self._target = asyncio.get_running_loop(), asyncio.current_task()
        if self.count:
            self._send()

    def _send(self) -> None:
        if self._target is None:
            return
        loop, task = self._target
        is_graceful = self._stop is not None and self.count == 1
        with contextlib.suppress(RuntimeError):  # the loop has just ended
            if is_graceful and self._stop is not None:
                loop.call_soon_threadsafe(self._stop)
            elif task is not None:
                loop.call_soon_threadsafe(task.cancel)


def in_new_loop(
    main: Callable[[], Coroutine[Any, Any, T]], stop: Callable[[], None] | None = None
) -> T:
    """Run a coroutine to its end, inside a running loop too.

    Args:
        stop: stops ``main`` gracefully. Inside a running loop, the first Ctrl-C calls it in
            the thread of ``main``, whose result is then returned; without it, and the second
            time, ``main`` is cancelled.

    Raises:
        KeyboardInterrupt: ``main`` was cancelled.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run_loop(main)
    return _in_thread(main, stop)


def _in_thread(main: Callable[[], Coroutine[Any, Any, T]], stop: Callable[[], None] | None) -> T:
    interrupts = _Interrupts(stop)

    async def attached() -> T:
        interrupts.attach()
        return await main()

    with ThreadPoolExecutor(1) as executor, _on_ctrl_c(interrupts):
        future = executor.submit(copy_context().run, run_loop, attached)
        while not wait_for([future], _WAKE_UP_S).done:
            pass
        try:
            return future.result()
        except asyncio.CancelledError:
            if interrupts.count:
                raise KeyboardInterrupt from None
            raise


@contextlib.contextmanager
def _on_ctrl_c(handler: Callable[..., object]) -> Iterator[None]:
    """Handle Ctrl-C by a function, if this is the main thread and it is not ignored."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    if not is_main or before is None or before is signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt inside a running loop too, until the block ends.

    ``asyncio.run`` only cancels its task at the first Ctrl-C, which plain code does not see.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        yield
        return
    with _on_ctrl_c(signal.default_int_handler):
        yield


def run_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end in a loop of its own, the fastest that is installed."""
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as loop_factory  # noqa: PLC0415  (not before)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        try:
            return runner.run(main())
        except BaseExceptionGroup as group:
            raise first_cause(group) from None


def first_cause(error: BaseException) -> BaseException:
    """Return the error that ended a group of tasks."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
