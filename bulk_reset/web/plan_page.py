"""The step of the plan: what will change, to read, to filter, and to deselect."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

from bulk_reset.core.counting import duration
from bulk_reset.core.plan import MEANING_OF
from bulk_reset.core.saved_plan import VERDICTS, SavedPlan
from bulk_reset.core.word_diff import shortened, words_changed
from bulk_reset.reports.plan_page import PlanPage
from bulk_reset.reports.plan_workbook import PlanWorkbook
from bulk_reset.web.pages import (
    WORKS,
    address,
    begin,
    form_of,
    go_to,
    number_of,
    options_of,
    show,
    task_of,
)
from bulk_reset.web.phrases import mark
from bulk_reset.web.plan_index import PAGE, UPDATE, Filter, PlanIndex, build
from bulk_reset.web.rendering import page
from bulk_reset.web.task import Task
from bulk_reset.web.work import Work
from bulk_reset.workflows.plan import plan
from bulk_reset.workflows.plan_picking import pick_rows
from bulk_reset.workflows.plan_reading import open_plan, read_plan

_TYPES: Final = {
    "html": "text/html",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "plan": "application/octet-stream",
}
_WRITERS: Final = {"html": PlanPage, "xlsx": PlanWorkbook}


async def show_plan(request: web.Request) -> web.Response:
    """Show the plan, or offer to make it."""
    task = task_of(request)
    values = await asyncio.to_thread(_values, request, task)
    return show(request, "plan.html.j2", task, "plan", **values)


async def show_plan_rows(request: web.Request) -> web.Response:
    """Return the next rows of the plan."""
    task = task_of(request)
    values = await asyncio.to_thread(_values, request, task)
    return page(request, "plan_rows.html.j2", task=task, **values)


def _filter(request: web.Request) -> Filter:
    query = request.query
    return Filter(query.get("verdict", ""), query.get("field", ""), query.get("text", "").strip())


def _values(request: web.Request, task: Task) -> dict[str, Any]:
    if not task.plan_rows.exists() or request.app[WORKS].is_running(task.id):
        return {"totals": None, "rows": []}
    shown, after = _filter(request), number_of(request.query.get("after"), 0)
    with PlanIndex(task.plan_rows) as index:
        rows = index.page(shown, after)
        selected = index.selected()
        share = selected / max(1, index.totals["counts"].get(UPDATE, 0))
        return {
            "requests": round(index.totals["requests"] * share),
            "estimate_s": index.totals["estimate_s"] * share,
            "listed": VERDICTS,
            "totals": index.totals,
            "rows": rows,
            "shown": shown,
            "matching": index.count(shown),
            "fields": index.fields(),
            "selected": selected,
            "has_more": len(rows) == PAGE,
            "meanings": MEANING_OF,
            "diff": lambda old, new: shortened(words_changed(old, new)),
            "duration": duration,
        }


async def make_plan(request: web.Request) -> web.Response:
    """Read the current values of the incidents, and compare."""
    task = task_of(request)
    await form_of(request, task)
    options = task.reading(options_of(request, task))

    def make(work: Work) -> None:
        build(
            task.plan_rows,
            lambda add: plan(task.sheet, options, work.callbacks(), add, out=task.whole_plan),
        )

    begin(request, task, Work("plan"), make)
    return go_to(address(task, "plan"))


async def select(request: web.Request) -> web.Response:
    """Select or deselect a row, a field, or all rows that are shown."""
    task = task_of(request)
    form = await form_of(request)
    is_selected = form.get("selected") == "1"

    def change() -> int:
        with PlanIndex(task.plan_rows) as index:
            if "place" in form:
                index.select(number_of(form["place"]), is_selected=is_selected)
            elif "name" in form:
                index.select_field(form["name"], is_selected=is_selected)
            else:
                given = (form.get(name, "") for name in ("verdict", "field", "text"))
                index.select_all(Filter(*given), is_selected=is_selected)
            return index.selected()

    if not task.plan_rows.exists():
        raise web.HTTPConflict(text=mark("The plan is missing. Make it again."))
    selected = await asyncio.to_thread(change)
    if "place" not in form:
        return web.Response(status=204, headers={"HX-Refresh": "true"})
    return web.Response(text=f"{selected:,}", content_type="text/plain")


async def choose_plan(request: web.Request) -> web.Response:
    """Write the plan with what is selected, to be run."""
    task = task_of(request)
    await form_of(request, task)
    await asyncio.to_thread(write_picked, task)
    return go_to(address(task, "run"))


def write_picked(task: Task) -> None:
    """Write the plan that is run: the whole plan without what was deselected."""
    with PlanIndex(task.plan_rows) as index:
        rows = index.deselected_rows()
        fields = [name for name, (_, is_selected) in index.fields().items() if not is_selected]
    whole = SavedPlan.open(task.whole_plan)
    pick_rows(whole, task.plan, without_rows=rows, without_fields=fields)


async def download_plan(request: web.Request) -> web.StreamResponse:
    """Return the plan as a file to run, as a page, or as a workbook."""
    task, kind = task_of(request), request.match_info["kind"]
    if kind not in _TYPES or not task.plan_rows.exists():
        raise web.HTTPNotFound(text=mark("No such file."))

    def make() -> bytes:
        write_picked(task)
        if kind == "plan":
            return task.plan.read_bytes()
        path = task.folder / f"download.plan.{kind}"
        saved = open_plan(task.plan)
        with _WRITERS[kind](path, task.plan) as writer:
            writer.finish(read_plan(saved, writer.add))
        return path.read_bytes()

    content = await asyncio.to_thread(make)
    name = "plan.plan" if kind == "plan" else f"plan.{kind}"
    disposition = f'attachment; filename="{name}"'
    return web.Response(
        body=content, content_type=_TYPES[kind], headers={"Content-Disposition": disposition}
    )
