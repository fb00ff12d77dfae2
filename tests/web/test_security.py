"""Who may use the page: no other site, no other program, no other user of the machine.

Each test fails without its rule in ``bulk_reset.web``. Requests are sent to the real server as any
program can send them; ``test_story_browser.py`` has the browser's side.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
from web_requests import Client
from web_server import WebServer, web_server

from bulk_reset.web.security import TOKEN_HEADER
from bulk_reset.web.sessions import IDLE_S, Sessions

OTHER_HOSTS = (
    None,
    "",
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1",
    "127.0.0.1:1",
    "localhost",
    "127.0.0.1.evil.example:{port}",
    "localhost.evil.example:{port}",
    "evil.example@127.0.0.1:{port}",
    "127.0.0.1:{port}.evil.example",
    "127.0.0.1:{port}, evil.example",
    "0.0.0.0:{port}",
    "127.1:{port}",
    "[::ffff:127.0.0.1]:{port}",
)
OTHER_ORIGINS = (
    "null",
    "",
    "http://evil.example",
    "http://evil.example:{port}",
    "https://127.0.0.1:{port}",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "http://127.0.0.1:{port}.evil.example",
    "http://127.0.0.1:{port}/",
    "file://",
)


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[WebServer]:
    async with web_server(tmp_path) as started:
        yield started


@pytest_asyncio.fixture
async def client(server: WebServer) -> Client:
    """Return a program with a valid session and the token that the page's script sends."""
    return await server.login()


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield each file of a folder with its content."""
    yield from ((path, path.read_bytes()) for path in folder.rglob("*") if path.is_file())


# --- The request names this server -----------------------------------------------------------


async def test_every_address_refuses_another_host(server: WebServer, client: Client) -> None:
    """DNS rebinding: a page whose name resolves to this machine reads nothing.

    With a valid session too, and before the session and the address are considered: static files
    and streams of events, the login, and addresses that do not exist.
    """
    host = f"evil.example:{server.port}"
    refused = {}
    for method, path in [*server.routes(), ("GET", "/no-such-page"), ("POST", "/no-such-page")]:
        answer = await client.send(method, path, {"Host": host})
        refused[method, path] = answer.status
        assert "Set-Cookie" not in answer.headers
    assert set(refused.values()) == {403}, refused


@pytest.mark.parametrize("host", OTHER_HOSTS)
async def test_a_host_that_looks_like_this_one_is_refused(
    host: str | None, server: WebServer, client: Client
) -> None:
    """Without the port, with another one, or as a part of another name; the link stays unused."""
    named = host and host.format(port=server.port)
    link = server.new_link()
    for path in ("/", link):
        answer = await client.get(path, Host=named)
        assert answer.status in {400, 403}
        assert "Set-Cookie" not in answer.headers
    assert (await server.anonymous().get(link)).status == 303


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_the_names_of_this_machine_are_accepted(
    host: str, server: WebServer, client: Client
) -> None:
    """As a user may enter them."""
    assert (await client.get("/", Host=f"{host}:{server.port}")).status == 200


@pytest.mark.parametrize("origin", OTHER_ORIGINS)
async def test_another_origin_is_refused(origin: str, server: WebServer, client: Client) -> None:
    """Compared with the server's own addresses, and not with what Host says."""
    named = origin.format(port=server.port)
    for method, path in (("GET", "/"), ("POST", "/no-such-page")):
        answer = await client.send(method, path, {"Origin": named})
        assert answer.status == 403, method
        host = named.partition("//")[2]
        assert (await client.send(method, path, {"Origin": named, "Host": host})).status in {
            400,
            403,
        }


async def test_its_own_origin_is_accepted(server: WebServer, client: Client) -> None:
    """As browsers send it with every request that writes."""
    for host in ("127.0.0.1", "localhost", "[::1]"):
        origin = f"http://{host}:{server.port}"
        assert (await client.get("/", Origin=origin)).status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "other"])
async def test_a_request_from_another_site_is_refused(
    site: str, server: WebServer, client: Client
) -> None:
    """Another port of this machine is the same site, and refused as well: for reading, too."""
    refused = {
        (method, path): (await client.send(method, path, {"Sec-Fetch-Site": site})).status
        for method, path in server.routes()
    }
    assert set(refused.values()) == {403}, refused


# --- The link and the session ----------------------------------------------------------------


async def test_the_link_works_once_and_leads_to_a_clean_address(server: WebServer) -> None:
    """Its 256 bits are exchanged for a cookie; history, logs and screenshots have nothing."""
    link = server.new_link()
    token = link.partition("token=")[2]
    assert len(token) >= 43
    first = await server.anonymous().get(link)
    (cookie,) = first.cookies.values()
    assert (first.status, first.headers["Location"]) == (303, "/")
    assert token not in f"{first.headers}{first.text}{cookie}"
    second = await server.anonymous().get(link)
    assert (second.status in {401, 403}, "Set-Cookie" in second.headers) == (True, False)


@pytest.mark.parametrize("token", ["", "x", "x" * 43, "é"])
async def test_a_wrong_link_opens_nothing_and_leaves_the_right_one(
    token: str, server: WebServer
) -> None:
    """A guess does not use up the link that the user was given."""
    link = server.new_link()
    answer = await server.anonymous().get(f"/login?token={quote(token)}")
    assert (answer.status in {401, 403}, "Set-Cookie" in answer.headers) == (True, False)
    assert (await server.anonymous().get(link)).status == 303


async def test_nothing_is_served_without_a_session(server: WebServer) -> None:
    """Every address but the login answers 401: static files and streams of events, too."""
    answers = {
        (method, path): (await server.anonymous().send(method, path)).status
        for method, path in server.routes()
        if path != "/login"
    }
    assert set(answers.values()) == {401}, answers


async def test_the_cookie_is_for_this_port_and_this_site_alone(server: WebServer) -> None:
    """Its name holds the port, because cookies do not; no script and no other site has it."""
    answer = await server.anonymous().get(server.new_link())
    (header,) = answer.headers.get_all("Set-Cookie")
    pair, *attributes = header.split("; ")
    name, _, secret = pair.partition("=")
    assert name == f"bulk_reset_{server.port}"
    assert len(secret) >= 43
    assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Strict"]


async def test_a_session_ends_with_the_process(tmp_path: Path, server: WebServer) -> None:
    """Its secret is on no disk, and another process does not know it."""
    client = await server.login()
    cookie = str(client.headers["Cookie"])
    secret = cookie.partition("=")[2]
    await client.get("/")
    assert [path for path, content in contents(tmp_path) if secret.encode() in content] == []
    async with web_server(tmp_path) as other:
        renamed = f"bulk_reset_{other.port}={secret}"
        answer = await other.anonymous().get("/", Cookie=renamed)
    assert answer.status == 401


async def test_a_session_ends_when_it_is_not_used() -> None:
    """Each request prolongs it; after so long without one, the link is needed again."""
    now_s = 0.0
    sessions = Sessions(lambda: now_s)
    secret = sessions.begin(sessions.new_link_token())
    assert secret
    for now_s in (IDLE_S, 2 * IDLE_S):  # noqa: B007  (the clock reads it)
        assert sessions.find(secret)
    now_s = 3 * IDLE_S + 1
    assert sessions.find(secret) is None
    now_s = 0.0
    assert sessions.find(secret) is None


# --- What may write --------------------------------------------------------------------------


async def test_only_post_writes(server: WebServer, client: Client) -> None:
    """No other method is known, and an address that writes cannot be opened as a link."""
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "MKCOL"):
        assert (await client.send(method, "/")).status in {403, 405}, method
    for method, path in server.routes():
        if method == "POST" and ("GET", path) not in server.routes():
            assert (await client.get(path)).status in {404, 405}, path
    assert {method for method, _ in server.routes()} <= {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("token", [None, "", "x", "x" * 43])
async def test_a_form_of_another_page_cannot_write(
    token: str | None, server: WebServer, client: Client
) -> None:
    """Writing needs a token in a header, which no form can send; a wrong one is none."""
    form = {"Content-Type": "application/x-www-form-urlencoded", TOKEN_HEADER: token}
    refused = {
        path: (await client.send("POST", path, form)).status
        for method, path in server.routes()
        if method == "POST"
    }
    assert refused
    assert set(refused.values()) == {403}, refused


async def test_the_token_of_another_session_does_not_write(server: WebServer) -> None:
    """Two browsers have two tokens."""
    one, other = await server.login(), await server.login()
    answer = await one.send("POST", "/no-such-page", {TOKEN_HEADER: other.headers[TOKEN_HEADER]})
    assert answer.status == 403
    assert (await one.send("POST", "/no-such-page")).status == 404


# --- What every response says ----------------------------------------------------------------


async def test_every_response_has_the_same_headers(server: WebServer, client: Client) -> None:
    """Refusals and errors as well: no framing, no guessing of types, no address in referrers."""
    expected = {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
    sent = [("GET", path) for method, path in server.routes() if method == "GET"]
    for method, path in [*sent, ("GET", "/no-such-page"), ("PUT", "/"), ("POST", "/no-such")]:
        for program in (client, server.anonymous()):
            headers = (await program.send(method, path)).headers
            found = {name: headers[name] for name in expected}
            assert found == expected, path
            policy = headers["Content-Security-Policy"]
            assert "frame-ancestors" in policy, path
            assert "unsafe" not in policy
            assert "Access-Control-Allow-Origin" not in headers


async def test_types_are_those_of_the_program(
    server: WebServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system's table of types, which other programs can change, decides nothing."""
    known = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for name in ("guess_type", "guess_file_type"):
        for table in ("mimetypes", "aiohttp.web_fileresponse.CONTENT_TYPES"):
            monkeypatch.setattr(
                f"{table}.{name}", lambda *_, **__: ("text/plain", None), raising=False
            )
    found = {path: (await client.get(path)).headers.get_content_type() for path in server.assets()}
    assert {Path(path).suffix for path in found} >= {".js", ".css"}
    assert found == {path: known[Path(path).suffix] for path in found}
