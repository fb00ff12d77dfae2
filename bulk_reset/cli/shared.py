"""Groups of options that commands share, written once.

A command with a group has all of its options, and gets them as one value.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from bulk_reset.cli.arguments import (
    CanaryOption,
    ExcludeWhereOption,
    JsonOption,
    LimitOption,
    MaxChangeOption,
    MaxCriticalOption,
    MaxFailuresOption,
    MaxRowsOption,
    OnConflictOption,
    OnlyFieldOption,
    OnlyRowsOption,
    OnlyUnpinnedOption,
    OverwriteOption,
    QuietOption,
    ReportOption,
    RetryFailedOption,
    SandboxOption,
    SandboxStateOption,
    SkipInvalidOption,
    VerboseOption,
    WhereOption,
)
from bulk_reset.cli.connection_options import (
    AccessTokenFileOption,
    AccountOption,
    AppKeyFileOption,
    AttemptsOption,
    BaseUrlOption,
    ExclusiveOption,
    NoWaitOption,
    PatienceOption,
    PerMinuteOption,
    PerSecondOption,
    PriorityOption,
    QuotaStoreOption,
    ShareOption,
    TimeoutOption,
)
from bulk_reset.cli.console import Output
from bulk_reset.cli.sheet_options import (
    CorrectionsOption,
    DelimiterOption,
    EncodingOption,
    HeaderRowOption,
    MapOption,
    NumbersSinceOption,
    ProfileOption,
    RulesOption,
    SheetNameOption,
    mapping_of,
)
from bulk_reset.core.defaults import (
    ATTEMPTS,
    NUMBERS_SINCE,
    PATIENCE_S,
    PER_MINUTE,
    PER_SECOND,
    TIMEOUT_S,
    OnConflict,
    Priority,
)

if TYPE_CHECKING:
    from bulk_reset.engine.options import Options

OptionValues = dict[str, Any]
"""Arguments of ``Options``."""


class CommonOptions(NamedTuple):
    """The connection's options, and the output of the command."""

    options: OptionValues
    output: Output


def common_options(
    *,
    sandbox: SandboxOption = False,
    sandbox_state: SandboxStateOption = None,
    access_token_file: AccessTokenFileOption = None,
    app_key_file: AppKeyFileOption = None,
    base_url: BaseUrlOption = None,
    timeout: TimeoutOption = TIMEOUT_S,
    attempts: AttemptsOption = ATTEMPTS,
    patience: PatienceOption = PATIENCE_S,
    per_second: PerSecondOption = PER_SECOND,
    per_minute: PerMinuteOption = PER_MINUTE,
    share: ShareOption = 1.0,
    priority: PriorityOption = Priority.NORMAL,
    account: AccountOption = "",
    quota_store: QuotaStoreOption = None,
    exclusive: ExclusiveOption = False,
    no_wait: NoWaitOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> CommonOptions:
    """Return the options of every command that sends requests to the API."""
    options = {
        "sandbox": sandbox,
        "sandbox_state": sandbox_state,
        "access_token_file": access_token_file,
        "app_key_file": app_key_file,
        "base_url": base_url,
        "timeout_s": timeout,
        "attempts": attempts,
        "patience_s": patience,
        "per_second": per_second,
        "per_minute": per_minute,
        "share": share,
        "priority": priority,
        "account": account,
        "quota_store": quota_store,
        "exclusive": exclusive,
        "waits": not no_wait,
    }
    return CommonOptions(options, Output(is_json=json, is_quiet=quiet, verbose=verbose))


def reading(
    *,
    map: MapOption = [],  # noqa: A002, B006  (the option's name; typer copies it)
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    sheet_name: SheetNameOption = None,
    header_row: HeaderRowOption = None,
    corrections: CorrectionsOption = None,
    profile: ProfileOption = None,
    rules: RulesOption = None,
    numbers_since: NumbersSinceOption = NUMBERS_SINCE,
) -> OptionValues:
    """Return the options of every command that reads a sheet."""
    return {
        "mapping": mapping_of(map),
        "delimiter": delimiter,
        "encoding": encoding,
        "sheet_name": sheet_name,
        "header_row": header_row,
        "corrections": corrections,
        "profile": profile,
        "rules": rules,
        "numbers_since": numbers_since,
    }


def selecting(
    *,
    only_rows: OnlyRowsOption = None,
    only_field: OnlyFieldOption = [],  # noqa: B006  (typer copies it)
    where: WhereOption = None,
    exclude_where: ExcludeWhereOption = None,
    only_unpinned: OnlyUnpinnedOption = False,
) -> OptionValues:
    """Return the options of every command that can leave out rows of a sheet."""
    return {
        "only_rows": only_rows,
        "only_fields": tuple(only_field),
        "where": where,
        "exclude_where": exclude_where,
        "only_unpinned": only_unpinned,
    }


def sending(
    *,
    report: ReportOption = None,
    limit: LimitOption = None,
    skip_invalid: SkipInvalidOption = False,
    retry_failed: RetryFailedOption = False,
    on_conflict: OnConflictOption = OnConflict.ERROR,
    overwrite: OverwriteOption = False,
) -> OptionValues:
    """Return the options of every command that sends a sheet, or shows what will be sent."""
    return {
        "report": report,
        "limit": limit,
        "skip_invalid": skip_invalid,
        "retry_failed": retry_failed,
        "on_conflict": on_conflict,
        "overwrite": overwrite,
    }


def safeguards(
    *,
    max_rows: MaxRowsOption = None,
    max_failures: MaxFailuresOption = None,
    max_change: MaxChangeOption = None,
    max_critical: MaxCriticalOption = None,
    canary: CanaryOption = None,
) -> OptionValues:
    """Return the options that stop a run, before it sends or early."""
    return {
        "max_rows": max_rows,
        "max_failures": max_failures,
        "max_change": max_change,
        "max_critical": max_critical,
        "canary": canary,
    }


def takes_options(
    **groups: Callable[..., Any],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add groups of options to a command: the command's parameter -> the group."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = inspect.signature(command, eval_str=True).parameters
        own = [one for name, one in parameters.items() if name not in groups]
        grouped = {
            name: list(inspect.signature(group, eval_str=True).parameters.values())
            for name, group in groups.items()
        }

        @functools.wraps(command)
        def with_groups(**values: Any) -> None:  # noqa: ANN401  (the command's)
            made = {
                name: groups[name](**{one.name: values.pop(one.name) for one in options})
                for name, options in grouped.items()
            }
            command(**values, **made)

        every = [*own, *(one for options in grouped.values() for one in options)]
        # typer reads both.
        with_groups.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        with_groups.__annotations__ = {one.name: one.annotation for one in every}
        return with_groups

    return decorate


def address_of(options: Options) -> str:
    """Return where requests go, for people: an address, or the sandbox.

    Raises:
        InputError: there is no key, or the address cannot be used.
    """
    if options.sandbox_state is not None:
        return f"the sandbox ({options.sandbox_state})"
    if options.sandbox:
        return "the sandbox"
    from bulk_reset.engine.connection import find_account  # noqa: PLC0415  (imports aiohttp)

    return f"the API at {find_account(options).base_url}"
