"""What every command prints in the same way: errors, notices, tables, JSON."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import typer

from bulk_reset.api.credentials import redact
from bulk_reset.cli.streams import has_colour, is_terminal
from bulk_reset.core.errors import BulkResetError, ExitCode, InternalError, InvalidRowsError
from bulk_reset.core.safe_text import escape_controls, one_line, without_controls

if TYPE_CHECKING:
    from rich.table import Table

    from bulk_reset.core.row_error import RowError

SHOWN_MISTAKES: Final = 20
_SHOWN_VALUE: Final = 26
_PLAIN_WIDTH: Final = 120


class Output:
    """Where a command's words go.

    Results go to standard output and the rest to standard error; with ``is_json``, one object
    is all that standard output gets; with ``is_quiet``, only errors are said.
    """

    def __init__(
        self, *, is_json: bool = False, is_quiet: bool = False, verbose: bool = False
    ) -> None:
        self.is_json, self.is_quiet = is_json, is_quiet
        handler = logging.StreamHandler() if verbose else logging.NullHandler()
        handler.setFormatter(_Redacting("%(asctime)s %(name)s %(message)s"))
        logging.basicConfig(handlers=[handler], level=logging.WARNING)
        if verbose:
            logging.getLogger("bulk_reset").setLevel(logging.DEBUG)

    def notice(self, text: str) -> None:
        """Say what the user should know but need not act on."""
        if not self.is_quiet:
            typer.echo(without_controls(text), err=True)

    def say(self, text: str = "") -> None:
        """Print a line of the result."""
        if not self.is_quiet:
            typer.echo(without_controls(text), err=self.is_json)

    def table(self, table: Table, *, is_error: bool = False) -> None:
        """Print a table of the result; in colour and as wide as it is on a terminal."""
        if self.is_quiet and not is_error:
            return
        from rich.console import Console  # noqa: PLC0415

        is_stderr = is_error or self.is_json
        if is_terminal(sys.stderr if is_stderr else sys.stdout):
            Console(stderr=is_stderr).print(table)
            return
        plain = Console(width=_PLAIN_WIDTH, no_color=True, highlight=False)
        with plain.capture() as lines:
            plain.print(table)
        text = "\n".join(line.rstrip() for line in lines.get().splitlines())
        typer.echo(text, err=is_stderr)

    def json(self, value: dict[str, Any]) -> None:
        """Print the one JSON object, where it is wanted."""
        if self.is_json:
            typer.echo(escape_controls(json.dumps(value, ensure_ascii=False, indent=2)))

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn our errors into a message and an exit code."""
        try:
            yield
        except InternalError:
            raise
        except BulkResetError as error:
            self._show(error)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt:
            typer.echo("Stopped by Ctrl-C.", err=True)
            raise typer.Exit(ExitCode.INTERRUPTED) from None

    def _show(self, error: BulkResetError) -> None:
        facts: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
        if isinstance(error, InvalidRowsError):
            facts["row_errors"] = [dataclasses.asdict(row_error) for row_error in error.row_errors]
            self.row_errors(error.row_errors)
        say_red(f"error: {redact(str(error))}")
        self.json({"error": facts, "exit_code": int(error.exit_code)})

    def _say_how_many(self, row_errors: Sequence[RowError]) -> None:
        more = len(row_errors) - SHOWN_MISTAKES
        if more > 0:
            typer.echo(f"… and {more:,} more mistakes; --json lists all.", err=True)

    def row_errors(self, row_errors: Sequence[RowError]) -> None:
        """Print the first mistakes as a table, and how many more there are."""
        self.table(row_error_table(row_errors), is_error=True)
        self._say_how_many(row_errors)


def say_red(text: str) -> None:
    """Say on standard error what must not be overlooked."""
    typer.secho(without_controls(text), err=True, fg=typer.colors.RED, color=has_colour(sys.stderr))


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return the line without any key in it, and nothing that a terminal obeys."""
        return without_controls(redact(super().format(record)))


def row_error_table(row_errors: Sequence[RowError]) -> Table:
    """Return the first mistakes by row and column, each with its value and mend."""
    from rich.markup import escape  # noqa: PLC0415  (a title like [db] is not markup)

    table = new_table("row", "column", "value", "what is wrong", "what to do", right={"row"})
    for row_error in row_errors[:SHOWN_MISTAKES]:
        value = (
            row_error.value
            if len(row_error.value) <= _SHOWN_VALUE
            else f"{row_error.value[: _SHOWN_VALUE - 1]}…"
        )
        texts = (row_error.column, value, row_error.problem, row_error.fix)
        table.add_row(str(row_error.row_number), *(escape(one_line(text)) for text in texts))
    return table


def new_table(*columns: str, right: set[str] | None = None) -> Table:
    """Return an empty table in this command's looks."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column, justify="right" if right and column in right else "left", overflow="fold"
        )
    return table


def duration(seconds: float) -> str:
    """Return seconds as people say them: ``42 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if seconds < 9.95:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    if whole < 3600:  # noqa: PLR2004
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
