"""``bulk-reset job install``: what systemd, cron or Kubernetes needs to run a job, and how."""

from __future__ import annotations

import getpass
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bulk_reset.cli import next_steps
from bulk_reset.cli.arguments import QuietOption, StateDirOption, VerboseOption
from bulk_reset.cli.console import Output, print_text

if TYPE_CHECKING:
    from bulk_reset.jobs.job_files.job import Job

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
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Print a CronJob and its volume.")
    ] = False,
    image: Annotated[
        str,
        typer.Option(metavar="NAME", help="The container image; with --kubernetes."),
    ] = "bulk-reset:latest",
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder for the units; requires --systemd."),
    ] = None,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Print systemd units, crontab lines or a CronJob that run a job when it is due.

    Nothing is installed.

    Examples:
        bulk-reset job install nightly.toml --systemd --to /etc/systemd/system
        bulk-reset job install nightly.toml --cron
        bulk-reset job install nightly.toml --kubernetes --image bulk-reset:1
    """
    output = Output(is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.core.errors import InputError  # noqa: PLC0415
        from bulk_reset.jobs.job_files.job_file import read_job  # noqa: PLC0415  (imports pydantic)

        if [systemd, cron, kubernetes].count(True) != 1:
            raise InputError("--systemd, --cron, --kubernetes: use exactly one of them.")
        if to is not None and not systemd:
            raise InputError("--to: requires --systemd. Remove --to, or use --systemd.")
        read = read_job(file)
        if systemd:
            _install_units(read, state_dir, to, output)
        elif cron:
            _print_crontab(read, state_dir, output)
        else:
            _print_manifests(read, image, output)


def _print_crontab(read: Job, state: Path | None, output: Output) -> None:
    from bulk_reset.jobs.job_runs.state_folder import default_state_path  # noqa: PLC0415
    from bulk_reset.jobs.schedule.system_timers import cron_lines  # noqa: PLC0415

    # cron starts programs without this variable.
    if state is None and "XDG_STATE_HOME" in os.environ:
        state = default_state_path()
    print_text(cron_lines(read, state).removesuffix("\n"))
    output.notice("Next: add these lines to your crontab: crontab -e")


def _print_manifests(read: Job, image: str, output: Output) -> None:
    from bulk_reset.jobs.schedule.kubernetes_job import (  # noqa: PLC0415  (imports yaml)
        kubernetes_manifests,
        kubernetes_preparation,
    )

    print_text(kubernetes_manifests(read, image).removesuffix("\n"))
    for command in kubernetes_preparation(read):
        output.notice(f"Required: {shlex.join(command)}")
    output.notice(f"Next: {next_steps.same_command()} | kubectl apply -f -")


def _install_units(read: Job, state: Path | None, to: Path | None, output: Output) -> None:
    from bulk_reset.core.atomic_file import atomic_file  # noqa: PLC0415
    from bulk_reset.core.errors import InputError  # noqa: PLC0415
    from bulk_reset.jobs.job_runs.state_folder import default_state_path  # noqa: PLC0415
    from bulk_reset.jobs.schedule.system_timers import systemd_units  # noqa: PLC0415

    # A service runs with neither this user nor this environment.
    units = systemd_units(read, state or default_state_path(), user=_service_user())
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


def _service_user() -> str:
    """Return the user of a service, also behind sudo; empty for root."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return ""  # a number without a name, as in a container
    return "" if name == "root" else name


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
