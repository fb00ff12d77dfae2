"""Who may send a request to the page, and the headers of every response.

A page on this machine can be reached by every other page in the user's browser, and by every
program on the machine. So each request, static files and event streams included, must name this
server (against DNS rebinding), come from its own pages, and belong to a session.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from bulk_reset.web.phrases import mark
from bulk_reset.web.sessions import Session, Sessions

HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")
TOKEN_HEADER: Final = "X-Bulk-Reset"  # noqa: S105  (a name)
"""The header that a form of another page cannot send."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
REPORT_POLICY: Final = "sandbox allow-scripts allow-downloads; frame-ancestors 'self'"
"""Of the report's own page, which has a policy of its own in it, and no access to this server."""
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_READING: Final = frozenset({"GET", "HEAD"})
_OWN_SITES: Final = frozenset({"same-origin", "none"})
_LOGIN: Final = "/login"
SESSION: Final = web.RequestKey("session", Session)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Guard:
    """Refuses requests that are not of this server's own pages and session."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._port = 0

    def listen_on(self, port: int) -> None:
        """Set the port that requests must name."""
        self._port = port

    def middleware(self) -> Middleware:
        """Return the middleware that every request passes first."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            why = self._refusal(request)
            if why:
                return web.Response(status=403, text=why)
            if request.path == _LOGIN:
                return await handler(request)
            session = self._sessions.find(request.cookies.get(self.cookie_name, ""))
            if session is None:
                return web.Response(
                    status=401,
                    text=mark(
                        "No session. Open the link that bulk-reset web printed in its terminal."
                    ),
                )
            if request.method not in _READING and not _has_token(request, session):
                return web.Response(
                    status=403,
                    text=mark("Refused: the token of the page is missing. Reload the page."),
                )
            request[SESSION] = session
            return await handler(request)

        return guard

    @property
    def cookie_name(self) -> str:
        """The cookie's name holds the port: cookies do not distinguish ports."""
        return f"bulk_reset_{self._port}"

    def _refusal(self, request: web.Request) -> str:
        """Return why a request is refused whatever its session is; empty if it is not."""
        if request.host not in {f"{host}:{self._port}" for host in HOSTS}:
            return mark("Refused: the Host header names another server.")
        origin = request.headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}:{self._port}" for host in HOSTS}:
            return mark("Refused: the Origin header names another page.")
        if request.headers.get("Sec-Fetch-Site", "none") not in _OWN_SITES:
            return mark("Refused: the request comes from another site.")
        if request.method not in {*_READING, "POST"}:
            return mark("Refused: only GET and POST are used here.")
        return ""


def _has_token(request: web.Request, session: Session) -> bool:
    given = request.headers.get(TOKEN_HEADER, "")
    return hmac.compare_digest(given.encode(), session.form_token.encode())


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add the headers of every response before it is sent; a policy that is set stays."""
    response.headers.update(HEADERS)
    response.headers.setdefault("Content-Security-Policy", POLICY)
