"""The page's server in this process, and programs that send requests to it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from web_requests import Client

from bulk_reset.web.assets import PREFIX, assets
from bulk_reset.web.pages import WORKS, Settings
from bulk_reset.web.security import TOKEN_HEADER
from bulk_reset.web.server import Server, serving

NO_TASK = "20260101-000000-aaaaaa"
"""An id that no task has."""


@dataclass
class WebServer:
    """A server that is running, and the folder of its tasks."""

    server: Server
    folder: Path

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.port

    def new_link(self) -> str:
        """Return the path of a new link, with its token."""
        parts = urlsplit(self.server.new_link())
        return f"{parts.path}?{parts.query}"

    def anonymous(self) -> Client:
        """Return a program without a session."""
        return Client(self.port)

    async def login(self) -> Client:
        """Return a program with a session of its own, and the token that its pages send."""
        answer = await self.anonymous().get(self.new_link())
        (cookie,) = answer.cookies.values()
        client = Client(self.port, {"Cookie": f"{cookie.key}={cookie.value}"})
        token = re.search(f'{TOKEN_HEADER}": "([^"]+)"', (await client.get("/")).text)
        assert token
        client.headers[TOKEN_HEADER] = token[1]
        return client

    def routes(self, task: str = NO_TASK) -> list[tuple[str, str]]:
        """Return the method and path of every route; of files, one for each."""
        found = []
        for route in self.server.app.router.routes():
            assert route.resource is not None
            path = route.resource.canonical.replace("{task}", task)
            if path.startswith(PREFIX):
                found += [(route.method, one) for one in self.assets()]
            else:
                found.append((route.method, re.sub(r"\{\w+\}", "1", path)))
        return found

    def join(self, address: str) -> None:
        """Wait until the work of a task has ended."""
        work = self.server.app[WORKS].of(address.rpartition("/")[2])
        assert work is not None
        work.join()
        assert (work.state, work.error) == ("done", "")

    def assets(self) -> list[str]:
        """Return the path of every style and script."""
        return [f"{PREFIX}{name}" for name in assets()]


@asynccontextmanager
async def web_server(folder: Path, settings: Settings | None = None) -> AsyncIterator[WebServer]:
    """Serve the tasks of a folder on a free port until the block ends."""
    async with serving(folder, settings) as server:
        yield WebServer(server, folder)
