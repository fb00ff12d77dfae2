"""The first page: a sheet is dropped, and the tasks that exist are listed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import BodyPartReader, web

from bulk_reset.core.fields import SETTABLE_FIELDS
from bulk_reset.web.languages import LANGUAGES
from bulk_reset.web.pages import SETTINGS, TASKS, address, task_of
from bulk_reset.web.phrases import mark
from bulk_reset.web.rendering import page
from bulk_reset.web.security import SESSION

MOST_BYTES: Final = 512 << 20
"""A larger sheet is refused."""
_PART_BYTES: Final = 1 << 16
_LISTED: Final = 50


async def show_start(request: web.Request) -> web.Response:
    """Show the form for a sheet, and the newest tasks."""
    tasks = [task for task, _ in zip(request.app[TASKS].all(), range(_LISTED), strict=False)]
    return page(
        request, "start.html.j2", tasks=tasks, most_bytes=MOST_BYTES, fields=SETTABLE_FIELDS
    )


async def add_sheet(request: web.Request) -> web.Response:
    """Store a sheet that was dropped as a new task; its bytes are never served."""
    if request.content_type != "multipart/form-data":
        raise web.HTTPUnsupportedMediaType(text=mark("Send the sheet as multipart/form-data."))
    try:
        part = await (await request.multipart()).next()
    except ValueError:  # aiohttp's error of a malformed form
        part = None
    if not isinstance(part, BodyPartReader) or part.name != "sheet" or not part.filename:
        raise web.HTTPBadRequest(text=mark("No sheet was sent. Choose a file."))
    tasks = request.app[TASKS]
    has_key = bool(request.app[SETTINGS].key_source())
    task = tasks.new(part.filename, is_sandbox=not has_key)
    is_whole = False
    try:
        await _store(part, task.sheet)
        task.write()
        is_whole = True
    finally:
        if not is_whole:
            tasks.remove(task)
    return web.Response(status=204, headers={"HX-Redirect": address(task, "columns")})


async def _store(part: BodyPartReader, path: Path) -> None:
    """Write a part to a file; raises HTTPRequestEntityTooLarge."""
    size = 0
    with path.open("xb") as file:
        while block := await part.read_chunk(_PART_BYTES):
            size += len(block)
            if size > MOST_BYTES:
                raise web.HTTPRequestEntityTooLarge(MOST_BYTES, size)
            file.write(block)


async def choose_language(request: web.Request) -> web.Response:
    """Set the language of the session."""
    language = str((await request.post()).get("language", ""))
    if language not in LANGUAGES:
        raise web.HTTPBadRequest(text=mark("Unknown language. Reload the page."))
    request[SESSION].language = language
    return web.Response(status=204, headers={"HX-Refresh": "true"})


async def show_task(request: web.Request) -> web.Response:
    """Open the step of a task at which it is."""
    task = task_of(request)
    steps = {"result": task.report, "run": task.plan, "plan": task.plan_rows, "errors": task.rows}
    step = next((name for name, path in steps.items() if path.exists()), "columns")
    raise web.HTTPFound(address(task, step))
