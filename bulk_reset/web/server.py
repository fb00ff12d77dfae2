"""The server of the page: on this machine only, from its start to Ctrl-C."""

from __future__ import annotations

import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from bulk_reset.api.credentials import redact
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option
from bulk_reset.web.assets import PREFIX, show_asset
from bulk_reset.web.security import Guard, Handler, add_headers
from bulk_reset.web.sessions import Sessions
from bulk_reset.web.start_page import TASKS, add_sheet, choose_language, show_start, show_task
from bulk_reset.web.task import Tasks

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
async def serving(folder: Path, port: int = 0) -> AsyncIterator[Server]:
    """Serve the tasks of a folder until the block ends.

    Args:
        port: 0 for a free one.

    Raises:
        InputError: the port is in use.
    """
    sessions = Sessions()
    guard = Guard(sessions)
    app = _application(guard, sessions, folder)
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
        yield Server(app, sessions, used)
    finally:
        await runner.cleanup()


def _application(guard: Guard, sessions: Sessions, folder: Path) -> web.Application:
    app = web.Application(
        middlewares=[_with_errors, guard.middleware()], client_max_size=_MOST_FORM_BYTES
    )
    app.on_response_prepare.append(add_headers)
    app[TASKS] = Tasks(folder)

    async def log_in(request: web.Request) -> web.Response:
        """Exchange the token of the link for a cookie, and leave it out of the address."""
        secret = sessions.begin(request.query.get("token", ""))
        if secret is None:
            raise web.HTTPUnauthorized(
                text="This link was used, or is not the latest. Run bulk-reset web again.\n"
            )
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
        print(redact(traceback.format_exc()), file=sys.stderr)  # noqa: T201
        return web.Response(
            status=500, text="Internal error. Details are in the terminal of bulk-reset web.\n"
        )
