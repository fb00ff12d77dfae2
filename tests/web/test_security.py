"""Who may use the page: no other site, no other program, no other user of the machine.

Each test fails without its rule in ``bulk_reset.web``. Requests are sent to the real server as any
program can send them; ``test_story_browser.py`` has the browser's side.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import pytest
import pytest_asyncio
from page_html import Seen
from programs import seed_id
from report_samples import write_small
from web_requests import Client
from web_server import NO_TASK, WebServer, web_server
from workbooks import add_rows, write

from bulk_reset.web.pages import TASKS
from bulk_reset.web.security import TOKEN_HEADER
from bulk_reset.web.sessions import IDLE_S, Sessions
from bulk_reset.web.task import Tasks

SHEET = b"incident_id,title\n"
ELEMENTS = {
    *("html", "head", "meta", "title", "link", "script", "body", "a", "header", "nav", "form"),
    *("label", "select", "option", "main", "h1", "h2", "p", "input", "button", "progress"),
    *("ul", "ol", "li", "details", "summary", "div", "span", "strong", "table", "thead", "tbody"),
    *("tr", "th", "td", "code", "section", "h3"),
}
"""Elements of the templates; a text that became another one is found."""
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


def read_lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()[1:]


def multipart(name: str, content: bytes) -> tuple[bytes, str]:
    """Return the body and the type of a form with one file, as browsers send it."""
    plain = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = f'Content-Disposition: form-data; name="sheet"; filename="{plain}"'
    body = f"--bound\r\n{head}\r\nContent-Type: text/csv\r\n\r\n".encode()
    return body + content + b"\r\n--bound--\r\n", "multipart/form-data; boundary=bound"


async def drop(client: Client, name: str, content: bytes) -> str:
    """Drop a sheet on the page; return the address of its task."""
    body, kind = multipart(name, content)
    answer = await client.send("POST", "/sheets", {"Content-Type": kind}, body)
    assert answer.status == 204, answer.text
    return answer.headers["HX-Redirect"].removesuffix("/columns")


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
        assert (await client.send(method, "/")).status == 403, method
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


# --- The headers of every response -----------------------------------------------------------


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


# --- What users and servers write ------------------------------------------------------------

HOSTILE_NAMES = (
    "<script>alert(1)</script>.csv",
    '"><img src=x onerror=alert(1)>.csv',
    "{{ 7777*7777 }}{% raw %}.csv",
    "'; alert(1) //.csv",
    "line\u2028sep\u202egnp.csv",
    "../../../../etc/cron.d/x.csv",
    "..\\..\\CON.csv",
    "/etc/passwd",
    "七月 故障清单.csv",
    "x" * 300 + ".csv",
    ".csv",
    "..",
)


HOSTILE_TEXT = (
    "\"><img src=x onerror=alert(1)>'<script>alert(2)</script>\u2028\u202e{{ 7777*7777 }}"
)


def hostile_workbook(path: Path) -> bytes:
    """Write a workbook in which every text is hostile: header, cells, worksheet."""
    rows: list[list[object]] = [
        ["incident_id", "title", "severity", HOSTILE_TEXT],
        [HOSTILE_TEXT, HOSTILE_TEXT, HOSTILE_TEXT, HOSTILE_TEXT],
        [seed_id(1), HOSTILE_TEXT, "Critical", HOSTILE_TEXT],
    ]
    write(path, lambda book: add_rows(book, rows, "<img onerror=1> {{ 7 }}"))
    return path.read_bytes()


async def test_texts_of_a_sheet_are_texts_on_every_page(
    tmp_path: Path, server: WebServer, client: Client
) -> None:
    """A hostile header, cell, worksheet or error is read and does nothing, in both languages."""
    address = await drop(client, "a.xlsx", hostile_workbook(tmp_path / "hostile.xlsx"))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    fields = b"column-0=incident_id&column-1=title&column-2=incident_severity"
    columns = [(await client.get(f"{address}/columns")).text]
    for step, body in (("columns", fields), ("check", b"skip_invalid=1"), ("plan", b"")):
        answer = await client.send("POST", f"{address}/{step}", form, body)
        assert answer.status == 204, answer.text
        await asyncio.to_thread(server.join, address)
    for language in ("en", "zh_CN"):
        await client.send("POST", "/language", form, f"language={language}".encode())
        columns += [
            (await client.get(f"{address}/{step}")).text
            for step in ("columns", "errors", "errors?all=1", "plan", "run")
        ]
    assert sum("alert(2)" in text for text in columns) >= 8
    for text in columns:
        page = Seen(text)
        assert not {"img", "b"} & set(page.tags)
        assert page.tags.count("script") == len([one for one in server.assets() if ".js" in one])
        assert {key for key, _ in page.attributes if key.startswith(("on", "style"))} == set()
        assert not {"\u2028", "\u202e"} & set(text)
        assert "60481729" not in text


@pytest.mark.parametrize("name", HOSTILE_NAMES)
async def test_the_name_of_a_file_is_a_text_and_no_path(
    name: str, server: WebServer, client: Client
) -> None:
    """No element, no template, no other folder: on the page it is what a user reads."""
    address = await drop(client, name, SHEET)
    stored = [path for path, _ in contents(server.folder) if path.parent.name == "sheet"]
    assert [path.read_bytes() for path in stored] == [SHEET]
    assert stored[0].relative_to(server.folder).parts[0] == address.rpartition("/")[2]
    for path in ("/", f"{address}/columns", f"{address}/run", "/history"):
        page = Seen((await client.get(path)).text)
        assert set(page.tags) <= ELEMENTS, path
        assert {key for key, _ in page.attributes if key.startswith(("on", "style"))} == set()
        assert not {"\u2028", "\u202e"} & set((await client.get(path)).text)
        scripts = [value for key, value in page.attributes if key == "src"]
        assert scripts == [one for one in server.assets() if one.endswith(".js")][::-1], path
        assert "60481729" not in (await client.get(path)).text


async def test_a_sheet_that_was_dropped_is_never_served(server: WebServer, client: Client) -> None:
    """Whatever the address: its bytes are not those of any response."""
    content = b"incident_id,title\n<script>alert('a sheet is no page')</script>,x\n"
    address = await drop(client, "page.html.csv", content)
    (stored,) = [path for path, _ in contents(server.folder) if path.suffix == ".csv"]
    task, name = address.rpartition("/")[2], stored.name
    guesses = [
        *(path for method, path in server.routes(task) if method == "GET"),
        *(f"{address}/{more}" for more in (f"sheet/{name}", name, "task.json", "sheet/")),
        *(f"/assets/{more}" for more in (str(stored), f"../../{stored}", f"..%2f..%2f{name}")),
        *(f"/tasks/{more}" for more in (f"{task}%2fsheet%2f{name}", f"{task}/../{task}/{name}")),
        f"/{stored}",
    ]
    for path in guesses:
        answer = await client.get(path)
        assert content not in answer.body, path
        assert b"<script>alert" not in answer.body, path


async def test_a_task_is_found_by_its_id_and_never_by_a_path(
    tmp_path: Path, client: Client
) -> None:
    """A folder elsewhere that looks like a task is not reached."""
    other = tmp_path.parent / f"{tmp_path.name}-other" / NO_TASK
    other.mkdir(parents=True)
    (other / "task.json").write_text('{"name": "elsewhere.csv"}', encoding="utf-8")
    up = f"../{other.parent.name}/{NO_TASK}"
    for given in (up, quote(up, safe=""), quote(str(other), safe=""), "..", "%2e%2e", ".", "%00"):
        answer = await client.get(f"/tasks/{given}")
        assert (answer.status, "elsewhere" in answer.text) in {(404, False), (400, False)}, given


async def test_a_sheet_that_is_too_large_is_refused_and_leaves_nothing(
    server: WebServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is not filled: what was stored of it is removed."""
    monkeypatch.setattr("bulk_reset.web.start_page.MOST_BYTES", 100_000)
    body, kind = multipart("a.csv", b"x" * 200_000)
    answer = await client.send("POST", "/sheets", {"Content-Type": kind}, body)
    assert (answer.status, list(contents(server.folder))) == (413, [])
    assert await drop(client, "a.csv", b"x" * 90_000)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/csv", SHEET),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n--x--\r\n"),
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\n1\r\n--x--\r\n',
        ),
    ],
)
async def test_a_form_without_a_sheet_is_refused(
    kind: str, body: bytes, server: WebServer, client: Client
) -> None:
    """With a reason, and without an internal error."""
    answer = await client.send("POST", "/sheets", {"Content-Type": kind}, body)
    assert answer.status in {400, 415}
    assert list(contents(server.folder)) == []


async def test_the_language_is_one_of_the_list(client: Client) -> None:
    """A text of the request is no path of a catalogue."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for given in ("../../etc", "fr", "", "zh_CN/../.."):
        answer = await client.send("POST", "/language", form, f"language={given}".encode())
        assert answer.status == 400, given
    answer = await client.send("POST", "/language", form, b"language=zh_CN")
    assert (answer.status, 'lang="zh-CN"' in (await client.get("/")).text) == (204, True)


# --- Secrets ---------------------------------------------------------------------------------


async def test_the_key_reaches_no_page_and_no_file(
    server: WebServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a part of it: the page says where it comes from."""
    key = "k" + secrets.token_hex(20)
    monkeypatch.setenv("FLASHDUTY_APP_KEY", key)
    address = await drop(client, "a.csv", SHEET)
    paths = [path for method, path in server.routes(address.rpartition("/")[2]) if method == "GET"]
    texts = [(await client.get(path)).body for path in paths if path != "/login"]
    texts += [content for _, content in contents(server.folder)]
    assert [text for text in texts if key[:12].encode() in text] == []


async def test_an_internal_error_shows_no_details(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The traceback is for the log, without the key; the page has a sentence."""
    key = "k" + secrets.token_hex(20)

    def fail(_: Tasks) -> NoReturn:
        raise RuntimeError(f"no answer from /incidents?app_key={key}")

    monkeypatch.setattr(Tasks, "all", fail)
    answer = await client.get("/")
    assert (answer.status, "RuntimeError" in answer.text) == (500, False)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    printed = caplog.text
    assert "RuntimeError: no answer from" in printed
    assert key not in f"{printed}{answer.text}"
    assert str(client.headers["Cookie"]).partition("=")[2] not in f"{printed}{answer.text}"


async def test_no_log_has_the_token_of_the_link(
    server: WebServer, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no log of requests."""
    caplog.set_level(0)
    link = server.new_link()
    await server.anonymous().get(link)
    token = link.partition("token=")[2]
    assert token not in f"{caplog.text}{capsys.readouterr()}"


async def test_only_this_machine_is_listened_to(server: WebServer) -> None:
    """The page is at the loopback address, so no other machine reaches it."""
    found = {
        line.split()[1].split(":")[0]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in read_lines(table)
        if line.split()[1].endswith(f":{server.port:04X}") and line.split()[3] == "0A"
    }
    assert found == {"0100007F"}


async def test_a_report_is_served_without_access_to_the_page(
    tmp_path: Path, server: WebServer, client: Client
) -> None:
    """Its scripts run in an origin of their own: no cookie, no token, no request to the server."""
    address = await drop(client, "a.csv", SHEET)
    task = server.server.app[TASKS].find(address.rpartition("/")[2])
    assert task is not None
    (tmp_path / "made").mkdir()
    shutil.copy(write_small(tmp_path / "made"), task.report)
    answer = await client.get(f"{address}/report")
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert answer.status == 200
    assert policy == ["sandbox allow-scripts allow-downloads", "frame-ancestors 'self'"]
    assert answer.headers.get_content_type() == "text/html"
    assert str(client.headers[TOKEN_HEADER]) not in answer.text
    frames = (await client.get(f"{address}/result")).text.split("<iframe ")[1:]
    assert len(frames) == 1
    assert 'sandbox="allow-scripts allow-downloads"' in frames[0].partition(">")[0]
