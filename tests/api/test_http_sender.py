"""Requests on a session's connections have the results of requests by the session.

Each scenario is sent in both ways, to a server that answers with bytes written by hand.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from hostile_server import PEM
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_server import raw_server
from yarl import URL

from bulk_reset.api import http_sender
from bulk_reset.api.client import MAX_ANSWER_BYTES, Client, open_client
from bulk_reset.api.credentials import AppKey, Credentials
from bulk_reset.core.errors import (
    AccessError,
    ConnectError,
    FatalError,
    RequestError,
    UnknownOutcomeError,
)

KEY: Final = "k3y-S3CRET-0123456789"
BODY: Final = '{"incident_id":"69da451ef77b1b51f40e83ee","title":"磁盘已满"}'.encode()
SUCCESS: Final = b'{"request_id": "R1", "data": {}}'
FAILURE: Final = b'{"request_id": "R2", "error": {"code": "InternalError", "message": "no"}}'
DATE: Final = "Thu, 01 Jan 2026 00:00:00 GMT"
Result = tuple[Any, ...]


@dataclass
class ScriptedServer:
    """Answers each request with the next bytes of a list; the last of them is repeated.

    Attributes:
        is_last: whether a connection is closed after its first answer.
        received: the requests, as they arrived.
        connections: how many were opened.
    """

    answers: Sequence[bytes]
    is_last: bool = False
    received: list[bytes] = field(default_factory=list)
    connections: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection."""
        self.connections += 1
        self.writers.append(writer)
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            self.received.append(head + await reader.readexactly(length))
            place = min(len(self.received), len(self.answers)) - 1
            writer.write(self.answers[place])
            await writer.drain()
            if self.is_last:
                return

    def running(self, tls: ssl.SSLContext | None = None) -> AbstractAsyncContextManager[str]:
        """Serve until the block ends; yield the address."""
        return raw_server(self.serve, tls, says="https" if tls else "http")


@asynccontextmanager
async def client_of(
    base_url: str, *, is_token: bool = False, timeout_s: float = 30
) -> AsyncIterator[Client]:
    account = Credentials(AppKey(KEY), base_url, "a test", is_token=is_token)
    async with open_client(account, connections=2, timeout_s=timeout_s) as client:
        yield client


async def result_of(client: Client, body: bytes = BODY) -> Result:
    """Return all that is known of a request's result."""
    try:
        answer = await client.reset(body)
    except RequestError as error:
        text = str(error)
        assert KEY not in text
        facts = (error.code, error.http_status, error.request_id, error.retry_after_s)
        return type(error), text, *facts
    return answer.http_status, answer.request_id, answer.data, answer.date


@contextmanager
def by_session() -> Iterator[None]:
    """Let all requests be sent by aiohttp's session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_sender, "_KNOWN_VERSIONS", frozenset())
        yield


async def in_both_ways(scenario: Callable[[], Awaitable[Any]]) -> tuple[Any, Any]:
    """Return the results of a scenario: directly, and by the session."""
    direct = await scenario()
    with by_session():
        return direct, await scenario()


def idle_connections(client: Client) -> list[Any]:
    """Return aiohttp's ends of the connections that wait for a request."""
    connector = client._sender._session.connector  # noqa: SLF001  (there is no other way to see them)
    return [end for some in connector._conns.values() for end, _ in some]  # noqa: SLF001


async def until(is_so: Callable[[], bool]) -> None:
    """Let the loop run until a condition is true."""
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110  (nothing sets an event)
            await asyncio.sleep(0.001)


async def twice(answer: bytes, *, is_last: bool = False) -> tuple[list[Result], int]:
    """Return the results of two requests, and how many connections they took."""
    server = ScriptedServer([answer], is_last)
    async with server.running() as base_url, client_of(base_url) as client:
        results = [await result_of(client)]
        if not is_last:
            results.append(await result_of(client))
    return results, 0 if is_last else server.connections


# --- What is sent ----------------------------------------------------------------------------


@pytest.mark.parametrize("is_token", [False, True])
@pytest.mark.parametrize("prefix", ["", "/proxied/api", "/磁盘 x", "/a%2Fb"])
async def test_a_request_is_the_same_byte_for_byte(prefix: str, *, is_token: bool) -> None:
    """Line, headers and body are those of aiohttp; neither is the port a difference."""
    bodies = [b"", b"x", BODY, b"\r\n\r\nContent-Length: 3\r\n\r\n", b"%b%d%s", bytes(300_000)]

    async def scenario() -> list[bytes]:
        server = ScriptedServer([SUCCESS_ANSWER])
        async with (
            server.running() as base_url,
            client_of(base_url + prefix, is_token=is_token) as client,
        ):
            for body in bodies[1:]:
                await client.reset(body)
            await client.reset_field(BODY)
            await client.act("ack", ["69da451ef77b1b51f40e83ee"])
            port = base_url.rpartition(":")[2].encode()
        return [one.replace(port, b"PORT") for one in server.received]

    direct, by_the_session = await in_both_ways(scenario)
    assert direct == by_the_session
    assert len(direct) == len(bodies) + 1


# --- What is made of answers -----------------------------------------------------------------


def answer_of(content: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(lines).encode() + content


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + end


SUCCESS_ANSWER: Final = answer_of(SUCCESS, f"Date: {DATE}")
LONG: Final = b'{"request_id": "R1", "data": "%b"}'
COMPLETE: Final = {
    "success": SUCCESS_ANSWER,
    "no content": answer_of(b""),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "error": answer_of(FAILURE, status="500 X"),
    "throttled": answer_of(FAILURE, "Retry-After: 7", status="429 X"),
    "redirect": answer_of(b"", "Location: http://127.0.0.1:1/x", status="307 X"),
    "html": answer_of(b"<html>", "Content-Type: text/html", status="502 X"),
    "cookies": answer_of(SUCCESS, "Set-Cookie: a=b; Domain=x", "Set-Cookie: \x01;;=", "A: b"),
    "close": answer_of(SUCCESS, "Connection: close"),
    "upgrade": answer_of(SUCCESS, "Upgrade: h2c", "Connection: upgrade"),
    "no reason": b"HTTP/1.1 200\r\nContent-Length: %d\r\n\r\n%b" % (len(SUCCESS), SUCCESS),
    "status 600": answer_of(SUCCESS, status="600 X"),
    "100 before": b"HTTP/1.1 100 Continue\r\n\r\n" + SUCCESS_ANSWER,
    "102, 103 before": b"HTTP/1.1 102 X\r\n\r\nHTTP/1.1 103 X\r\nLink: y\r\n\r\n" + SUCCESS_ANSWER,
    "chunked": chunked(SUCCESS[:5], SUCCESS[5:]),
    "chunked, trailer": chunked(SUCCESS, end=b"0\r\nA: b\r\n\r\n"),
    "chunk extension": chunked().replace(b"0\r\n", b"2;a=b\r\n{}\r\n0\r\n"),
    "gzip": answer_of(gzip.compress(SUCCESS), "Content-Encoding: gzip"),
    "deflate": answer_of(zlib.compress(SUCCESS), "Content-Encoding: deflate"),
    "long headers": answer_of(SUCCESS, "A: " + "x" * 8_000),
    "many headers": answer_of(SUCCESS, *(f"A{n}: b" for n in range(120))),
    "long": answer_of(LONG % (b"x" * (MAX_ANSWER_BYTES // 2))),
    "longest": answer_of(LONG % (b"x" * (MAX_ANSWER_BYTES - len(LONG) + 2))),
    "two answers": SUCCESS_ANSWER + answer_of(FAILURE, status="500 X"),
    "more than its length": SUCCESS_ANSWER + b"{}",
    "line ends before": b"\r\n\r\n" + SUCCESS_ANSWER,
    "not HTTP": b"220 mail.example ESMTP\r\n\r\n",
    "a control character": answer_of(SUCCESS, "A: b\x00c"),
    "a folded header": answer_of(SUCCESS, "A: b\r\n c"),
    "a header without a colon": answer_of(SUCCESS, "A b"),
    "two lengths": answer_of(SUCCESS, "Content-Length: 3"),
    "length and chunks": answer_of(SUCCESS, "Transfer-Encoding: chunked"),
    "not a length": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
    "not a chunk": chunked(end=b"xyz\r\n\r\n"),
    "too long a header": answer_of(SUCCESS, "A: " + "x" * 100_000),
    "too many headers": answer_of(SUCCESS, *(f"A{n}: b" for n in range(1_000))),
    "not gzip": answer_of(SUCCESS, "Content-Encoding: gzip"),
    "unknown encoding": answer_of(SUCCESS, "Content-Encoding: rot13"),
    "HTTP/9": b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\n{}",
}
CUT: Final = {
    "nothing": b"",
    "half a line": b"HTTP/1.1 2",
    "a head": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half an answer": SUCCESS_ANSWER[:-7],
    "half of a chunk": chunked(SUCCESS, end=b"5\r\nab"),
    "no last chunk": chunked(SUCCESS, end=b""),
    "half of gzip": answer_of(gzip.compress(SUCCESS)[:-6], "Content-Encoding: gzip"),
    "100 only": b"HTTP/1.1 100 Continue\r\n\r\n",
    "101": b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\x81\x02hi",
    "until its end": b"HTTP/1.1 200 OK\r\n\r\n" + SUCCESS,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + SUCCESS,
    "too long": answer_of(LONG % (b"x" * (MAX_ANSWER_BYTES + 9))),
    "much too long": b"HTTP/1.1 200 OK\r\n\r\n" + bytes(MAX_ANSWER_BYTES + (1 << 20)),
    **COMPLETE,
}


@pytest.mark.parametrize("answer", COMPLETE.values(), ids=COMPLETE)
async def test_an_answer_means_the_same_and_its_connection_is_used_again(answer: bytes) -> None:
    """Two requests have the same results, and take as many connections."""
    direct, by_the_session = await in_both_ways(lambda: twice(answer))
    assert direct == by_the_session


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT)
async def test_an_answer_means_the_same_where_the_server_closes_the_connection(
    answer: bytes,
) -> None:
    """What is complete is a success or an error of the API; the rest is in doubt."""
    direct, by_the_session = await in_both_ways(lambda: twice(answer, is_last=True))
    assert direct == by_the_session


PARTS: Final = (b"", b"\r\n", b"\n", b"0", b":", b" ", b"\x00", b"\xff", b";", b"{")


@st.composite
def damaged_answers(draw: st.DrawFn) -> bytes:
    """An answer with some bytes replaced, removed or doubled."""
    answer = draw(st.sampled_from([one for one in CUT.values() if len(one) < 10_000]))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(answer)))
        end = min(len(answer), place + draw(st.integers(0, 8)))
        part = draw(st.sampled_from(PARTS))
        answer = answer[:place] + part + answer[end - draw(st.integers(0, 1)) :]
    return answer


@settings(max_examples=150)
@given(damaged_answers())
def test_a_damaged_answer_means_the_same(answer: bytes) -> None:
    """Whatever a server sends, both ways come to the same result."""
    direct, by_the_session = asyncio.run(in_both_ways(lambda: twice(answer, is_last=True)))
    assert direct == by_the_session


async def test_a_connection_that_ends_before_the_answer_leaves_both_in_doubt() -> None:
    """Closed or reset, at once or after a success on the same connection."""

    async def scenario() -> list[Result]:
        server = ScriptedServer([SUCCESS_ANSWER, b""], is_last=False)
        async with server.running() as base_url, client_of(base_url) as client:
            results = [await result_of(client)]
            asking = asyncio.create_task(result_of(client))
            await until(lambda: len(server.received) == 2)
            server.writers[0].transport.abort()
            results.append(await asking)
        async with client_of(base_url) as client:
            refused = await result_of(client)  # nothing listens there any more
        port = base_url.rpartition(":")[2]
        return [*results, (refused[0], refused[1].replace(port, "PORT"), *refused[2:])]

    direct, by_the_session = await in_both_ways(scenario)
    assert direct == by_the_session
    assert [result[0] for result in direct[1:]] == [UnknownOutcomeError, ConnectError]


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_an_answer_before_the_end_of_the_request_ends_the_connection() -> None:
    """The rest of the request would be in front of the next one."""

    async def scenario() -> tuple[list[Result], int]:
        heads: list[bytes] = []
        ended = asyncio.Event()

        async def answer_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(SUCCESS_ANSWER)
            await ended.wait()

        async with raw_server(answer_early) as base_url, client_of(base_url) as client:
            results = [await result_of(client, bytes(30_000_000)) for _ in range(2)]
            ended.set()
        return results, len(heads)

    direct, by_the_session = await in_both_ways(scenario)
    assert direct == by_the_session == ([(200, "R1", {}, DATE)] * 2, 2)


async def test_a_timeout_closes_the_connection() -> None:
    """The late answer of one request is never that of the next one."""

    async def scenario() -> tuple[list[Result], int]:
        server = ScriptedServer([b"HTTP/1.1 200 OK\r\nContent-Le", SUCCESS_ANSWER])
        async with server.running() as base_url, client_of(base_url, timeout_s=0.2) as client:
            return [await result_of(client), await result_of(client)], server.connections

    direct, by_the_session = await in_both_ways(scenario)
    assert direct == by_the_session
    assert direct[0][0][:2] == (UnknownOutcomeError, "sent, but the answer timed out")
    assert direct[1] == 2


async def test_a_cancelled_request_closes_its_connection() -> None:
    """Its answer would be taken for that of the next request."""

    async def scenario() -> tuple[Result, int]:
        server = ScriptedServer([b"HTTP/1.1 200", SUCCESS_ANSWER])
        async with server.running() as base_url, client_of(base_url) as client:
            asking = asyncio.create_task(result_of(client))
            await until(lambda: bool(server.received))
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            return await result_of(client), server.connections

    direct, by_the_session = await in_both_ways(scenario)
    assert direct == by_the_session == ((200, "R1", {}, DATE), 2)


async def test_an_answer_that_nothing_asked_for_is_not_that_of_the_next_request() -> None:
    """Some servers answer a quiet connection before they close it: 408, for example."""
    server = ScriptedServer([SUCCESS_ANSWER, answer_of(FAILURE, status="500 X")])
    async with server.running() as base_url, client_of(base_url) as client:
        await client.reset(BODY)
        server.writers[0].write(SUCCESS_ANSWER)
        await until(lambda: any(len(one) for one in idle_connections(client)))
        result = await result_of(client)
    assert result[2:4] == ("InternalError", 500)
    assert server.connections == 2


async def test_connections_are_secured_in_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trusted certificate is accepted, another one is not, and nothing is sent then."""
    (tmp_path / "pem").write_text(PEM)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "pem")
    trusting = ssl.create_default_context(cafile=tmp_path / "pem")

    async def scenario() -> tuple[Result, Result, int]:
        server = ScriptedServer([SUCCESS_ANSWER])
        async with server.running(tls) as base_url:
            async with client_of(base_url) as client:
                refused = await result_of(client)
            with monkeypatch.context() as patch:
                patch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)
                async with client_of(base_url) as client:
                    return refused, await result_of(client), len(server.received)

    direct, by_the_session = await in_both_ways(scenario)
    assert direct == by_the_session
    assert direct[0][0] is AccessError
    assert direct[1:] == ((200, "R1", {}, DATE), 1)


# --- What is sent by the session -------------------------------------------------------------


async def test_a_library_that_replaces_or_wraps_requests_has_its_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A test with such a library sends nothing to the API, and a trace has every request."""
    asked: list[str] = []
    original = aiohttp.ClientSession._request  # noqa: SLF001  (as such libraries do)

    @wraps(original)
    async def wrapper(
        self: aiohttp.ClientSession, method: str, url: URL, **options: object
    ) -> aiohttp.ClientResponse:
        asked.append(method)
        return await original(self, method, url, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", wrapper)
    assert await twice(SUCCESS_ANSWER) == ([(200, "R1", {}, DATE)] * 2, 1)
    assert asked == ["POST", "POST"]


async def test_a_trace_that_a_library_adds_to_every_session_has_every_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As OpenTelemetry's instrumentation of aiohttp does."""
    started: list[str] = []

    async def start(_: object, __: object, of: aiohttp.TraceRequestStartParams) -> None:
        started.append(of.method)

    original = aiohttp.ClientSession.__init__

    def init(self: aiohttp.ClientSession, **options: object) -> None:
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(start)
        original(self, **options, trace_configs=[trace])

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", init)
    assert await twice(SUCCESS_ANSWER) == ([(200, "R1", {}, DATE)] * 2, 1)
    assert started == ["POST", "POST"]


async def test_this_version_of_aiohttp_is_a_known_one() -> None:
    """For another one, run these tests with it, and then add it."""
    async with client_of("http://127.0.0.1:1") as client:
        assert client._sender._is_direct  # noqa: SLF001  (otherwise these tests compare nothing)


async def test_a_token_with_a_line_break_is_rejected_in_both_ways() -> None:
    """It could add a header, or a request."""

    async def scenario() -> tuple[Result, int]:
        server = ScriptedServer([SUCCESS_ANSWER])
        async with server.running() as base_url:
            account = Credentials(AppKey("k3y\r\nA: b"), base_url, "a test", is_token=True)
            async with open_client(account, connections=1, timeout_s=30) as client:
                return await result_of(client), server.connections

    direct, by_the_session = await in_both_ways(scenario)
    assert direct == by_the_session
    assert direct[0][0] is FatalError
