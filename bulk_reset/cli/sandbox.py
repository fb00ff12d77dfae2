"""``bulk-reset sandbox``: an emulated API on this machine, until Ctrl-C, SIGTERM or SIGHUP."""

import errno
import shlex
import signal
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from bulk_reset.cli.console import print_error, print_text
from bulk_reset.cli.next_steps import command_line
from bulk_reset.core.errors import ExitCode

if TYPE_CHECKING:
    from bulk_reset.sandbox import SandboxConfig

_BANNER = """\
A sandbox of the incident API. It sends nothing to other machines.

  base URL  {url}
  page      {url}/
  key       {config.app_key}
  quota     {config.per_second:,} per second, {config.per_minute:,} per minute, \
{config.window_kind} windows{state}

To run a sheet against it:
  FLASHDUTY_APP_KEY={key} {command}

Press Ctrl-C to stop."""


class Windows(StrEnum):
    """How the sandbox counts its quota."""

    SLIDING = "sliding"
    FIXED = "fixed"


PortOption = Annotated[
    int, typer.Option(min=0, max=65535, metavar="N", help="The port to listen on; 0 for any.")
]
SeedIncidentsOption = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="Start with N incidents."),
]
SeedStepOption = Annotated[
    int,
    typer.Option(min=0, metavar="SECONDS", help="Time between the starts of two incidents."),
]
AnyIdOption = Annotated[
    bool,
    typer.Option("--any-id", help="Create an incident for any unknown valid ID."),
]
LatencyOption = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="The duration of a request.")
]
PerSecondOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="Requests accepted per second.")
]
PerMinuteOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="Requests accepted per minute.")
]
WindowsOption = Annotated[
    Windows, typer.Option(metavar="sliding|fixed", help="How both limits are counted.")
]
FaultsOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Faults to inject, a JSON list of rules.")
]
FieldsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Custom fields of the account, a JSON list.",
        show_default="STATE.fields.json beside --state",
    ),
]
StateOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Keep the incidents in FILE between starts.",
    ),
]


def sandbox(
    *,
    port: PortOption = 8765,
    seed_incidents: SeedIncidentsOption = 0,
    seed_step: SeedStepOption = 60,
    any_id: AnyIdOption = False,
    latency: LatencyOption = 0.02,
    per_second: PerSecondOption = 50,
    per_minute: PerMinuteOption = 1000,
    windows: WindowsOption = Windows.SLIDING,
    faults: FaultsOption = None,
    fields: FieldsOption = None,
    state: StateOption = None,
) -> None:
    """Emulate the API on this machine, to rehearse a run or to test faults.

    Nothing is sent to other machines. The key is always sandbox-key, which is not a secret.

    Examples:
        bulk-reset sandbox --seed-incidents 100
        bulk-reset sandbox --state sandbox.json --port 8765
        bulk-reset sandbox --any-id --faults faults.json
    """
    # Imported here, so that neither --help nor a usage error waits for them.
    from bulk_reset.sandbox import (  # noqa: PLC0415
        SandboxConfig,
        fields_beside,
        load_faults,
        load_fields,
    )

    # A pull of the last days finds them.
    first_start_at = int(time.time()) - seed_incidents * seed_step
    if first_start_at < 0:
        _refuse(
            f"--seed-step {seed_step}: the first of {seed_incidents:,} incidents starts before "
            "1970. Use fewer seconds."
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
            fields=load_fields(fields) if fields else fields_beside(state),
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
        _refuse(f"port {port}: {_reason(error)}. Use --port N for another port.", error)


async def _serve_until_stopped(config: "SandboxConfig", port: int) -> None:
    import asyncio  # noqa: PLC0415

    from bulk_reset.sandbox import Sandbox  # noqa: PLC0415 - imports aiohttp

    stop = asyncio.Event()
    numbers = [signal.SIGINT, signal.SIGTERM]
    # A closed terminal ends it as well, except under nohup.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sandbox = Sandbox(config)
    async with sandbox.serve(port) as url:
        count = len(sandbox.incidents)
        kept = f"\n  state     {config.state}, {count:,} incident{'' if count == 1 else 's'}"
        texts = {
            "state": kept if config.state else "",
            "key": shlex.quote(config.app_key),
            "command": command_line("run", "SHEET", "--base-url", url),
        }
        print_text(_BANNER.format(url=url, config=config, **texts))
        await stop.wait()


def _refuse(message: str, error: Exception | None = None) -> NoReturn:
    print_error(f"error: {message}")
    raise typer.Exit(ExitCode.INPUT) from error


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "is used by another program"
    return f"cannot be used ({errno.errorcode.get(error.errno or 0, error)})"
