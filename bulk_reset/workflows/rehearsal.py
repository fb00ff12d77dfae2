"""Reports of sandbox runs: their undo and their verification never use the production API."""

from __future__ import annotations

from pathlib import Path

from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option
from bulk_reset.engine.connection import SANDBOX
from bulk_reset.engine.options import Options
from bulk_reset.records.audit import read_audit


def refuse_rehearsal(report: Path, options: Options, command: str) -> None:
    """Refuse a sandbox's report without the sandbox: its incidents are not those of the API.

    Args:
        command: the one that is refused: ``undo`` or ``verify``.

    Raises:
        InputError: the report is from a run with ``sandbox`` or ``sandbox_state``.
    """
    if options.is_rehearsal:
        return
    runs = read_audit(report)
    last = runs[-1] if runs else {}
    if ".sandbox." not in report.name and last.get("scope") != SANDBOX:
        return
    if is_gone(report):
        raise InputError(
            f"{report}: is from a run with {option('sandbox')}, whose incidents no longer exist. "
            f"Use {option('sandbox_state', 'FILE')} for a sandbox run to verify or undo."
        )
    error = InputError(
        f"{report}: is from a sandbox run. Add the {option('sandbox_state', 'FILE')} you used for "
        "that run."
    )
    state = _state_of(last)
    if state and Path(state).is_file():
        error.with_next("Next", command, report, options={"sandbox-state": state})
    raise error


def is_gone(report: Path) -> bool:
    """Return whether the incidents of a report were those of a sandbox that kept nothing."""
    runs = read_audit(report)
    return bool(runs) and runs[-1].get("scope") == SANDBOX and not _state_of(runs[-1])


def _state_of(run: dict[str, object]) -> str:
    options = run.get("options")
    return str(options.get("sandbox_state") or "") if isinstance(options, dict) else ""
