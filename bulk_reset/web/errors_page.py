"""The step of the errors: invalid cells with their fixes, to edit one by one or all alike."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from bulk_reset.core.fields import SEVERITIES, SEVERITY_FIELD
from bulk_reset.core.temporary_folder import temporary_folder
from bulk_reset.web.columns_page import start_check, write_corrections
from bulk_reset.web.pages import WORKS, address, form_of, go_to, number_of, refresh, show, task_of
from bulk_reset.web.phrases import mark
from bulk_reset.web.rendering import page
from bulk_reset.web.sheet_index import PAGE, Kind, SheetIndex
from bulk_reset.web.task import Task

_VALUES: Final = 20


async def show_errors(request: web.Request) -> web.Response:
    """Show the kinds of errors, and the rows that have them."""
    task = task_of(request)
    values = await asyncio.to_thread(_values, request, task)
    return show(request, "errors.html.j2", task, "errors", **values)


async def show_rows(request: web.Request) -> web.Response:
    """Return the next rows of the grid."""
    task = task_of(request)
    values = await asyncio.to_thread(_values, request, task)
    return page(request, "error_rows.html.j2", task=task, **values)


def _values(request: web.Request, task: Task) -> dict[str, Any]:
    query = request.query
    kind, position = query.get("kind", ""), number_of(query.get("position"), -1)
    after, all_rows = number_of(query.get("after"), 0), query.get("all") == "1"
    if not task.rows.exists() or request.app[WORKS].is_running(task.id):
        return {"index": None, "rows": [], "kinds": [], "values": {}}
    with SheetIndex(task.rows) as index:
        rows = index.page(after, kind=kind, position=position, all_rows=all_rows)
        kinds = index.kinds()
        return {
            "index": index,
            "rows": rows,
            "alike": {},
            "kinds": kinds,
            "values": _values_of(index, kinds),
            "invalid": index.invalid_rows(),
            "severities": SEVERITIES,
            "severity_field": SEVERITY_FIELD,
            "kind": kind,
            "position": position,
            "all_rows": all_rows,
            "has_more": len(rows) == PAGE,
            "edits": len(index.edited()),
        }


def _values_of(index: SheetIndex, kinds: list[Kind]) -> dict[Kind, list[tuple[str, int, str]]]:
    return {one: index.values_of(one, _VALUES) for one in kinds if _is_choice(index, one)}


def _is_choice(index: SheetIndex, kind: Kind) -> bool:
    """Return whether the texts of a column are few, so that each can be replaced at once."""
    return index.field_at(kind.position) == SEVERITY_FIELD and kind.kind == "severity"


async def edit_cell(request: web.Request) -> web.Response:
    """Set a cell; return its row with what is wrong now."""
    task = _idle(request)
    form = await form_of(request)
    number, position = _place(form)
    text = form.get("text", "")

    def edit() -> dict[str, Any]:
        with SheetIndex(task.rows) as index:
            index.edit([number], position, text)
            row = index.row(number)
            others = [one for one in index.alike(number, position) if one != number]
            alike = {(number, position): len(others)}
            return {"index": index, "row": row, "alike": alike, "left": index.invalid_rows()}

    values = await asyncio.to_thread(_edited, task, edit)
    if not values["left"]:
        return refresh()
    more = {"severities": SEVERITIES, "severity_field": SEVERITY_FIELD, "task": task}
    return page(request, "error_row.html.j2", **values, **more)


async def edit_alike(request: web.Request) -> web.Response:
    """Set the same text in all invalid cells of a column that have the text of a cell before."""
    task = _idle(request)
    number, position = _place(await form_of(request))

    def edit() -> None:
        with SheetIndex(task.rows) as index:
            text = index.row(number).cells[position]
            index.edit(index.alike(number, position), position, text)

    await asyncio.to_thread(_edited, task, edit)
    return refresh()


async def replace_value(request: web.Request) -> web.Response:
    """Replace a text by another in all rows of a column."""
    task = _idle(request)
    form = await form_of(request)
    position = number_of(form.get("position"))

    def edit() -> None:
        with SheetIndex(task.rows) as index:
            old = form.get("old", "")
            index.edit(index.rows_with(position, old), position, form.get("text", ""))

    await asyncio.to_thread(_edited, task, edit)
    return refresh()


async def undo_edit(request: web.Request) -> web.Response:
    """Undo the last step."""
    task = _idle(request)

    def edit() -> None:
        with SheetIndex(task.rows) as index:
            index.undo_edit()

    await asyncio.to_thread(_edited, task, edit)
    return refresh()


def _edited(task: Task, edit: Callable[[], Any]) -> Any:  # noqa: ANN401  (what it returns)
    """Edit the index, then write the corrections, which the plan reads."""
    try:
        result = edit()
    except (KeyError, IndexError) as exc:
        raise web.HTTPBadRequest(text=mark("No such cell. Reload the page.")) from exc
    write_corrections(task)
    task.plan_rows.unlink(missing_ok=True)
    return result


def _idle(request: web.Request) -> Task:
    task = task_of(request)
    if request.app[WORKS].is_running(task.id) or not task.rows.exists():
        raise web.HTTPConflict(text=mark("The sheet is being read. Wait until it has ended."))
    return task


def _place(form: dict[str, str]) -> tuple[int, int]:
    return number_of(form.get("row")), number_of(form.get("position"))


async def check_again(request: web.Request) -> web.Response:
    """Check the whole sheet again; rows that contradict each other are found only so."""
    task = task_of(request)
    form = await form_of(request)
    is_skipping = form.get("skip_invalid") == "1"
    if is_skipping != task.choices.skip_invalid:
        choices = type(task.choices)(
            **{name: getattr(task.choices, name) for name in task.choices.__slots__}
            | {"skip_invalid": is_skipping}
        )
        task = task.saved(choices=choices)
    start_check(request, task)
    return go_to(address(task, "errors"))


async def download(request: web.Request) -> web.StreamResponse:
    """Return the corrected sheet as a workbook, in which every cell is a text."""
    task = _idle(request)
    content = await asyncio.to_thread(_workbook, task)
    name = quote(f"{Path(task.name).stem}.corrected.xlsx")
    return web.Response(
        body=content,
        content_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
    )


def _workbook(task: Task) -> bytes:
    from xlsxwriter import Workbook  # noqa: PLC0415  (rarely needed)

    with tempfile.TemporaryDirectory(dir=temporary_folder(), prefix="bulk-reset-") as folder:
        path = Path(folder) / "sheet.xlsx"
        options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
        with (
            Workbook(path, {**options, "strings_to_numbers": False}) as workbook,
            SheetIndex(task.rows) as index,
        ):
            worksheet = workbook.add_worksheet("Corrected")
            for place, name in enumerate(index.header):
                worksheet.write_string(0, place, name)
            for at, (_, cells) in enumerate(index.all_cells(), 1):
                for place, cell in enumerate(cells):
                    if cell:
                        worksheet.write_string(at, place, cell)
        return path.read_bytes()
