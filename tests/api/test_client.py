"""The client: what it sends, and how it interprets the answers.

The servers of these tests have answers written by hand, so that they cannot share a bug with the
sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
import socket
import ssl
import struct
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from hostile_server import PEM
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from raw_server import Handler, raw_server
from yarl import URL

from bulk_reset.api.answers import Answer, parse_retry_after, requested_wait_s
from bulk_reset.api.base_url import check_base_url
from bulk_reset.api.client import MAX_ANSWER_BYTES, open_client
from bulk_reset.api.credentials import AppKey, Credentials
from bulk_reset.core.change import Change
from bulk_reset.core.errors import (
    AccessError,
    ConnectError,
    FatalError,
    InputError,
    PermanentError,
    RequestError,
    ThrottledError,
    TransientError,
    UnknownOutcomeError,
)

KEY = "k3y-S3CRET-0123456789"
CHANGE = Change.of(2, "69da451ef77b1b51f40e83ee", {"title": "磁盘已满: db-01", "impact": "a\nb"})
TEXT = {"type": "string", "minLength": 3, "maxLength": 6144}
# Source: UpdateIncidentFieldsRequest of the Flashduty Open API; its text adds the "at least one".
SCHEMA = Draft202012Validator(
    {
        "type": "object",
        "required": ["incident_id"],
        "minProperties": 2,
        "additionalProperties": False,
        "properties": {
            "incident_id": {"type": "string", "pattern": "^[0-9a-fA-F]{24}$"},
            "title": {"type": "string", "minLength": 3, "maxLength": 200},
            **dict.fromkeys(("description", "impact", "root_cause", "resolution"), TEXT),
            "incident_severity": {"enum": ["Info", "Warning", "Critical"]},
        },
    }
)
SUCCESS = b'{"request_id": "R1", "data": {}}'


# --- Servers written by hand -----------------------------------------------------------------


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        line.partition(b":")[2] for line in head.lower().split(b"\r\n") if b"content-length" in line
    )
    return head + await reader.readexactly(int(length))


def answering(answer: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await writer.drain()

    return handle


def http(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def envelope(code: str, message: str = "said so") -> bytes:
    return json.dumps({"request_id": "R1", "error": {"code": code, "message": message}}).encode()


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    while await reader.read(1 << 16):
        pass  # until the client gives up


async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read(1)


async def reset_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    at_once = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)


# --- The client, watched ---------------------------------------------------------------------


async def send(
    base_url: str, body: bytes = CHANGE.body, *, timeout_s: float = 20.0, times: int = 1
) -> Answer:
    SCHEMA.validate(json.loads(body))
    account = Credentials(AppKey(KEY), base_url, "a test")
    async with open_client(account, connections=2, timeout_s=timeout_s) as client:
        for _ in range(times - 1):
            await client.reset(body)
        return await client.reset(body)


async def failure(base_url: str, *, timeout_s: float = 20.0) -> RequestError:
    """Return the error of a request, once it is sure that it hides the key."""
    with pytest.raises(RequestError) as caught:
        await send(base_url, timeout_s=timeout_s)
    for error in chain(caught.value):
        for text in (str(error), repr(error), "".join(traceback.format_exception(error))):
            assert KEY not in text
        assert KEY not in repr(vars(error))
    assert KEY.encode() not in pickle.dumps(caught.value)
    return caught.value


def chain(error: BaseException | None) -> Iterator[BaseException]:
    if error is not None:
        yield error
        yield from chain(error.__cause__)
        yield from chain(error.__context__)


async def failure_of(answer: bytes) -> RequestError:
    async with raw_server(answering(answer)) as base_url:
        return await failure(base_url)


def facts(error: RequestError) -> tuple[type, str, int, str, float | None]:
    return type(error), error.code, error.http_status, error.request_id, error.retry_after_s


# --- What is sent ----------------------------------------------------------------------------


@asynccontextmanager
async def api(*answers: web.Response) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Serve with aiohttp: yield the address and the list of what was received."""
    received: list[dict[str, Any]] = []
    left = iter(answers)

    async def handle(request: web.Request) -> web.Response:
        received.append(
            {
                "request": f"{request.method} {request.path}",
                "query": dict(request.query),
                "type": request.headers["Content-Type"],
                "body": await request.read(),
                "cookies": dict(request.cookies),
            }
        )
        return next(left, web.Response(body=SUCCESS, content_type="application/json"))

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/"), received


def request_of(body: bytes, path: str = "/incident/reset") -> dict[str, Any]:
    return {
        "request": f"POST {path}",
        "query": {"app_key": KEY},
        "type": "application/json",
        "body": body,
        "cookies": {},
    }


@pytest.mark.parametrize("prefix", ["", "/proxied/api"])
async def test_an_update_is_sent_as_the_api_describes_it(prefix: str) -> None:
    """A change goes out byte for byte, as JSON, to one path, with the key in the query."""
    async with api() as (base_url, received):
        answer = await send(base_url + prefix)
    body = (
        '{"incident_id":"69da451ef77b1b51f40e83ee","title":"磁盘已满: db-01","impact":"a\\nb"}'
    ).encode()
    assert answer == Answer(200, "R1", {})
    assert received == [request_of(body, f"{prefix}/incident/reset")]


async def test_an_access_token_is_in_a_header_and_in_no_url() -> None:
    """The target of a redirect gets neither the request nor the token."""
    heads: list[bytes] = []

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await read_request(reader)).partition(b"\r\n\r\n")[0])
        writer.write(http(307, b"", f"Location: {elsewhere}/incident/reset"))
        await writer.drain()

    async with api() as (elsewhere, received), raw_server(redirect) as base_url:
        account = Credentials(AppKey(KEY), base_url, "a test", is_token=True)
        async with open_client(account, connections=1, timeout_s=20) as client:
            with pytest.raises(AccessError):
                await client.reset(b"{}")
    lines = heads[0].split(b"\r\n")
    assert lines[0] == b"POST /incident/reset HTTP/1.1"
    assert [line for line in lines if KEY.encode() in line] == [
        b"Authorization: Bearer " + KEY.encode()
    ]
    assert received == []


@pytest.mark.parametrize("length", [3, 6144])
async def test_every_field_at_its_limits_fits_the_published_schema(length: int) -> None:
    """What is sent is what the provider's own description allows, emoji counted as one."""
    text = "🔥" * length
    texts = dict.fromkeys(("description", "impact", "root_cause", "resolution"), text)
    values = {"title": text[:200], **texts, "incident_severity": "Critical"}
    body = Change.of(2, "a" * 24, values).body
    async with api() as (base_url, received):
        await send(base_url, body)
    assert received == [request_of(body)]


async def read(base_url: str, incident_ids: list[str]) -> dict[str, dict[str, Any]]:
    account = Credentials(AppKey(KEY), base_url, "a test")
    async with open_client(account, connections=2, timeout_s=20.0) as client:
        return await client.list_by_ids(incident_ids)


@pytest.mark.slow
async def test_incidents_are_read_by_their_ids_however_many_bytes_they_have() -> None:
    """A hundred incidents of the longest texts are larger than the limit of an update's answer.

    Incidents that were not requested are ignored.
    """
    text = "🔥" * 6144
    ids = [f"{number:024x}" for number in range(100)]
    items = [
        {"incident_id": one.upper(), "impact": text, "root_cause": text, "title": f"title {one}"}
        for one in [*ids, "f" * 24]
    ]
    listed = {"request_id": "R1", "data": {"total": 100, "has_next_page": False, "items": items}}
    async with api(web.json_response(listed)) as (base_url, received):
        found = await read(base_url, ids)
    assert [*found] == ids
    assert found[ids[7]] == items[7]
    body = json.dumps({"incident_ids": ids}, separators=(",", ":")).encode()
    assert received == [request_of(body, "/incident/list-by-ids")]


@pytest.mark.parametrize(
    "data",
    [None, [], {}, {"items": None}, {"items": [1]}, {"items": [{}]}, {"items": ["a"]}, "x"],
)
async def test_an_answer_that_is_no_list_is_not_taken_for_an_empty_one(
    data: object,
) -> None:
    """An invalid answer does not mean that incidents do not exist."""
    answer = web.json_response({"request_id": "R9", "data": data})
    async with api(answer) as (base_url, _):
        with pytest.raises(UnknownOutcomeError) as caught:
            await read(base_url, ["a" * 24])
    assert (caught.value.code, caught.value.request_id) == ("no_list", "R9")


async def test_a_list_without_an_incident_is_an_answer() -> None:
    """Incidents that do not exist are just missing from it."""
    answer = web.json_response({"request_id": "R9", "data": {"items": []}})
    async with api(answer) as (base_url, _):
        assert await read(base_url, ["a" * 24]) == {}


async def test_a_redirect_is_not_followed_and_its_target_never_sees_the_key() -> None:
    """A redirect cannot send the key to another host."""
    async with api() as (elsewhere, received):
        for status in (301, 302, 303, 307, 308):
            error = await failure_of(http(status, b"", f"Location: {elsewhere}/incident/reset"))
            assert facts(error) == (AccessError, f"HTTP {status}", status, "", None)
    assert received == []


async def test_cookies_are_not_kept() -> None:
    """One request leaves no trace in the next."""
    first = web.Response(body=SUCCESS, headers={"Set-Cookie": "session=1; Path=/"})
    async with api(first) as (base_url, received):
        await send(base_url, times=2)
    assert received == [request_of(CHANGE.body)] * 2


async def test_a_proxy_in_the_environment_is_not_asked_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sandbox can be reached from behind a company's proxy."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")
    async with api() as (base_url, received):
        assert await send(base_url) == Answer(200, "R1", {})
    assert len(received) == 1


# --- What is made of an answer ---------------------------------------------------------------

CODES = [
    ("InvalidParameter", 400, PermanentError),
    ("BadRequest", 400, PermanentError),
    ("InvalidContentType", 400, PermanentError),
    ("ReferenceExist", 400, PermanentError),
    ("ResourceNotFound", 400, PermanentError),
    ("EntityTooLarge", 413, PermanentError),
    ("Unauthorized", 401, FatalError),
    ("BalanceNotEnough", 402, FatalError),
    ("AccessDenied", 403, FatalError),
    ("RequestLocked", 423, FatalError),
    ("RequestVerifyRequired", 428, FatalError),
    ("DangerousOperation", 428, FatalError),
    ("NoLicense", 400, FatalError),
    ("UndonedOrderExist", 409, FatalError),
    ("RouteNotFound", 404, FatalError),
    ("MethodNotAllowed", 405, FatalError),
    ("RequestTooFrequently", 429, ThrottledError),
    ("InternalError", 500, TransientError),
    ("ServiceUnavailable", 503, TransientError),
    ("NeverHeardOf", 400, PermanentError),
    ("NeverHeardOf", 401, FatalError),
    ("NeverHeardOf", 403, TransientError),
    ("NeverHeardOf", 500, TransientError),
]


@pytest.mark.parametrize("is_status_200", [False, True])
@pytest.mark.parametrize(("code", "status", "kind"), CODES)
async def test_an_error_code_decides_what_becomes_of_the_row(
    code: str, status: int, kind: type[RequestError], *, is_status_200: bool
) -> None:
    """The code decides, even if the HTTP status is a success."""
    if code == "NeverHeardOf" and is_status_200:
        kind = UnknownOutcomeError
    seen = 200 if is_status_200 else status
    error = await failure_of(http(seen, envelope(code), "Flashcat-Request-Id: R1"))
    assert facts(error) == (kind, code, seen, "R1", None)
    assert str(error).startswith("said so")


HTML = b"<html><h1>Bad gateway</h1></html>"
IN_HEADER = "Flashcat-Request-Id: R9"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (http(200), (UnknownOutcomeError, "HTTP 200", 200, "", None)),
        (http(200, SUCCESS[:-9], IN_HEADER), (UnknownOutcomeError, "HTTP 200", 200, "R9", None)),
        (http(200, b'["a", 1]'), (UnknownOutcomeError, "HTTP 200", 200, "", None)),
        (http(200, b"[" * 200_000), (UnknownOutcomeError, "HTTP 200", 200, "", None)),
        (http(200, b"\xff\xfe\x00"), (UnknownOutcomeError, "HTTP 200", 200, "", None)),
        (http(204), (UnknownOutcomeError, "HTTP 204", 204, "", None)),
        (http(502, HTML), (UnknownOutcomeError, "HTTP 502", 502, "", None)),
        (http(504, HTML), (UnknownOutcomeError, "HTTP 504", 504, "", None)),
        (http(503, HTML, "Retry-After: 9"), (UnknownOutcomeError, "HTTP 503", 503, "", 9.0)),
        (http(500, b"", IN_HEADER), (UnknownOutcomeError, "HTTP 500", 500, "R9", None)),
        (http(408, HTML), (UnknownOutcomeError, "HTTP 408", 408, "", None)),
        (http(401, HTML), (AccessError, "HTTP 401", 401, "", None)),
        (http(404, HTML), (AccessError, "HTTP 404", 404, "", None)),
        (http(407, HTML), (AccessError, "HTTP 407", 407, "", None)),
        (http(403, HTML), (TransientError, "HTTP 403", 403, "", None)),
        (http(400, b"no"), (PermanentError, "HTTP 400", 400, "", None)),
        (http(429), (ThrottledError, "HTTP 429", 429, "", None)),
        (http(429, HTML, IN_HEADER, "Retry-After: 7"), (ThrottledError, "HTTP 429", 429, "R9", 7)),
        (
            http(429, envelope("RequestTooFrequently"), "Retry-After: 3"),
            (ThrottledError, "RequestTooFrequently", 429, "R1", 3.0),
        ),
        (
            http(503, envelope("ServiceUnavailable"), "Retry-After: 1 Jan 99999999999 0:0"),
            (TransientError, "ServiceUnavailable", 503, "R1", None),
        ),
        (
            http(400, envelope("InvalidParameter"), "Retry-After: 3"),
            (PermanentError, "InvalidParameter", 400, "R1", None),
        ),
        (http(400, b'{"error": "no"}', IN_HEADER), (PermanentError, "HTTP 400", 400, "R9", None)),
        (
            http(401, b'{"request_id": null, "error": {"code": "Unauthorized"}}', IN_HEADER),
            (FatalError, "Unauthorized", 401, "R9", None),
        ),
        (b"garbage\r\n\r\n", (UnknownOutcomeError, "connection_lost", 0, "", None)),
        (http(200, SUCCESS)[:-9], (UnknownOutcomeError, "connection_lost", 0, "", None)),
        (b"", (UnknownOutcomeError, "connection_lost", 0, "", None)),
        (
            http(200, b"not gzip", "Content-Encoding: gzip"),
            (UnknownOutcomeError, "connection_lost", 0, "", None),
        ),
    ],
)
async def test_an_odd_answer_is_sorted_by_whether_the_row_may_be_applied(
    answer: bytes, expected: tuple[type, str, int, str, float | None]
) -> None:
    """A proxy's page, cut JSON or nothing at all never passes for a success."""
    assert facts(await failure_of(answer)) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (http(200, SUCCESS, "Content-Type: text/html"), Answer(200, "R1", {})),
        (http(201, b'{"request_id": "R1", "data": null}'), Answer(201, "R1", None)),
        (http(200, b'\xef\xbb\xbf{"request_id": "R1"}'), Answer(200, "R1", None)),
        (http(200, SUCCESS.ljust(MAX_ANSWER_BYTES)), Answer(200, "R1", {})),
    ],
)
async def test_good_json_is_a_success_whatever_it_is_called(
    answer: bytes, expected: Answer
) -> None:
    """The envelope decides; content type, order and white space do not matter."""
    async with raw_server(answering(answer)) as base_url:
        assert await send(base_url) == expected


async def test_a_key_in_a_message_is_redacted() -> None:
    """Even an API that repeats the key in its error does not bring it into a report."""
    error = await failure_of(http(400, envelope("BadRequest", f"key {KEY} is odd")))
    assert str(error) == "key **** is odd"


async def test_a_message_of_any_size_and_letters_fits_a_line_of_the_report() -> None:
    """Any message of the server can be written to any file and does not fill it."""
    error = await failure_of(http(400, envelope("BadRequest", "\ud800" + "x" * 500_000)))
    assert str(error) == "?" + "x" * 999


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    """A server gone mad cannot fill the memory or hold the run up."""
    blocks = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal blocks
        await read_request(reader)
        writer.write(b'HTTP/1.1 200 OK\r\n\r\n{"request_id": "')
        while True:
            writer.write(b"x" * (1 << 20))
            await writer.drain()
            blocks += 1

    async with raw_server(flood) as base_url:
        error = await failure(base_url)
    assert facts(error) == (UnknownOutcomeError, "HTTP 200", 200, "", None)
    assert blocks < 64


# --- What is made of no answer ---------------------------------------------------------------


@pytest.mark.parametrize("handle", [hang_up, reset_connection])
async def test_a_connection_lost_after_sending_leaves_the_row_in_doubt(handle: Handler) -> None:
    """Whether the update was applied is unknown."""
    async with raw_server(handle) as base_url:
        error = await failure(base_url)
    assert facts(error) == (UnknownOutcomeError, "connection_lost", 0, "", None)


async def test_an_answer_that_never_comes_ends_in_time_and_in_doubt() -> None:
    """A server that takes the request and falls silent does not hold the run up."""
    async with raw_server(hang) as base_url:
        error = await failure(base_url, timeout_s=0.2)
    assert facts(error) == (UnknownOutcomeError, "timeout", 0, "", None)


class Nowhere(aiohttp.abc.AbstractResolver):
    """Knows no host."""

    async def resolve(self, host: str, *_: object, **__: object) -> list[Any]:
        """Find nothing, as a resolver does."""
        raise socket.gaierror(socket.EAI_NONAME, f"{host}: no such name")

    async def close(self) -> None:
        """Have nothing to close."""


NEVER_CONNECTED = (ConnectError, "cannot_connect", 0, "", None)


async def test_a_host_without_an_address_is_no_fault_of_the_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the name is unknown, nothing was sent."""
    monkeypatch.setattr(aiohttp.connector, "DefaultResolver", lambda **_: Nowhere())
    error = await failure("https://api.flashcat.invalid")
    assert facts(error) == NEVER_CONNECTED
    assert str(error) == "cannot connect to the API: api.flashcat.invalid: no such name"


@pytest.mark.parametrize("says", ["http", "https"])
async def test_a_refused_connection_is_no_fault_of_the_row(says: str) -> None:
    """Without a listener, nothing was sent."""
    assert facts(await failure(f"{says}://127.0.0.1:{unused_port()}")) == NEVER_CONNECTED


@pytest.mark.parametrize(("handle", "timeout_s"), [(hang_up, 20.0), (hang, 0.2)])
async def test_a_connection_that_never_gets_secured_is_no_fault_of_the_row(
    handle: Handler, timeout_s: float
) -> None:
    """Where a firewall swallows or cuts the first packets, nothing was sent."""
    async with raw_server(handle, says="https") as base_url:
        assert facts(await failure(base_url, timeout_s=timeout_s)) == NEVER_CONNECTED


async def test_plain_http_behind_https_is_fatal() -> None:
    """The key is not given to a server that cannot keep it from listeners."""

    async def speak_plainly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(400, b"plain HTTP here"))

    async with raw_server(speak_plainly, says="https") as base_url:
        assert facts(await failure(base_url)) == (AccessError, "tls", 0, "", None)


async def test_an_untrusted_certificate_is_fatal(tmp_path: Path) -> None:
    """The key is not given to a server that only claims to be the API."""
    (tmp_path / "pem").write_text(PEM)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "pem")
    async with raw_server(answering(http(200, SUCCESS)), tls, says="https") as base_url:
        assert facts(await failure(base_url)) == (AccessError, "tls", 0, "", None)


async def test_a_proxy_tunnels_and_never_sees_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a proxy logs cannot be used to send anything."""
    seen = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(http(407))

    async with raw_server(refuse) as proxy:
        for name, text in (("https_proxy", proxy), ("no_proxy", ""), ("NO_PROXY", "")):
            monkeypatch.setenv(name, text)
        error = await failure("https://api.flashcat.invalid")
    assert facts(error) == (ConnectError, "proxy", 0, "", None)
    assert [request.split(b"\r\n")[0] for request in seen] == [
        b"CONNECT api.flashcat.invalid:443 HTTP/1.1"
    ]
    assert KEY.encode() not in seen[0]


@pytest.mark.parametrize("proxy", ["proxy:8080", "http://["])
async def test_a_proxy_that_is_no_address_is_fatal(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typing error in the environment stops the run at once with a fix."""
    for name, text in (("https_proxy", proxy), ("no_proxy", ""), ("NO_PROXY", "")):
        monkeypatch.setenv(name, text)
    error = await failure("https://api.flashcat.invalid")
    assert facts(error) == (FatalError, "address", 0, "", None)


# --- Addresses and times ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://api.flashcat.cloud", "https://api.flashcat.cloud"),
        (" https://api.flashcat.cloud/\n", "https://api.flashcat.cloud"),
        ("https://gateway.example/flashduty//", "https://gateway.example/flashduty"),
        ("https://xn--mnchen-3ya.example:8443", "https://xn--mnchen-3ya.example:8443"),
        ("HTTPS://Gateway_1.example./a;b", "https://gateway_1.example/a;b"),
        ("HTTP://LOCALHOST", "http://localhost"),
        ("https://API.flashcat.cloud:443//", "https://api.flashcat.cloud"),
        ("https://api.flashcat.cloud:/", "https://api.flashcat.cloud"),
        ("https://gateway.example:08443/x/../%61//", "https://gateway.example:8443/a"),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:443", "http://localhost:443"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_address_has_one_spelling(text: str, expected: str) -> None:
    """HTTPS anywhere, and plain HTTP to this machine, is what a key may travel over."""
    assert check_base_url(text) == expected


NO_ADDRESS = "not an address"
TOO_MUCH = "must have only scheme, host and path"
IN_CLEAR = "sends the key unencrypted"
OTHERWISE = "If that is intended, use that form."
REFUSED = {
    NO_ADDRESS: [
        *("", "api.flashcat.cloud", "//host", "https:host", "https://", "https:///host"),
        *("ftp://host", "file:///etc/passwd", "unix:///run/api.sock", "http+unix://%2Frun%2Fapi"),
        *("https://[", "https://h:abc", "https://h:99999", "https://h:-1", "https://h:\uff11"),
        *("https://h h", "https://h\tx", "https://h\r\nX: y", "https://h\0", "https://h\x1b[2J"),
        *("https://h\\p", "http://localhost\\.evil.example", "https://h/\u202e", "https://\u200b"),
        *("https://a..b", f"https://{'a' * 64}", "https://%68ost", "https://h;x", "https://h|x"),
        *(
            "http://localhost%00.evil.example",
            "http://localhost%2eevil.example",
            "http://[::1%25lo]",
        ),
    ],
    TOO_MUCH: [
        *(f"https://h?app_key={KEY}", "https://h?", "https://h#", f"https://h/#{KEY}"),
        *(f"https://{KEY}@host", f"https://user:{KEY}@host", "http://localhost@evil.example"),
        *("http://localhost:80@evil.example", f"ftp://{KEY}@host"),
    ],
    IN_CLEAR: [
        *("http://api.flashcat.cloud", "http://10.0.0.1", "http://[::]", "http://0.0.0.0"),
        *("http://127.0.0.1.evil.example", "http://localhost.evil.example", "http://localhost."),
        *("http://127.1", "http://0x7f.1", "http://2130706433", "http://[::ffff:127.0.0.1]"),
    ],
    OTHERWISE: [
        *("https://\u0430pi.flashcat.cloud", "https://münchen.example", "http://\uff4cocalhost"),
        *(
            "https://\uff41pi.flashcat.cloud",
            "https://h\u3002example",
            "http://localhost\u3002evil",
        ),
    ],
}


@pytest.mark.parametrize(
    ("text", "says"), [(text, says) for says, texts in REFUSED.items() for text in texts]
)
def test_an_address_the_key_should_not_go_to_is_refused(text: str, says: str) -> None:
    """A slip in the address is found before anything is sent, and no key is repeated."""
    with pytest.raises(InputError) as caught:
        check_base_url(text, "config.yaml: base_url")
    assert str(caught.value).startswith("config.yaml: base_url")
    assert says in str(caught.value)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert str(caught.value).isprintable()


def test_a_host_that_looks_like_another_is_called_by_its_real_name() -> None:
    """A letter of another alphabet is seen before a key goes there."""
    with pytest.raises(InputError) as caught:
        check_base_url("https://\u0430pi.flashcat.cloud")
    assert str(caught.value) == (
        "base_url: the host resolves to xn--pi-6kc.flashcat.cloud. If that is intended, use that "
        "form."
    )


PIECES = st.sampled_from(
    [
        *("http", "https", "://", ":", "//", "/", "\\", "@", "?", "#", "[", "]", "::1", "%", "."),
        *("localhost", "127.0.0.1", "evil.example", "80", ";", "%2f", "%00", "\t", "\n", " "),
        *("\u3002", "\uff0e", "\uff0f", "\u2100"),
    ]
)


@given(
    st.lists(PIECES | st.characters(), max_size=8).map("".join),
    st.sampled_from(["", "http://localhost"]),
)
def test_the_key_is_sent_to_the_configured_address(text: str, start: str) -> None:
    """What is taken is, for the client that connects too, HTTPS or this machine, and no more."""
    with contextlib.suppress(InputError):
        url = URL(check_base_url(start + text) + "/incident/reset")
        assert url.scheme == "https" or (url.raw_host or "") in {"localhost", "127.0.0.1", "::1"}
        assert (url.user, url.password, url.raw_query_string, url.fragment) == (None, None, "", "")
        assert url.raw_path.endswith("/incident/reset")


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        (None, None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("9" * 400, float("inf")),
        ("Mon, 02 Mar 2026 10:00:09 GMT", 9.0),
        ("Mon, 02 Mar 2026 10:00:09", 9.0),
        ("Monday, 02-Mar-26 10:00:09 GMT", 9.0),
        ("Mon, 02 Mar 2026 09:00:00 GMT", 0.0),
        *((garbage, None) for garbage in ("", "-5", "5.5", "1e3", "²", "soon", ",,,", "1 Jan")),
        ("Mon, 02 Mar 99999999999999999999 10:00:00 GMT", None),
        ("Mon, 02 Mar 2026 10:00:00 +999999999999999999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_garbage_is_nothing(
    text: str | None, expected_s: float | None
) -> None:
    """What the server asks for is understood in both of HTTP's ways, and never breaks a run."""
    now = datetime(2026, 3, 2, 10, tzinfo=UTC)
    assert parse_retry_after(text, now) == expected_s


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"X-RateLimit-Remaining": "0"}, None),
        ({"X-RateLimit-Reset": "7"}, 7.0),
        ({"X-RateLimit-Reset": "1767323052"}, 7.0),
        ({"X-RateLimit-Reset": "1767323000"}, 0.0),
        ({"X-RateLimit-Reset": "soon"}, None),
        ({"Retry-After": "3", "X-RateLimit-Reset": "7"}, 3.0),
    ],
)
def test_the_end_of_the_window_is_honoured_where_there_is_no_retry_after(
    headers: dict[str, str], wait_s: float | None
) -> None:
    """Some servers send seconds, some a time, some nothing."""
    now = datetime.fromtimestamp(1_767_323_045, UTC)
    assert requested_wait_s(headers, now) == wait_s


@pytest.mark.parametrize(
    ("name", "moment"),
    [("Retry-After", "Fri, 02 Jan 2026 03:04:35 GMT"), ("X-RateLimit-Reset", "1767323075")],
)
@pytest.mark.parametrize("now", [0, 1_767_323_045, 1_900_000_000])
def test_a_reset_time_is_relative_to_the_server_s_clock(name: str, moment: str, now: int) -> None:
    """A clock that is wrong here, or was set during the run, makes no wait longer or shorter."""
    headers = {name: moment, "Date": "Fri, 02 Jan 2026 03:04:05 GMT"}
    at = datetime.fromtimestamp(1_767_323_045, UTC)
    assert at.strftime("%H:%M:%S") == "03:04:05"
    assert requested_wait_s(headers, datetime.fromtimestamp(now, UTC)) == 30.0
