"""Saved plans: what one is made for, and whether it may be run now."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bulk_reset.api.base_url import one_host
from bulk_reset.core.defaults import OnConflict
from bulk_reset.core.errors import InputError
from bulk_reset.core.file_hash import hash_file
from bulk_reset.core.option_names import option, option_name
from bulk_reset.core.saved_plan import PlanFileError, PlanHeader, SavedPlan
from bulk_reset.engine.connection import SANDBOX, Connection
from bulk_reset.engine.options import Options
from bulk_reset.quota.account_ledger import account_hash
from bulk_reset.records.login import user_name
from bulk_reset.sheets.columns import ONLY_IF
from bulk_reset.sheets.sheet import Sheet

EXPIRES_S: Final = 24 * 3600.0
_DECIDING: Final = (
    *("mapping", "delimiter", "encoding", "sheet_name", "header_row"),
    *("profile", "rules", "corrections"),
    *("on_conflict", "skip_invalid", "limit", "retry_failed", "overwrite"),
    *("only_rows", "only_fields", "where", "exclude_where", "only_unpinned"),
)
"""The options that decide which values a run sends."""


def header_for(
    table: Sheet, connection: Connection, options: Options, expires_s: float
) -> PlanHeader:
    """Return the header of a plan that is made now.

    A plan of a plan names the sheet and the maker of the first one: it can only leave out rows, so
    who thins a plan out may approve it.
    """
    now = time.time()
    found = table.columns
    columns = {name: found.name(name) for name in found.position}
    columns |= {f"{ONLY_IF}{name}": found.header[at] for name, at in found.expected.items()}
    sheet, sha256 = Path(table.label).name, hash_file(table.path).sha256 if table.path else ""
    made_by = user_name()
    if table.plan is not None:
        first = table.plan.header
        sheet, sha256, made_by = first.sheet, first.sheet_sha256, first.made_by
    changed = options.changed()
    return PlanHeader(
        sheet,
        sha256,
        columns,
        {name: _plain(changed[name]) for name in _DECIDING if name in changed},
        version("bulk-reset"),
        connection.scope,
        _account_of(connection, options),
        now,
        now + expires_s,
        made_by,
    )


def require_applicable(table: Sheet, connection: Connection, options: Options) -> None:
    """Refuse to run a plan that has expired or was made for another API or account.

    Raises:
        InputError: it was, or an option would send something else than the plan.
    """
    plan = table.plan
    if plan is None:
        return
    _refuse_other_options(plan, options)
    plan.require_fresh(time.time())
    made_for, here = plan.header.address, connection.scope
    if one_host(made_for) != one_host(here):
        raise PlanFileError(
            f"{plan.path}: made for {_named(made_for)}, and this run would use {_named(here)}. "
            f"Use {_address_option(made_for)}, or make the plan again."
        )
    if options.dry_run or plan.header.account == _account_of(connection, options):
        return
    raise PlanFileError(
        f"{plan.path}: made for another account. Use the key of that account (or its "
        f"{option_name('account')}), or make the plan again."
    )


def _account_of(connection: Connection, options: Options) -> str:
    # The sandbox inside this process has another address each time, and no account.
    if connection.scope == SANDBOX:
        return ""
    return account_hash(connection.credentials, options.account)


def _refuse_other_options(plan: SavedPlan, options: Options) -> None:
    """Refuse options that a plan was made with, or that ignore its previous values."""
    wrong = {
        "before": not options.before,
        "overwrite": options.overwrite,
        "on_conflict": options.on_conflict is not OnConflict.ERROR,
    }
    value_of: dict[str, Any] = {"on_conflict": options.on_conflict.value, "before": False}
    for name, is_given in wrong.items():
        if is_given:
            raise InputError(
                f"{option(name, value_of.get(name, True))}: {plan.path} is a saved plan, which is "
                "sent as it was planned. Remove this option, or make the plan again."
            )


def _named(scope: str) -> str:
    return "the built-in sandbox" if scope == SANDBOX else scope


def _address_option(scope: str) -> str:
    if scope == SANDBOX:
        return option("sandbox_state", "FILE")
    return option("base_url", scope)


def _plain(value: object) -> Any:  # noqa: ANN401  (JSON)
    """Return the value of an option as JSON has it."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in sorted(value.items())}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value if isinstance(value, bool | int | float) else str(value)
