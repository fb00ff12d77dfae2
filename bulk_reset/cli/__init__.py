"""The command line: one file a command, each parses, calls one action, prints and exits.

Nothing heavy is imported here or at the top of a command's file: ``--help`` and a usage error
wait neither for pandas nor for aiohttp.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import traceback
from typing import NoReturn

import typer

from bulk_reset.api.credentials import redact
from bulk_reset.cli import (
    check,
    job,
    plan,
    pull,
    report,
    run,
    runs,
    sandbox,
    schedule,
    template,
    undo,
    verify,
)
from bulk_reset.cli.streams import make_streams_last
from bulk_reset.core.errors import ExitCode
from bulk_reset.core.option_names import OptionStyle, name_options_as
from bulk_reset.core.safe_text import without_controls

_GC_THRESHOLDS = (50_000, 50, 50)
"""Rows by the ten thousand are alive at a time and die without the collector's help, which by
default would look through them after every 700 objects: up to a fifth of the time."""

app = typer.Typer(
    name="bulk-reset",
    help="Update thousands of Flashduty incidents from a spreadsheet, within the API's quota, "
    "with a report of every row.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    pull.pull,
    check.check,
    plan.plan,
    run.run,
    verify.verify,
    undo.undo,
    report.report,
    template.template,
    sandbox.sandbox,
):
    app.command()(command)
app.add_typer(job.job)
app.command()(schedule.schedule)
app.add_typer(runs.runs)


@app.callback(invoke_without_command=True)
def _options(
    *,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        from importlib.metadata import version as installed  # noqa: PLC0415

        typer.echo(f"bulk-reset {installed('bulk-reset')}")
        raise typer.Exit


_ENDING = ("SIGTERM", "SIGHUP")
"""Signals that by default end a program on the spot, with its temporary files left behind."""


def _end_in_order() -> None:
    """Let the signals that end a program do so by way of ``finally``, as Ctrl-C does."""
    for name in _ENDING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # no nohup
            signal.signal(number, _end)


def _end(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def _end_undisturbed() -> None:
    """Let nothing change the exit code while Python takes itself apart: all is done and said."""
    for name in ("SIGINT", *_ENDING):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_IGN)


def main() -> None:
    """Run the command; an unexpected error is one line (with ``-v`` its traceback), exit 70."""
    gc.set_threshold(*_GC_THRESHOLDS)
    _leave_no_core()
    _end_in_order()
    make_streams_last()
    try:
        with name_options_as(OptionStyle.COMMAND_LINE):
            app()
    except Exception as error:  # noqa: BLE001  (the last resort; what is printed holds no key)
        if {"-v", "--verbose"} & set(sys.argv):
            sys.stderr.write(without_controls(redact(traceback.format_exc())))
        text = f"internal error: {type(error).__name__}: {error}\n"
        sys.stderr.write(
            f"{without_controls(redact(text))}"
            "This is a mistake in bulk-reset. Rows that are done stand in the report; "
            "run again with -v to see where it happened.\n"
        )
        sys.exit(ExitCode.INTERNAL)
    finally:
        _end_undisturbed()


def _leave_no_core() -> None:
    """See that a crash of the interpreter leaves no image of the memory, with the key in it."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # ImportError: Windows
        import resource  # noqa: PLC0415

        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
