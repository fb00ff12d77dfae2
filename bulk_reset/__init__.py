"""Update thousands of incidents from a spreadsheet, within the API's quota.

    from bulk_reset import Options, run

    totals = run("incidents.csv", Options(limit=10))

Names are imported when they are first asked for: ``import bulk_reset`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulk_reset.actions import (
        CheckResult,
        Undone,
        answer,
        check,
        run,
        run_frame,
        undo,
        verify,
    )
    from bulk_reset.errors import BulkResetError, ExitCode, InputError, RunError
    from bulk_reset.model import (
        Mismatch,
        Mistake,
        OnConflict,
        Outcome,
        Progress,
        Status,
        Totals,
        Verification,
    )
    from bulk_reset.options import Options, Watcher
    from bulk_reset.plan_model import FieldPlan, PlanTotals, RowPlan
    from bulk_reset.planning import plan
    from bulk_reset.pulling import PullTotals, pull
    from bulk_reset.query import Query, query_of
    from bulk_reset.replay import read_report
    from bulk_reset.reporting import write_page
    from bulk_reset.streaming import stream
    from bulk_reset.summary import summarise

_HOME = {
    "BulkResetError": "errors",
    "CheckResult": "actions",
    "ExitCode": "errors",
    "FieldPlan": "plan_model",
    "InputError": "errors",
    "Mismatch": "model",
    "Mistake": "model",
    "OnConflict": "model",
    "Options": "options",
    "Outcome": "model",
    "PlanTotals": "plan_model",
    "Progress": "model",
    "PullTotals": "pulling",
    "Query": "query",
    "RowPlan": "plan_model",
    "RunError": "errors",
    "Status": "model",
    "Totals": "model",
    "Undone": "actions",
    "Verification": "model",
    "Watcher": "options",
    "answer": "actions",
    "check": "actions",
    "plan": "planning",
    "pull": "pulling",
    "query_of": "query",
    "read_report": "replay",
    "run": "actions",
    "run_frame": "actions",
    "stream": "streaming",
    "summarise": "summary",
    "undo": "actions",
    "verify": "actions",
    "write_page": "reporting",
}

__all__ = [
    "BulkResetError",
    "CheckResult",
    "ExitCode",
    "FieldPlan",
    "InputError",
    "Mismatch",
    "Mistake",
    "OnConflict",
    "Options",
    "Outcome",
    "PlanTotals",
    "Progress",
    "PullTotals",
    "Query",
    "RowPlan",
    "RunError",
    "Status",
    "Totals",
    "Undone",
    "Verification",
    "Watcher",
    "answer",
    "check",
    "plan",
    "pull",
    "query_of",
    "read_report",
    "run",
    "run_frame",
    "stream",
    "summarise",
    "undo",
    "verify",
    "write_page",
]


def __getattr__(name: str) -> object:
    """Import a public name from the module it lives in."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"bulk_reset.{_HOME[name]}"), name)
