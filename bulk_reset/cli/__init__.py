"""The command line: one module for each command, which parses, calls one action, prints, exits.

Nothing heavy is imported here or at the top of a command's module, so ``--help`` and a usage error
are fast.

State: the context of the command that runs. Imported by no other package.

Public surface:
    main, app            the program
    commands             every command, by its name
    check, run, plan …   one module for each command
    arguments, shared                      options that several commands have
    sheet_, connection_, approval_options  of how a sheet is read, where rows go, and approvals
    view                 progress, and how a question is asked
    console, summary     tables, errors and summaries on the terminal
    approval_options     options of notes and approvals; job_install, plan_show, pull_memory
    run_confirmation     what ``run`` shows and asks before it sends
    next_steps           the commands that are suggested
    settings, config     defaults from the configuration file and variables
    help_text, docs      help and manual
    app_command          what every command has: defaults, empty options, its context
    value_conversion     options that need no conversion; invalid_values: what is wrong with one
    streams, record      output that may be closed or full; log and metrics files
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
from bulk_reset.cli import completion
from bulk_reset.cli.commands import ProgramGroup
from bulk_reset.cli.console import print_error, print_topic
from bulk_reset.cli.next_steps import PROGRAM
from bulk_reset.cli.streams import make_streams_last
from bulk_reset.core.errors import SYSTEM_ERRORS, ExitCode, InputError, of_system
from bulk_reset.core.option_names import OptionStyle, name_options_as
from bulk_reset.core.safe_text import without_controls

_GC_THRESHOLDS = (50_000, 50, 50)
"""Tens of thousands of rows are alive at a time and are freed without the garbage collector. Its
default is a collection after every 700 objects, up to a fifth of the run time."""

app = typer.Typer(
    name=PROGRAM,
    cls=ProgramGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _options(
    *,
    version: bool = typer.Option(False, "--version", "-V", help="Print the version and exit."),
) -> None:
    """Update thousands of Flashduty incidents from a spreadsheet within the API's quota.

    Every row is reported, an interrupted run resumes, and a run can be undone.

    Examples:
        bulk-reset pull incidents.xlsx --since 30d --sandbox-state try.json
        bulk-reset plan incidents.xlsx --sandbox-state try.json
        bulk-reset run incidents.xlsx --sandbox-state try.json --verify

    Help:
        bulk-reset COMMAND --help   the options of a command
        bulk-reset docs             the manual
    """
    if version:
        from importlib.metadata import version as installed  # noqa: PLC0415

        typer.echo(f"bulk-reset {installed('bulk-reset')}")
        raise typer.Exit


_ENDING = ("SIGTERM", "SIGHUP")
"""Signals that by default end a program at once, without removing its temporary files."""


def _exit_on_signals() -> None:
    """Let the signals that end a program run ``finally`` blocks, as Ctrl-C does."""
    for name in _ENDING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # no nohup
            signal.signal(number, _exit)


def _exit(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def _ignore_signals() -> None:
    """Let no signal change the exit code while the interpreter shuts down: all is printed."""
    for name in ("SIGINT", *_ENDING):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_IGN)


def main() -> None:
    """Run the command; an unexpected error is one line (with ``-v`` its traceback), exit 70."""
    gc.set_threshold(*_GC_THRESHOLDS)
    gc.enable()
    _disable_core_dumps()
    _exit_on_signals()
    make_streams_last()
    try:
        completion.prepare()
        with name_options_as(OptionStyle.COMMAND_LINE):
            app(prog_name=PROGRAM)  # also for python -m bulk_reset
    except InputError as error:
        # A default in the configuration file or a variable, found before the command started.
        print_error(f"error: {redact(str(error))}")
        print_topic(error.topic)
        sys.exit(error.exit_code)
    except SYSTEM_ERRORS as error:
        print_error(f"error: {redact(str(of_system(error)))}")
        sys.exit(ExitCode.STOPPED)
    except Exception as error:  # noqa: BLE001  (the last resort; what is printed holds no key)
        if {"-v", "--verbose"} & set(sys.argv):
            sys.stderr.write(without_controls(redact(traceback.format_exc())))
        text = f"internal error: {type(error).__name__}: {error}\n"
        sys.stderr.write(
            f"{without_controls(redact(text))}"
            "This is a bug in bulk-reset. Rows that are done are in the report. "
            "Run again with -v to print where it happened.\n"
        )
        sys.exit(ExitCode.INTERNAL)
    finally:
        _ignore_signals()
        gc.freeze()  # the interpreter searches all objects before it ends


def _disable_core_dumps() -> None:
    """Prevent a core file, which would contain the key, if the interpreter crashes."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # ImportError: Windows
        import resource  # noqa: PLC0415

        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
