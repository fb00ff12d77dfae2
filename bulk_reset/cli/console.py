"""The one place through which texts reach the terminal: results, notices, errors, tables, JSON.

A sheet and a server may contain anything, so every text is stripped of what a terminal obeys, and
rich reads neither markup nor emoji codes in it.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import typer

from bulk_reset.api.credentials import redact
from bulk_reset.cli.next_steps import command_line, steps_of
from bulk_reset.cli.streams import has_colour, is_terminal
from bulk_reset.core.counting import counted
from bulk_reset.core.errors import (
    SYSTEM_ERRORS,
    BulkResetError,
    ExitCode,
    InternalError,
    InvalidRowsError,
    of_system,
)
from bulk_reset.core.row_error import kinds_of
from bulk_reset.core.safe_text import escape_controls, one_line, without_controls

if TYPE_CHECKING:
    from rich.text import Text

    from bulk_reset.core.row_error import RowError

SHOWN_ERRORS: Final = 20
_SHOWN_OF_KIND: Final = 5
"""Of many errors, so many of each kind are shown."""
_SHOWN_COLUMNS: Final = 6
_SHOWN_VALUE: Final = 26
_PLAIN_WIDTH: Final = 120


class Output:
    """The output of a command.

    Results go to standard output, all else to standard error. With ``is_json``, standard output
    gets one JSON object and nothing else; with ``is_quiet``, only errors are printed.

    Attributes:
        before_notice: called before a notice is printed; removes a live line of progress.
    """

    def __init__(
        self, *, is_json: bool = False, is_quiet: bool = False, verbose: bool = False
    ) -> None:
        self.is_json, self.is_quiet = is_json, is_quiet
        self.before_notice: Callable[[], None] = lambda: None
        handler = logging.StreamHandler() if verbose else logging.NullHandler()
        handler.setFormatter(_Redacting("%(asctime)s %(name)s %(message)s"))
        logging.basicConfig(handlers=[handler], level=logging.WARNING)
        if verbose:
            logging.getLogger("bulk_reset").setLevel(logging.DEBUG)

    def notice(self, text: str) -> None:
        """Print what the user should know but need not act on; a closed terminal ends no run."""
        if not self.is_quiet:
            with suppress(OSError):
                self.before_notice()
                print_text(_on_one_line(text), is_error=True)

    def once(self) -> Callable[[str], None]:
        """Return a function that prints each notice the first time only.

        A run that asks first reads its sheet twice, and gets the same notices twice.
        """
        printed: set[str] = set()

        def notify(text: str) -> None:
            if text not in printed:
                printed.add(text)
                self.notice(text)

        return notify

    def line(self, text: str = "") -> None:
        """Print a line of the result."""
        if not self.is_quiet:
            print_text(_on_one_line(text), is_error=self.is_json)

    def table(self, table: ResultTable, *, is_error: bool = False) -> None:
        """Print a table of the result, on a terminal in colour and as wide as the terminal."""
        if self.is_quiet and not is_error:
            return
        from rich.console import Console  # noqa: PLC0415

        is_stderr = is_error or self.is_json
        is_wide = not is_terminal(sys.stderr if is_stderr else sys.stdout)
        console = Console(
            stderr=is_stderr,
            width=_PLAIN_WIDTH if is_wide else None,
            no_color=True if is_wide else None,
            markup=False,
            emoji=False,
            highlight=False,
        )
        if not is_wide:
            console.print(table.drawn)
            return
        with console.capture() as lines:
            console.print(table.drawn)
        text = "\n".join(line.rstrip() for line in lines.get().splitlines())
        typer.echo(text, err=is_stderr)

    def json(self, value: dict[str, Any]) -> None:
        """Print the one JSON object, if ``--json`` is set."""
        if self.is_json:
            typer.echo(escape_controls(json.dumps(value, ensure_ascii=False, indent=2)))

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the errors of this package into a message and an exit code."""
        try:
            yield
        except InternalError:
            raise
        except BulkResetError as error:
            self._show(error)
            raise typer.Exit(error.exit_code) from error
        except SYSTEM_ERRORS as error:
            self._show(of_system(error))
            raise typer.Exit(ExitCode.STOPPED) from error
        except KeyboardInterrupt:
            print_error("Stopped by Ctrl-C.", is_red=False)
            raise typer.Exit(ExitCode.INTERRUPTED) from None

    def _show(self, error: BulkResetError) -> None:
        steps = steps_of(error)
        facts: dict[str, Any] = {"kind": type(error).__name__, "message": error.message}
        if steps:
            facts["next"] = steps
        if isinstance(error, InvalidRowsError):
            facts["row_errors"] = [dataclasses.asdict(row_error) for row_error in error.row_errors]
            self.row_errors(error.row_errors)
        for number, line in enumerate(error.lines()):
            print_error(f"{'' if number else 'error: '}{redact(line)}")
        for line in steps:
            print_error(line, is_red=False)
        if not self.is_quiet and not self.is_json:
            print_topic(error.topic)
        self.json({"error": facts, "exit_code": int(error.exit_code)})

    def row_errors(self, row_errors: Sequence[RowError]) -> None:
        """Print the errors as a table; of many errors, the first of each kind with its number."""
        if len(row_errors) <= SHOWN_ERRORS:
            self.table(_row_error_table(row_errors), is_error=True)
            return
        kinds = kinds_of(row_errors)
        for kind, errors in kinds.items():
            columns = list(dict.fromkeys(one_line(one.column) for one in errors))
            where = ", ".join(columns[:_SHOWN_COLUMNS])
            where += " …" if len(columns) > _SHOWN_COLUMNS else ""
            print_error(f"{kind}: {counted(len(errors), 'error')} in {where}", is_red=False)
            self.table(_row_error_table(errors[:_SHOWN_OF_KIND]), is_error=True)
        more = sum(max(0, len(errors) - _SHOWN_OF_KIND) for errors in kinds.values())
        if more > 0:
            every = "check --xlsx marks each at its cell, --json lists all"
            text = f"… and {counted(more, 'more error')}; {every}."
            print_error(text, is_red=False)


def print_text(text: str, *, is_error: bool = False) -> None:
    """Print a text of this program, which may have several lines."""
    typer.echo(without_controls(text), err=is_error)


def print_error(text: str, *, is_red: bool = True) -> None:
    """Print on standard error what must not be overlooked, also with ``--quiet``."""
    line = without_controls(_on_one_line(text))
    if not is_red:
        typer.echo(line, err=True)
        return
    typer.secho(line, err=True, fg=typer.colors.RED, color=has_colour(sys.stderr))


def _on_one_line(text: str) -> str:
    """Return the text with its line breaks marked: a name in it must not look like a line."""
    return text.replace("\r\n", "\n").replace("\n", "⏎")


def print_topic(topic: str) -> None:
    """Print where the manual explains an error; nothing for an empty topic."""
    if not topic:
        return
    text = f"More: {command_line('docs', topic)}"
    typer.secho(text, err=True, dim=True, color=has_colour(sys.stderr))


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return the line without any key in it, and nothing that a terminal obeys."""
        return without_controls(redact(super().format(record)))


def _row_error_table(row_errors: Sequence[RowError]) -> ResultTable:
    table = new_table("row", "column", "value", "problem", "how to fix", right={"row"})
    for row_error in row_errors:
        table.add_row(
            str(row_error.row_number),
            cell(row_error.column),
            cell(shorten(row_error.value, _SHOWN_VALUE)),
            cell(row_error.problem),
            cell(row_error.fix),
        )
    return table


class ResultTable:
    """A table in the style of this program; every text in it is made safe here.

    Attributes:
        drawn: the table for rich.
    """

    def __init__(self, columns: Sequence[str], right: Container[str], whole: str) -> None:
        from rich import box  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        self.drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for column in columns:
            self.drawn.add_column(
                column,
                justify="right" if column in right else "left",
                overflow="fold",
                no_wrap=column == whole,
            )

    def add_row(self, *cells: str | Text) -> None:
        """Add a row."""
        self.drawn.add_row(*map(_safe, cells))

    def add_section(self) -> None:
        """Draw a line below the rows so far."""
        self.drawn.add_section()


def new_table(*columns: str, right: Container[str] = (), whole: str = "") -> ResultTable:
    """Return an empty table.

    Args:
        right: columns of numbers.
        whole: a column whose cells are copied, so they are not split into lines.
    """
    return ResultTable(columns, right, whole)


def _safe(text: str | Text) -> Text:
    """Return a cell without what a terminal or rich obeys, in its own style."""
    if isinstance(text, str):
        return cell(text)
    shown = text.copy()
    # Of the same length, so the styles of its parts stay at their places.
    shown.plain = without_controls(text.plain.replace("\n", "⏎"))
    return shown


def cell(text: str, style: str = "") -> Text:
    """Return a text as a cell of a table: one line, and nothing in it that acts."""
    from rich.text import Text  # noqa: PLC0415

    return Text(one_line(text), style)


def shorten(text: str, width: int) -> str:
    """Return the first characters of a text, with an ellipsis where more follow."""
    return text if len(text) <= width else f"{text[: width - 1]}…"
