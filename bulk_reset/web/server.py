"""The server of the page: on this machine only, from its start to Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from bulk_reset.api.credentials import redact
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option
from bulk_reset.engine.options import Options
from bulk_reset.web import (
    columns_page,
    errors_page,
    history_page,
    pages,
    plan_page,
    pull_page,
    run_page,
)
from bulk_reset.web.assets import PREFIX, show_asset
from bulk_reset.web.pages import SETTINGS, TASKS, WORKS, Settings
from bulk_reset.web.security import Guard, Handler, add_headers
from bulk_reset.web.sessions import Sessions
from bulk_reset.web.start_page import (
    add_sheet,
    choose_language,
    show_account,
    show_start,
    show_task,
)
from bulk_reset.web.task import Tasks
from bulk_reset.web.work import INTERNAL_ERROR, Works

_log = logging.getLogger(__name__)
_HOST: Final = "127.0.0.1"
_LOGIN: Final = "/login"
_MOST_FORM_BYTES: Final = 1 << 20
"""Of a form; sheets are streamed and have a limit of their own."""


_TASK: Final = "/tasks/{task}"
_TASK_ROUTES: Final = (
    web.get(f"{_TASK}/work", pages.show_work),
    web.get(f"{_TASK}/events", pages.stream_work),
    web.post(f"{_TASK}/stop", pages.stop_work),
    web.post(f"{_TASK}/answer", pages.answer_work),
    web.post(f"{_TASK}/destination", pages.choose_destination),
    web.get(f"{_TASK}/columns", columns_page.show_columns),
    web.post(f"{_TASK}/columns", columns_page.choose_columns),
    web.post(f"{_TASK}/reading", columns_page.choose_reading),
    web.post(f"{_TASK}/remembered", columns_page.use_remembered),
    web.get(f"{_TASK}/errors", errors_page.show_errors),
    web.get(f"{_TASK}/errors/rows", errors_page.show_rows),
    web.post(f"{_TASK}/cell", errors_page.edit_cell),
    web.post(f"{_TASK}/alike", errors_page.edit_alike),
    web.post(f"{_TASK}/value", errors_page.replace_value),
    web.post(f"{_TASK}/undo-edit", errors_page.undo_edit),
    web.post(f"{_TASK}/check", errors_page.check_again),
    web.get(f"{_TASK}/corrected", errors_page.download),
    web.get(f"{_TASK}/plan", plan_page.show_plan),
    web.get(f"{_TASK}/plan/rows", plan_page.show_plan_rows),
    web.post(f"{_TASK}/plan", plan_page.make_plan),
    web.post(f"{_TASK}/select", plan_page.select),
    web.post(f"{_TASK}/chosen", plan_page.choose_plan),
    web.get(f"{_TASK}/plan/file/{{kind}}", plan_page.download_plan),
    web.get(f"{_TASK}/run", run_page.show_run),
    web.post(f"{_TASK}/run", run_page.start_run),
    web.get(f"{_TASK}/result", run_page.show_result),
    web.get(f"{_TASK}/report", run_page.show_report),
    web.get(f"{_TASK}/file/{{kind}}", run_page.download_file),
    web.post(f"{_TASK}/verify", run_page.start_verify),
    web.post(f"{_TASK}/undo", run_page.start_undo),
    web.post(f"{_TASK}/failed", run_page.fix_failed),
)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is running.

    Attributes:
        port: where it listens.
    """

    app: web.Application
    sessions: Sessions
    port: int

    def new_link(self) -> str:
        """Return a link that opens the page once; an earlier one no longer works."""
        return f"http://{_HOST}:{self.port}{_LOGIN}?token={self.sessions.new_link_token()}"


@asynccontextmanager
async def serving(
    folder: Path,
    settings: Settings | None = None,
    port: int = 0,
    show_link: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Server]:
    """Serve the tasks of a folder until the block ends.

    Args:
        settings: the connection, and the folders of jobs; a sandbox in the folder when None.
        port: 0 for a free one.
        show_link: called with a new link when the last one was used.

    Raises:
        InputError: the port is in use.
    """
    sessions = Sessions()
    guard = Guard(sessions)
    settings = settings or Settings(Options(), folder / "sandbox.json", own_key=folder / "app.key")
    servers: list[Server] = []
    app = _application(guard, sessions, folder, settings, lambda: show_link(servers[0].new_link()))
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, _HOST, port).start()
        except OSError as exc:
            raise InputError(
                f"{option('port', port)}: cannot be used ({exc.strerror or exc}). Use another port."
            ) from exc
        used = runner.addresses[0][1]
        guard.listen_on(used)
        servers.append(Server(app, sessions, used))
        yield servers[0]
    finally:
        # What runs stops gracefully, and can be resumed.
        await asyncio.to_thread(app[WORKS].stop_all)
        await runner.cleanup()


def _application(
    guard: Guard,
    sessions: Sessions,
    folder: Path,
    settings: Settings,
    link_used: Callable[[], None],
) -> web.Application:
    app = web.Application(
        middlewares=[_with_errors, guard.middleware()], client_max_size=_MOST_FORM_BYTES
    )
    app.on_response_prepare.append(add_headers)
    app[TASKS], app[WORKS], app[SETTINGS] = Tasks(folder.absolute()), Works(), settings
    app[history_page.PROCESSES] = set()

    async def log_in(request: web.Request) -> web.Response:
        """Exchange the token of the link for a cookie, and leave it out of the address."""
        secret = sessions.begin(request.query.get("token", ""))
        if secret is None:
            raise web.HTTPUnauthorized(
                text="This link was used, or is not the latest. Run bulk-reset web again.\n"
            )
        link_used()
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(guard.cookie_name, secret, path="/", httponly=True, samesite="Strict")
        return response

    app.add_routes(
        [
            web.get(_LOGIN, log_in),
            web.get(f"{PREFIX}{{name}}", show_asset),
            web.get("/", show_start),
            web.get("/account", show_account),
            web.post("/sheets", add_sheet),
            web.post("/language", choose_language),
            web.get("/tasks/{task}", show_task),
            *_TASK_ROUTES,
            web.post("/pull", pull_page.start_pull),
            web.post("/key", pages.save_key),
            web.post("/rule", pull_page.preview_rule),
            web.get("/history", history_page.show_history),
            web.get("/jobs", history_page.show_jobs),
            web.post("/jobs/{job}/run", history_page.run_job),
        ]
    )
    return app


@web.middleware
async def _with_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer an unexpected error with a sentence; its traceback is for the terminal."""
    try:
        return await handler(request)
    except web.HTTPException:
        raise
    except Exception:  # noqa: BLE001  (the server continues to run)
        _log.error(redact(traceback.format_exc()))
        return web.Response(status=500, text=f"{INTERNAL_ERROR}\n")


def make_folder(folder: Path) -> None:
    """Make the folder of the tasks, which only this user can read.

    Raises:
        InputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise InputError(
            f"{option('folder', str(folder))}: cannot be used ({exc.strerror or exc}). Use another "
            "folder."
        ) from exc
