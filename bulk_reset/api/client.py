"""The API client: one method for each call; exceptions of aiohttp become our own errors here.

The app key is in the URL's query, an access token in a header. So no URL, and no exception that
may contain one, leaves this module: foreign exceptions are replaced, not chained, and ours are
raised where no local variable holds the URL or the server's answer, because some tools print
variables with a traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import aiohttp
from yarl import URL

from bulk_reset.api.answers import Answer, read_answer, server_ahead_s
from bulk_reset.api.credentials import Credentials, redact_values
from bulk_reset.api.deadlines import Deadlines
from bulk_reset.api.http_sender import HttpSender
from bulk_reset.api.log_entries import Entry, LoggedRequest, LogPage
from bulk_reset.api.proxy import proxy_arguments
from bulk_reset.core.actions import PROGRESS_AFTER
from bulk_reset.core.errors import (
    AccessError,
    ConnectError,
    FatalError,
    InputError,
    RequestError,
    UnknownOutcomeError,
)
from bulk_reset.core.field_types import FieldTypes
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.core.incident_ids import is_id
from bulk_reset.core.json_codec import dumps
from bulk_reset.core.option_names import option_name

RESET_PATH: Final = "/incident/reset"
FIELD_PATH: Final = "/incident/field/reset"
COMMENT_PATH: Final = "/incident/comment"
ACTION_PATHS: Final = {name: f"/incident/{name}" for name in PROGRESS_AFTER}
LIST_BY_IDS_PATH: Final = "/incident/list-by-ids"
LIST_PATH: Final = "/incident/list"
FEED_PATH: Final = "/incident/feed"
PEOPLE_PATH: Final = "/person/infos"
FIELD_LIST_PATH: Final = "/field/list"
AUDIT_PATH: Final = "/audit/search"
_PATHS: Final = (
    *(RESET_PATH, FIELD_PATH, COMMENT_PATH, *ACTION_PATHS.values()),
    *(LIST_BY_IDS_PATH, LIST_PATH, FEED_PATH, PEOPLE_PATH, FIELD_LIST_PATH, AUDIT_PATH),
)
_COMMENT_TYPE: Final = "i_comm"
_FEED_LIMIT: Final = 100
"""The type of comments in a timeline, and the largest page. Source: ``IncidentFeedType``."""
MAX_ANSWER_BYTES: Final = 1 << 20
MAX_LIST_BYTES: Final = 1 << 26
"""Twice the size of a hundred incidents with the longest texts, every character escaped."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the incidents that a query finds.

    Attributes:
        cursor: the parameter for the next page.
        total: incidents of all pages, as the API counts them.
    """

    items: tuple[dict[str, Any], ...] = field(repr=False)
    cursor: str
    has_next: bool
    total: int


class Comment(NamedTuple):
    """A comment of an incident's timeline.

    Attributes:
        added_at: UTC epoch seconds, by this machine's clock.
    """

    text: str
    added_at: float


class CommentPage(NamedTuple):
    """A page of the comments of an incident's timeline."""

    comments: tuple[Comment, ...]
    has_next: bool


class Client:
    """The API of one account; use ``open_client`` to get one."""

    def __init__(
        self, session: aiohttp.ClientSession, credentials: Credentials, deadlines: Deadlines
    ) -> None:
        self._deadlines = deadlines
        urls = {path: _url(credentials, path) for path in _PATHS}
        proxy: dict[str, Any] = {}
        self._proxy_error = ""
        try:
            proxy = proxy_arguments(credentials.base_url)
        except InputError as error:
            self._proxy_error = str(error)
        self._sender = HttpSender(session, urls, _headers(credentials), proxy)

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

    def act(self, action: str, incident_ids: Sequence[str]) -> Coroutine[Any, Any, Answer]:
        """Acknowledge, resolve or reopen up to 100 incidents, once; see ``reset``."""
        return self._post(ACTION_PATHS[action], dumps({"incident_ids": list(incident_ids)}))

    async def list_by_ids(self, incident_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Read incidents (``POST /incident/list-by-ids``), once.

        Args:
            incident_ids: up to 100, in lower case.

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

    async def comment_page(self, incident_id: str, page: int) -> CommentPage:
        """Read a page of an incident's comments (``POST /incident/feed``), once; latest first.

        Args:
            page: its number, from 1.

        Raises:
            RequestError: one of its five kinds; nothing else.
        """
        query = {"incident_id": incident_id, "types": [_COMMENT_TYPE], "asc": False}
        body = dumps({**query, "limit": _FEED_LIMIT, "p": page})
        answer = await self._post(FEED_PATH, body, MAX_LIST_BYTES)
        ahead_s = server_ahead_s(answer.date)
        try:
            comments = tuple(
                Comment(item["detail"]["comment"], item["created_at"] / 1000 - ahead_s)
                for item in answer.data["items"]
                if item["type"] == _COMMENT_TYPE
            )
            if all(isinstance(one.text, str) for one in comments):
                return CommentPage(comments, answer.data.get("has_next_page") is True)
        except (AttributeError, LookupError, TypeError):
            pass  # Raised below, where no variable holds the server's answer.
        raise _not_as_asked("a timeline", answer)

    async def latest_entries(self, incident_id: str, types: Sequence[str]) -> tuple[Entry, ...]:
        """Read the latest 100 entries of some types of a timeline, once; the latest first.

        Raises:
            RequestError: one of its five kinds; nothing else.
        """
        query = {"incident_id": incident_id, "types": list(types), "asc": False}
        answer = await self._post(
            FEED_PATH, dumps({**query, "limit": _FEED_LIMIT, "p": 1}), MAX_LIST_BYTES
        )
        try:
            items = (await asyncio.to_thread(redact_values, answer.data))["items"]
            return tuple(
                Entry(
                    str(item["type"]),
                    dict(item.get("detail") or {}),
                    int(item["creator_id"]),
                    item["created_at"] / 1000,
                )
                for item in items
            )
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
            pass  # Raised below, where no variable holds the server's answer.
        raise _not_as_asked("a timeline", answer)

    async def people(self, person_ids: Sequence[int]) -> dict[int, str]:
        """Return the names of people (``POST /person/infos``), once; unknown ones are missing.

        Raises:
            RequestError: one of its five kinds; nothing else.
        """
        body = dumps({"person_ids": list(person_ids)})
        answer = await self._post(PEOPLE_PATH, body, MAX_LIST_BYTES)
        try:
            items = redact_values(answer.data)["items"]
            return {int(one["person_id"]): str(one.get("person_name") or "") for one in items}
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
            pass  # Raised below, where no variable holds the server's answer.
        raise _not_as_asked("a list of people", answer)

    async def field_types(self) -> FieldTypes:
        """Read the custom fields of the account (``POST /field/list``), once.

        Raises:
            RequestError: one of its five kinds; nothing else.
        """
        answer = await self._post(FIELD_LIST_PATH, b"{}", MAX_LIST_BYTES)
        with contextlib.suppress(ValueError):
            return FieldTypes.read(redact_values(answer.data))
        raise _not_as_asked("a list of custom fields", answer)

    async def log_page(self, query: Mapping[str, Any]) -> LogPage:
        """Read a page of the audit log (``POST /audit/search``), once.

        Raises:
            RequestError: one of its five kinds; nothing else.
        """
        answer = await self._post(AUDIT_PATH, dumps(query), MAX_LIST_BYTES)
        try:
            docs = answer.data.get("docs") or []
            found = tuple(LoggedRequest(str(one["request_id"]), str(one["body"])) for one in docs)
            return LogPage(found, str(answer.data["search_after_ctx"] or ""))
        except (AttributeError, LookupError, TypeError):
            pass  # Raised below, where no variable holds the server's answer.
        raise _not_as_asked("an audit log", answer)

    async def _page(self, path: str, query: Mapping[str, Any]) -> Page:
        answer = await self._post(path, dumps(query), MAX_LIST_BYTES)
        try:
            # Values are stored in files; an app key within a value is removed first. That can
            # take a second for texts full of escapes, during which other requests continue.
            data = await asyncio.to_thread(redact_values, answer.data)
            items = tuple(data["items"])
            if all(is_id(item[ID_FIELD].lower()) for item in items):
                cursor, total = data.get("search_after_ctx"), data.get("total")
                return Page(
                    items,
                    cursor if isinstance(cursor, str) else "",
                    data.get("has_next_page") is True,
                    total if isinstance(total, int) else 0,
                )
        except (AttributeError, LookupError, TypeError, RecursionError):
            pass  # Raised below, where no variable holds the server's answer.
        raise _not_as_asked("a list of incidents", answer)

    async def _post(self, path: str, body: bytes, most_bytes: int = MAX_ANSWER_BYTES) -> Answer:
        answer = await self._answer(path, body, most_bytes)
        if isinstance(answer, RequestError):
            raise answer
        return answer

    async def _answer(self, path: str, body: bytes, most_bytes: int) -> Answer | RequestError:
        if self._proxy_error:
            return FatalError(self._proxy_error, code="address")
        deadline = self._deadlines.start()
        try:
            raw = await self._sender.post(path, body, most_bytes)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as foreign:
            deadline.take_back()
            return _mapped(foreign)
        except asyncio.CancelledError:
            if not deadline.take_back():
                raise
            return _mapped(TimeoutError())
        finally:
            self._deadlines.end(deadline)
        try:
            return read_answer(raw.status, raw.headers, raw.content)
        except RequestError as error:
            return error.with_traceback(None)


def _not_as_asked(what: str, answer: Answer) -> RequestError:
    return UnknownOutcomeError(
        f"the API's answer is not {what}",
        code="no_list",
        http_status=answer.http_status,
        request_id=answer.request_id,
    )


def _url(credentials: Credentials, path: str) -> URL:
    if credentials.is_token:
        return URL(credentials.base_url + path)
    return URL(credentials.base_url + path).with_query(app_key=credentials.app_key.reveal())


def _headers(credentials: Credentials) -> dict[str, str]:
    """Return the headers of every request.

    They are not those of the session, which aiohttp also sends to a proxy.
    """
    headers = {"Content-Type": "application/json"}
    if credentials.is_token:
        headers["Authorization"] = f"Bearer {credentials.app_key.reveal()}"
    return headers


@asynccontextmanager
async def open_client(
    credentials: Credentials, *, connections: int, timeout_s: float
) -> AsyncIterator[Client]:
    """Open connections to the API when they are needed, and close them at the end.

    Args:
        connections: the maximum.
        timeout_s: for one request, to the last byte; half of it for a new connection, so that an
            unreachable host is recognised as such.
    """
    deadlines = Deadlines(timeout_s)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeout_s / 2),
        headers={"User-Agent": "bulk-reset"},
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,  # it would send what ~/.netrc has; see ``proxy``
    ) as session:
        try:
            yield Client(session, credentials, deadlines)
        finally:
            deadlines.close()


def _mapped(foreign: BaseException) -> RequestError:
    """Return our error for one of aiohttp's or the system's, by whether it may be applied."""
    base_url = option_name("base_url")
    if isinstance(foreign, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError)):
        return AccessError(
            "no secure connection (TLS), or the certificate is not trusted. Check "
            f"{base_url}, the proxy and this machine's certificates",
            code="tls",
        )
    if isinstance(foreign, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        # Never connected, so never applied.
        reason = getattr(foreign, "strerror", None) or "timed out"
        return ConnectError(f"cannot connect to the API: {reason}", code="cannot_connect")
    if isinstance(foreign, aiohttp.ClientHttpProxyError):
        return ConnectError(
            f"the proxy rejected the connection (HTTP {foreign.status})", code="proxy"
        )
    if isinstance(foreign, ValueError):
        return FatalError(
            f"the API's or the proxy's address is invalid. Check {base_url} and HTTPS_PROXY",
            code="address",
        )
    if isinstance(foreign, TimeoutError):
        return UnknownOutcomeError("sent, but the answer timed out", code="timeout")
    return UnknownOutcomeError(
        f"sent, but the connection was lost ({type(foreign).__name__})", code="connection_lost"
    )
