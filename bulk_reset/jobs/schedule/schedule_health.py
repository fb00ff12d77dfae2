"""Whether a schedule works, as ``/healthz`` and ``schedule --health`` report it.

A schedule writes a line to the state folder every few seconds. Another process reads it there, so a
probe needs neither a port nor an address.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Final

from bulk_reset.core.counting import counted
from bulk_reset.core.errors import LockedError
from bulk_reset.jobs.job_runs.state_folder import StateFolder

if TYPE_CHECKING:
    from bulk_reset.jobs.schedule.scheduler import Scheduler

BEAT_S: Final = 5.0
_STUCK_S: Final = 60.0


def health_of(scheduler: Scheduler) -> tuple[bool, str]:
    """Return whether a schedule works; an invalid job file does not make it unhealthy."""
    silent_s = time.time() - scheduler.last_reread_at
    if silent_s >= _STUCK_S:
        return False, f"the scheduler has not responded for {silent_s:.0f} s"
    invalid, blocked = sorted(scheduler.invalid), sorted(scheduler.blocked)
    text = counted(len(scheduler.jobs), "job")
    text += f", invalid: {', '.join(invalid)}" if invalid else ""
    return True, text + (f", blocked: {', '.join(blocked)}" if blocked else "")


def write_health(scheduler: Scheduler) -> None:
    """Write the health to the state folder; raises OSError."""
    is_healthy, text = health_of(scheduler)
    has_claims = scheduler.claims is not None
    content = {
        "at": time.time(),
        "is_healthy": is_healthy,
        "message": text,
        "has_claims": has_claims,
    }
    # Several schedules with claims may write it.
    fresh = scheduler.state.health.with_suffix(f".{os.getpid()}.tmp")
    # Not synced to the disk: it is only read while the schedule runs.
    fresh.write_text(json.dumps(content) + "\n", "utf-8")
    fresh.replace(scheduler.state.health)


def read_health(state: StateFolder) -> tuple[bool, str]:
    """Return whether the schedule of a state folder runs and works, with a short text."""
    try:
        content = json.loads(state.health.read_text("utf-8"))
        at, is_healthy = float(content["at"]), bool(content["is_healthy"])
        message, has_claims = str(content["message"]), bool(content.get("has_claims", False))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        if not _is_scheduled(state):
            return False, f"{state.path}: no schedule is running"
        return False, f"{state.health}: cannot be read; the schedule is starting"
    silent_s = time.time() - at
    # With claims, several schedules use the folder, and none of them locks it.
    if not (_is_scheduled(state) or (has_claims and silent_s < _STUCK_S)):
        return False, f"{state.path}: no schedule is running"
    if silent_s >= _STUCK_S:
        return False, f"the schedule has not responded for {silent_s:.0f} s"
    return is_healthy, message


def _is_scheduled(state: StateFolder) -> bool:
    try:
        with state.scheduled():
            return False
    except LockedError:
        return True
