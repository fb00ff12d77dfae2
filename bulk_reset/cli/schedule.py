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
    once: Annotated[
        bool, typer.Option("--once", help="Run the jobs that are due now, then exit.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=65535,
            help="Serve /metrics and /healthz on this local port.",
        ),
    ] = None,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run the jobs of a folder when they are due, one at a time for each account.

    Changed files are read again, and an invalid file does not stop the other jobs. A due time that
    passed while the schedule was down is handled as each job defines. SIGTERM and Ctrl-C end the
    runs gracefully; they resume at the next start.

    Examples:
        bulk-reset schedule jobs
        bulk-reset schedule jobs --once
        bulk-reset schedule jobs --port 9100

    Exit codes:
        0  the schedule ended; with --once, all runs are done
        2  there is no such folder
        4  another schedule uses the state folder
        With --once, the highest exit code of the runs.
    """
    output = Output(is_quiet=quiet, verbose=verbose)
    with output.errors():
        import asyncio  # noqa: PLC0415

        from bulk_reset.jobs.job_folder import JobFolder  # noqa: PLC0415
        from bulk_reset.jobs.schedule_process import RunProcesses, run_schedule  # noqa: PLC0415
        from bulk_reset.jobs.scheduler import (  # noqa: PLC0415  (imports APScheduler)
            Scheduler,
        )
        from bulk_reset.jobs.state_folder import StateFolder  # noqa: PLC0415

        state = StateFolder(state_dir)
        processes = RunProcesses(state, is_quiet=quiet)
        jobs = JobFolder(folder.absolute(), state, run_log_on_stderr(output), is_once=once)
        scheduler = Scheduler(jobs, processes.start)
        with state.scheduled():
            code = asyncio.run(run_schedule(scheduler, processes, once=once, port=port))
    raise typer.Exit(code)


def run_log_on_stderr(output: Output) -> RunLog:
    """Return the log of events: standard error, or nothing with ``--quiet``."""
    from bulk_reset.observability.run_log import (  # noqa: PLC0415  (imports structlog)
        new_run_log,
    )

    return new_run_log() if output.is_quiet else new_run_log(stderr_output())


def stderr_output() -> LogOutput:
    """Return standard error as a log: readable on a terminal, lines of JSON elsewhere."""
    from bulk_reset.observability.run_log import LogOutput  # noqa: PLC0415  (imports structlog)

    return LogOutput(
        sys.stderr, is_human=is_terminal(sys.stderr), has_colour=has_colour(sys.stderr)
    )
