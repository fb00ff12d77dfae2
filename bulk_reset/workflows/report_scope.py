"""Which API a report is of: verify and undo use the same, or nothing happens."""

from __future__ import annotations

from pathlib import Path

from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option
from bulk_reset.engine.connection import SANDBOX, find_account
from bulk_reset.engine.options import ConnectionOptions
from bulk_reset.records.audit import AUDIT, scope_of
from bulk_reset.records.report_reader import beside


def refuse_other_api(report: Path, options: ConnectionOptions) -> None:
    """Refuse another API than the one that the run of a report used.

    A report without an audit is not refused.

    Raises:
        InputError: it is another; nothing was read or written.
    """
    used = scope_of(report)
    scope = SANDBOX if options.is_rehearsal else find_account(options).base_url
    if used in {"", scope}:
        return
    fix = option("sandbox_state", "FILE") if used == SANDBOX else option("base_url", used)
    raise InputError(
        f"{report}: its run used {_named(used)}, not {_named(scope)}. Use {fix}, or move "
        f"{beside(report, AUDIT)} away if the API has moved."
    )


def _named(scope: str) -> str:
    return "the sandbox" if scope == SANDBOX else scope
