"""Update thousands of incidents from a spreadsheet, within the API's quota.

    from bulk_reset import Options, run

    totals = run("incidents.csv", Options(limit=10))

Names are imported when they are first asked for: ``import bulk_reset`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulk_reset.core.callbacks import Callbacks
    from bulk_reset.core.defaults import OnConflict
    from bulk_reset.core.errors import BulkResetError, ExitCode, InputError, RunError
    from bulk_reset.core.outcome import Outcome, Status
    from bulk_reset.core.plan import FieldPlan, PlanTotals, RowPlan
    from bulk_reset.core.row_error import RowError
    from bulk_reset.core.totals import Mismatch, Progress, Totals, Verification
    from bulk_reset.engine.options import Options
    from bulk_reset.records.report_reader import read_report
    from bulk_reset.records.summary import summarise
    from bulk_reset.reports.report_page import write_page
    from bulk_reset.workflows.actions import (
        CheckResult,
        UndoResult,
        answer,
        check,
        run,
        run_frame,
        undo,
        verify,
    )
    from bulk_reset.workflows.incident_query import Query, query_of
    from bulk_reset.workflows.plan import plan
    from bulk_reset.workflows.pull import PullTotals, pull
    from bulk_reset.workflows.stream import stream

_HOME = {
    "BulkResetError": "core.errors",
    "CheckResult": "workflows.actions",
    "ExitCode": "core.errors",
    "FieldPlan": "core.plan",
    "InputError": "core.errors",
    "Mismatch": "core.totals",
    "RowError": "core.row_error",
    "OnConflict": "core.defaults",
    "Options": "engine.options",
    "Outcome": "core.outcome",
    "PlanTotals": "core.plan",
    "Progress": "core.totals",
    "PullTotals": "workflows.pull",
    "Query": "workflows.incident_query",
    "RowPlan": "core.plan",
    "RunError": "core.errors",
    "Status": "core.outcome",
    "Totals": "core.totals",
    "UndoResult": "workflows.actions",
    "Verification": "core.totals",
    "Callbacks": "core.callbacks",
    "answer": "workflows.actions",
    "check": "workflows.actions",
    "plan": "workflows.plan",
    "pull": "workflows.pull",
    "query_of": "workflows.incident_query",
    "read_report": "records.report_reader",
    "run": "workflows.actions",
    "run_frame": "workflows.actions",
    "stream": "workflows.stream",
    "summarise": "records.summary",
    "undo": "workflows.actions",
    "verify": "workflows.actions",
    "write_page": "reports.report_page",
}

__all__ = [
    "BulkResetError",
    "Callbacks",
    "CheckResult",
    "ExitCode",
    "FieldPlan",
    "InputError",
    "Mismatch",
    "OnConflict",
    "Options",
    "Outcome",
    "PlanTotals",
    "Progress",
    "PullTotals",
    "Query",
    "RowError",
    "RowPlan",
    "RunError",
    "Status",
    "Totals",
    "UndoResult",
    "Verification",
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
