"""The sandbox as a server on this machine's loopback: HTTP around ``api``, and the latency.

Beside the API there are, without a key and outside the quota: ``GET /`` (a page of numbers),
``GET /_stats`` (the numbers) and ``GET /_incidents`` (every incident, with ``applied``).

Any web page can make a browser on this machine send requests here (DNS rebinding), so requests
whose Host or Origin is not a name of this machine are rejected.

State: a sandbox keeps its incidents and its books for as long as it exists, so they can be
read after ``serve`` has ended. With ``SandboxConfig.state`` its incidents are in a file, too,
that ``serve`` reads when it begins and writes when it ends; changes meanwhile are in a journal
beside it before they are answered. It runs in one event loop and belongs to one thread.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from bulk_reset.sandbox.api import Api, Call
from bulk_reset.sandbox.journal import Journal
from bulk_reset.sandbox.page import draw_page, page_policy
from bulk_reset.sandbox.rules import MAX_BODY_BYTES
from bulk_reset.sandbox.state import load_state, save_state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from bulk_reset.sandbox.config import SandboxConfig
    from bulk_reset.sandbox.incidents import Incidents

HOST: Final = "127.0.0.1"
_OWN_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
# Requests in flight are cancelled after this time; no client needs their responses.
_SHUTDOWN_S: Final = 0.1


class Sandbox:
    """One emulated account: its incidents, its quota and its books.

    Args:
        config: what it is started with.
        clock: seconds that never go back; the quota is counted by it.
        wall_clock: UTC epoch seconds; the incidents' ``updated_at``.
    """

    def __init__(
        self,
        config: SandboxConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._api = Api(config, clock=clock, wall_clock=wall_clock)
        self._journal: Journal | None = None

    def __repr__(self) -> str:
        return f"<Sandbox {self._api!r}>"

    @property
    def incidents(self) -> Incidents:
        """Every incident; ``put`` one as the initial state, or as a change by another client."""
        return self._api.incidents

    def stats(self) -> dict[str, Any]:
        """Return the numbers of ``/_stats``; see ``Api.stats``."""
        return self._api.stats()

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[str]:
        """Serve on the loopback until the block ends.

        However it ends, the state is written then, after the last request: also when the block
        raises or is cancelled.

        Args:
            port: 0 for any free one.

        Yields:
            The base URL, ``http://127.0.0.1:PORT``.

        Raises:
            OSError: the port is taken; nothing is left running.
            StateError: the state's file cannot be read or written, or is none. Nothing is left
                running, and the file is as it was.
        """
        kept = load_state(self._config.state) if self._config.state else None
        if kept is not None:
            self.incidents.restore(kept)
        with ExitStack() as at_the_end:
            async with self._listen(port) as base_url:
                if self._config.state:
                    # A file that cannot be written is found now, and not when all depends on it.
                    self._keep_journal(self._config.state)
                    at_the_end.callback(self._close_journal)
                    at_the_end.callback(self._save, self._config.state)
                yield base_url

    def _save(self, state: Path) -> str:
        sha256 = save_state(state, self.incidents.snapshot())
        if self._journal is not None:
            self._journal.remove()
            self._journal, self.incidents.on_change = None, lambda _: None
        return sha256

    def _close_journal(self) -> None:
        """Close the journal that is left where the state could not be saved."""
        if self._journal is not None:
            self._journal.close()

    def _keep_journal(self, state: Path) -> None:
        """Save the state, then write each change to a new journal."""
        journal = self._journal = Journal(state, self._save(state))

        def keep(incident_id: str) -> None:
            if journal.is_full:
                self._keep_journal(state)
            else:
                journal.add(self.incidents.kept(incident_id))

        self.incidents.on_change = keep

    @asynccontextmanager
    async def _listen(self, port: int) -> AsyncIterator[str]:
        runner = web.AppRunner(
            self._application(),
            # The log would show every URL, and keys are in URLs.
            access_log=None,
            shutdown_timeout=_SHUTDOWN_S,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, port).start()
            yield f"http://{HOST}:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_guarded])
        application.router.add_get("/", self._show_page)
        application.router.add_get("/_stats", self._show_stats)
        application.router.add_get("/_incidents", self._show_incidents)
        application.router.add_route("*", "/{path:.*}", self._handle)
        return application

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = await _read(request)
        await asyncio.sleep(self._config.latency_s / 2)
        reply = self._api.answer(call)
        await asyncio.sleep(self._config.latency_s / 2 + reply.delay_s)
        if reply.ending == "hang":
            await asyncio.Event().wait()
        if reply.ending == "reset":
            _reset_connection(request)
        response = web.Response(status=reply.status, body=reply.content)
        response.headers["Content-Type"] = reply.content_type
        response.headers.update(reply.headers)
        return response

    async def _show_page(self, _request: web.Request) -> web.Response:
        page = draw_page(self.stats(), self._config)
        headers = {"Content-Security-Policy": page_policy()}
        return web.Response(text=page, content_type="text/html", headers=headers)

    async def _show_stats(self, _request: web.Request) -> web.Response:
        return web.json_response(self.stats())

    async def _show_incidents(self, _request: web.Request) -> web.Response:
        return web.json_response(self.incidents.snapshot())


@web.middleware
async def _guarded(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Reject a request that a web page of another host has caused."""
    if not _is_own(request.headers.get("Host", "")):
        return web.Response(status=421, text="Misdirected Request\n")
    origin = request.headers.get("Origin")
    # A page of a file, or of another scheme, has the origin "null" or one without a host.
    if origin is not None and not _is_own(origin.partition("://")[2]):
        return web.Response(status=403, text="Forbidden\n")
    return await handler(request)


def _is_own(host: str) -> bool:
    """Return whether a Host header, or what an Origin has after its scheme, is this machine."""
    name, sign, port = host.rpartition(":")
    return (name if sign and port.isdecimal() else host).lower() in _OWN_NAMES


async def _read(request: web.Request) -> Call:
    try:
        content = await request.read()
    except web.HTTPRequestEntityTooLarge:
        content = None
    return Call(
        method=request.method,
        path=request.path,
        app_key=request.query.get("app_key"),
        content_type=request.content_type,
        content=content,
        access_token=_bearer_token(request.headers.get("Authorization", "")),
    )


def _bearer_token(header: str) -> str | None:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _reset_connection(request: web.Request) -> None:
    if request.transport is None:
        return
    # Lingering for 0 seconds makes the close a reset (RST), as a broken path would send it.
    linger = struct.pack("ii", 1, 0)
    request.transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, linger
    )
    request.transport.abort()
