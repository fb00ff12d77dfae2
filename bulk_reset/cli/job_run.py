"""``bulk-reset job run``: runs a job now, or if it is due."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bulk_reset.cli import next_steps
from bulk_reset.cli.arguments import JsonOption, QuietOption, StateDirOption, VerboseOption
from bulk_reset.cli.console import Output, print_error
from bulk_reset.cli.job_install import JobFileArgument
from bulk_reset.cli.streams import is_terminal
from bulk_reset.core.errors import ExitCode

if TYPE_CHECKING:
    from bulk_reset.jobs.job_files.job import Job
    from bulk_reset.jobs.job_runs.run_record import RunRecord
    from bulk_reset.jobs.job_runs.state_folder import StateFolder
    from bulk_reset.observability.run_log import LogOutput


def run(
    file: JobFileArgument,
    *,
    if_due: Annotated[
        bool,
        typer.Option(
            "--if-due",
            help="Run only if the job is due.",
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Resume the last run at once; with --if-due."),
    ] = False,
    run_id: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="Resume this run.")
    ] = None,
    state_dir: StateDirOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a job now, from a terminal, cron, systemd or Kubernetes.

    Each run has its own folder; see bulk-reset runs. A terminal shows progress, or events
    with -v. Elsewhere, events go to standard error as lines of JSON.

    Use --if-due --resume where Kubernetes, Airflow or Prefect starts a job and retries it.
    An interrupted run resumes at once, and the exit code is that of the last due run.

    Examples:
        bulk-reset job run nightly.toml
        bulk-reset job run nightly.toml --if-due

    Exit codes:
        As of bulk-reset run; 4 if the job is running already.
        With --if-due, 0 if nothing is due or if the job is running already.
        With --if-due --resume, 4 if the job is running already.
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.core.errors import InputError  # noqa: PLC0415
        from bulk_reset.core.temporary_folder import use_temporary_folder  # noqa: PLC0415
        from bulk_reset.jobs.job_files.job_summary import from_here  # noqa: PLC0415
        from bulk_reset.jobs.job_runs.state_folder import StateFolder  # noqa: PLC0415

        if if_due and run_id is not None:
            raise InputError("--if-due: cannot be combined with --run. Remove one of them.")
        if resume and not if_due:
            raise InputError("--resume: requires --if-due. Add it, or use --run ID.")
        state = StateFolder(state_dir)
        use_temporary_folder(state.path)
        if if_due:
            raise typer.Exit(_check_due(file, state, output, is_resumed=resume))
        read, record = _new_run(file, state) if run_id is None else _open_run(file, state, run_id)
        ended = _run(read, state, record, output, is_verbose=verbose)
        for text in (f"{ended.job}: {ended.words}", *ended.row_texts()):
            output.line(text)
            if output.is_quiet and ended.exit_code != ExitCode.DONE:
                print_error(text)  # cron sends this by mail
        output.line(f"Run: {from_here(state.folder(ended.id))}")
        if can_be_resumed(ended):
            again = next_steps.same_command(without={"if-due"}, plus={"run": ended.id})
            output.line(f"To resume: {again}")
        show = next_steps.other_command("runs show", ended.id, keeps={"state-dir"})
        output.line(f"Next: {show}")
        output.json(dataclasses.asdict(ended))
    raise typer.Exit(ended.exit_code or 0)


def _new_run(file: Path, state: StateFolder) -> tuple[Job, RunRecord]:
    from bulk_reset.jobs.job_files.job_file import content_of, read_job  # noqa: PLC0415
    from bulk_reset.jobs.job_runs.job_run import new_record  # noqa: PLC0415
    from bulk_reset.jobs.job_runs.run_record import run_id_of  # noqa: PLC0415

    content = content_of(file)
    read = read_job(file, content=content)
    now_at = float(int(time.time()))
    record = new_record(read, now_at, run_id_of(read.name, now_at), is_scheduled=False)
    with state.locked(read.name):  # if the job is running already, no record is left
        made = state.begin(record, content)
    assert made is not None  # noqa: S101  (only of one that is scheduled)
    return read, made


def _open_run(file: Path, state: StateFolder, run_id: str) -> tuple[Job, RunRecord]:
    """Return the job and the record of a run that can be resumed.

    Raises:
        InputError: it is a run of another job, or has nothing left to do.
    """
    from bulk_reset.core.errors import InputError  # noqa: PLC0415
    from bulk_reset.jobs.job_files.kept_job import job_of_run  # noqa: PLC0415
    from bulk_reset.jobs.job_runs.job_run import deadline_of  # noqa: PLC0415
    from bulk_reset.jobs.job_runs.run_record import ABANDONED, DEADLINE  # noqa: PLC0415

    record = state.read(run_id)
    if record.job != file.stem:
        raise InputError(
            f"--run {run_id}: is a run of {record.job}, not of {file.stem}. Use its job file."
        )
    if record.state == "missed" or record.exit_code == ExitCode.DONE:
        why = "was missed" if record.state == "missed" else "is done"
        raise InputError(f"--run {run_id}: {why}. Remove --run to start a new run.")
    read = job_of_run(file, state, record)
    record = state.read(run_id)
    if record.stop in {DEADLINE, ABANDONED}:
        # No schedule resumes it. A user who does knows that it is late.
        record = dataclasses.replace(record, deadline_at=deadline_of(read, time.time()))
        with state.locked(read.name):
            state.write(record)
    return read, record


def _run(
    read: Job, state: StateFolder, record: RunRecord, output: Output, *, is_verbose: bool
) -> RunRecord:
    """Run a job; log to the folder of the run and to standard error, or show its progress there."""
    from bulk_reset.cli.schedule import stderr_output  # noqa: PLC0415
    from bulk_reset.cli.view import ProgressView  # noqa: PLC0415
    from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
    from bulk_reset.jobs.job_runs.job_run import JobRun  # noqa: PLC0415  (imports structlog)
    from bulk_reset.jobs.job_runs.run_lifeline import watch_lifeline  # noqa: PLC0415
    from bulk_reset.jobs.job_runs.run_record import LOG  # noqa: PLC0415
    from bulk_reset.observability.run_log import new_run_log  # noqa: PLC0415

    watch_lifeline()
    with _log_of(state.folder(record.id) / LOG) as outputs:
        callbacks, view = Callbacks(), ProgressView(output)
        if is_terminal(sys.stderr) and not is_verbose:
            callbacks = Callbacks(
                on_notice=output.notice,
                on_read=view.rows_read,
                on_progress=view.update,
                on_incidents_read=view.incidents_read,
            )
        elif not output.is_quiet:
            outputs.append(stderr_output())
        run_log = new_run_log(*outputs, job=record.job, run=record.id)
        try:
            return JobRun(read, state, record, run_log, callbacks).run(handles_signals=True)
        finally:
            view.close()


def _check_due(file: Path, state: StateFolder, output: Output, *, is_resumed: bool) -> int:
    """Run one job if it is due and not running; return the exit code.

    Args:
        is_resumed: whether an interrupted run is resumed at once.
    """
    from bulk_reset.core.errors import InputError  # noqa: PLC0415
    from bulk_reset.jobs.job_files.invalid_job import InvalidJob, notify_invalid  # noqa: PLC0415
    from bulk_reset.jobs.job_files.job_file import read_job  # noqa: PLC0415  (imports pydantic)

    try:
        read = read_job(file)
    except InputError as error:
        notify_invalid(InvalidJob(file.absolute(), str(error)), state)
        raise
    with state.checked(read.name) as is_free:
        if is_free:
            code = _run_if_due(read, state, output, is_resumed=is_resumed)
            return code or (_last_code(read.name, state) if is_resumed else ExitCode.DONE)
    output.notice(f"{read.name}: already running; nothing was started.")
    return ExitCode.LOCKED if is_resumed else ExitCode.DONE


def _last_code(name: str, state: StateFolder) -> int:
    """Return the exit code of the last run that was due: the caller retries until it is done."""
    from bulk_reset.core.errors import InputError  # noqa: PLC0415

    job_state = state.job_state(name)
    if job_state is None or not job_state.run_id:
        return ExitCode.DONE
    try:
        record = state.read(job_state.run_id)
    except InputError:
        return ExitCode.DONE  # it was removed since
    return ExitCode.LOCKED if record.exit_code is None else record.exit_code


@contextlib.contextmanager
def _log_of(path: Path) -> Iterator[list[LogOutput]]:
    """Open the log of a run; a run whose log cannot be written has none."""
    from bulk_reset.core.input_file import open_output  # noqa: PLC0415
    from bulk_reset.observability.run_log import LogOutput  # noqa: PLC0415  (imports structlog)

    try:
        log = open_output(path)
    except OSError as error:
        print_error(f"{path}: cannot be written ({error.strerror}); the run keeps no log")
        yield []
        return
    try:
        yield [LogOutput(log, is_human=False)]
    finally:
        # An error of a full disk was reported when the event was written.
        with contextlib.suppress(OSError):
            log.close()


def _run_if_due(read: Job, state: StateFolder, output: Output, *, is_resumed: bool) -> int:
    """Run one job if it is due, as the schedule does."""
    import asyncio  # noqa: PLC0415

    from bulk_reset.cli.schedule import run_log_on_stderr  # noqa: PLC0415
    from bulk_reset.jobs.schedule.job_folder import JobFolder  # noqa: PLC0415
    from bulk_reset.jobs.schedule.schedule_process import RunProcesses, run_schedule  # noqa: PLC0415
    from bulk_reset.jobs.schedule.scheduler import Scheduler  # noqa: PLC0415  (imports APScheduler)

    # In a separate process, as the schedule does: this one could not handle a signal.
    processes = RunProcesses(state, is_quiet=output.is_quiet)
    run_log = run_log_on_stderr(output)
    folder = JobFolder(
        read.path.parent,
        state,
        run_log,
        only=read.path.name,
        is_once=True,
        is_called_when_due=is_resumed,
    )
    scheduler = Scheduler(folder, processes.start)
    return asyncio.run(run_schedule(scheduler, processes, once=True, port=None))


def can_be_resumed(record: RunRecord) -> bool:
    """Return whether a run has rows left that the same run can send."""
    return record.is_open or record.exit_code == ExitCode.STOPPED
