"""The metrics server: ``/metrics`` for Prometheus and ``/healthz`` for a supervisor.

It listens on the loopback address, unless another one is requested. Any web page can make a
browser send requests here by a name of its own (DNS rebinding), so requests whose Host header is
not a known name are rejected. An address is no name: where others can connect, each one is allowed.

prometheus_client's WSGI app is used, but not its ``start_wsgi_server``: that prints a traceback
when a client resets its connection, makes a DNS query before it binds, and has no timeout for a
request.

State: the server's threads only call the functions that were passed in, which must allow calls
from another thread.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import make_wsgi_app
from prometheus_client.metrics_core import Metric

from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option
from bulk_reset.observability.metrics import registry_of

HOST: Final = "127.0.0.1"
_OWN_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_TIMEOUT_S: Final = 10.0
"""For one request to arrive, so that an idle connection does not occupy a thread."""
_POLL_S: Final = 0.25
_PORT: Final = re.compile(r":\d+$", re.ASCII)
_Page = tuple[HTTPStatus, list[tuple[str, str]], bytes]


class MetricsServer:
    """Serves ``/metrics`` and ``/healthz`` from a thread of its own until it is closed.

    Args:
        port: 0 for any free port.
        scrape: returns the metrics as they are now; called from another thread.
        healthz: returns whether all works, with a short text; called from another thread.
        host: the IP address of this machine to listen on.
        names: further names that a Host header may have.

    Attributes:
        port: the port that is used.
        address: ``http://HOST:PORT``.

    Raises:
        InputError: the port is in use or invalid.
    """

    def __init__(
        self,
        port: int,
        scrape: Callable[[], Iterable[Metric]],
        healthz: Callable[[], tuple[bool, str]] = lambda: (True, "ok"),
        *,
        host: str = HOST,
        names: Iterable[str] = (),
    ) -> None:
        ip = _ip_of(host)
        if ip is None:
            raise InputError(f"{option('host', host)}: not an IP address. Use 0.0.0.0 for all.")
        kind = _Server if ip.version == 4 else _Server6  # noqa: PLR2004
        try:
            self._server = kind((host, port), _SilentHandler)
        except (OSError, OverflowError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise InputError(
                f"port {port} of {host}: cannot be used ({reason}). Use another port, or 0 for any "
                "free port."
            ) from exc
        is_allowed = _HostCheck(is_public=not ip.is_loopback, names=frozenset(names))
        self._server.set_app(_guarded(make_wsgi_app(registry_of(scrape)), healthz, is_allowed))
        self.port = self._server.server_port
        self.address = f"http://{host if ip.version == 4 else f'[{host}]'}:{self.port}"  # noqa: PLR2004
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True
        )
        self._thread.start()

    def __repr__(self) -> str:
        return f"<MetricsServer {self.address}>"

    def close(self) -> None:
        """Stop serving, and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without the DNS query that HTTPServer makes."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Ignore clients that disconnect before they have the answer."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _SilentHandler(WSGIRequestHandler):
    timeout = _TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401  (its name)
        """Log nothing."""


@dataclass(frozen=True, slots=True)
class _HostCheck:
    """Whether a Host header is a name or an address of this machine."""

    is_public: bool
    names: frozenset[str]

    def __call__(self, header: str) -> bool:
        name = header.rpartition(":")[0] if _PORT.search(header) else header
        name = name.lower()
        is_address = self.is_public and _ip_of(name.removeprefix("[").removesuffix("]")) is not None
        return name in _OWN_NAMES or name in self.names or is_address


def _ip_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _guarded(
    metrics: WSGIApplication, healthz: Callable[[], tuple[bool, str]], is_allowed: _HostCheck
) -> WSGIApplication:
    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            refusal = _refusal(environ, is_allowed)
            page = _refused(refusal) if refusal else _page(environ, metrics, healthz)
            status, headers, body = page
        except Exception as error:  # noqa: BLE001  (of a passed function; it would be lost here)
            text = f"{type(error).__name__}\n".encode()
            status, headers, body = HTTPStatus.INTERNAL_SERVER_ERROR, [_PLAIN], text
        head = [*headers, ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
        start_response(f"{status.value} {status.phrase}", head)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    return answer


_PLAIN: Final = ("Content-Type", "text/plain; charset=utf-8")


def _page(
    environ: WSGIEnvironment, metrics: WSGIApplication, healthz: Callable[[], tuple[bool, str]]
) -> _Page:
    if environ["PATH_INFO"] == "/healthz":
        is_healthy, text = healthz()
        status = HTTPStatus.OK if is_healthy else HTTPStatus.SERVICE_UNAVAILABLE
        answer = json.dumps({"is_healthy": is_healthy, "message": text}) + "\n"
        return status, [("Content-Type", "application/json")], answer.encode()
    return _metrics_page(environ, metrics)


def _refused(status: HTTPStatus) -> _Page:
    more = [("Allow", "GET, HEAD")] if status is HTTPStatus.METHOD_NOT_ALLOWED else []
    return status, [_PLAIN, *more], f"{status.phrase}\n".encode()


def _metrics_page(environ: WSGIEnvironment, metrics: WSGIApplication) -> _Page:
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Any:  # noqa: ANN401
        started.append((status, headers))

    body = b"".join(metrics({**environ, "REQUEST_METHOD": "GET"}, start_response))
    status, headers = started[0]
    return HTTPStatus(int(status.split()[0])), headers, body


def _refusal(environ: WSGIEnvironment, is_allowed: _HostCheck) -> HTTPStatus | None:
    """Return the status of a request that is rejected; None if it is answered."""
    if not is_allowed(str(environ.get("HTTP_HOST", ""))):
        return HTTPStatus.MISDIRECTED_REQUEST
    if environ["PATH_INFO"] not in {"/metrics", "/healthz"}:
        return HTTPStatus.NOT_FOUND
    if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
        return HTTPStatus.METHOD_NOT_ALLOWED
    return None
