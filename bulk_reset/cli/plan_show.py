"""``bulk-reset plan show`` and ``plan diff``: saved plans for people and for programs."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bulk_reset.cli import next_steps
from bulk_reset.cli.arguments import JsonOption, QuietOption, VerboseOption
from bulk_reset.cli.console import Output, cell, new_table
from bulk_reset.cli.plan import HtmlOption, PlanView, XlsxOption, plan_files, row_as_json
from bulk_reset.cli.plan import text_of_field as shown_field
from bulk_reset.core.counting import counted
from bulk_reset.core.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulk_reset.core.plan import RowPlan
    from bulk_reset.core.saved_plan import SavedPlan
    from bulk_reset.records.approvals import Approval
    from bulk_reset.workflows.plan_reading import Difference

_SHOWN: Final = 20


def _plan_argument(metavar: str) -> Any:  # noqa: ANN401  (typer's)
    return typer.Argument(metavar=metavar, help="A saved plan.", show_default=False)


def show(
    plan: Annotated[Path, _plan_argument("PLAN")],
    *,
    html: HtmlOption = False,
    xlsx: XlsxOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show a saved plan: what it will change, for which account, and until when.

    Examples:
        bulk-reset plan show incidents.plan
        bulk-reset plan show incidents.plan --html --xlsx

    Exit codes:
        0  the plan is complete and was not altered
        2  it is not a plan, or was altered
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.records.approvals import read_approvals  # noqa: PLC0415
        from bulk_reset.workflows.plan_reading import open_plan, read_plan  # noqa: PLC0415

        found = open_plan(plan)
        has_file = html or xlsx
        command = next_steps.other_command("plan show", plan, keeps=(), plus={"html": ""})
        all_rows = "The file below has all." if has_file else f"To show all: {command}"
        view = PlanView(output, all_rows, keeps_all=output.is_json)
        with contextlib.ExitStack() as stack:
            writers = plan_files(plan, stack, html=html, xlsx=xlsx)

            def add(row: RowPlan) -> None:
                view.add(row)
                for writer in writers:
                    writer.add(row)

            totals = read_plan(found, add)
            for writer in writers:
                writer.finish(totals)
        for name, text in _facts(found).items():
            output.line(f"{name:<16}{text}")
        approvals = read_approvals(plan)
        for approval in approvals:
            output.line(f"{'Approval':<16}{_shown_approval(approval, found)}")
        view.show(totals)
        for writer in writers:
            output.line(f"Plan: {writer.path}")
        facts = {
            **dataclasses.asdict(found.header),
            "plan_sha256": found.sha256,
            "approvals": [approval.facts() for approval in approvals],
        }
        rows = {"plan": view.as_json(), "exit_code": int(ExitCode.DONE)}
        output.json({**facts, **dataclasses.asdict(totals), **rows})


def _facts(plan: SavedPlan) -> dict[str, str]:
    header = plan.header
    options = ", ".join(f"{name} {value}" for name, value in header.options.items())
    facts = {
        "Plan": str(plan.path),
        "SHA-256": plan.sha256,
        "Sheet": header.sheet,
        "Sheet's SHA-256": header.sheet_sha256,
        "Planned": f"{_time(header.made_at)} by bulk-reset {header.version}",
        "Planned by": header.made_by,
        "Expires": _time(header.expires_at),
        "Address": header.address,
        "Account": header.account,
        "Options": options,
    }
    return {name: text for name, text in facts.items() if text}


def _shown_approval(approval: Approval, plan: SavedPlan) -> str:
    """Return an approval in a line; only ``run`` has the keys that verify its signature."""
    if approval.plan_sha256 != plan.sha256:
        return f"{approval} (of another version of the plan)"
    if time.time() >= approval.expires_at:
        return f"{approval} (expired)"
    return f"{approval} (signature not verified; run verifies it)"


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def diff(
    old: Annotated[Path, _plan_argument("OLD")],
    new: Annotated[Path, _plan_argument("NEW")],
    *,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show which rows differ between two saved plans.

    Rows are compared by incident, so the order of the sheet does not matter.

    Examples:
        bulk-reset plan diff approved.plan incidents.plan
        bulk-reset plan diff approved.plan incidents.plan --json

    Exit codes:
        0  both plans do the same
        1  they differ
        2  one of them is not a plan, or was altered
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.workflows.plan_reading import diff_plans, open_plan  # noqa: PLC0415

        first, second = open_plan(old), open_plan(new)
        found = diff_plans(first, second)
        code = ExitCode.NOT_ALL if found.differences else ExitCode.DONE
        if found.differences and not output.is_quiet:
            _show_differences(found.differences, output)
        counts = {kind: found.count(kind) for kind in ("added", "removed", "changed")}
        parts = [f"{counted(rows, 'row')} {kind}" for kind, rows in counts.items()]
        output.line(f"{', '.join(parts)}, {found.same:,} the same.")
        output.json(
            {
                "old": first.sha256,
                "new": second.sha256,
                "same": found.same,
                **counts,
                "differences": [_as_json(one) for one in found.differences],
                "exit_code": int(code),
            }
        )
    raise typer.Exit(code)


def _as_json(difference: Difference) -> dict[str, Any]:
    old, new = difference.old, difference.new
    return {
        "kind": difference.kind,
        "old": row_as_json(old) if old is not None else None,
        "new": row_as_json(new) if new is not None else None,
    }


def _show_differences(differences: list[Difference], output: Output) -> None:
    table = new_table("row", "plan", "field", "old → new", right={"row"})
    for one in differences[:_SHOWN]:
        row = one.new or one.old
        assert row is not None  # noqa: S101  (one of them is there)
        first = [str(row.row_number), one.kind]
        for name, text in _lines(one):
            table.add_row(*first, cell(name), text)
            first = ["", ""]
    output.table(table)
    more = len(differences) - _SHOWN
    if more > 0:
        output.line(f"… and {counted(more, 'more row')}; --json lists all.")


def _lines(difference: Difference) -> Iterator[tuple[str, Any]]:
    """Yield a name and a text for each line of a row that differs."""
    from bulk_reset.core.plan import FieldPlan  # noqa: PLC0415

    old, new = difference.old, difference.new
    if old is None or new is None:
        row = old or new
        assert row is not None  # noqa: S101
        for one in row.fields:
            yield one.field, shown_field(one)
        if not row.fields:
            yield "", row.verdict
        return
    if old.verdict != new.verdict:
        yield "", f"{old.verdict} → {new.verdict}"
    olds, news = ({one.field: one for one in row.fields} for row in (old, new))
    for name in dict.fromkeys([*olds, *news]):
        before, after = olds.get(name), news.get(name)
        if before != after:
            texts = (before.new if before else "", after.new if after else "")
            yield name, shown_field(FieldPlan(name, *texts))
            if before and after and before.old != after.old:
                yield f"{name} (current)", shown_field(FieldPlan(name, before.old, after.old))
