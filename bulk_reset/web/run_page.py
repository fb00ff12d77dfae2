"""The steps of the run and of its result: canary, progress, report, verify, undo."""

from __future__ import annotations

import asyncio
import dataclasses
import shlex
import time
from itertools import islice
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from bulk_reset.core.errors import InputError, LockedError
from bulk_reset.core.outcome import MEANING_OF, Status, StopReason
from bulk_reset.engine.options import Options
from bulk_reset.records.report_reader import read_report
from bulk_reset.reports.failed_rows import failed_path
from bulk_reset.reports.report_page import write_page
from bulk_reset.web.approvals_page import approval_of
from bulk_reset.web.found_runs import totals_of
from bulk_reset.web.pages import (
    BUSY,
    SETTINGS,
    TASKS,
    WORKS,
    address,
    begin,
    form_of,
    go_to,
    options_of,
    show,
    task_of,
)
from bulk_reset.web.phrases import mark
from bulk_reset.web.plan_index import PlanIndex, write_picked
from bulk_reset.web.security import REPORT_POLICY
from bulk_reset.web.task import Task
from bulk_reset.web.work import Work
from bulk_reset.workflows.run import run
from bulk_reset.workflows.undo import undo
from bulk_reset.workflows.undo_reports import undone_by
from bulk_reset.workflows.verify import verify

PROGRAM: Final = "bulk-reset"
_MOST_CANARY: Final = 1_000
_BY_USER: Final = (StopReason.INTERRUPTED, StopReason.CANARY)
_MEANINGS: Final = {status.value: meaning for status, meaning in MEANING_OF.items()}


def command(request: web.Request, task: Task, *words: str) -> str:
    """Return the command by which a terminal does the same."""
    settings = request.app[SETTINGS]
    where = settings.connection_words(is_sandbox=task.is_sandbox, state=task.sandbox_file)
    return shlex.join([PROGRAM, *words, *where])


async def show_run(request: web.Request) -> web.Response:
    """Show what will be sent, or the progress of what is being sent."""
    task = task_of(request)
    selected, approval = 0, await asyncio.to_thread(approval_of, request, task)
    if task.plan_rows.exists():
        with PlanIndex(task.plan_rows) as index:
            selected = index.selected()
    return show(
        request,
        "run.html.j2",
        task,
        "run",
        selected=selected,
        is_interrupted=bool(task.started_at) and not task.has_ended,
        sent=await asyncio.to_thread(totals_of, task.report),
        meanings=_MEANINGS,
        approval=approval,
        command=command(
            request, task, "run", str(task.plan), *request.app[SETTINGS].approval_words()
        ),
        folder=task.folder,
    )


async def start_run(request: web.Request) -> web.Response:
    """Send the plan; what an interrupted run has done is not sent again."""
    task = task_of(request)
    form = await form_of(request, task)
    canary = form.get("canary", str(task.canary)).strip()
    if not canary.isdecimal() or int(canary) > _MOST_CANARY:
        raise web.HTTPBadRequest(text=mark("The canary is not a number of rows up to 1000."))
    if request.app[WORKS].is_running(task.id):
        raise web.HTTPConflict(text=BUSY)
    if not task.plan_rows.exists():
        raise web.HTTPConflict(text=mark("The plan is missing. Make it again."))
    if not task.started_at or task.has_ended:
        await asyncio.to_thread(write_picked, task)
    before = {name: getattr(task, name) for name in ("started_at", "totals", "is_stopped")}
    task = task.saved(
        canary=int(canary),
        note=form.get("note", ""),
        started_at=time.time(),
        totals={},
        is_stopped=False,
    )
    options = dataclasses.replace(
        options_of(request, task),
        canary=task.canary or None,
        verify=True,
        retry_failed=True,
        note=task.note,
        report=task.report,
    )

    def send(work: Work) -> None:
        try:
            _run(task, options, work)
        except (InputError, LockedError):
            # Nothing was sent, so it is no run that was interrupted.
            (Task.read(task.folder) or task).saved(**before)
            raise

    begin(request, task, Work("run", options.per_second), send)
    return go_to(address(task, "run"))


def _run(task: Task, options: Options, work: Work) -> None:
    earlier = sum(1 for _ in read_report(task.report)) if task.report.exists() else 0

    def sent() -> list[dict[str, Any]]:
        new = islice(read_report(task.report), earlier, None)
        with PlanIndex(task.plan_rows) as index:
            return index.changes_of({one.row_number for one in new if one.status is Status.UPDATED})

    totals = run(task.plan, options, work.callbacks(sent), handles_signals=True)
    ended = dataclasses.asdict(totals) | {"exit_code": int(totals.exit_code)}
    del ended["row_errors"]
    task = Task.read(task.folder) or task
    if totals.stop is None:
        task.saved(totals=ended)
    elif totals.stop.reason in _BY_USER and work.is_stopping:
        task.saved(is_stopped=not work.is_paused)
    else:
        work.error = totals.stop.message


async def show_result(request: web.Request) -> web.Response:
    """Show the report, and what can be done with it."""
    task = task_of(request)
    if not task.report.exists():
        raise web.HTTPFound(address(task, "run"))
    undone = await asyncio.to_thread(undone_by, task.report)
    totals = task.totals or await asyncio.to_thread(totals_of, task.report)
    return show(
        request,
        "result.html.j2",
        task,
        "result",
        totals=totals,
        meanings=_MEANINGS,
        failed=failed_path(task.report).exists(),
        is_undone=undone is not None,
        is_interrupted=bool(task.started_at) and not task.has_ended,
        verify_command=command(request, task, "verify", str(task.report)),
        undo_command=command(request, task, "undo", str(task.report)),
    )


async def show_report(request: web.Request) -> web.StreamResponse:
    """Return the page of the report, which has no access to this server."""
    task = task_of(request)
    if not task.report.exists():
        raise web.HTTPNotFound(text=mark("There is no report yet."))
    made = await asyncio.to_thread(write_page, task.report)
    content = await asyncio.to_thread(made.read_bytes)
    return web.Response(
        body=content,
        content_type="text/html",
        charset="utf-8",
        headers={"Content-Security-Policy": REPORT_POLICY},
    )


async def start_verify(request: web.Request) -> web.Response:
    """Read the incidents back and compare them with what was written."""
    task = task_of(request)
    await form_of(request, task)
    options = options_of(request, task)

    def check(work: Work) -> None:
        found = verify(task.report, options, work.callbacks())
        facts = {
            "rows": found.rows,
            "is_right": found.is_right,
            "wrong": len({one.row_number for one in found.mismatches}),
            "at": time.time(),
        }
        (Task.read(task.folder) or task).saved(verified=facts)

    begin(request, task, Work("verify"), check)
    return go_to(address(task, "result"))


async def start_undo(request: web.Request) -> web.Response:
    """Plan the undo, ask, then restore the previous values."""
    task = task_of(request)
    await form_of(request, task)
    options = options_of(request, task)

    def restore(work: Work) -> None:
        ended = undo(
            task.report, options, work.callbacks(), work.show_planned, handles_signals=True
        )
        counts: dict[str, Any] = {}
        if ended.totals is not None:
            counts = {name.value: rows for name, rows in ended.totals.counts.items() if rows}
        facts = {
            "is_confirmed": ended.is_confirmed,
            "counts": counts,
            "lost": len(ended.undo_sheet.lost),
            "exit_code": int(ended.exit_code),
        }
        if ended.is_confirmed:
            (Task.read(task.folder) or task).saved(undone=facts)

    begin(request, task, Work("undo", options.per_second), restore)
    return go_to(address(task, "result"))


async def fix_failed(request: web.Request) -> web.Response:
    """Make a new task of the rows that failed."""
    task = task_of(request)
    await form_of(request, task)
    source = failed_path(task.report)
    if not source.exists():
        raise web.HTTPNotFound(text=mark("There are no failed rows."))
    new = request.app[TASKS].new(f"{Path(task.name).stem}.failed.csv", is_sandbox=task.is_sandbox)
    new = dataclasses.replace(new, sandbox_file=task.sandbox_file)
    new.sheet.write_bytes(source.read_bytes())
    new.write()
    return go_to(address(new, "columns"))


async def download_file(request: web.Request) -> web.StreamResponse:
    """Return a file of the run: the report, the previous values, or the answer workbook."""
    task, kind = task_of(request), request.match_info["kind"]
    if kind == "answer" and task.report.exists():
        from bulk_reset.workflows.answer import answer  # noqa: PLC0415  (imports openpyxl)

        sheet = task.plan if task.plan.exists() else None
        try:
            made = await asyncio.to_thread(answer, task.report, sheet, options_of(request, task))
        except InputError as error:
            raise web.HTTPNotFound(text=str(error)) from error
        return web.Response(
            body=await asyncio.to_thread(made.read_bytes),
            content_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            headers={"Content-Disposition": 'attachment; filename="answer.xlsx"'},
        )
    names = {"report": task.report.name, "before": task.report.name.replace(".report.", ".before.")}
    path = task.folder / names.get(kind, "")
    if kind not in names or not path.is_file():
        raise web.HTTPNotFound(text=mark("No such file."))
    content = await asyncio.to_thread(path.read_bytes)
    return web.Response(
        body=content,
        content_type="text/csv",
        charset="utf-8",
        headers={"Content-Disposition": f'attachment; filename="{kind}.csv"'},
    )
