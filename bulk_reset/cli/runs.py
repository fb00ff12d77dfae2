"""``bulk-reset runs``: list, show and remove the runs of jobs."""

from __future__ import annotations

import dataclasses
import re
import time
from typing import TYPE_CHECKING, Annotated

import typer

from bulk_reset.cli.app_command import AppCommand, AppGroup
from bulk_reset.cli.arguments import JsonOption, QuietOption, StateDirOption, VerboseOption
from bulk_reset.cli.console import Output, cell, new_table
from bulk_reset.cli.job import due_time, result_of
from bulk_reset.cli.job_run import can_be_resumed
from bulk_reset.cli.next_steps import command_line
from bulk_reset.core.counting import counted, duration
from bulk_reset.core.errors import ExitCode

if TYPE_CHECKING:
    from bulk_reset.jobs.job_runs.run_record import RunRecord

runs = typer.Typer(name="runs", cls=AppGroup, add_completion=False)
_UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
_SHOWN = 30


@runs.callback(invoke_without_command=True)
def list_runs(
    context: typer.Context,
    *,
    job: Annotated[
        str | None, typer.Option(metavar="NAME", help="The runs of one job only.")
    ] = None,
    last: Annotated[int, typer.Option(metavar="N", min=1, help="Show the last N runs.")] = _SHOWN,
    state_dir: StateDirOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """List the runs of jobs: time (due, or started by hand), duration, rows, result.

    Examples:
        bulk-reset runs
        bulk-reset runs --job nightly --last 5
        bulk-reset runs show ID

    Exit codes:
        0  the last run of each job is done
        1  the last run of a job is not done
    """
    if context.invoked_subcommand is not None:
        return
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.jobs.job_runs.state_folder import StateFolder  # noqa: PLC0415

        state = StateFolder(state_dir)
        records = state.records(job)
        latest = {record.job: record for record in records}
        table = new_table("run", "time", "took", "rows", "result", right={"rows"}, whole="run")
        for record in records[-last:]:
            table.add_row(
                record.id,
                due_time(record.due_at) + ("" if record.is_scheduled else ", by hand"),
                _took(record),
                f"{record.rows:,}" if record.rows else "",
                cell(result_of(record, state)),
            )
        if records:
            output.table(table)
        else:
            of_job = f" of {job}" if job else ""
            output.line(
                f"No runs{of_job} in {state.path}. Use --state-dir DIR for another state folder."
            )
        if len(records) > last:
            output.line(f"… and {counted(len(records) - last, 'older run')}; --last N shows more.")
        is_done = all(record.exit_code == 0 for record in latest.values())
        code = ExitCode.DONE if is_done else ExitCode.NOT_ALL
        listed = [dataclasses.asdict(record) for record in records[-last:]]
        output.json({"runs": listed, "exit_code": int(code)})
    raise typer.Exit(code)


@runs.command(cls=AppCommand)
def show(
    run_id: Annotated[
        str, typer.Argument(metavar="ID", help="The ID of a run.", show_default=False)
    ],
    *,
    state_dir: StateDirOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show one run: its result, its files, and the commands to resume or undo it.

    Examples:
        bulk-reset runs show 20260601T010000Z-nightly
        bulk-reset runs show 20260601T010000Z-nightly --json
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.jobs.job_runs.state_folder import StateFolder  # noqa: PLC0415

        state = StateFolder(state_dir)
        record = state.read(run_id)
        folder = state.folder(run_id)
        report = folder / record.report if record.report else None
        can_undo = _can_undo(report)
        where = ["--state-dir", state_dir.absolute()] if state_dir is not None else []
        facts = {
            "Job": f"{record.job} ({record.job_file})",
            "Due": due_time(record.due_at) if record.is_scheduled else "started by hand",
            "Started": due_time(record.started_at) if record.started_at else "",
            "Ended": f"{due_time(record.ended_at)}, after {_took(record)}"
            if record.ended_at
            else "",
            "Result": result_of(record, state),
            "Rows": ", ".join(f"{rows:,} {status}" for status, rows in record.counts.items()),
            "Invalid": f"\n{'':<10}".join(record.row_texts()),
            "Requests": f"{record.requests:,}" if record.requests else "",
            "Source": record.source,
            "SHA-256": record.sheet_sha256,
            "Note": record.note,
            "Approved": "; ".join(record.approved_by),
            "Notified": record.notified,
            "Version": record.version,
            "Folder": str(folder),
            "Files": ", ".join(sorted(path.name for path in folder.iterdir())),
            "Page": str(folder / record.page) if record.page else "",
            "Resume": command_line("job", "run", record.job_file, "--run", run_id, *where)
            if can_be_resumed(record)
            else "",
            "Report": command_line("report", report) if report and report.exists() else "",
            "Verify": command_line("verify", report, *record.connect) if can_undo else "",
            "Undo": command_line("undo", report, *record.connect) if can_undo else "",
        }
        for name, text in facts.items():
            if text:
                output.line(f"{name:<10}{text}")
        output.json({"run": dataclasses.asdict(record), "folder": str(folder), "exit_code": 0})


@runs.command(cls=AppCommand)
def clean(
    *,
    older_than: Annotated[
        str,
        typer.Option(metavar="AGE", help="The age, such as 90d, 12w or 36h.", show_default=False),
    ],
    state_dir: StateDirOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Remove the folders of old runs, with their previous values; they cannot be undone.

    The last run of each job, and a run in progress, are kept.

    Examples:
        bulk-reset runs clean --older-than 90d
        bulk-reset runs clean --older-than 12w --json
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.core.errors import InputError  # noqa: PLC0415
        from bulk_reset.jobs.job_runs.state_folder import StateFolder  # noqa: PLC0415

        found = re.fullmatch(r"(\d{1,6})([hdw])", older_than)
        if found is None:
            raise InputError(
                f"--older-than {older_than}: is not an age. Use for example 90d, 12w or 36h."
            )
        age_s = int(found[1]) * _UNITS[found[2]]
        removed = StateFolder(state_dir).clean(time.time() - age_s)
        output.line(f"{counted(len(removed), 'run')} removed")
        output.json({"removed": removed, "exit_code": 0})


def _took(record: RunRecord) -> str:
    if not (record.started_at and record.ended_at):
        return ""
    return duration(record.ended_at - record.started_at)


def _can_undo(report: object) -> bool:
    from pathlib import Path  # noqa: PLC0415

    from bulk_reset.records.report_reader import beside  # noqa: PLC0415
    from bulk_reset.workflows.report_destination import is_gone  # noqa: PLC0415

    if not isinstance(report, Path) or not beside(report, "before.csv").exists():
        return False
    return not is_gone(report)
