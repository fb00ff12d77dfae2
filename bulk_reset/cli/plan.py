"""``bulk-reset plan``: what a run would do, old and new, with nothing sent."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bulk_reset.cli import shared
from bulk_reset.cli.arguments import (
    FromPullOption,
    LimitOption,
    OnConflictOption,
    OverwriteOption,
    ReportOption,
    RetryFailedOption,
    SetOption,
    SheetArgument,
    SkipInvalidOption,
)
from bulk_reset.cli.console import Output, duration, new_table
from bulk_reset.cli.pull import pull_first
from bulk_reset.cli.shared import CommonOptions, Told, takes_options
from bulk_reset.cli.view import SendingView, reading
from bulk_reset.core.counting import counted
from bulk_reset.core.defaults import OnConflict
from bulk_reset.core.errors import ExitCode
from bulk_reset.core.safe_text import one_line

if TYPE_CHECKING:
    from rich.text import Text

    from bulk_reset.core.plan import FieldPlan, PlanTotals, RowPlan

_SHOWN_ROWS: Final = 10
_CONTEXT: Final = 40
_STYLE: Final = {"same": "none", "old": "red strike", "new": "green underline"}
HtmlOption = Annotated[
    bool, typer.Option("--html", help="Write NAME.plan.html, for a change ticket.")
]
XlsxOption = Annotated[bool, typer.Option("--xlsx", help="Write NAME.plan.xlsx.")]


@takes_options(read=shared.reading, asked=shared.common_options)
def plan(
    sheet: SheetArgument,
    *,
    html: HtmlOption = False,
    xlsx: XlsxOption = False,
    from_pull: FromPullOption = None,
    set: SetOption = [],  # noqa: A002, B006  (the option's name; typer copies it)
    report: ReportOption = None,
    limit: LimitOption = None,
    skip_invalid: SkipInvalidOption = False,
    retry_failed: RetryFailedOption = False,
    overwrite: OverwriteOption = False,
    on_conflict: OnConflictOption = OnConflict.ERROR,
    read: Told,
    asked: CommonOptions,
) -> None:
    """Show what a run of SHEET would change, old and new; nothing is sent.

    It reads the incidents as they are now, a hundred a request. Exit code: 0 the run may begin,
    1 some rows would be held back or have no incident, 2 the sheet has mistakes, 3 the API cannot
    be read.
    """
    output = asked.output
    view = SendingView(output)
    with output.errors():
        from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
        from bulk_reset.engine.options import Options  # noqa: PLC0415
        from bulk_reset.reports.plan_page import PlanPage  # noqa: PLC0415
        from bulk_reset.reports.plan_workbook import PlanWorkbook  # noqa: PLC0415
        from bulk_reset.workflows.plan import (  # noqa: PLC0415  (brings pandas along)
            plan as planned,
        )

        options = Options(
            **asked.options,
            **read,
            on_conflict=on_conflict,
            skip_invalid=skip_invalid,
            limit=limit,
            retry_failed=retry_failed,
            overwrite=overwrite,
            report=report,
        )
        shown = PlanView(output, keeps_all=output.is_json)
        with reading(output) as on_read, contextlib.ExitStack() as stack:
            callbacks = Callbacks(on_notice=output.notice, on_read=on_read, on_looked=view.looked)
            pull_first(sheet, from_pull, set, options, callbacks)
            stem = Path(sheet).with_suffix("")
            writers: list[PlanPage | PlanWorkbook] = []
            if html:
                writers.append(stack.enter_context(PlanPage(Path(f"{stem}.plan.html"))))
            if xlsx:
                writers.append(stack.enter_context(PlanWorkbook(Path(f"{stem}.plan.xlsx"))))

            def add(row: RowPlan) -> None:
                shown.add(row)
                for writer in writers:
                    writer.add(row)

            totals = planned(sheet, options, callbacks, add)
            for writer in writers:
                writer.finish(totals)
        shown.show(totals)
        for writer in writers:
            output.say(f"Plan: {writer.path}")
        output.say("Nothing was sent.")
        if totals.counts.get("update", 0):
            output.say(f"Next: {_run_instead()}")
        troubled = totals.counts.get("conflict", 0) + totals.counts.get("missing", 0)
        code = ExitCode.NOT_ALL if troubled else ExitCode.DONE
        output.json({**dataclasses.asdict(totals), "plan": shown.as_json(), "exit_code": int(code)})
    raise typer.Exit(code)


def _run_instead() -> str:
    """Return the command that does what was planned."""
    import sys  # noqa: PLC0415

    own = {"--html", "--xlsx", "--plan"}
    words = ["run" if word == "plan" else word for word in sys.argv[1:] if word not in own]
    return shlex.join(["bulk-reset", *words])


class PlanView:
    """A plan on the terminal: the first rows, old and new, then the counts.

    Args:
        keeps_all: whether all rows are wanted in the end, and not only the first.
    """

    def __init__(self, output: Output, *, keeps_all: bool = False) -> None:
        self._output, self._keeps_all = output, keeps_all
        self._rows: list[RowPlan] = []
        self._changing = 0

    def add(self, row: RowPlan) -> None:
        """Take the next row."""
        if self._keeps_all or (row.fields and self._changing < _SHOWN_ROWS):
            self._rows.append(row)
        self._changing += bool(row.fields)

    def as_json(self) -> list[dict[str, Any]]:
        """Return all rows as plain values."""
        return [dataclasses.asdict(row) for row in self._rows]

    def show(self, totals: PlanTotals) -> None:
        """Print what there is to know."""
        if self._rows and not self._output.is_quiet:
            self._show_rows()
        from bulk_reset.core.plan import MEANING_OF  # noqa: PLC0415

        table = new_table("", "rows", "", right={"rows"})
        for name, meaning in MEANING_OF.items():
            if totals.counts.get(name):
                table.add_row(name, f"{totals.counts[name]:,}", meaning)
        self._output.table(table)
        if totals.fields:
            fields = ", ".join(f"{name} {rows:,}" for name, rows in totals.fields.items())
            self._output.say(f"They would set: {fields}")
        if totals.lost:
            self._output.say(
                f"{totals.lost:,} values could not be restored afterwards (empty before, or Ok)"
            )
        if totals.requests:
            time = duration(totals.estimate_s)
            self._output.say(
                f"{counted(totals.requests, 'request')} would take {time} at the least."
            )

    def _show_rows(self) -> None:
        from rich.text import Text  # noqa: PLC0415

        table = new_table("row", "field", "old → new", right={"row"})
        for row in [row for row in self._rows if row.fields][:_SHOWN_ROWS]:
            number = str(row.row_number)
            for field in row.fields:
                table.add_row(number, Text(field.field), _text_of(field))
                number = ""
        self._output.table(table)
        more = self._changing - _SHOWN_ROWS
        if more > 0:
            self._output.say(f"… and {more:,} more rows; --html or --xlsx shows all.")


def _text_of(field: FieldPlan) -> Text:
    """Return a field's change, its words marked: struck and underlined, or in brackets."""
    from rich.text import Text  # noqa: PLC0415

    from bulk_reset.core.word_diff import shortened, words_changed  # noqa: PLC0415

    text = Text()
    if field.was is not None:
        text.append(f"somebody's change: {one_line(field.was)} → {one_line(field.old)}; wanted: ")
    for kind, part in shortened(words_changed(field.old, field.new)):
        shown = part.replace("\n", "⏎")
        if kind == "old":
            text.append(f"[-{shown}-]", _STYLE[kind])
        elif kind == "new":
            text.append("{+" + shown + "+}", _STYLE[kind])
        else:
            text.append(shown)
    return text
