"""Update thousands of incidents from a spreadsheet, within the API's quota.

    from bulk_reset import Options, run

    totals = run("incidents.csv", Options(limit=10))

Names are imported when they are first asked for: ``import bulk_reset`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulk_reset.actions import CheckResult, check, run, run_frame
    from bulk_reset.errors import BulkResetError, ExitCode, InputError, RunError
    from bulk_reset.model import Mistake, OnConflict, Outcome, Progress, Status, Totals
    from bulk_reset.options import Options, Watcher
    from bulk_reset.replay import read_report
    from bulk_reset.streaming import stream
    from bulk_reset.summary import summarise

_HOME = {
    "BulkResetError": "errors",
    "CheckResult": "actions",
    "ExitCode": "errors",
    "InputError": "errors",
    "Mistake": "model",
    "OnConflict": "model",
    "Options": "options",
    "Outcome": "model",
    "Progress": "model",
    "RunError": "errors",
    "Status": "model",
    "Totals": "model",
    "Watcher": "options",
    "check": "actions",
    "read_report": "replay",
    "run": "actions",
    "run_frame": "actions",
    "stream": "streaming",
    "summarise": "summary",
}

__all__ = [
    "BulkResetError",
    "CheckResult",
    "ExitCode",
    "InputError",
    "Mistake",
    "OnConflict",
    "Options",
    "Outcome",
    "Progress",
    "RunError",
    "Status",
    "Totals",
    "Watcher",
    "check",
    "read_report",
    "run",
    "run_frame",
    "stream",
    "summarise",
]


def __getattr__(name: str) -> object:
    """Import a public name from the module it lives in."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"bulk_reset.{_HOME[name]}"), name)
