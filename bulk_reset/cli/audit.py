"""``bulk-reset audit``: verify that the audit of a report is as it was written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bulk_reset.cli.app_command import AppCommand, AppGroup
from bulk_reset.cli.arguments import JsonOption, QuietOption, VerboseOption
from bulk_reset.cli.console import Output, new_table
from bulk_reset.cli.next_steps import command_line
from bulk_reset.core.counting import counted
from bulk_reset.core.errors import ExitCode

if TYPE_CHECKING:
    from bulk_reset.records.audit_chain import ChainCheck

audit = typer.Typer(
    add_completion=False,
    name="audit",
    cls=AppGroup,
    help="""Verify the audit of a report.

    Examples:
        bulk-reset audit verify incidents.audit.jsonl
        bulk-reset docs report
    """,
    no_args_is_help=True,
)


@audit.callback()
def _group() -> None:
    """Keep ``verify`` a command of its own; typer merges a group of one command with it."""


@audit.command(cls=AppCommand)
def verify(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="NAME.audit.jsonl.", show_default=False)
    ],
    *,
    last: Annotated[
        str,
        typer.Option(metavar="HASH", help="A hash that must be in the file.", show_default=False),
    ] = "",
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Verify the hash chain of FILE; name removed, altered, inserted and moved lines.

    Examples:
        bulk-reset audit verify incidents.audit.jsonl
        bulk-reset audit verify incidents.audit.jsonl --last HASH

    Exit codes:
        0  every line is as it was written
        1  lines were removed, altered, inserted, copied or moved
        2  the file is not an audit
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.records.audit_chain import verify_audit  # noqa: PLC0415

        check = verify_audit(file, last)
        code = ExitCode.DONE if check.is_intact else ExitCode.NOT_ALL
        _show(output, file, check)
        output.json({**dataclasses.asdict(check), "exit_code": int(code)})
    raise typer.Exit(code)


def _show(output: Output, file: Path, check: ChainCheck) -> None:
    if check.problems:
        table = new_table("line", "problem", right={"line"})
        for one in check.problems:
            table.add_row(str(one.line), one.text)
        output.table(table, is_error=True)
    problems = counted(len(check.problems), "problem")
    state = "no problems" if check.is_intact else problems
    output.line(f"{file}: {counted(check.lines, 'line')}, {state}")
    if check.unchained:
        have = "has" if check.unchained == 1 else "have"
        output.line(
            f"{counted(check.unchained, 'line')} of them {have} no hash (torn by a crash, or of "
            "an earlier version)."
        )
    if check.is_intact:
        output.line(f"Hash of the last line: {check.last}")
        again = command_line("audit", "verify", file, "--last", check.last)
        output.line(f"To detect later that lines at the end are missing: {again}")
