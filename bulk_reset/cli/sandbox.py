"""``bulk-reset sandbox``: the API emulated on this machine until Ctrl-C, SIGTERM or SIGHUP."""

import errno
import signal
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from bulk_reset.core.errors import ExitCode

if TYPE_CHECKING:
    from bulk_reset.sandbox import SandboxConfig

_BANNER = """\
A sandbox of the incident API; what is sent to it goes no further.

  base URL  {url}
  page      {url}/
  key       {config.app_key}
  quota     {config.per_second:,} a second, {config.per_minute:,} a minute, \
{config.window_kind} windows{state}

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
        typer.Option(min=0, metavar="N", help="Start with N incidents, spread up to now."),
    ] = 0,
    seed_step: Annotated[
        int,
        typer.Option(min=0, metavar="SECONDS", help="From the start of one of them to the next."),
    ] = 60,
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
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep the incidents in FILE: go on from it, or seed them if there is none yet.",
        ),
    ] = None,
) -> None:
    """Emulate the API on this machine, to rehearse a run or to try out faults.

    Nothing leaves the machine. The key is always sandbox-key, and is no secret. Ctrl-C ends it.
    """
    # In here: neither --help nor a usage error waits for them.
    from bulk_reset.sandbox import SandboxConfig, load_faults  # noqa: PLC0415

    # A pull of the last days finds them.
    first_start_at = int(time.time()) - seed_incidents * seed_step
    if first_start_at < 0:
        _refuse(
            f"--seed-step {seed_step}: the first of {seed_incidents:,} incidents would have "
            "started before 1970. Give fewer seconds."
        )
    try:
        config = SandboxConfig(
            per_second=per_second,
            per_minute=per_minute,
            window_kind="fixed" if windows is Windows.FIXED else "sliding",
            latency_s=latency,
            seed_incidents=seed_incidents,
            first_start_at=first_start_at,
            seed_step_s=seed_step,
            accepts_any_id=any_id,
            faults=load_faults(faults) if faults else (),
            state=state,
        )
    except ValueError as error:
        _refuse(str(error), error)
    _serve(config, port)


def _serve(config: "SandboxConfig", port: int) -> None:
    import asyncio  # noqa: PLC0415

    from bulk_reset.sandbox import StateError  # noqa: PLC0415

    try:
        # KeyboardInterrupt only where a loop cannot handle signals (Windows).
        with suppress(KeyboardInterrupt):
            asyncio.run(_serve_until_stopped(config, port))
    except StateError as error:
        _refuse(str(error), error)
    except OSError as error:
        _refuse(f"port {port}: {_reason(error)}. Choose another one with --port.", error)


async def _serve_until_stopped(config: "SandboxConfig", port: int) -> None:
    import asyncio  # noqa: PLC0415

    from bulk_reset.sandbox import Sandbox  # noqa: PLC0415 - brings aiohttp along

    stop = asyncio.Event()
    numbers = [signal.SIGINT, signal.SIGTERM]
    # A terminal that is closed ends it, too, unless somebody said nohup and means it.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sandbox = Sandbox(config)
    async with sandbox.serve(port) as url:
        count = len(sandbox.incidents)
        kept = f"\n  state     {config.state}, {count:,} incident{'' if count == 1 else 's'}"
        typer.echo(_BANNER.format(url=url, config=config, state=kept if config.state else ""))
        await stop.wait()


def _refuse(message: str, error: Exception | None = None) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(ExitCode.INPUT) from error


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens on it"
    return f"cannot be listened on ({errno.errorcode.get(error.errno or 0, error)})"
