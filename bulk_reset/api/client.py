"""One API call a method; everything foreign is mapped once, here, into our own errors.

The key travels in the URL's query. So no URL, and no exception that may hold one, leaves
this module: foreign exceptions are replaced, not chained, and ours are raised where no name
holds the URL or what the server sent, for those who print variables with a traceback.

Source of the codes and envelopes: the Flashduty Open API (``ErrorCode``, ``SuccessEnvelope``,
``ErrorResponse``): the code decides, the HTTP status is informational.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from bulk_reset.api.credentials import Credentials, redact
from bulk_reset.core.errors import (
    ConnectError,
    FatalError,
    InputError,
    PermanentError,
    RequestError,
    ThrottledError,
    TransientError,
    UnknownOutcomeError,
)
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.core.incident_ids import is_id
from bulk_reset.core.json_codec import dumps, loads
from bulk_reset.core.safe_text import one_line

RESET_PATH: Final = "/incident/reset"
FIELD_PATH: Final = "/incident/field/reset"
COMMENT_PATH: Final = "/incident/comment"
LIST_BY_IDS_PATH: Final = "/incident/list-by-ids"
LIST_PATH: Final = "/incident/list"
_READING: Final = frozenset({LIST_BY_IDS_PATH, LIST_PATH})
_PATHS: Final = (RESET_PATH, FIELD_PATH, COMMENT_PATH, LIST_BY_IDS_PATH, LIST_PATH)
MAX_ANSWER_BYTES: Final = 1 << 20
MAX_LIST_BYTES: Final = 1 << 26
"""A hundred incidents with the longest texts, every character escaped, are half of it."""
_LONGEST_TEXT: Final = 1_000
"""So many characters are kept of a message: a line of the report is no place for a page."""
_LONGEST_LOOKED_AT: Final = 1 << 16
_EARLIEST_EPOCH_S: Final = 1e9
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST: Final = re.compile(r"[A-Za-z0-9_.:-]+")

_ROW_CODES: Final = frozenset(
    {"InvalidParameter", "BadRequest", "InvalidContentType", "ReferenceExist"}
    | {"ResourceNotFound", "EntityTooLarge"}
)
_FATAL_CODES: Final = {
    "Unauthorized": "the key is missing, wrong or expired: check it in the console",
    "AccessDenied": "the key's owner lacks the permission Incidents Manage",
    "BalanceNotEnough": "the account's balance does not cover this",
    "NoLicense": "the account has no licence for this",
    "UndonedOrderExist": "the account has an unfinished order",
    "RequestLocked": "the account is locked after repeated failures: wait, then run again",
    "RequestVerifyRequired": "the account wants a second factor",
    "DangerousOperation": "the account wants a second factor",
    "RouteNotFound": "wrong address: check --base-url",
    "MethodNotAllowed": "wrong address: check --base-url",
}
_TRANSIENT_CODES: Final = frozenset({"InternalError", "ServiceUnavailable"})
_THROTTLED_CODE: Final = "RequestTooFrequently"


@dataclass(frozen=True, slots=True)
class Answer:
    """A success as the API tells it."""

    http_status: int
    request_id: str
    data: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the incidents that a query finds.

    Attributes:
        cursor: what to ask for the page after this one with.
        total: of all pages, as the API says.
    """

    items: tuple[dict[str, Any], ...] = field(repr=False)
    cursor: str
    has_next: bool
    total: int


def check_base_url(text: str, where: str = "--base-url") -> str:
    """Return the address without a slash at its end.

    Args:
        where: what to call the place where it was said.

    Raises:
        InputError: not HTTPS (plain HTTP is allowed to this machine only), it holds a query
            or a user, where a key might be, or a host that may look like another one.
    """
    address = text.strip()
    if not address.isprintable():
        address = ""
    if set("?#@") & set(address):
        raise InputError(f"{where}: scheme, host and path only. The key is never part of it.")
    scheme, host, ascii_host = _scheme_and_host(address)
    if not host or scheme not in {"http", "https"}:
        raise InputError(f"{where}: not an address. Say for example https://api.flashcat.cloud.")
    if host != ascii_host:
        raise InputError(f"{where}: the host is {ascii_host} in truth. If you mean it, say it so.")
    if scheme == "http" and host not in _LOOPBACK:
        raise InputError(f"{where} http://{host}: the key would travel in clear. Say https://.")
    return address.rstrip("/")


def _scheme_and_host(address: str) -> tuple[str, str, str]:
    """Return both in lower case, and the host in ASCII; empty where there can be no such host."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
        # Later they would raise what nobody expects: yarl here, the resolver there.
        URL(address)
        ascii_host = host.encode("idna").decode()
    except ValueError:
        return "", "", ""
    is_host = _HOST.fullmatch(ascii_host) and len(address.split()) == 1
    return (parts.scheme, host, ascii_host) if is_host else ("", "", "")


class Client:
    """The API of one account; use ``open_client`` to get one."""

    def __init__(self, session: aiohttp.ClientSession, credentials: Credentials) -> None:
        self._session = session
        self._urls = {path: _url(credentials, path) for path in _PATHS}

    def reset(self, body: bytes) -> Coroutine[Any, Any, Answer]:
        """Set fields of an incident (``POST /incident/reset``), once.

        Args:
            body: the request's JSON object, encoded.

        Raises:
            RequestError: one of its five kinds; nothing else.
        """
        return self._post(RESET_PATH, body)

    def reset_field(self, body: bytes) -> Coroutine[Any, Any, Answer]:
        """Set a custom field (``POST /incident/field/reset``), once; see ``reset``."""
        return self._post(FIELD_PATH, body)

    def comment(self, body: bytes) -> Coroutine[Any, Any, Answer]:
        """Add a comment (``POST /incident/comment``), once; see ``reset``."""
        return self._post(COMMENT_PATH, body)

    async def list_by_ids(self, incident_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Read incidents (``POST /incident/list-by-ids``), once.

        Args:
            incident_ids: at most 100, in lower case.

        Returns: id -> incident, of those that exist.

        Raises:
            RequestError: one of its five kinds; nothing else.
        """
        items = (await self._page(LIST_BY_IDS_PATH, {"incident_ids": list(incident_ids)})).items
        found = {item[ID_FIELD].lower(): item for item in items}
        return {one: found[one] for one in incident_ids if one in found}

    async def list_page(self, query: Mapping[str, Any]) -> Page:
        """Read a page of incidents (``POST /incident/list``), once.

        Args:
            query: the request's parameters; ``start_time`` and ``end_time`` are required.

        Raises:
            RequestError: one of its five kinds; nothing else.
        """
        return await self._page(LIST_PATH, query)

    async def _page(self, path: str, query: Mapping[str, Any]) -> Page:
        answer = await self._post(path, dumps(query), MAX_LIST_BYTES)
        try:
            data = answer.data
            items = tuple(data["items"])
            if all(is_id(item[ID_FIELD].lower()) for item in items):
                cursor, total = data.get("search_after_ctx"), data.get("total")
                return Page(
                    items,
                    cursor if isinstance(cursor, str) else "",
                    data.get("has_next_page") is True,
                    total if isinstance(total, int) else 0,
                )
        except (AttributeError, LookupError, TypeError):
            pass  # Raised out here, without what the server sent.
        raise UnknownOutcomeError(
            "the answer is no list of incidents",
            code="no_list",
            http_status=answer.http_status,
            request_id=answer.request_id,
        )

    async def _post(self, path: str, body: bytes, most_bytes: int = MAX_ANSWER_BYTES) -> Answer:
        answer = await self._answer(path, body, most_bytes)
        if isinstance(answer, RequestError):
            raise answer
        return answer

    async def _answer(self, path: str, body: bytes, most_bytes: int) -> Answer | RequestError:
        try:
            payload = aiohttp.BytesPayload(body, content_type="application/json")
            async with self._session.post(
                self._urls[path], data=payload, allow_redirects=False
            ) as response:
                content = await _read_bounded(response, most_bytes)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as foreign:
            return _mapped(foreign)
        if path in _READING:
            # Values are kept in files; one that holds the key is read, and so kept, without it.
            content = redact(content.decode("utf-8", "surrogateescape")).encode(
                "utf-8", "surrogateescape"
            )
        try:
            return read_answer(response.status, response.headers, content)
        except RequestError as error:
            return error.with_traceback(None)


def _url(credentials: Credentials, path: str) -> URL:
    return URL(credentials.base_url + path).with_query(app_key=credentials.app_key.reveal())


@asynccontextmanager
async def open_client(
    credentials: Credentials, *, connections: int, timeout_s: float
) -> AsyncIterator[Client]:
    """Open connections to the API as they are needed, and close them at the end.

    Args:
        connections: how many at most.
        timeout_s: for one request, to the last byte; half of it for a new connection, so
            that a host that never picks up is known as one.
    """
    is_loopback = urlsplit(credentials.base_url).hostname in _LOOPBACK
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=timeout_s / 2),
        headers={"User-Agent": "bulk-reset"},
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=not is_loopback,  # a proxy has no way to this machine's own loopback
    ) as session:
        yield Client(session, credentials)


async def _read_bounded(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """Read an answer, but never much more than so many bytes of it."""
    content = await response.content.read(most_bytes + 1)
    if response.content.at_eof():
        return content
    parts = bytearray(content)
    while not response.content.at_eof():
        if len(parts) > most_bytes:
            response.close()
            break
        parts += await response.content.read(most_bytes - len(parts) + 1)
    return bytes(parts)


def _mapped(foreign: BaseException) -> RequestError:
    """Return our error for one of aiohttp's or the system's, by whether it may be applied."""
    if isinstance(foreign, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError)):
        return FatalError(
            "no safe connection (TLS), or a certificate that is not trusted here: "
            "check --base-url, the proxy and the machine's certificates",
            code="tls",
        )
    if isinstance(foreign, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        # Never connected, so certainly never applied.
        reason = getattr(foreign, "strerror", None) or "no answer in time"
        return ConnectError(f"cannot connect to the API: {reason}", code="cannot_connect")
    if isinstance(foreign, aiohttp.ClientHttpProxyError):
        return ConnectError(
            f"the proxy does not let us through (HTTP {foreign.status})", code="proxy"
        )
    if isinstance(foreign, ValueError):
        return FatalError(
            "the address or the proxy's cannot be used: check --base-url and HTTPS_PROXY",
            code="address",
        )
    if isinstance(foreign, TimeoutError):
        return UnknownOutcomeError("sent, but no answer came in time", code="timeout")
    return UnknownOutcomeError(
        f"sent, but the connection broke ({type(foreign).__name__})", code="connection_lost"
    )


def read_answer(status: int, headers: Mapping[str, str], content: bytes) -> Answer:
    """Return the success that an answer tells of.

    Raises:
        RequestError: the answer tells of a failure, or cannot be read.
    """
    envelope = _envelope(content)
    request_id = _text(envelope.get("request_id") or headers.get("Flashcat-Request-Id", ""))
    error = envelope.get("error")
    if error is None and 200 <= status < 300 and "request_id" in envelope:  # noqa: PLR2004
        return Answer(status, request_id, envelope.get("data"))
    retry_after_s = requested_wait_s(headers)
    if error is None:
        raise _unreadable(status, content, request_id, retry_after_s)
    if not isinstance(error, dict):
        error = {"code": "", "message": error}
    code = _text(error.get("code") or f"HTTP {status}")
    kind = _kind_of(code, status)
    message = _text(error.get("message") or code)
    if kind is FatalError:
        message = f"{message.rstrip('.')} ({_FATAL_CODES.get(code, 'no row can succeed')})"
    raise kind(
        message,
        code=code,
        http_status=status,
        request_id=request_id,
        retry_after_s=retry_after_s if kind.is_retryable else None,
    )


def _text(value: object) -> str:
    """Return what the server sent as a line that any file can hold and that shows no key."""
    # JSON can hold half a surrogate pair, which UTF-8 cannot.
    line = one_line(str(value).encode("utf-8", "replace").decode())
    return redact(line[:_LONGEST_LOOKED_AT])[:_LONGEST_TEXT]


def _envelope(content: bytes) -> dict[str, Any]:
    try:
        envelope = loads(content)
    except (ValueError, RecursionError):
        return {}
    return envelope if isinstance(envelope, dict) else {}


def _kind_of(code: str, status: int) -> type[RequestError]:
    if code in _ROW_CODES:
        return PermanentError
    if code in _FATAL_CODES:
        return FatalError
    if code == _THROTTLED_CODE or status == 429:  # noqa: PLR2004
        return ThrottledError
    if code in _TRANSIENT_CODES or status >= 500:  # noqa: PLR2004
        return TransientError
    if status < 300:  # noqa: PLR2004  (a success that tells of an error nobody knows)
        return UnknownOutcomeError
    return FatalError if status in {401, 402} else PermanentError


def _unreadable(
    status: int, content: bytes, request_id: str, retry_after_s: float | None
) -> RequestError:
    """Return the error for an answer that is not the API's: a proxy's page, cut JSON, nothing."""
    looks_html = content.lstrip()[:1] == b"<"
    what = "empty" if not content.strip() else "HTML" if looks_html else "not the API's JSON"
    message = f"HTTP {status}, and the answer is {what}"
    kind: type[RequestError] = UnknownOutcomeError
    if status == 429:  # noqa: PLR2004
        kind = ThrottledError
    elif 300 <= status < 400:  # noqa: PLR2004
        kind, message = FatalError, f"HTTP {status}: a redirect is never followed. Check --base-url"
    elif status in {401, 404, 405, 407}:
        kind, message = FatalError, f"{message}. Check --base-url and the proxy"
    elif 400 <= status < 500 and status != 408:  # noqa: PLR2004
        kind = PermanentError
    return kind(
        message,
        code=f"HTTP {status}",
        http_status=status,
        request_id=request_id,
        retry_after_s=retry_after_s if kind.is_retryable else None,
    )


def requested_wait_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that an answer asks to wait, None where it asks for nothing.

    ``Retry-After`` counts; else ``X-RateLimit-Reset``, in which some servers send the seconds
    that are left and others the moment, in epoch seconds, when the window is over. Moments are
    the server's, so they are counted from its own ``Date`` where it sends one.
    """
    now = _date(headers.get("Date", "")) or now
    seconds = parse_retry_after(headers.get("Retry-After"), now)
    if seconds is not None:
        return seconds
    seconds = parse_retry_after(headers.get("X-RateLimit-Reset"), now)
    if seconds is None or seconds < _EARLIEST_EPOCH_S:
        return seconds
    return max(0.0, seconds - (now or datetime.now(UTC)).timestamp())


def parse_retry_after(text: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for: a number or an HTTP date."""
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdecimal():
        return float(text)
    at = _date(text)
    return max(0.0, (at - (now or datetime.now(UTC))).total_seconds()) if at else None


def _date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
