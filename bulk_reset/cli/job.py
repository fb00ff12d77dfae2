"""``bulk-reset job``: jobs that are written down, checked, listed, run, and handed to a machine."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bulk_reset.cli.arguments import JsonOption, QuietOption, StateDirOption, VerboseOption
from bulk_reset.cli.console import Output, new_table, say_red
from bulk_reset.core.counting import counted
from bulk_reset.core.errors import ExitCode

if TYPE_CHECKING:
    from bulk_reset.jobs.job import Job
    from bulk_reset.jobs.run_record import RunRecord
    from bulk_reset.jobs.state_folder import StateFolder

job = typer.Typer(
    name="job",
    help="Jobs that are written in files: check, list, run and install them.",
    no_args_is_help=True,
)
JobFileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A job file (.toml).", show_default=False)
]


@job.command()
def check(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Job files.", show_default=False)
    ],
    *,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Say in words what jobs would do, and when they are due next; nothing is run.

    Exit code: 0 all can be run, 2 some have mistakes, each said with its line.
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    told, is_good = [], True
    with output.errors():
        for file in files:
            one = _checked(file, output)
            is_good = is_good and not one["mistakes"]
            told.append(one)
    code = ExitCode.DONE if is_good else ExitCode.INPUT
    output.json({"jobs": told, "exit_code": int(code)})
    raise typer.Exit(code)


def _checked(file: Path, output: Output) -> dict[str, Any]:
    from bulk_reset.core.errors import InputError  # noqa: PLC0415
    from bulk_reset.jobs.job_file import (  # noqa: PLC0415  (brings pydantic along)
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
            say_red(line)
        found = error.problems if isinstance(error, JobFileError) else ()
        mistakes = [dataclasses.asdict(one) for one in found]
        return {"file": str(file), "mistakes": mistakes or [{"problem": str(error)}]}
    words, dues, wrong = describe(read), next_dues(read, time.time()), list(concerns(read))
    output.say(f"{read.name}: {read.description}" if read.description else read.name)
    width = max(len(name) for name, _ in words) + 2
    for name, text in words:
        # Texts of the job file are not split.
        first, *more = [text] if name in FREE_TEXT else text.split("; ")
        output.say(f"  {name:<{width}}{first}")
        for line in more:
            output.say(f"  {'':<{width}}{line}")
    if dues:
        output.say("  Next")
        for line in dues:
            output.say(f"    {line}")
    for concern in wrong:
        say_red(f"  note: {concern}")
    return {
        "file": str(file),
        "job": read.name,
        "mistakes": [],
        "words": [f"{name}: {text}" for name, text in words],
        "next": dues,
        "notes": wrong,
    }


@job.command(name="list")
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
    """List the jobs of a folder: when they are due, and what became of their last runs.

    Exit code: 0 all can be run, 2 some have mistakes.
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.core.errors import InputError  # noqa: PLC0415
        from bulk_reset.jobs.job_file import read_job  # noqa: PLC0415  (brings pydantic along)
        from bulk_reset.jobs.job_summary import describe_due, next_dues  # noqa: PLC0415
        from bulk_reset.jobs.state_folder import StateFolder  # noqa: PLC0415

        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder. Say one with job files (*.toml).")
        state = StateFolder(state_dir)
        last = {one.job: one for one in state.records()}
        table = new_table("job", "due", "next", "last run", "what became of it")
        told: list[dict[str, Any]] = []
        broken: list[str] = []
        for file in sorted(folder.glob("*.toml")):
            try:
                read = read_job(file)
            except InputError as error:
                broken += str(error).splitlines()
                told.append({"job": file.stem, "file": str(file), "mistakes": str(error)})
                table.add_row(plain(file.stem), "broken", "", "", "")
                continue
            record = last.get(read.name)
            following = next_dues(read, time.time())[:1]
            when = following[0].partition(",")[0] if following else ""
            told.append(
                {
                    "job": read.name,
                    "file": str(file),
                    "due": describe_due(read),
                    "next": when,
                    "last": dataclasses.asdict(record) if record else None,
                }
            )
            ended = (moment(record.due_at), ending(record, state)) if record else ("never", "")
            table.add_row(*map(plain, (read.name, describe_due(read), when, *ended)))
        output.table(table)
        for line in broken:
            say_red(line)
        code = ExitCode.INPUT if broken else ExitCode.DONE
        output.json({"jobs": told, "exit_code": int(code)})
    raise typer.Exit(code)


@job.command()
def run(
    file: JobFileArgument,
    *,
    if_due: Annotated[
        bool,
        typer.Option(
            "--if-due",
            help="Run only what is due since the last time, as the schedule would.",
        ),
    ] = False,
    run_id: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="Go on with this run.")
    ] = None,
    state_dir: StateDirOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a job now, as cron, systemd or Kubernetes would.

    It runs in a folder of its own (see bulk-reset runs); events go to standard error: to be read
    on a terminal, JSON lines elsewhere. Exit code: that of run; 4 if the job is running already.
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.core.errors import InputError  # noqa: PLC0415
        from bulk_reset.jobs.job_file import read_job  # noqa: PLC0415  (brings pydantic along)
        from bulk_reset.jobs.job_summary import from_here  # noqa: PLC0415
        from bulk_reset.jobs.state_folder import StateFolder  # noqa: PLC0415

        if if_due and run_id is not None:
            raise InputError("Say --if-due or --run ID, not both.")
        state, read = StateFolder(state_dir), read_job(file)
        if if_due:
            code = _run_if_due(read, state, output)
            raise typer.Exit(code)
        record = _begun(read, state) if run_id is None else _left(read, state, run_id)
        ended = _run(read, state, record, output)
        output.say(f"{ended.job}: {ended.words}")
        if output.is_quiet and ended.exit_code != ExitCode.DONE:
            say_red(f"{ended.job}: {ended.words}")  # what cron sends by mail
        output.say(f"Run: {from_here(state.folder(ended.id))}")
        output.json(dataclasses.asdict(ended))
    raise typer.Exit(ended.exit_code or 0)


def _begun(read: Job, state: StateFolder) -> RunRecord:
    from bulk_reset.jobs.job_run import new_record  # noqa: PLC0415
    from bulk_reset.jobs.run_record import run_id_of  # noqa: PLC0415

    now_at = float(int(time.time()))
    record = new_record(read, now_at, run_id_of(read.name, now_at), is_scheduled=False)
    with state.locked(read.name):  # where it runs already, nothing is left of this one
        made = state.begin(record, read.path.read_bytes())
    assert made is not None  # noqa: S101  (only of one that is scheduled)
    return made


def _left(read: Job, state: StateFolder, run_id: str) -> RunRecord:
    """Return the record of a run that may be gone on with.

    Raises:
        InputError: it is another job's, or there is nothing to go on with.
    """
    from bulk_reset.core.errors import InputError  # noqa: PLC0415
    from bulk_reset.jobs.job_run import deadline_of  # noqa: PLC0415
    from bulk_reset.jobs.run_record import ABANDONED  # noqa: PLC0415

    record = state.read(run_id)
    if record.job != read.name:
        raise InputError(
            f"--run {run_id}: is a run of {record.job}, not of {read.name}. Say its job file."
        )
    if record.state == "missed" or record.exit_code == ExitCode.DONE:
        why = "was missed" if record.state == "missed" else "is done"
        raise InputError(f"--run {run_id}: {why}. Leave --run out for a new one.")
    if record.stop in {"deadline", ABANDONED}:
        # No schedule goes on with it. Whoever does by hand knows that it is late.
        record = dataclasses.replace(record, deadline_at=deadline_of(read, time.time()))
        with state.locked(read.name):
            state.write(record)
    return record


def _run(read: Job, state: StateFolder, record: RunRecord, output: Output) -> RunRecord:
    """Run it, and log it: on standard error, and in its folder."""
    from bulk_reset.cli.schedule import stderr_output  # noqa: PLC0415
    from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
    from bulk_reset.jobs.job_run import JobRun  # noqa: PLC0415  (brings structlog along)
    from bulk_reset.jobs.run_record import LOG  # noqa: PLC0415
    from bulk_reset.observability.run_log import LogOutput, new_run_log  # noqa: PLC0415

    with (state.folder(record.id) / LOG).open("a", encoding="utf-8", buffering=1) as log:
        outputs = [LogOutput(log, is_human=False)]
        if not output.is_quiet:
            outputs.append(stderr_output())
        run_log = new_run_log(*outputs, job=record.job, run=record.id)
        return JobRun(read, state, record, run_log, Callbacks()).run(handles_signals=True)


def _run_if_due(read: Job, state: StateFolder, output: Output) -> int:
    """Run what is due of one job, as the schedule would."""
    import asyncio  # noqa: PLC0415

    from bulk_reset.cli.schedule import run_log_on_stderr  # noqa: PLC0415
    from bulk_reset.jobs.job_folder import JobFolder  # noqa: PLC0415
    from bulk_reset.jobs.schedule_process import RunProcesses, run_schedule  # noqa: PLC0415
    from bulk_reset.jobs.scheduler import Scheduler  # noqa: PLC0415  (brings APScheduler along)

    # In a process of its own, as the schedule does: here, nobody would hear a signal.
    processes = RunProcesses(state, is_quiet=output.is_quiet)
    run_log = run_log_on_stderr(output)
    folder = JobFolder(read.path.parent, state, run_log, only=read.path.name)
    scheduler = Scheduler(folder, processes.start)
    return asyncio.run(run_schedule(scheduler, processes, once=True, port=None))


@job.command()
def install(
    file: JobFileArgument,
    *,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Print a service and a timer.")
    ] = False,
    cron: Annotated[bool, typer.Option("--cron", help="Print lines for a crontab.")] = False,
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="With --systemd: write the units into this folder."),
    ] = None,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Print what makes this machine run a job when it is due; nothing is installed."""
    output = Output(is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.core.atomic_file import atomic_file  # noqa: PLC0415
        from bulk_reset.core.errors import InputError  # noqa: PLC0415
        from bulk_reset.jobs.job_file import read_job  # noqa: PLC0415  (brings pydantic along)
        from bulk_reset.jobs.system_timers import cron_lines, systemd_units  # noqa: PLC0415

        if systemd == cron:
            raise InputError("Say --systemd or --cron.")
        if cron and to is not None:
            raise InputError("--to is for --systemd: lines of a crontab are printed.")
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
            output.say(f"Unit: {to / name}")
        if to is not None:
            timer = next(name for name in units if name.endswith(".timer"))
            output.say(f"Next: systemctl daemon-reload && systemctl enable --now {timer}")


def moment(moment_at: float) -> str:
    """Return a moment as people of this machine read it."""
    return f"{dt.datetime.fromtimestamp(moment_at).astimezone():%a %Y-%m-%d %H:%M %Z}"


def ending(record: RunRecord, state: StateFolder) -> str:
    """Return what became of a run, in a line."""
    if record.state == "missed":
        return f"missed {counted(record.missed, 'time')}: {record.words}"
    if state.is_cut_short(record):
        return "cut short; rows may be pending"
    if record.state != "ended":
        return record.state
    return f"exit code {record.exit_code}: {record.words}"


def plain(text: str) -> str:
    """Return a text as a cell of a table takes it: one line, and no markup."""
    from rich.markup import escape  # noqa: PLC0415  (a name like [db] is not markup)

    from bulk_reset.core.safe_text import one_line  # noqa: PLC0415

    return escape(one_line(text))
