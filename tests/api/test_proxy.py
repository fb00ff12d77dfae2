"""Proxies from the environment: honoured or refused, with real ones on this machine."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from hostile_server import PEM
from yarl import URL

from bulk_reset.api.client import open_client
from bulk_reset.api.credentials import AppKey, Credentials
from bulk_reset.api.proxy import Proxy, proxy_of
from bulk_reset.core.errors import InputError
from bulk_reset.engine.connection import connect
from bulk_reset.engine.options import Options

API = "https://api.flashcat.invalid"
NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BODY = b'{"request_id": "R1", "data": {}}'


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, *map(str.upper, NAMES)):
        monkeypatch.delenv(name, raising=False)


# --- Which proxy -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1/"),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "http://p:1/"),
        ({"HTTPS_PROXY": "https://p:1"}, "https://p:1/"),
        ({"HTTPS_PROXY": "HTTP://P"}, "http://p/"),
        ({"ALL_PROXY": "http://p:1"}, "http://p:1/"),
        ({"all_proxy": "https://p:1/"}, "https://p:1/"),
        ({"HTTPS_PROXY": "http://p:1", "ALL_PROXY": "socks5://q:1"}, "http://p:1/"),
        ({"HTTP_PROXY": "http://p:1"}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTPS_PROXY": "socks5://p:1", "NO_PROXY": "*"}, None),
    ],
)
def test_a_proxy_is_found_in_the_usual_variables(
    variables: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its scheme first, else of all; names in lower case win."""
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert proxy_of(API) == (None if expected is None else Proxy(URL(expected)))


@pytest.mark.parametrize(
    ("address", "excluded", "is_direct"),
    [
        (API, "api.flashcat.invalid", True),
        (API, "flashcat.invalid", True),
        (API, ".flashcat.invalid", True),
        (API, "*.flashcat.invalid", True),
        (API, "API.Flashcat.Invalid", True),
        (API, "other.example, flashcat.invalid", True),
        (API, "other.example flashcat.invalid", True),
        (API, "api.flashcat.invalid:443", True),
        (f"{API}:8443", "api.flashcat.invalid:443", False),
        (API, "cat.invalid", False),
        (API, "x.api.flashcat.invalid", False),
        (API, "other.example", False),
        (API, "", False),
        ("https://10.1.2.3", "10.0.0.0/8", True),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://10.1.2.3", "11.0.0.0/8", False),
        ("https://[2001:db8::1]", "2001:db8::/32", True),
        ("https://[2001:db8::1]", "[2001:db8::1]", True),
        ("http://127.0.0.1:8080", "", True),
        ("https://localhost", "", True),
    ],
)
def test_a_host_may_need_no_proxy(
    address: str, excluded: str, is_direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name, a domain, a network or all; this machine never needs one."""
    monkeypatch.setenv("ALL_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", excluded)
    assert (proxy_of(address) is None) is is_direct


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("HTTPS_PROXY", "socks5://u:s3cr3t@p:1", "a proxy of the kind socks5 is not supported"),
        ("ALL_PROXY", "socks5h://p:1", "a proxy of the kind socks5h is not supported"),
        ("all_proxy", "p:3128", "not the address of a proxy"),
        ("HTTPS_PROXY", "u:s3cr3t@p:3128", "not the address of a proxy"),
        ("HTTPS_PROXY", "http://", "not the address of a proxy"),
        ("HTTPS_PROXY", "http://[", "not the address of a proxy"),
        ("HTTPS_PROXY", "http://p:s3cr3t", "not the address of a proxy"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_before_anything_is_sent(
    name: str, text: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never passed over, and its password is not repeated."""
    monkeypatch.setenv(name, text)
    monkeypatch.setenv("FLASHDUTY_APP_KEY", "0123456789abcdef")
    from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415

    with (
        pytest.raises(InputError) as caught,
        connect(Options(base_url=API), Callbacks()),
    ):
        pass
    assert str(caught.value) == (
        f"{name}: {problem}. Use http://HOST:PORT or https://HOST:PORT, or add "
        "api.flashcat.invalid to NO_PROXY."
    )


# --- Real proxies ----------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Return the context of servers whose certificate the client trusts."""
    (tmp_path / "pem").write_text(PEM)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "pem"))
    trusting.check_hostname = False
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    return context


@asynccontextmanager
async def listening(
    handle: Handler, tls: ssl.SSLContext | None, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    server = await asyncio.start_server(handle, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while content := await reader.read(1 << 16):
            writer.write(content)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


class World:
    """An API and a proxy to it; what each was asked."""

    def __init__(self) -> None:
        self.by_proxy: list[bytes] = []
        self.by_api: list[bytes] = []
        self.api_port = 0

    async def api(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.by_api.append(head)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
        await writer.drain()
        await reader.read()  # until the client closes
        writer.close()

    async def proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Make a tunnel to the API, whatever host was asked for."""
        self.by_proxy.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.drain()
        to_api = await asyncio.open_connection("127.0.0.1", self.api_port)
        await asyncio.gather(_copy(reader, to_api[1]), _copy(to_api[0], writer))


async def _send(
    world: World,
    scheme: str,
    tls: ssl.SSLContext,
    patch: pytest.MonkeyPatch,
    *,
    is_token: bool = False,
) -> None:
    async with (
        listening(world.api, tls) as world.api_port,
        listening(world.proxy, tls if scheme == "https" else None) as port,
    ):
        patch.setenv("HTTPS_PROXY", f"{scheme}://user:p%40ss@127.0.0.1:{port}")
        account = Credentials(AppKey("0123456789abcdef"), API, "a test", is_token=is_token)
        async with open_client(account, connections=1, timeout_s=20) as client:
            answer = await client.reset(b"{}")
    assert (answer.http_status, answer.data) == (200, json.loads(BODY)["data"])


LOOPS = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_request_goes_through_the_proxy(
    scheme: str, loop: str, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also through one that is spoken to over TLS; it sees no key, and no one sees ~/.netrc."""
    (tmp_path / ".netrc").write_text("default login netrc-user password netrc-s3cr3t\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    world = World()
    factory = None
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_send(world, scheme, tls, monkeypatch))
    [connect_head], [request] = world.by_proxy, world.by_api
    basic = base64.b64encode(b"user:p@ss")
    assert connect_head.startswith(b"CONNECT api.flashcat.invalid:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " + basic in connect_head
    assert b"0123456789abcdef" not in connect_head
    assert b"uthorization" not in request
    assert request.startswith(b"POST /incident/reset?app_key=0123456789abcdef HTTP/1.1\r\n")


async def test_the_proxy_sees_no_access_token(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header is inside the tunnel, and the proxy gets its own password."""
    world = World()
    await _send(world, "http", tls, monkeypatch, is_token=True)
    [connect_head], [request] = world.by_proxy, world.by_api
    basic = base64.b64encode(b"user:p@ss")
    assert b"Proxy-Authorization: Basic " + basic in connect_head
    assert b"0123456789abcdef" not in connect_head
    assert b"Authorization: Bearer 0123456789abcdef\r\n" in request


async def test_netrc_is_never_sent_to_the_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext
) -> None:
    """Neither for its host nor by default."""
    (tmp_path / "netrc").write_text("default login netrc-user password netrc-s3cr3t\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    world = World()
    async with listening(world.api, tls, "127.0.0.2") as port:
        account = Credentials(AppKey("0123456789abcdef"), f"https://127.0.0.2:{port}", "a test")
        async with open_client(account, connections=1, timeout_s=20) as client:
            await client.reset(b"{}")
    [request] = world.by_api
    assert b"uthorization" not in request
