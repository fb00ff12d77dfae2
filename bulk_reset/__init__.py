"""Update thousands of incidents from a spreadsheet, within the API's quota.

    from bulk_reset import Options, run

    totals = run("incidents.csv", Options(limit=10))
    print(totals.counts["updated"])

Names are imported at their first use, so ``import bulk_reset`` itself imports nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulk_reset.core.callbacks import Callbacks
    from bulk_reset.core.defaults import OnConflict
    from bulk_reset.core.errors import (
        BulkResetError,
        CredentialsError,
        ExitCode,
        InputError,
        InvalidRowsError,
        LockedError,
        RunError,
        SheetError,
        StoppedError,
        UnansweredError,
    )
    from bulk_reset.core.outcome import Outcome, Status
    from bulk_reset.core.plan import FieldPlan, PlanTotals, RowPlan
    from bulk_reset.core.row_error import RowError
    from bulk_reset.core.totals import Mismatch, Progress, Totals, Verification
    from bulk_reset.engine.options import Options
    from bulk_reset.records.report_reader import read_report
    from bulk_reset.records.summary import summarise
    from bulk_reset.reports.report_page import write_page
    from bulk_reset.workflows.answer import answer
    from bulk_reset.workflows.check import CheckResult, check
    from bulk_reset.workflows.incident_query import Query, query_of
    from bulk_reset.workflows.plan import plan
    from bulk_reset.workflows.pull import PullTotals, pull
    from bulk_reset.workflows.run import run, run_frame
    from bulk_reset.workflows.stream import stream
    from bulk_reset.workflows.undo import UndoResult, undo
    from bulk_reset.workflows.verify import verify

    __version__: str

_MODULE_OF = {
    "BulkResetError": "core.errors",
    "Callbacks": "core.callbacks",
    "CheckResult": "workflows.check",
    "CredentialsError": "core.errors",
    "ExitCode": "core.errors",
    "FieldPlan": "core.plan",
    "InputError": "core.errors",
    "InvalidRowsError": "core.errors",
    "LockedError": "core.errors",
    "Mismatch": "core.totals",
    "OnConflict": "core.defaults",
    "Options": "engine.options",
    "Outcome": "core.outcome",
    "PlanTotals": "core.plan",
    "Progress": "core.totals",
    "PullTotals": "workflows.pull",
    "Query": "workflows.incident_query",
    "RowError": "core.row_error",
    "RowPlan": "core.plan",
    "RunError": "core.errors",
    "SheetError": "core.errors",
    "Status": "core.outcome",
    "StoppedError": "core.errors",
    "Totals": "core.totals",
    "UnansweredError": "core.errors",
    "UndoResult": "workflows.undo",
    "Verification": "core.totals",
    "answer": "workflows.answer",
    "check": "workflows.check",
    "plan": "workflows.plan",
    "pull": "workflows.pull",
    "query_of": "workflows.incident_query",
    "read_report": "records.report_reader",
    "run": "workflows.run",
    "run_frame": "workflows.run",
    "stream": "workflows.stream",
    "summarise": "records.summary",
    "undo": "workflows.undo",
    "verify": "workflows.verify",
    "write_page": "reports.report_page",
}

__all__ = [
    "BulkResetError",
    "Callbacks",
    "CheckResult",
    "CredentialsError",
    "ExitCode",
    "FieldPlan",
    "InputError",
    "InvalidRowsError",
    "LockedError",
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
    "SheetError",
    "Status",
    "StoppedError",
    "Totals",
    "UnansweredError",
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

if not TYPE_CHECKING:  # else a type checker would accept any name

    def __getattr__(name: str) -> object:
        """Import a public name from the module that defines it."""
        if name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415  (takes some milliseconds)

            return version("bulk-reset")
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"bulk_reset.{_MODULE_OF[name]}"), name)

    def __dir__() -> list[str]:
        """Return the public names, for completion."""
        return [*__all__, "__version__"]
