"""``bulk-reset verify``: read back what a run wrote, and compare."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from bulk_reset.cli.arguments import (
    AccountOption,
    AppKeyFileOption,
    AttemptsOption,
    BaseUrlOption,
    JsonOption,
    NoWaitOption,
    PatienceOption,
    PerMinuteOption,
    PerSecondOption,
    QuietOption,
    SandboxOption,
    SandboxStateOption,
    ShareOption,
    TimeoutOption,
    VerboseOption,
)
from bulk_reset.cli.console import Output
from bulk_reset.cli.summary import show_verification
from bulk_reset.cli.view import SendingView
from bulk_reset.errors import ExitCode
from bulk_reset.model import ATTEMPTS, PATIENCE_S, PER_MINUTE, PER_SECOND, TIMEOUT_S


def verify(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A report file.")],
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
) -> None:
    """Read back what the rows of REPORT wrote, a hundred incidents a request, and compare.

    Rows whose outcome was unknown are settled, with a line more in the report. Exit code: 0 all
    is as it was written, 1 something is not, 2 it cannot be known, 3 the API cannot be read.
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    view = SendingView(output)
    with output.errors():
        from bulk_reset.actions import verify as read_back  # noqa: PLC0415  (brings aiohttp along)
        from bulk_reset.options import Options, Watcher  # noqa: PLC0415

        options = Options(
            sandbox=sandbox,
            sandbox_state=sandbox_state,
            app_key_file=app_key_file,
            base_url=base_url,
            timeout_s=timeout,
            attempts=attempts,
            patience_s=patience,
            per_second=per_second,
            per_minute=per_minute,
            share=share,
            account=account,
            waits=not no_wait,
        )
        verification = read_back(
            report, options, Watcher(on_notice=output.notice, on_looked=view.looked)
        )
        code = ExitCode.DONE if verification.is_right else ExitCode.NOT_ALL
        show_verification(output, verification)
        output.json({**dataclasses.asdict(verification), "exit_code": int(code)})
    raise typer.Exit(code)
