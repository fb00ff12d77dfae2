"""A run that ends with the process that started it: its standard input is a pipe from there.

Without it, the run of a killed scheduler continues, and another scheduler that takes the job over
cannot know. When the pipe closes, the run gets SIGTERM, and is killed if that takes too long.

Units: ``*_s`` seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Final

LIFELINE: Final = "_BULK_RESET_LIFELINE"
"""The variable of the environment that makes a run watch its standard input."""
KILL_AFTER_S: Final = 18.0
"""Supervisors wait 30 s after SIGTERM, some only 20 s."""


def watch_lifeline() -> None:
    """End this process when the one that started it has ended; if it was started so."""
    if os.environ.pop(LIFELINE, "") and sys.stdin is not None:
        threading.Thread(target=_watch, args=(sys.stdin.fileno(),), daemon=True).start()


def _watch(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    time.sleep(KILL_AFTER_S)
    os._exit(128 + signal.SIGKILL)
