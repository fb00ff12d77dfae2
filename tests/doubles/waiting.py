"""Waits for what other processes do; a test never waits for a length of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_PAUSE_S: Final = 0.02


def wait_until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition is true; fail after so many seconds without it."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(_PAUSE_S)
