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


def refuse_other_destination(
    report: Path, options: Options, *, command: str = "", adds: bool = False
) -> None:
    """Refuse a report whose rows were sent elsewhere than this command sends.

    Args:
        command: the one that is refused, if it is suggested with the right sandbox.
        adds: whether the command would add lines to it, and so can use another report.

    Raises:
        InputError: they were, or there is no key; nothing was sent.
    """
    here = Destination(scope_of(options), str(options.sandbox_state or ""))
    there = destination_of(report)
    is_audited = there is not None
    if there is None and _NAME_OF_REHEARSALS in report.name and here.scope != SANDBOX:
        # Its audit is missing; the incidents of a sandbox are not those of the API.
        there = Destination(SANDBOX)
    if there is None or _is_same(there, here) or (adds and not _has_rows(report)):
        return
    other = f" Or use {option('report', 'FILE')} for another report." if adds else ""
    what = _what(there, here, is_gone=is_audited and there == Destination(SANDBOX))
    error = InputError(f"{report}: {what}{other}")
    if command and there.state and Path(there.state).is_file():
        error.with_next("Next", command, report, options={"sandbox-state": there.state})
    raise error


def is_gone(report: Path) -> bool:
    """Return whether the incidents of a report were those of a sandbox that kept nothing."""
    return destination_of(report) == Destination(SANDBOX)


def _has_rows(report: Path) -> bool:
    return report.exists() and next(read_report(report), None) is not None


def _is_same(there: Destination, here: Destination) -> bool:
    if canonical(there.scope) != canonical(here.scope) or bool(there.state) != bool(here.state):
        return False
    # The file may have been moved, or named from another folder.
    is_one = Path(there.state).resolve() == Path(here.state).resolve()
    return is_one or not Path(there.state).exists()


def _what(there: Destination, here: Destination, *, is_gone: bool) -> str:
    """Return what is wrong and how to fix it.

    Args:
        is_gone: whether the incidents were those of a sandbox that kept nothing.
    """
    if there.scope != SANDBOX:
        target = "the sandbox" if here.scope == SANDBOX else here.scope
        return (
            f"is the report of a run at {there.scope}, not at {target}. "
            f"Use {option('base_url', there.scope)}."
        )
    if is_gone:
        state = option("sandbox_state", "FILE")
        return (
            f"is from a run with {option_name('sandbox')}, whose incidents no longer exist. Move "
            f"it away. Use {state} for a sandbox run to verify or undo."
        )
    state = option("sandbox_state", there.state or "FILE")
    return f"is from a sandbox run. Add the {state} you used for that run."
