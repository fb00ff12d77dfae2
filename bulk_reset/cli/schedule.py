"""``bulk-reset schedule``: a process that runs jobs when they are due."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bulk_reset.cli.arguments import QuietOption, StateDirOption, VerboseOption
from bulk_reset.cli.console import Output
from bulk_reset.cli.streams import has_colour, is_terminal

if TYPE_CHECKING:
    from bulk_reset.observability.run_log import LogOutput, RunLog


def schedule(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of job files.", show_default=False)
    ],
    *,
    once: Annotated[bool, typer.Option("--once", help="Run what is due now, and end.")] = False,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=65535,
            help="Answer /metrics and /healthz on this port of this machine; 0 takes a free one.",
        ),
    ] = None,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run the jobs of a folder when they are due, one at a time for each account.

    Changed files are read again, a broken one keeps nobody else from being run, and what was
    missed while it was down is dealt with as each job says. SIGTERM and Ctrl-C end the runs
    softly; they are gone on with at the next start. Exit code: 0, 2 no such folder, 4 another
    schedule has the state; with --once, the worst of the runs'.
    """
    output = Output(is_quiet=quiet, verbose=verbose)
    with output.errors():
        import asyncio  # noqa: PLC0415

        from bulk_reset.jobs.job_folder import JobFolder  # noqa: PLC0415
        from bulk_reset.jobs.schedule_process import RunProcesses, run_schedule  # noqa: PLC0415
        from bulk_reset.jobs.scheduler import (  # noqa: PLC0415  (brings APScheduler along)
            Scheduler,
        )
        from bulk_reset.jobs.state_folder import StateFolder  # noqa: PLC0415

        state = StateFolder(state_dir)
        processes = RunProcesses(state, is_quiet=quiet)
        jobs = JobFolder(folder.absolute(), state, run_log_on_stderr(output))
        scheduler = Scheduler(jobs, processes.start)
        with state.scheduled():
            code = asyncio.run(run_schedule(scheduler, processes, once=once, port=port))
    raise typer.Exit(code)


def run_log_on_stderr(output: Output) -> RunLog:
    """Return where events go: nowhere, where nothing but errors is wanted."""
    from bulk_reset.observability.run_log import (  # noqa: PLC0415  (brings structlog along)
        new_run_log,
    )

    return new_run_log() if output.is_quiet else new_run_log(stderr_output())


def stderr_output() -> LogOutput:
    """Return standard error as a place for events: to be read on a terminal, JSON elsewhere."""
    from bulk_reset.observability.run_log import LogOutput  # noqa: PLC0415  (brings structlog along)

    return LogOutput(
        sys.stderr, is_human=is_terminal(sys.stderr), has_colour=has_colour(sys.stderr)
    )
