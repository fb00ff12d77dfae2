"""An API server with faults on demand: the faults of networks, proxies and servers.

It records what arrived when, and what was applied; tests compare the run's report with that. It
runs in the event loop of the run, so it works on a virtual clock, too.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

RESET: Final = "/incident/reset"
LIST: Final = "/incident/list-by-ids"
KEY: Final = "k3y-S3CRET-0123456789"
# Self-signed, for 127.0.0.1, valid until 2126. It protects nothing.
PEM = """\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIB85z3kBCb2bCO1MML6SPrnxMEDmz9nJPRj9de7D+kUNoAoGCCqGSM49
AwEHoUQDQgAEei0tV2CbQSM8NMooYIy1xYFDA/lGo/T9RxZ0ZRNTqBa57NQzXchZ
r8LMDz48x6kXufZuuw5aWfL7IfG6Ov3wEg==
-----END EC PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBijCCATCgAwIBAgIUSej+/lyBxYNugeOgyI8zD3ElHIcwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGbm9ib2R5MCAXDTI2MTEyMzIzMjUwNFoYDzIxMjYxMDMwMjMy
NTA0WjARMQ8wDQYDVQQDDAZub2JvZHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAR6LS1XYJtBIzw0yihgjLXFgUMD+Uaj9P1HFnRlE1OoFrns1DNdyFmvwswPPjzH
qRe59m67DlpZ8vsh8bo6/fASo2QwYjAdBgNVHQ4EFgQUONrwFEgvhnMKDZQVd1Q7
xlfObi4wHwYDVR0jBBgwFoAUONrwFEgvhnMKDZQVd1Q7xlfObi4wDwYDVR0TAQH/
BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0gAMEUCIQDbKPox
b8JP6lS/QA0bTU4sgClfKzFmHzqQW/ZLdQgLZgIgWfTytulYYoCHqcxoO29wGtsv
ITSBjN1dHupnJKYl3Zc=
-----END CERTIFICATE-----
"""


def http(status: int, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """Return the bytes of an HTTP response."""
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {size}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def success(data: object = None) -> bytes:
    """Return a successful response of the API."""
    body = json.dumps({"request_id": "R1", "data": data}).encode()
    return http(200, body, "Content-Type: application/json")


def error(status: int, code: str, *headers: str) -> bytes:
    """Return an error response of the API."""
    body = json.dumps({"request_id": "R2", "error": {"code": code, "message": "said so"}})
    return http(status, body.encode(), "Content-Type: application/json", *headers)


class Hangup(Exception):  # noqa: N818  (control flow, not an error)
    """The connection is to be closed now."""


@dataclass
class Exchange:
    """One request, with the methods to answer it."""

    server: HostileServer
    path: str
    body: dict[str, Any]
    writer: asyncio.StreamWriter

    def apply(self) -> None:
        """Apply the update."""
        values = dict(self.body)
        incident_id = values.pop("incident_id")
        self.server.incidents[incident_id].update(values)
        self.server.applied[incident_id] += 1

    async def send(self, answer: bytes) -> None:
        """Send bytes."""
        self.writer.write(answer)
        self.server.sent_bytes += len(answer)
        await self.writer.drain()

    def reset(self) -> None:
        """Reset the connection (RST)."""
        at_once = struct.pack("ii", 1, 0)
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.writer.transport.abort()
        raise Hangup


Fault = Callable[[Exchange], Awaitable[None]]


def _listening(port: int) -> socket.socket:
    listening = socket.create_server(("127.0.0.1", port))
    # Bytes are sent at once: a virtual clock does not wait for the kernel.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


@dataclass
class HostileServer:
    """The API, with a fault for some of the requests.

    Attributes:
        fault: how these requests are answered.
        meets: which updates have the fault, by incident id and number of arrival (from 1).
        breaks_reads: whether reads have the fault, too.
        incidents: id -> current values.
        applied, arrivals: how many updates were applied and arrived, by incident.
        times: when updates arrived, on the loop's clock.
    """

    ids: list[str]
    fault: Fault | None = None
    meets: Callable[[str, int], bool] = lambda _id, _arrival: True
    breaks_reads: bool = False
    tls: ssl.SSLContext | None = None
    latency_s: float = 0.02
    incidents: dict[str, dict[str, str]] = field(default_factory=dict)
    applied: Counter[str] = field(default_factory=Counter)
    arrivals: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    reads: int = 0
    connections: int = 0
    sent_bytes: int = 0
    keys: set[str] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _server: asyncio.Server | None = None

    def __post_init__(self) -> None:
        self.incidents = {one: {"incident_id": one, "title": "as before"} for one in self.ids}
        self._socket = _listening(0)
        self.port = self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        """The base URL."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen on the port, for the first time or again."""
        if self._socket.fileno() < 0:
            self._socket = _listening(self.port)
        self._server = await asyncio.start_server(self._serve, sock=self._socket, ssl=self.tls)

    def stop(self) -> None:
        """Abort every connection and refuse new ones."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Listen until the block ends."""
        await self.start()
        try:
            yield
        finally:
            self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                await self._answer(await self._read(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, Hangup):
            pass  # one side has closed the connection
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Exchange:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split("\r\n", 1)[0].split(" ")
        lines = (line.partition(":") for line in head.split("\r\n")[1:])
        headers = {name.lower(): value.strip() for name, _, value in lines}
        body = await reader.readexactly(int(headers["content-length"]))
        assert method == "POST"
        address = urlsplit(target)
        self.keys.update(parse_qs(address.query).get("app_key", ["none"]))
        return Exchange(self, address.path, json.loads(body), writer)

    async def _answer(self, exchange: Exchange) -> None:
        if exchange.path == LIST:
            self.reads += 1
            await asyncio.sleep(self.latency_s)
            if self.fault is not None and self.breaks_reads:
                return await self.fault(exchange)
            found = [self.incidents[one] for one in exchange.body["incident_ids"]]
            return await exchange.send(success({"items": found, "total": len(found)}))
        assert exchange.path == RESET
        incident_id = exchange.body["incident_id"]
        self.arrivals[incident_id] += 1
        self.times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.latency_s)
        if self.fault is not None and self.meets(incident_id, self.arrivals[incident_id]):
            return await self.fault(exchange)
        exchange.apply()
        return await exchange.send(success())
