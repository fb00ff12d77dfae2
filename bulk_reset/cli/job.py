"""``bulk-reset job``: check, list, run and install jobs that are defined in files."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bulk_reset.cli import next_steps
from bulk_reset.cli.app_command import AppCommand, AppGroup
from bulk_reset.cli.arguments import JsonOption, QuietOption, StateDirOption, VerboseOption
from bulk_reset.cli.console import Output, cell, new_table, print_error
from bulk_reset.cli.job_install import JobFileArgument, install
from bulk_reset.core.counting import counted
from bulk_reset.core.errors import ExitCode

if TYPE_CHECKING:
    from bulk_reset.jobs.job_files.job import Job
    from bulk_reset.jobs.job_runs.run_record import RunRecord
    from bulk_reset.jobs.job_runs.state_folder import StateFolder
    from bulk_reset.observability.run_log import LogOutput

job = typer.Typer(
    name="job",
    cls=AppGroup,
    help="""Check, list, run and install jobs that are defined in files.

    Examples:
        bulk-reset job check nightly.toml
        bulk-reset job run nightly.toml
        bulk-reset docs jobs
    """,
    no_args_is_help=True,
)


@job.command(cls=AppCommand)
def check(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Job files.", show_default=False)
    ],
    *,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Explain what jobs will do and when they are due; nothing is run.

    Examples:
        bulk-reset job check nightly.toml
        bulk-reset job check jobs/*.toml --json

    Exit codes:
        0  all files are valid
        2  some files have errors, each with its line
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    checked, is_valid = [], True
    with output.errors():
        for file in files:
            one = _checked(file, output)
            is_valid = is_valid and not one["errors"]
            checked.append(one)
    code = ExitCode.DONE if is_valid else ExitCode.INPUT
    output.json({"jobs": checked, "exit_code": int(code)})
    raise typer.Exit(code)


def _checked(file: Path, output: Output) -> dict[str, Any]:
    from bulk_reset.core.errors import InputError  # noqa: PLC0415
    from bulk_reset.jobs.job_files.job_file import (  # noqa: PLC0415  (imports pydantic)
        JobFileError,
        read_job,
    )
    from bulk_reset.jobs.job_files.job_summary import (  # noqa: PLC0415
        FREE_TEXT,
        concerns,
        describe,
        next_dues,
    )

    try:
        read = read_job(file)
    except InputError as error:
        for line in error.lines():
            print_error(line)
        found = error.problems if isinstance(error, JobFileError) else ()
        errors = [dataclasses.asdict(one) for one in found]
        return {"file": str(file), "errors": errors or [{"problem": str(error)}]}
    summary, dues, notes = describe(read), next_dues(read, time.time()), list(concerns(read))
    output.line(f"{read.name}: {read.description}" if read.description else read.name)
    width = max(len(name) for name, _ in summary) + 2
    for name, text in summary:
        # A text that the user wrote is printed as it is.
        first, *more = [text] if name in FREE_TEXT else text.split("; ")
        output.line(f"  {name:<{width}}{first}")
        for line in more:
            output.line(f"  {'':<{width}}{line}")
    if dues:
        output.line("  Next")
        for line in dues:
            output.line(f"    {line}")
    for note in notes:
        print_error(f"  note: {note}")
    return {
        "file": str(file),
        "job": read.name,
        "errors": [],
        "summary": [f"{name}: {text}" for name, text in summary],
        "next": dues,
        "notes": notes,
    }


@job.command(name="list", cls=AppCommand)
def list_jobs(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of job files.", show_default=False)
    ],
    *,
    state_dir: StateDirOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """List the jobs of a folder: due times, and the results of the last runs.

    Examples:
        bulk-reset job list jobs
        bulk-reset job list jobs --json

    Exit codes:
        0  all files are valid
        2  some files have errors
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.core.errors import InputError  # noqa: PLC0415
        from bulk_reset.jobs.job_files.job_file import read_job  # noqa: PLC0415  (imports pydantic)
        from bulk_reset.jobs.job_files.job_summary import describe_due, next_dues  # noqa: PLC0415
        from bulk_reset.jobs.job_runs.state_folder import StateFolder  # noqa: PLC0415

        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder. Use a folder with job files (*.toml).")
        state = StateFolder(state_dir)
        last = {one.job: one for one in state.records()}
        table = new_table("job", "due", "next", "last run", "result")
        listed: list[dict[str, Any]] = []
        broken: list[str] = []
        for file in sorted(folder.glob("*.toml")):
            try:
                read = read_job(file)
            except InputError as error:
                broken += error.lines()
                listed.append({"job": file.stem, "file": str(file), "errors": str(error)})
                table.add_row(cell(file.stem), "invalid", "", "", "")
                continue
            record = last.get(read.name)
            following = next_dues(read, time.time())[:1]
            when = following[0].partition(",")[0] if following else ""
            listed.append(
                {
                    "job": read.name,
                    "file": str(file),
                    "due": describe_due(read),
                    "next": when,
                    "last": dataclasses.asdict(record) if record else None,
                }
            )
            ended = (due_time(record.due_at), result_of(record, state)) if record else ("never", "")
            table.add_row(*map(cell, (read.name, describe_due(read), when, *ended)))
        output.table(table)
        for line in broken:
            print_error(line)
        code = ExitCode.INPUT if broken else ExitCode.DONE
        output.json({"jobs": listed, "exit_code": int(code)})
    raise typer.Exit(code)


@job.command(cls=AppCommand)
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
    run_id: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="Resume this run.")
    ] = None,
    state_dir: StateDirOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a job now, from a terminal, cron, systemd or Kubernetes.

    Each run has its own folder; see bulk-reset runs. Events go to standard error: readable on a
    terminal, lines of JSON elsewhere.

    Examples:
        bulk-reset job run nightly.toml
        bulk-reset job run nightly.toml --if-due

    Exit codes:
        As of bulk-reset run; 4 if the job is running already.
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.core.errors import InputError  # noqa: PLC0415
        from bulk_reset.core.temporary_folder import use_temporary_folder  # noqa: PLC0415
        from bulk_reset.jobs.job_files.job_summary import from_here  # noqa: PLC0415
        from bulk_reset.jobs.job_runs.state_folder import StateFolder  # noqa: PLC0415

        if if_due and run_id is not None:
            raise InputError("--if-due: cannot be combined with --run. Remove one of them.")
        state = StateFolder(state_dir)
        use_temporary_folder(state.path)
        if if_due:
            raise typer.Exit(_check_due(file, state, output))
        read, record = _new_run(file, state) if run_id is None else _open_run(file, state, run_id)
        ended = _run(read, state, record, output)
        for text in (f"{ended.job}: {ended.words}", *ended.row_texts()):
            output.line(text)
            if output.is_quiet and ended.exit_code != ExitCode.DONE:
                print_error(text)  # cron sends this by mail
        output.line(f"Run: {from_here(state.folder(ended.id))}")
        if can_be_resumed(ended):
            resume = next_steps.same_command(without={"if-due"}, plus={"run": ended.id})
            output.line(f"To resume: {resume}")
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


def _run(read: Job, state: StateFolder, record: RunRecord, output: Output) -> RunRecord:
    """Run a job; log to standard error and to the folder of the run."""
    from bulk_reset.cli.schedule import stderr_output  # noqa: PLC0415
    from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
    from bulk_reset.jobs.job_runs.job_run import JobRun  # noqa: PLC0415  (imports structlog)
    from bulk_reset.jobs.job_runs.run_record import LOG  # noqa: PLC0415
    from bulk_reset.observability.run_log import new_run_log  # noqa: PLC0415

    with _log_of(state.folder(record.id) / LOG) as outputs:
        if not output.is_quiet:
            outputs.append(stderr_output())
        run_log = new_run_log(*outputs, job=record.job, run=record.id)
        return JobRun(read, state, record, run_log, Callbacks()).run(handles_signals=True)


def _check_due(file: Path, state: StateFolder, output: Output) -> int:
    """Run one job if it is due and not running; return the exit code."""
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
            return _run_if_due(read, state, output)
    output.notice(f"{read.name}: already running; nothing was started.")
    return ExitCode.DONE


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


def _run_if_due(read: Job, state: StateFolder, output: Output) -> int:
    """Run one job if it is due, as the schedule does."""
    import asyncio  # noqa: PLC0415

    from bulk_reset.cli.schedule import run_log_on_stderr  # noqa: PLC0415
    from bulk_reset.jobs.schedule.job_folder import JobFolder  # noqa: PLC0415
    from bulk_reset.jobs.schedule.schedule_process import RunProcesses, run_schedule  # noqa: PLC0415
    from bulk_reset.jobs.schedule.scheduler import Scheduler  # noqa: PLC0415  (imports APScheduler)

    # In a separate process, as the schedule does: this one could not handle a signal.
    processes = RunProcesses(state, is_quiet=output.is_quiet)
    run_log = run_log_on_stderr(output)
    folder = JobFolder(read.path.parent, state, run_log, only=read.path.name, is_once=True)
    scheduler = Scheduler(folder, processes.start)
    return asyncio.run(run_schedule(scheduler, processes, once=True, port=None))


job.command(cls=AppCommand)(install)


def can_be_resumed(record: RunRecord) -> bool:
    """Return whether a run has rows left that the same run can send."""
    return record.is_open or record.exit_code == ExitCode.STOPPED


def due_time(due_at: float) -> str:
    """Return a time in the time zone of this machine."""
    return f"{dt.datetime.fromtimestamp(due_at).astimezone():%a %Y-%m-%d %H:%M %Z}"


def result_of(record: RunRecord, state: StateFolder) -> str:
    """Return the result of a run in one line."""
    if record.state == "missed":
        return f"missed {counted(record.missed, 'time')}: {record.words}"
    if state.is_cut_short(record):
        return "interrupted; rows may be pending"
    if record.state != "ended":
        return record.state
    return f"exit code {record.exit_code}: {record.words}"
