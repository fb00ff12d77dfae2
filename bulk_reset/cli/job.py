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

from bulk_reset.cli.app_command import AppCommand, AppGroup
from bulk_reset.cli.arguments import JsonOption, QuietOption, StateDirOption, VerboseOption
from bulk_reset.cli.console import Output, cell, new_table, print_error
from bulk_reset.core.counting import counted
from bulk_reset.core.errors import ExitCode

if TYPE_CHECKING:
    from bulk_reset.jobs.job import Job
    from bulk_reset.jobs.run_record import RunRecord
    from bulk_reset.jobs.state_folder import StateFolder
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
JobFileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A job file (.toml).", show_default=False)
]


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
    from bulk_reset.jobs.job_file import (  # noqa: PLC0415  (imports pydantic)
        JobFileError,
        read_job,
    )
    from bulk_reset.jobs.job_summary import (  # noqa: PLC0415
        FREE_TEXT,
        concerns,
        describe,
        next_dues,
    )

    try:
        read = read_job(file)
    except InputError as error:
        for line in str(error).splitlines():
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
        from bulk_reset.jobs.job_file import read_job  # noqa: PLC0415  (imports pydantic)
        from bulk_reset.jobs.job_summary import describe_due, next_dues  # noqa: PLC0415
        from bulk_reset.jobs.state_folder import StateFolder  # noqa: PLC0415

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
                broken += str(error).splitlines()
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
        from bulk_reset.jobs.job_file import read_job  # noqa: PLC0415  (imports pydantic)
        from bulk_reset.jobs.job_summary import from_here  # noqa: PLC0415
        from bulk_reset.jobs.state_folder import StateFolder  # noqa: PLC0415

        if if_due and run_id is not None:
            raise InputError("--if-due: cannot be combined with --run. Remove one of them.")
        state, read = StateFolder(state_dir), read_job(file)
        if if_due:
            code = _run_if_due(read, state, output)
            raise typer.Exit(code)
        record = _new_run(read, state) if run_id is None else _open_run(read, state, run_id)
        ended = _run(read, state, record, output)
        output.line(f"{ended.job}: {ended.words}")
        if output.is_quiet and ended.exit_code != ExitCode.DONE:
            print_error(f"{ended.job}: {ended.words}")  # cron sends this by mail
        output.line(f"Run: {from_here(state.folder(ended.id))}")
        output.json(dataclasses.asdict(ended))
    raise typer.Exit(ended.exit_code or 0)


def _new_run(read: Job, state: StateFolder) -> RunRecord:
    from bulk_reset.jobs.job_run import new_record  # noqa: PLC0415
    from bulk_reset.jobs.run_record import run_id_of  # noqa: PLC0415

    now_at = float(int(time.time()))
    record = new_record(read, now_at, run_id_of(read.name, now_at), is_scheduled=False)
    with state.locked(read.name):  # if the job is running already, no record is left
        made = state.begin(record, read.path.read_bytes())
    assert made is not None  # noqa: S101  (only of one that is scheduled)
    return made


def _open_run(read: Job, state: StateFolder, run_id: str) -> RunRecord:
    """Return the record of a run that can be resumed.

    Raises:
        InputError: it is a run of another job, or has nothing left to do.
    """
    from bulk_reset.core.errors import InputError  # noqa: PLC0415
    from bulk_reset.jobs.job_run import deadline_of  # noqa: PLC0415
    from bulk_reset.jobs.run_record import ABANDONED  # noqa: PLC0415

    record = state.read(run_id)
    if record.job != read.name:
        raise InputError(
            f"--run {run_id}: is a run of {record.job}, not of {read.name}. Use its job file."
        )
    if record.state == "missed" or record.exit_code == ExitCode.DONE:
        why = "was missed" if record.state == "missed" else "is done"
        raise InputError(f"--run {run_id}: {why}. Remove --run to start a new run.")
    if record.stop in {"deadline", ABANDONED}:
        # No schedule resumes it. A user who does knows that it is late.
        record = dataclasses.replace(record, deadline_at=deadline_of(read, time.time()))
        with state.locked(read.name):
            state.write(record)
    return record


def _run(read: Job, state: StateFolder, record: RunRecord, output: Output) -> RunRecord:
    """Run a job; log to standard error and to the folder of the run."""
    from bulk_reset.cli.schedule import stderr_output  # noqa: PLC0415
    from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
    from bulk_reset.jobs.job_run import JobRun  # noqa: PLC0415  (imports structlog)
    from bulk_reset.jobs.run_record import LOG  # noqa: PLC0415
    from bulk_reset.observability.run_log import new_run_log  # noqa: PLC0415

    with _log_of(state.folder(record.id) / LOG) as outputs:
        if not output.is_quiet:
            outputs.append(stderr_output())
        run_log = new_run_log(*outputs, job=record.job, run=record.id)
        return JobRun(read, state, record, run_log, Callbacks()).run(handles_signals=True)


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
    from bulk_reset.jobs.job_folder import JobFolder  # noqa: PLC0415
    from bulk_reset.jobs.schedule_process import RunProcesses, run_schedule  # noqa: PLC0415
    from bulk_reset.jobs.scheduler import Scheduler  # noqa: PLC0415  (imports APScheduler)

    # In a separate process, as the schedule does: this one could not handle a signal.
    processes = RunProcesses(state, is_quiet=output.is_quiet)
    run_log = run_log_on_stderr(output)
    folder = JobFolder(read.path.parent, state, run_log, only=read.path.name)
    scheduler = Scheduler(folder, processes.start)
    return asyncio.run(run_schedule(scheduler, processes, once=True, port=None))


@job.command(cls=AppCommand)
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
        from bulk_reset.jobs.job_file import read_job  # noqa: PLC0415  (imports pydantic)
        from bulk_reset.jobs.system_timers import cron_lines, systemd_units  # noqa: PLC0415

        if systemd == cron:
            raise InputError("--systemd, --cron: use exactly one of them.")
        if cron and to is not None:
            raise InputError("--to: requires --systemd. Remove --to, or use --systemd.")
        read = read_job(file)
        if cron:
            typer.echo(cron_lines(read, state_dir), nl=False)
            return
        units = systemd_units(read, state_dir)
        for name, text in units.items():
            if to is None:
                typer.echo(f"# /etc/systemd/system/{name}\n{text}")
                continue
            with atomic_file(to / name) as unit:
                unit.write(text.encode())
            output.line(f"Unit: {to / name}")
        if to is not None:
            timer = next(name for name in units if name.endswith(".timer"))
            output.line(f"Next: systemctl daemon-reload && systemctl enable --now {timer}")


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
