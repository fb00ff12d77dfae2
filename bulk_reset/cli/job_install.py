"""``bulk-reset job install``: systemd units or crontab lines of a job, and how to install them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Final

import typer

from bulk_reset.cli import next_steps
from bulk_reset.cli.arguments import QuietOption, StateDirOption, VerboseOption
from bulk_reset.cli.console import Output, print_text

JobFileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A job file (.toml).", show_default=False)
]
_SYSTEMD: Final = "/etc/systemd/system"


def install(
    file: JobFileArgument,
    *,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Print a service and a timer.")
    ] = False,
    cron: Annotated[bool, typer.Option("--cron", help="Print lines for a crontab.")] = False,
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder for the units; requires --systemd."),
    ] = None,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Print systemd units or crontab lines that run a job when it is due.

    Nothing is installed.

    Examples:
        bulk-reset job install nightly.toml --systemd --to /etc/systemd/system
        bulk-reset job install nightly.toml --cron
    """
    output = Output(is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.core.atomic_file import atomic_file  # noqa: PLC0415
        from bulk_reset.core.errors import InputError  # noqa: PLC0415
        from bulk_reset.jobs.job_files.job_file import read_job  # noqa: PLC0415  (imports pydantic)
        from bulk_reset.jobs.schedule.system_timers import cron_lines, systemd_units  # noqa: PLC0415

        if systemd == cron:
            raise InputError("--systemd, --cron: use exactly one of them.")
        if cron and to is not None:
            raise InputError("--to: requires --systemd. Remove --to, or use --systemd.")
        read = read_job(file)
        if cron:
            print_text(cron_lines(read, state_dir).removesuffix("\n"))
            output.notice("Next: add these lines to your crontab: crontab -e")
            return
        units = systemd_units(read, state_dir)
        if to is None:
            for name, text in units.items():
                print_text(f"# {_SYSTEMD}/{name}\n{text}")
            install = next_steps.same_command(plus={"to": _SYSTEMD})
            output.notice(f"Next: install the units, as root: {install}")
            return
        if not to.is_dir():
            raise InputError(f"--to {to}: no such folder. Create it: {shlex.join(_mkdir(to))}")
        for name, text in units.items():
            with atomic_file(to / name) as unit:
                unit.write(text.encode())
            output.line(f"Unit: {to / name}")
        output.line(f"Next: as root: {_enabling(to, list(units))}")


def _mkdir(folder: Path) -> list[str]:
    return ["mkdir", "-p", *(["--"] if str(folder).startswith("-") else []), str(folder)]


def _enabling(folder: Path, units: list[str]) -> str:
    """Return the shell commands that enable units, after copying them where they are not yet."""
    timer = next(name for name in units if name.endswith(".timer"))
    commands = [["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", timer]]
    if folder.resolve() != Path(_SYSTEMD):
        files = [str(folder.absolute() / name) for name in units]
        commands.insert(0, ["cp", *files, f"{_SYSTEMD}/"])
    return " && ".join(map(shlex.join, commands))
