"""HTTP requests: POST with a body of bytes, and the bytes of the answer.

A session of aiohttp prepares headers, cookies, redirects and a task for the body of each request.
The requests of a run differ in path and body only, so ``_Direct`` prepares a path's head once and
writes to the connector's connections itself, which saves a third of a row's processor time.
Connections, TLS, timeouts and the parser are aiohttp's in both cases, and so are the errors.

Some of the methods between them are not documented. So requests are sent by the session unless the
version of aiohttp is a known one, and also if there is a proxy, or if another library observes or
replaces the session's requests.

Exceptions of this module may contain the key: only ``client`` uses it, which replaces them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from types import FunctionType
from typing import Any, Final, NamedTuple

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

_KNOWN_VERSIONS: Final = frozenset({"3.10", "3.11", "3.12", "3.13", "3.14"})
_LENGTH: Final = "Content-Length"
_INTERIM: Final = frozenset(range(100, 200)) - {101}
"""Statuses that another answer follows; 101 is the last one."""
_UNSENDABLE: Final = frozenset("\r\n\0")


class RawAnswer(NamedTuple):
    """An answer as it arrived."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class HttpSender:
    """Sends requests to some addresses; belongs to one session.

    Args:
        urls: path -> address.
        headers: of every request; with those of the session, they are all.
        proxy: the arguments of aiohttp for the proxy; empty for none.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        urls: Mapping[str, URL],
        headers: Mapping[str, str],
        proxy: Mapping[str, Any],
    ) -> None:
        self._session, self._urls, self._headers, self._proxy = session, urls, headers, proxy
        self._is_direct = not proxy and _is_plain(session)
        self._direct: dict[str, _Direct | None] = {}

    def post(self, path: str, body: bytes, most_bytes: int) -> Coroutine[Any, Any, RawAnswer]:
        """Send a request, and read its answer up to about this many bytes.

        Raises: as ``aiohttp.ClientSession.post``, and as reading its answer does.
        """
        direct = self._direct.get(path)
        if direct is None and self._is_direct and path not in self._direct:
            direct = self._direct[path] = _direct_or_none(
                self._session, self._urls[path], self._headers
            )
        if direct is not None:
            return direct.post(body, most_bytes)
        return self._post_by_session(path, body, most_bytes)

    async def _post_by_session(self, path: str, body: bytes, most_bytes: int) -> RawAnswer:
        response = await self._session.post(
            self._urls[path],
            data=body,
            headers=self._headers,
            allow_redirects=False,
            **self._proxy,
        )
        try:
            content = await _read_bounded(response.content, most_bytes)
        except BaseException:
            response.close()
            raise
        if not response.content.at_eof():
            response.close()
        return RawAnswer(response.status, response.headers, content)


class _Direct:
    """Requests to one address, on the connections of a session."""

    def __init__(
        self, session: aiohttp.ClientSession, url: URL, headers: Mapping[str, str]
    ) -> None:
        connector = session.connector
        assert connector is not None  # noqa: S101  (the session is open)
        self._connector, self._timeout = connector, session.timeout
        # Never sent: it has the headers that aiohttp adds, and opens connections.
        self._request = ClientRequest(
            "POST",
            url,
            headers={**session.headers, **headers},
            loop=asyncio.get_running_loop(),
            session=session,
        )
        of_all = [(name, text) for name, text in self._request.headers.items() if name != _LENGTH]
        lines = [f"POST {url.raw_path_qs} HTTP/1.1", *(f"{name}: {text}" for name, text in of_all)]
        if any(_UNSENDABLE & set(line) for line in lines):
            raise ValueError("a line break in the head of a request")
        self._head = "\r\n".join([*lines, f"{_LENGTH}: "]).encode()

    async def post(self, body: bytes, most_bytes: int) -> RawAnswer:
        """Send a request; see ``HttpSender.post``."""
        connection = await self._connect()
        try:
            protocol, transport = _open_ends(connection)
            protocol.set_response_params(read_until_eof=True)
            transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
            message, payload = await protocol.read()
            while message.code in _INTERIM:
                message, payload = await protocol.read()
            content = await _read_bounded(payload, most_bytes)
        except HttpProcessingError as exc:
            connection.close()
            raise aiohttp.ClientResponseError(self._request.request_info, ()) from exc
        except BaseException:
            connection.close()
            raise
        if transport.get_write_buffer_size():
            connection.close()  # answered before the whole request has left
        else:
            connection.release()  # closes it where the answer has not ended
        return RawAnswer(message.code, message.headers, content)

    async def _connect(self) -> Connection:
        while True:
            try:
                connection = await self._connector.connect(self._request, [], self._timeout)
            except TimeoutError as exc:
                raise aiohttp.ConnectionTimeoutError from exc
            protocol = connection.protocol
            if protocol is None or len(protocol) == 0:
                return connection
            # An answer without a request is waiting in it, which is not the answer to this one.
            connection.close()


def _open_ends(connection: Connection) -> tuple[ResponseHandler, asyncio.Transport]:
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None:
        raise aiohttp.ServerDisconnectedError
    return protocol, transport


def _direct_or_none(
    session: aiohttp.ClientSession, url: URL, headers: Mapping[str, str]
) -> _Direct | None:
    """Return None for what the session rejects or treats in a way of its own."""
    if url.user is not None or url.password is not None:
        return None
    try:
        return _Direct(session, url, headers)
    except (aiohttp.ClientError, ValueError):
        return None


def _is_plain(session: aiohttp.ClientSession) -> bool:
    """Return whether nothing but aiohttp, in a known version, has a part in a session's requests.

    Libraries for tests replace ``_request``; those that trace wrap it, or add trace configurations.
    """
    request = vars(aiohttp.ClientSession).get("_request")
    version = ".".join(aiohttp.__version__.split(".")[:2])
    return (
        version in _KNOWN_VERSIONS
        and type(session) is aiohttp.ClientSession
        and type(request) is FunctionType
        and request.__code__.co_filename == aiohttp.client.__file__
        and not session.trace_configs
    )


async def _read_bounded(stream: aiohttp.StreamReader, most_bytes: int) -> bytes:
    """Read an answer, up to about this many bytes; the stream is at its end if that was all."""
    size = most_bytes + 1
    # Nearly all answers are complete when their head is read.
    content = stream.read_nowait(size) if stream.is_eof() else await stream.read(size)
    if stream.at_eof():
        return content
    parts = bytearray(content)
    while not stream.at_eof() and len(parts) <= most_bytes:
        parts += await stream.read(most_bytes - len(parts) + 1)
    return bytes(parts)
