"""``bulk-reset plan``: what a run will change, old and new values; nothing is sent."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bulk_reset.cli import next_steps, shared
from bulk_reset.cli.arguments import (
    OUTPUT,
    ExpiresOption,
    FromPullOption,
    OutOption,
    SetOption,
    SheetArgument,
)
from bulk_reset.cli.console import Output, cell, new_table
from bulk_reset.cli.pull import pull_first
from bulk_reset.cli.remote_sheet import local_sheet
from bulk_reset.cli.shared import CommonOptions, OptionValues, address_of, takes_options
from bulk_reset.cli.view import ProgressView
from bulk_reset.core.counting import counted, duration
from bulk_reset.core.errors import ExitCode
from bulk_reset.core.safe_text import one_line

if TYPE_CHECKING:
    from rich.text import Text

    from bulk_reset.core.plan import FieldPlan, PlanTotals, RowPlan
    from bulk_reset.reports.plan_page import PlanPage
    from bulk_reset.reports.plan_workbook import PlanWorkbook

_SHOWN_ROWS: Final = 10
_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_STYLE: Final = {"same": "none", "old": "red strike", "new": "green underline"}
HtmlOption = Annotated[
    bool,
    typer.Option(
        "--html", help="Write NAME.plan.html, for a change ticket.", rich_help_panel=OUTPUT
    ),
]
XlsxOption = Annotated[
    bool, typer.Option("--xlsx", help="Write NAME.plan.xlsx.", rich_help_panel=OUTPUT)
]
ExitCodeOption = Annotated[
    bool,
    typer.Option(
        "--exit-code", help="Exit with 5 if rows will be updated.", rich_help_panel=OUTPUT
    ),
]


@takes_options(
    select=shared.selecting,
    read=shared.reading,
    send=shared.sending,
    common=shared.common_options,
)
def plan(
    sheet: SheetArgument,
    *,
    html: HtmlOption = False,
    xlsx: XlsxOption = False,
    exit_code: ExitCodeOption = False,
    out: OutOption = None,
    expires: ExpiresOption = "24h",
    from_pull: FromPullOption = None,
    set: SetOption = [],  # noqa: A002, B006  (the option's name; typer copies it)
    select: OptionValues,
    read: OptionValues,
    send: OptionValues,
    common: CommonOptions,
) -> None:
    """Show what a run of SHEET will change, old and new values; nothing is sent.

    It reads the current values, up to 100 incidents with one request.

    Examples:
        bulk-reset plan incidents.xlsx
        bulk-reset plan incidents.xlsx --html --xlsx
        bulk-reset plan incidents.xlsx --out incidents.plan

    Exit codes:
        0  the run can start
        1  some rows conflict or have no incident
        2  the sheet, an option or the key is wrong
        3  the API cannot be read
        5  rows will be updated (only with --exit-code)
    """
    output = common.output
    view = ProgressView(output)
    with output.errors():
        from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
        from bulk_reset.engine.options import Options  # noqa: PLC0415
        from bulk_reset.workflows.plan import (  # noqa: PLC0415  (brings pandas along)
            plan as planned,
        )

        sheet = local_sheet(sheet, "plan", output, report=send["report"], from_pull=from_pull)
        options = Options(**common.options, **read, **select, **send)
        plan_view = PlanView(
            output, _all_rows(sheet, has_file=html or xlsx), keeps_all=output.is_json
        )
        callbacks = Callbacks(
            on_notice=output.notice, on_read=view.rows_read, on_incidents_read=view.incidents_read
        )
        with (
            view.waiting_for(address_of(options), reads_sheet=True),
            contextlib.ExitStack() as stack,
        ):
            pull_first(sheet, from_pull, set, options, callbacks)
            expires_s = _seconds_of(expires)
            writers = plan_files(Path(sheet), stack, html=html, xlsx=xlsx)

            def add(row: RowPlan) -> None:
                plan_view.add(row)
                for writer in writers:
                    writer.add(row)

            totals = planned(sheet, options, callbacks, add, out=out, expires_s=expires_s)
            view.close()
            for writer in writers:
                writer.finish(totals)
        plan_view.show(totals)
        for writer in writers:
            output.line(f"Plan: {writer.path}")
        _show_next(output, totals, sheet, out, expires)
        code = _code_of(totals, has_code_of_changes=exit_code)
        rows = plan_view.as_json()
        output.json({**dataclasses.asdict(totals), "plan": rows, "exit_code": int(code)})
    raise typer.Exit(code)


def _show_next(
    output: Output, totals: PlanTotals, sheet: str, out: Path | None, expires: str
) -> None:
    if out is not None:
        output.line(f"Saved plan: {out}, expires in {expires}")
        output.line(f"SHA-256 of the plan: {totals.plan_sha256}")
    output.line("Nothing was sent.")
    if totals.counts.get("update", 0):
        run = next_steps.run_of(sheet) if out is None else next_steps.run_of_plan(out)
        output.line(f"Next: {run}")


def _all_rows(sheet: str, *, has_file: bool) -> str:
    return "The file below has all." if has_file else next_steps.plan_as_page(sheet)


def _code_of(totals: PlanTotals, *, has_code_of_changes: bool) -> ExitCode:
    if totals.counts.get("conflict", 0) + totals.counts.get("missing", 0):
        return ExitCode.NOT_ALL
    has_changes = has_code_of_changes and totals.counts.get("update", 0)
    return ExitCode.CHANGES if has_changes else ExitCode.DONE


def _seconds_of(age: str) -> float:
    """Return the seconds of an age such as ``24h``.

    Raises:
        InputError: it is not an age.
    """
    from bulk_reset.core.errors import InputError  # noqa: PLC0415

    found = re.fullmatch(r"(\d{1,5})([mhdw])", age.strip(), re.ASCII)
    if found is None or not int(found[1]):
        raise InputError(f"--expires {age}: not an age. Use for example 8h, 24h or 7d.")
    return float(int(found[1]) * _UNITS[found[2]])


def plan_files(
    sheet: Path, stack: contextlib.ExitStack, *, html: bool, xlsx: bool
) -> list[PlanPage | PlanWorkbook]:
    """Open the files of a plan beside its sheet, until the stack closes."""
    from bulk_reset.reports.plan_page import PlanPage  # noqa: PLC0415
    from bulk_reset.reports.plan_workbook import PlanWorkbook  # noqa: PLC0415

    stem = sheet.with_suffix("")
    writers: list[PlanPage | PlanWorkbook] = []
    if html:
        writers.append(stack.enter_context(PlanPage(Path(f"{stem}.plan.html"), sheet)))
    if xlsx:
        writers.append(stack.enter_context(PlanWorkbook(Path(f"{stem}.plan.xlsx"), sheet)))
    return writers


class PlanView:
    """A plan on the terminal: old and new values of the first rows, then the counts.

    Args:
        all_rows: where all rows are, in a sentence; of the sheet that is planned when None.
        keeps_all: whether all rows are needed, and not only the first ones.
    """

    def __init__(
        self, output: Output, all_rows: str | None = None, *, keeps_all: bool = False
    ) -> None:
        self._output, self._all_rows, self._keeps_all = output, all_rows, keeps_all
        self._rows: list[RowPlan] = []
        self._changing = 0
        self._actions: Counter[str] = Counter()

    def add(self, row: RowPlan) -> None:
        """Add the next row."""
        if self._keeps_all or (row.fields and self._changing < _SHOWN_ROWS):
            self._rows.append(row)
        self._changing += bool(row.fields)
        if row.verdict == "update":
            self._actions.update(one.meaning for one in row.fields)

    def as_json(self) -> list[dict[str, Any]]:
        """Return all rows as plain values."""
        return [row_as_json(row) for row in self._rows]

    def show(self, totals: PlanTotals) -> None:
        """Print the rows and the totals."""
        if self._rows and not self._output.is_quiet:
            self._show_rows(totals.sheet)
        from bulk_reset.core.plan import MEANING_OF, meaning_of  # noqa: PLC0415

        table = new_table("plan", "rows", "meaning", right={"rows"})
        for name in MEANING_OF:
            if totals.counts.get(name):
                table.add_row(name, f"{totals.counts[name]:,}", meaning_of(totals, name))
        self._output.table(table)
        if totals.fields:
            fields = ", ".join(f"{name} {rows:,}" for name, rows in totals.fields.items())
            self._output.line(f"Fields to update: {fields}")
        for meaning, rows in sorted(self._actions.items()):
            if meaning:
                self._output.line(f"{counted(rows, 'incident')} {meaning}")
        if totals.lost:
            self._output.line(
                f"{counted(totals.lost, 'value')} cannot be restored afterwards "
                "(a comment, an acknowledgement, an empty value or severity Ok)"
            )
        if totals.requests:
            verb = "takes" if totals.requests == 1 else "take"
            self._output.line(
                f"{counted(totals.requests, 'request')} {verb} at least "
                f"{duration(totals.estimate_s)}."
            )

    def _show_rows(self, sheet: str) -> None:
        table = new_table("row", "field", "old → new", right={"row"})
        for row in [row for row in self._rows if row.fields][:_SHOWN_ROWS]:
            number = str(row.row_number)
            for field in row.fields:
                table.add_row(number, cell(field.field), text_of_field(field))
                number = ""
        self._output.table(table)
        more = self._changing - _SHOWN_ROWS
        if more > 0:
            all_rows = self._all_rows or f"All rows: {sheet}"
            self._output.line(f"… and {counted(more, 'more row')}. {all_rows}")


def row_as_json(row: RowPlan) -> dict[str, Any]:
    """Return a row as plain values, with the texts of its fields."""
    plain = row._asdict()
    del plain["expected"]
    plain["fields"] = [one._asdict() for one in row.fields]
    for field in plain["fields"]:
        del field["old_value"], field["new_value"]
    return plain


def text_of_field(field: FieldPlan) -> Text:
    """Return a field's change: removed words struck and in [-…-], added ones in {+…+}."""
    from rich.text import Text  # noqa: PLC0415

    from bulk_reset.core.word_diff import shortened, words_changed  # noqa: PLC0415

    text = Text()
    if field.was is not None:
        text.append(f"modified: {one_line(field.was)} → {one_line(field.old)}; in the sheet: ")
    for kind, part in shortened(words_changed(field.old, field.new)):
        shown = part.replace("\n", "⏎")
        if kind == "old":
            text.append(f"[-{shown}-]", _STYLE[kind])
        elif kind == "new":
            text.append("{+" + shown + "+}", _STYLE[kind])
        else:
            text.append(shown)
    if field.meaning:
        text.append(f" ({field.meaning})")
    if field.origin:
        text.append(f" (from {one_line(field.origin)})", "dim")
    return text
