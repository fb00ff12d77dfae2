"""The server of the page: on this machine only, from its start to Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import web

from bulk_reset.api.credentials import redact
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option
from bulk_reset.engine.options import Options
from bulk_reset.web.assets import PREFIX, show_asset
from bulk_reset.web.pages import SETTINGS, TASKS, WORKS, Settings
from bulk_reset.web.phrases import explained, mark
from bulk_reset.web.rendering import texts_of
from bulk_reset.web.routes import import_pages, later_routes
from bulk_reset.web.security import Guard, Handler, add_headers
from bulk_reset.web.sessions import Sessions
from bulk_reset.web.start_page import add_sheet, choose_language, show_start, show_task
from bulk_reset.web.task import Tasks
from bulk_reset.web.work import INTERNAL_ERROR, Works

_log = logging.getLogger(__name__)
_HOST: Final = "127.0.0.1"
_LOGIN: Final = "/login"
_MOST_FORM_BYTES: Final = 1 << 20
"""Of a form; sheets are streamed and have a limit of their own."""


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

    async def log_in(request: web.Request) -> web.Response:
        """Exchange the token of the link for a cookie, and leave it out of the address."""
        secret = sessions.begin(request.query.get("token", ""))
        if secret is None:
            raise web.HTTPUnauthorized(
                text=mark("This link was used, or is not the latest. Run bulk-reset web again.")
            )
        link_used()
        asyncio.get_running_loop().run_in_executor(None, import_pages)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(guard.cookie_name, secret, path="/", httponly=True, samesite="Strict")
        return response

    app.add_routes(
        [
            web.get(_LOGIN, log_in),
            web.get(f"{PREFIX}{{name}}", show_asset),
            web.get("/", show_start),
            web.post("/sheets", add_sheet),
            web.post("/language", choose_language),
            web.get("/tasks/{task}", show_task),
            *later_routes(),
        ]
    )
    return app


@web.middleware
async def _with_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer an error with a sentence in the user's language; tracebacks are for the terminal."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        _translate(error, request)
        raise
    except Exception:  # noqa: BLE001  (the server continues to run)
        _log.error(redact(traceback.format_exc()))
        response = web.Response(status=500, text=INTERNAL_ERROR)
    if response.status >= HTTPStatus.BAD_REQUEST and isinstance(response, web.Response):
        _translate(response, request)
    return response


def _translate(response: web.Response, request: web.Request) -> None:
    if response.text and response.content_type == "text/plain":
        response.text = f"{explained(response.text.rstrip(), texts_of(request))}\n"


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
