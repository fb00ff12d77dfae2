"""``bulk-reset schedule``: a process that runs jobs when they are due."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bulk_reset.cli.arguments import QuietOption, StateDirOption, VerboseOption
from bulk_reset.cli.console import Output, print_error
from bulk_reset.cli.streams import has_colour

if TYPE_CHECKING:
    from bulk_reset.jobs.job_runs.state_folder import StateFolder
    from bulk_reset.jobs.schedule.claims import ClaimStore
    from bulk_reset.observability.run_log import LogOutput, RunLog

FolderArgument = Annotated[
    Path | None,
    typer.Argument(metavar="DIR", help="A folder of job files.", show_default=False),
]
OnceOption = Annotated[
    bool, typer.Option("--once", help="Run the jobs that are due now, then exit.")
]
PortOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        max=65535,
        help="Serve /metrics and /healthz on this port.",
    ),
]
HostOption = Annotated[
    str,
    typer.Option(metavar="ADDRESS", help="Listen on this IP address; with --port."),
]
AllowHostOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Accept requests to this host name; with --port."),
]
MaxRunsOption = Annotated[
    int, typer.Option(metavar="N", min=1, help="Run up to N jobs at the same time.")
]
ClaimsOption = Annotated[
    str | None,
    typer.Option(
        metavar="STORE", help="Share the jobs with other schedules: local or redis://HOST."
    ),
]
DaskOption = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Run jobs on the workers of this Dask cluster."),
]
HealthOption = Annotated[
    bool,
    typer.Option("--health", help="Check the running schedule, then exit."),
]


def schedule(
    folder: FolderArgument = None,
    *,
    once: OnceOption = False,
    port: PortOption = None,
    host: HostOption = "127.0.0.1",
    allow_host: AllowHostOption = None,
    max_runs: MaxRunsOption = 4,
    claims: ClaimsOption = None,
    dask: DaskOption = None,
    health: HealthOption = False,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run the jobs of a folder when they are due, one at a time for each account.

    Changed files are read again, and an invalid file does not stop the other jobs. A due time that
    passed while the schedule was down is handled as each job defines. SIGTERM and Ctrl-C end the
    runs gracefully; they resume at the next start.

    With --claims, several schedules have the same jobs: each due time runs once, and when a
    schedule or its machine is lost, another continues. With --dask, runs are tasks of a cluster
    whose workers share the state folder.

    Examples:
        bulk-reset schedule jobs
        bulk-reset schedule jobs --claims redis://store.example:6379/0
        bulk-reset schedule --health

    Exit codes:
        0  the schedule ended; with --once, all runs are done; with --health, it works
        1  with --health, it does not work or does not run
        2  there is no such folder
        4  another schedule uses the state folder
        With --once, the highest exit code of the runs.
    """
    output = Output(is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.core.errors import InputError  # noqa: PLC0415
        from bulk_reset.jobs.job_runs.state_folder import StateFolder  # noqa: PLC0415
        from bulk_reset.jobs.schedule.claim_stores import claim_store  # noqa: PLC0415

        state = StateFolder(state_dir)
        if health:
            raise typer.Exit(_check_health(state, output))
        if folder is None:
            raise InputError("DIR: missing. Use a folder with job files (*.toml).")
        if port is None and (host != "127.0.0.1" or allow_host):
            raise InputError("--host, --allow-host: require --port. Add --port 9100.")
        names = tuple(map(str.lower, allow_host or ()))
        if claims is not None and once:
            raise InputError("--claims: cannot be combined with --once. Remove one of them.")
        store = claim_store(claims, state) if claims is not None else None
        code = _run_jobs(
            folder,
            state,
            output,
            max_runs,
            once=once,
            served=(port, host, names),
            store=store,
            dask=dask,
        )
    raise typer.Exit(code)


def _run_jobs(
    folder: Path,
    state: StateFolder,
    output: Output,
    max_runs: int,
    *,
    once: bool,
    served: tuple[int | None, str, tuple[str, ...]],
    store: ClaimStore | None,
    dask: str | None,
) -> int:
    import asyncio  # noqa: PLC0415

    from bulk_reset.core.temporary_folder import use_temporary_folder  # noqa: PLC0415
    from bulk_reset.jobs.schedule.claims import Claims  # noqa: PLC0415
    from bulk_reset.jobs.schedule.job_folder import JobFolder  # noqa: PLC0415
    from bulk_reset.jobs.schedule.schedule_process import (  # noqa: PLC0415
        Port,
        RunProcesses,
        Runs,
        run_schedule,
    )
    from bulk_reset.jobs.schedule.scheduler import Scheduler  # noqa: PLC0415  (imports APScheduler)

    use_temporary_folder(state.path)
    number, host, names = served
    port = Port(number, host, names) if number is not None else None
    has_claims = store is not None
    run_log = run_log_on_stderr(output)
    jobs = JobFolder(folder.absolute(), state, run_log, is_once=once)
    runs: Runs
    if dask is None:
        runs = RunProcesses(state, is_quiet=output.is_quiet, ends_with_parent=has_claims)
    else:
        from bulk_reset.jobs.schedule.dask_runs import DaskRuns  # noqa: PLC0415

        runs = DaskRuns(dask, state)
    held = Claims(store, run_log, runs.stop_run) if store is not None else None
    scheduler = Scheduler(jobs, runs.start, most_runs=max_runs, claims=held)
    with contextlib.nullcontext() if has_claims else state.scheduled():
        return asyncio.run(run_schedule(scheduler, runs, once=once, port=port))


def _check_health(state: StateFolder, output: Output) -> int:
    from bulk_reset.core.errors import ExitCode  # noqa: PLC0415
    from bulk_reset.jobs.schedule.schedule_health import read_health  # noqa: PLC0415

    is_healthy, text = read_health(state)
    if is_healthy:
        output.line(text)
        return ExitCode.DONE
    print_error(text)
    return ExitCode.NOT_ALL


def run_log_on_stderr(output: Output) -> RunLog:
    """Return the log of events: standard error, or nothing with ``--quiet``."""
    from bulk_reset.observability.run_log import (  # noqa: PLC0415  (imports structlog)
        new_run_log,
    )

    return new_run_log() if output.is_quiet else new_run_log(stderr_output())


def stderr_output() -> LogOutput:
    """Return standard error as a log: readable on a terminal, lines of JSON elsewhere."""
    from bulk_reset.observability.run_log import LogOutput  # noqa: PLC0415  (imports structlog)

    # Also on a terminal that cannot move the cursor (TERM=dumb) people read it.
    is_human = sys.stderr.isatty()
    return LogOutput(sys.stderr, is_human=is_human, has_colour=has_colour(sys.stderr))
