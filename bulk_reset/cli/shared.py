"""Groups of options that commands share, written once.

A command that ``takes`` a group has all of its options, and gets what was told as one value.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from bulk_reset.cli.arguments import (
    AccountOption,
    AppKeyFileOption,
    AttemptsOption,
    BaseUrlOption,
    DelimiterOption,
    EncodingOption,
    HeaderRowOption,
    JsonOption,
    MapOption,
    NoWaitOption,
    PatienceOption,
    PerMinuteOption,
    PerSecondOption,
    QuietOption,
    SandboxOption,
    SandboxStateOption,
    ShareOption,
    SheetNameOption,
    TimeoutOption,
    VerboseOption,
    mapping_of,
)
from bulk_reset.cli.console import Output
from bulk_reset.core.defaults import ATTEMPTS, PATIENCE_S, PER_MINUTE, PER_SECOND, TIMEOUT_S

Told = dict[str, Any]
"""Arguments of ``Options``."""


class CommonOptions(NamedTuple):
    """Whom to ask, how, and where to say what came of it."""

    options: Told
    output: Output


def common_options(
    *,
    sandbox: SandboxOption = False,
    sandbox_state: SandboxStateOption = None,
    app_key_file: AppKeyFileOption = None,
    base_url: BaseUrlOption = None,
    timeout: TimeoutOption = TIMEOUT_S,
    attempts: AttemptsOption = ATTEMPTS,
    patience: PatienceOption = PATIENCE_S,
    per_second: PerSecondOption = PER_SECOND,
    per_minute: PerMinuteOption = PER_MINUTE,
    share: ShareOption = 1.0,
    account: AccountOption = "",
    no_wait: NoWaitOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> CommonOptions:
    """Take the options of every command that talks to the API."""
    options = {
        "sandbox": sandbox,
        "sandbox_state": sandbox_state,
        "app_key_file": app_key_file,
        "base_url": base_url,
        "timeout_s": timeout,
        "attempts": attempts,
        "patience_s": patience,
        "per_second": per_second,
        "per_minute": per_minute,
        "share": share,
        "account": account,
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
) -> Told:
    """Take the options of every command that reads a sheet."""
    return {
        "mapping": mapping_of(map),
        "delimiter": delimiter,
        "encoding": encoding,
        "sheet_name": sheet_name,
        "header_row": header_row,
    }


def takes_options(
    **groups: Callable[..., Any],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of groups: parameter of the command -> the group."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = inspect.signature(command, eval_str=True).parameters
        own = [one for name, one in parameters.items() if name not in groups]
        shared = {
            name: list(inspect.signature(group, eval_str=True).parameters.values())
            for name, group in groups.items()
        }

        @functools.wraps(command)
        def with_groups(**told: Any) -> None:  # noqa: ANN401  (the command's)
            made = {
                name: groups[name](**{one.name: told.pop(one.name) for one in options})
                for name, options in shared.items()
            }
            command(**told, **made)

        every = [*own, *(one for options in shared.values() for one in options)]
        # typer looks at both.
        with_groups.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        with_groups.__annotations__ = {one.name: one.annotation for one in every}
        return with_groups

    return decorate
