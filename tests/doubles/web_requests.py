"""Requests to the page's server as any program can send them: any host, header, path and body."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.cookies import SimpleCookie

EVENTS = "text/event-stream"


@dataclass(frozen=True)
class Answer:
    """What the server answered; of a stream of events, only that it began."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode()

    @property
    def cookies(self) -> SimpleCookie:
        """Return the cookies that it sets."""
        return SimpleCookie("\r\n".join(self.headers.get_all("Set-Cookie", [])))


@dataclass
class Client:
    """A program that sends requests to a port of this machine.

    Attributes:
        headers: sent with every request, unless a request has others; None leaves one out.
    """

    port: int
    headers: dict[str, str | None] = field(default_factory=dict)

    async def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str | None] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Send a request in another thread, exactly as it is given; return the answer."""
        return await asyncio.to_thread(
            self._send, method, path, {**self.headers, **(headers or {})}, body
        )

    async def get(self, path: str, **headers: str | None) -> Answer:
        """Get a path; the names of headers have ``_`` for ``-``."""
        return await self.send(
            "GET", path, {name.replace("_", "-"): value for name, value in headers.items()}
        )

    def _send(
        self, method: str, path: str, headers: Mapping[str, str | None], body: bytes
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            sent = {"Host": f"127.0.0.1:{self.port}", **headers}
            if body or method == "POST":
                sent["Content-Length"] = str(len(body))
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            response = connection.getresponse()
            is_stream = response.headers.get_content_type() == EVENTS
            return Answer(response.status, response.headers, b"" if is_stream else response.read())
        finally:
            connection.close()
