"""Reads the custom fields of the account, once a run, for a sheet that sets some of them.

One request, and only for a sheet with a column ``field:NAME``. Where they cannot be read (the key
may not, or there is none), cells are sent as they are, and the API checks them. The sandbox of a
rehearsal has defined none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bulk_reset.core.actions import ACTION_FIELD, PROGRESS_AFTER
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.custom_fields import field_of, is_custom
from bulk_reset.core.errors import CredentialsError, LockedError, RunError, UnansweredError
from bulk_reset.core.field_types import FieldTypes
from bulk_reset.engine.connection import Connection, connect, lock_account
from bulk_reset.engine.event_loop import in_new_loop
from bulk_reset.engine.incident_reader import open_incident_reader
from bulk_reset.engine.options import Options
from bulk_reset.sheets.sheet import Sheet


def find_types(
    table: Sheet, connection: Connection, options: Options, callbacks: Callbacks
) -> None:
    """Find the custom field of each column of a sheet that will be sent.

    Raises:
        SheetError: a column has no custom field, or two may be meant.
        RunError: the API cannot be read now.
    """
    if not _has_types(table, options) or options.dry_run:
        return
    try:
        _set_types(table, _read(table, connection, options, callbacks), callbacks)
    except (UnansweredError, LockedError):
        raise
    except RunError as error:
        callbacks.on_notice(f"{table.label}: types of custom fields are not checked: {error}")


def check_types(table: Sheet, options: Options, callbacks: Callbacks) -> None:
    """Find them for a check, which needs neither a key nor the API.

    Raises:
        SheetError: a column has no custom field, or two may be meant.
    """
    if not _has_types(table, options):
        return
    options = replace(options, attempts=1, patience_s=0, waits=False)
    try:
        with connect(options, callbacks) as connection:
            _set_types(table, _read(table, connection, options, callbacks), callbacks)
    except CredentialsError:
        callbacks.on_notice(
            f"{table.label}: types of custom fields are not checked, because there is no app key"
        )
    except RunError as error:
        callbacks.on_notice(f"{table.label}: types of custom fields are not checked: {error}")


def choices_of(
    columns: Sequence[str], locked: Connection, options: Options
) -> dict[str, tuple[str, ...]]:
    """Return column -> the texts among which its cells can choose, for a sheet that is pulled.

    Args:
        locked: the account, which is locked already.
    """
    found: dict[str, tuple[str, ...]] = dict.fromkeys(columns, ())
    if ACTION_FIELD in found:
        found[ACTION_FIELD] = tuple(PROGRESS_AFTER)
    typed = [name for name in columns if is_custom(name) and name == field_of(name)]
    if not typed or not _are_defined(options):
        return found
    try:
        types = in_new_loop(lambda: _types(locked, options))
    except UnansweredError:
        raise
    except RunError:
        return found  # the key may not read them
    for name in typed:
        choices = _choices(name, types)
        # A pulled sheet has the values as JSON, if they are not texts.
        found[name] = ("true", "false") if choices == ("yes", "no") else choices
    return found


def choices_for_template(
    columns: Sequence[str], options: Options, callbacks: Callbacks
) -> dict[str, tuple[str, ...]]:
    """Return column -> the texts among which its cells can choose, for an empty workbook."""
    found: dict[str, tuple[str, ...]] = dict.fromkeys(columns, ())
    if not columns:
        return found
    options = replace(options, attempts=1, patience_s=0, waits=False)
    try:
        with (
            connect(options, callbacks) as connection,
            lock_account(connection, options, "a template", callbacks) as locked,
        ):
            types = in_new_loop(lambda: _types(locked, options))
    except (CredentialsError, RunError) as error:
        callbacks.on_notice(f"no drop-downs for custom fields: {error}")
        return found
    return {name: _choices(name, types) for name in columns}


def _choices(name: str, types: FieldTypes) -> tuple[str, ...]:
    fields = types.of(name) if name == field_of(name) else []
    return fields[0].choices if len(fields) == 1 else ()


def _has_types(table: Sheet, options: Options) -> bool:
    if not _are_defined(options) or table.plan is not None or table.columns.is_exact:
        return False
    return any(map(is_custom, table.columns.position))


def _set_types(table: Sheet, types: FieldTypes, callbacks: Callbacks) -> None:
    if types.fields:
        table.set_types(types)
        return
    callbacks.on_notice(
        f"{table.label}: types of custom fields are not checked, because the account lists none"
    )


def _read(
    table: Sheet, connection: Connection, options: Options, callbacks: Callbacks
) -> FieldTypes:
    with lock_account(connection, options, table.label, callbacks) as locked:
        return in_new_loop(lambda: _types(locked, options))


async def _types(locked: Connection, options: Options) -> FieldTypes:
    async with open_incident_reader(locked, options) as reader:
        return await reader.field_types()


def _are_defined(options: Options) -> bool:
    """Return whether custom fields have types; a sandbox without definitions accepts all values."""
    if not options.is_rehearsal:
        return True
    from bulk_reset.sandbox import fields_file  # noqa: PLC0415  (rarely needed)

    return options.sandbox_state is not None and fields_file(options.sandbox_state).exists()
