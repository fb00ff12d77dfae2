"""``bulk-reset sandbox``: the API emulated on this machine until Ctrl-C or SIGTERM."""

import errno
import signal
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from bulk_reset.errors import ExitCode

if TYPE_CHECKING:
    from bulk_reset.sandbox import SandboxConfig

_BANNER = """\
A sandbox of the incident API; what is sent to it goes no further.

  base URL  {url}
  page      {url}/
  key       {config.app_key}
  quota     {config.per_second:,} a second, {config.per_minute:,} a minute, \
{config.window_kind} windows

Run against it:
  FLASHDUTY_APP_KEY={config.app_key} bulk-reset run SHEET --base-url {url}

Ctrl-C ends it."""


class Windows(StrEnum):
    """How the sandbox counts its quota."""

    SLIDING = "sliding"
    FIXED = "fixed"


def sandbox(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes any free one.")
    ] = 8765,
    seed_incidents: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Start with N incidents, one a minute up to now."),
    ] = 0,
    seed_step: Annotated[
        int, typer.Option(min=1, metavar="SECONDS", help="The time between two of them.")
    ] = 60,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keep the incidents in FILE; what is there is gone on with."
        ),
    ] = None,
    any_id: Annotated[
        bool,
        typer.Option(help="Let an unknown but well-formed id spring into being."),
    ] = False,
    latency: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="The round trip of a request.")
    ] = 0.02,
    per_second: Annotated[
        int, typer.Option(min=1, metavar="N", help="Requests admitted in a second.")
    ] = 50,
    per_minute: Annotated[
        int, typer.Option(min=1, metavar="N", help="Requests admitted in a minute.")
    ] = 1000,
    windows: Annotated[
        Windows, typer.Option(help="How the two limits are counted.")
    ] = Windows.SLIDING,
    faults: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Scripted faults, a JSON list of rules.")
    ] = None,
) -> None:
    """Emulate the API on this machine, to rehearse a run or to try out faults.

    Nothing leaves the machine. The key is always sandbox-key, and is no secret. Ctrl-C ends it.
    """
    # In here: neither --help nor a usage error waits for them.
    from bulk_reset.sandbox import SandboxConfig, load_faults  # noqa: PLC0415

    try:
        config = SandboxConfig(
            per_second=per_second,
            per_minute=per_minute,
            window_kind="fixed" if windows is Windows.FIXED else "sliding",
            latency_s=latency,
            seed_incidents=seed_incidents,
            # A pull of the last days finds them.
            first_start_at=int(time.time()) - seed_incidents * seed_step,
            seed_step_s=seed_step,
            state=state,
            accepts_any_id=any_id,
            faults=load_faults(faults) if faults else (),
        )
    except ValueError as error:
        _refuse(str(error), error)
    _serve(config, port)


def _serve(config: "SandboxConfig", port: int) -> None:
    import asyncio  # noqa: PLC0415

    try:
        # KeyboardInterrupt only where a loop cannot handle signals (Windows).
        with suppress(KeyboardInterrupt):
            asyncio.run(_serve_until_stopped(config, port))
    except ValueError as error:
        _refuse(f"--state: {error}", error)
    except OSError as error:
        _refuse(f"port {port}: {_reason(error)}. Choose another one with --port.", error)


async def _serve_until_stopped(config: "SandboxConfig", port: int) -> None:
    import asyncio  # noqa: PLC0415

    from bulk_reset.sandbox import Sandbox  # noqa: PLC0415 - brings aiohttp along

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Sandbox(config).serve(port) as url:
        typer.echo(_BANNER.format(url=url, config=config))
        await stop.wait()


def _refuse(message: str, error: Exception) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(ExitCode.INPUT) from error


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens on it"
    return f"cannot be listened on ({errno.errorcode.get(error.errno or 0, error)})"
