"""Whether a report belongs to the API that a command uses: a rehearsal never leads to another one.

The audit beside the report has where its rows were sent. Nothing is written here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bulk_reset.api.base_url import canonical
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option, option_name
from bulk_reset.engine.connection import SANDBOX, scope_of
from bulk_reset.engine.options import Options
from bulk_reset.records.audit import Destination, destination_of
from bulk_reset.records.report_reader import read_report

_NAME_OF_REHEARSALS: Final = ".sandbox."


def refuse_other_destination(report: Path, options: Options, *, adds: bool = False) -> None:
    """Refuse a report whose rows were sent elsewhere than this command sends.

    Args:
        adds: whether the command would add lines to it, and so can use another report.

    Raises:
        InputError: they were, or there is no key; nothing was sent.
    """
    here = Destination(scope_of(options), str(options.sandbox_state or ""))
    there = destination_of(report)
    if there is None and _NAME_OF_REHEARSALS in report.name and here.scope != SANDBOX:
        # Its audit is missing; the incidents of a sandbox are not those of the API.
        there = Destination(SANDBOX)
    if there is None or _is_same(there, here) or (adds and not _has_rows(report)):
        return
    other = f" Or use {option('report', 'FILE')} for another report." if adds else ""
    raise InputError(f"{report}: {_what(there, here)}{other}")


def _has_rows(report: Path) -> bool:
    return report.exists() and next(read_report(report), None) is not None


def _is_same(there: Destination, here: Destination) -> bool:
    if canonical(there.scope) != canonical(here.scope) or bool(there.state) != bool(here.state):
        return False
    # The file may have been moved, or named from another folder.
    is_one = Path(there.state).resolve() == Path(here.state).resolve()
    return is_one or not Path(there.state).exists()


def _what(there: Destination, here: Destination) -> str:
    """Return what is wrong and how to fix it."""
    if there.scope != SANDBOX:
        target = "the sandbox" if here.scope == SANDBOX else here.scope
        return (
            f"is the report of a run at {there.scope}, not at {target}. "
            f"Use {option('base_url', there.scope)}."
        )
    if here.scope != SANDBOX:
        fix = option("sandbox_state", there.state or "FILE")
        return f"is the report of a run in the sandbox, not of the API. Use {fix}."
    if there.state:
        fix = option("sandbox_state", there.state)
        return f"is the report of a run in the sandbox of {there.state}. Use {fix}."
    return (
        f"is the report of a run with {option_name('sandbox')}, whose incidents no longer exist. "
        "Move it away."
    )
