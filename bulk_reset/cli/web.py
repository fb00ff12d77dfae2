"""``bulk-reset web``: the local page, for people without a shell."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bulk_reset.cli.approval_options import (
    AllowedSignersOption,
    AllowOwnApprovalOption,
    HmacKeyFileOption,
    RequireApprovalOption,
)
from bulk_reset.cli.arguments import QuietOption, SandboxStateOption, StateDirOption, VerboseOption
from bulk_reset.cli.connection_options import (
    AccessTokenFileOption,
    AccountOption,
    AppKeyFileOption,
    BaseUrlOption,
)
from bulk_reset.cli.console import Output

if TYPE_CHECKING:
    from bulk_reset.web.pages import Settings


def web(
    *,
    port: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=65535, help="Listen on this port of this machine."),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep sheets and runs in this folder.")
    ] = None,
    jobs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Show the job files of this folder.")
    ] = None,
    require_approval: RequireApprovalOption = False,
    allowed_signers: AllowedSignersOption = None,
    hmac_key_file: HmacKeyFileOption = None,
    allow_own_approval: AllowOwnApprovalOption = False,
    sandbox_state: SandboxStateOption = None,
    access_token_file: AccessTokenFileOption = None,
    app_key_file: AppKeyFileOption = None,
    base_url: BaseUrlOption = None,
    account: AccountOption = "",
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Serve a page on this machine: drop a sheet, fix it, see the plan, run, verify, undo.

    Only this machine can open it. The link works once; a new one is printed when it was used.
    Ctrl-C ends the server; updates that run stop gracefully and can be resumed.

    Examples:
        bulk-reset web
        bulk-reset web --port 8100 --no-open --folder updates

    Exit codes:
        0  the server ended
        2  the port or the folder cannot be used
    """
    output = Output(is_quiet=quiet, verbose=verbose)
    with output.errors():
        from platformdirs import user_data_path  # noqa: PLC0415

        from bulk_reset.engine.options import Options  # noqa: PLC0415
        from bulk_reset.web.pages import Settings  # noqa: PLC0415

        where = folder or user_data_path("bulk-reset", appauthor=False) / "web"
        options = Options(
            access_token_file=access_token_file,
            app_key_file=app_key_file,
            base_url=base_url,
            account=account,
            require_approval=require_approval,
            allowed_signers=_absolute(allowed_signers),
            hmac_key_file=_absolute(hmac_key_file),
            allow_own_approval=allow_own_approval,
        )
        state = sandbox_state or where / "sandbox.json"
        settings = Settings(options, state, jobs, state_dir, where.absolute() / "app.key")
        _serve(where, settings, port, output, opens=open_browser)


def _absolute(path: Path | None) -> Path | None:
    """Return a path for commands that are copied from the page to another folder."""
    return path.expanduser().absolute() if path is not None else None


def _serve(
    folder: Path, settings: Settings, port: int | None, output: Output, *, opens: bool
) -> None:
    import asyncio  # noqa: PLC0415
    import signal  # noqa: PLC0415
    import webbrowser  # noqa: PLC0415

    from bulk_reset.web.server import make_folder, serving  # noqa: PLC0415

    make_folder(folder)

    async def serve() -> None:
        async with serving(
            folder, settings, port or 0, lambda link: output.line(f"Open: {link}")
        ) as server:
            link = server.new_link()
            output.line(f"Open: {link}")
            output.line("The link works once, on this machine only. Ctrl-C ends the server.")
            if opens:
                with contextlib.suppress(webbrowser.Error, OSError):
                    await asyncio.to_thread(webbrowser.open, link)
            ended = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                with contextlib.suppress(NotImplementedError):
                    loop.add_signal_handler(number, ended.set)
            await ended.wait()
            output.line("Ending; updates that run are stopped gracefully.")

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())
