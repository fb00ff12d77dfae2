"""``bulk-reset job``: check, list, run and install jobs that are defined in files."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bulk_reset.cli.app_command import AppCommand, AppGroup
from bulk_reset.cli.arguments import JsonOption, QuietOption, StateDirOption, VerboseOption
from bulk_reset.cli.console import Output, cell, new_table, print_error
from bulk_reset.cli.job_install import install
from bulk_reset.cli.job_run import run
from bulk_reset.core.counting import counted
from bulk_reset.core.errors import ExitCode

if TYPE_CHECKING:
    from bulk_reset.jobs.job_runs.run_record import RunRecord
    from bulk_reset.jobs.job_runs.state_folder import StateFolder

job = typer.Typer(
    add_completion=False,
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


job.command(cls=AppCommand)(run)
job.command(cls=AppCommand)(install)


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
